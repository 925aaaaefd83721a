"""The second copy: what was sealed is read back; what was touched is not believed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmd.escrow import (
    Claim,
    Escrow,
    Trust,
    claims_from_json,
    derive_key,
    fields_from_json,
    seal,
    unseal,
    unstamp,
)
from mmd.isc.door import observe
from mmd.posture import ACCOUNTS, DEEPEST, HEALTH_FLAG, Fields, Snapshot, Treatment

if TYPE_CHECKING:
    from mmd.posture import Json

KEY = derive_key("a client secret")
NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
BEFORE = Fields(("PROVISIONING", "Ünïcode"), {HEALTH_FLAG: "false"}, {ACCOUNTS: "0 0 5 * * ?"})
SNAPSHOT = Snapshot(
    id="s1",
    source_id="id1",
    source_name="AD \u202e",
    treatment=Treatment.FULL,
    taken_at=NOON,
    before=BEFORE,
    after=BEFORE,
)
CLAIM = Claim(window_id="w1", key="k", opens_at=NOON, closes_at=NOON, reason="patching", owner="ops")
ESCROW = Escrow(snapshot=SNAPSHOT, claims=(CLAIM,))


def test_what_is_sealed_is_read_back_and_believed() -> None:
    assert unseal(seal(ESCROW, KEY), source_id="id1", key=KEY) == (Trust.SIGNED, ESCROW)


def test_edits_of_others_are_in_it() -> None:
    edited = replace(ESCROW, snapshot=replace(SNAPSHOT, after=replace(BEFORE, features=("PROXY",))))
    assert unseal(seal(edited, KEY), source_id="id1", key=KEY) == (Trust.SIGNED, edited)


def test_it_is_believed_even_where_isc_kept_it_as_an_object() -> None:
    assert unseal(json.loads(seal(ESCROW, KEY)), source_id="id1", key=KEY)[0] is Trust.SIGNED


def test_another_key_makes_it_unsigned_but_readable() -> None:
    trust, escrow = unseal(seal(ESCROW, derive_key("rotated")), source_id="id1", key=KEY)
    assert (trust, escrow) == (Trust.UNSIGNED, ESCROW)


def test_an_escrow_of_another_source_is_broken() -> None:
    assert unseal(seal(ESCROW, KEY), source_id="id2", key=KEY) == (Trust.BROKEN, None)


def test_it_says_until_when() -> None:
    assert ESCROW.until == NOON
    assert replace(ESCROW, claims=()).until is None


def test_the_key_does_not_show_the_secret() -> None:
    assert b"a client secret" not in KEY
    assert "a client secret" not in seal(ESCROW, KEY)


@given(st.integers(min_value=0), st.characters(codec="utf-8"))
def test_any_change_of_its_text_is_noticed(place: int, letter: str) -> None:
    text = seal(ESCROW, KEY)
    place %= len(text)
    changed = text[:place] + letter + text[place + 1 :]
    trust, _ = unseal(changed, source_id="id1", key=KEY)
    # White space outside the strings changes nothing that is said.
    assert trust is not Trust.SIGNED or json.loads(changed) == json.loads(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values | st.text())
def test_anything_else_is_broken(value: Json) -> None:
    assert unseal(value, source_id="id1", key=KEY) == (Trust.BROKEN, None)


def _signed(**changes: Json) -> str:
    """Seal a body that has some parts replaced: right checks, wrong content."""
    import hashlib  # noqa: PLC0415 - only here
    import hmac  # noqa: PLC0415 - only here

    body = {
        name: part for name, part in json.loads(seal(ESCROW, KEY)).items() if name not in ("sha256", "hmac")
    }
    text = json.dumps({**body, **changes}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    checks = {
        "sha256": hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),
        "hmac": hmac.new(KEY, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest(),
    }
    return json.dumps({**json.loads(text), **checks})


@pytest.mark.parametrize(
    "changes",
    [
        {"treatment": "everything"},
        {"taken_at": "2026-12-01T12:00:00"},
        {"before": []},
        {"before": {"features": {}, "attributes": {}, "schedules": {}}},
        {"before": {"features": [1], "attributes": {}, "schedules": {}}},
        {"windows": {}},
        {"windows": ["w1"]},
        {"id": None},
        {"taken_at": "9999-12-31T23:59:59-12:00"},
        {"taken_at": "0001-01-01T00:00:00+12:00"},
        {
            "windows": [
                {"id": "w1", "key": "k", "opens_at": "2026-12-01T12:00Z", "closes_at": "9999-12-31T23:59Z"}
            ]
        },
        {"before": {"features": [], "attributes": {"password": "x"}, "schedules": {}}},
        {"before": {"features": [], "attributes": {}, "schedules": {"PROVISIONING": "0 0 5 * * ?"}}},
        {"revision": "1"},
        {"revision": -1},
        {"revision": 2**63},
    ],
)
def test_a_well_signed_escrow_of_the_wrong_shape_is_broken(changes: dict[str, Json]) -> None:
    assert unseal(_signed(**changes), source_id="id1", key=KEY) == (Trust.BROKEN, None)


HALF = "\ud800"


@pytest.mark.parametrize(
    "changes",
    [
        {"id": HALF},
        {"name": HALF},
        {"before": {"features": [HALF], "attributes": {}, "schedules": {}}},
        {"before": {"features": [], "attributes": {HEALTH_FLAG: [{HALF: 1}]}, "schedules": {}}},
        {"before": {"features": [], "attributes": {HEALTH_FLAG: float("nan")}, "schedules": {}}},
        {
            "windows": [
                {"id": HALF, "key": "k", "opens_at": "2026-12-01T12:00Z", "closes_at": "2026-12-01T13:00Z"}
            ]
        },
    ],
)
def test_an_escrow_that_no_database_takes_is_broken(changes: dict[str, Json]) -> None:
    text = _signed(**changes)
    assert text.isascii()  # so it passes for a text like any other
    assert unseal(text, source_id="id1", key=KEY) == (Trust.BROKEN, None)


@pytest.mark.parametrize("deep", [DEEPEST - 1, DEEPEST])
def test_it_is_believed_as_deep_as_the_door_lets_values_in(deep: int) -> None:
    value: Json = []
    for _ in range(deep - 1):
        value = [value]
    seen = observe({"id": "id1", "features": [], "connectorAttributes": {HEALTH_FLAG: value}})
    fields: Json = {"features": [], "attributes": {HEALTH_FLAG: value}, "schedules": {}}
    trust, _ = unseal(_signed(before=fields), source_id="id1", key=KEY)
    assert (trust is Trust.SIGNED) is seen.complete is (deep < DEEPEST)


def test_a_deeply_nested_text_is_broken() -> None:
    assert unseal("[" * 100_000, source_id="id1", key=KEY) == (Trust.BROKEN, None)


def test_readers_refuse_what_no_writer_writes() -> None:
    with pytest.raises(TypeError):
        fields_from_json("x")
    with pytest.raises(TypeError):
        claims_from_json("x")
    with pytest.raises(ValueError, match="offset"):
        unstamp("2026-12-01T12:00:00")


def test_an_escrow_without_a_revision_is_read() -> None:
    """The first form had none."""
    assert "revision" not in json.loads(seal(ESCROW, KEY))
    trust, found = unseal(_signed(), source_id="id1", key=KEY)
    assert (trust, found) == (Trust.SIGNED, ESCROW)
    assert ESCROW.revision == 0


def test_a_revision_comes_back() -> None:
    later = replace(ESCROW, revision=3)
    assert unseal(seal(later, KEY), source_id="id1", key=KEY) == (Trust.SIGNED, later)
    assert unseal(_signed(revision="3"), source_id="id1", key=KEY) == (Trust.BROKEN, None)


def test_one_of_a_newer_form_is_left_alone() -> None:
    assert unseal(_signed(v=99), source_id="id1", key=KEY) == (Trust.BROKEN, None)
