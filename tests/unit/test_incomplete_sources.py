"""A source of which ISC does not show everything: what it shows counts, what it does not show is unknown."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from samples import BEFORE, NOON, seen

from mmd.errors import Conflict, NotFound
from mmd.findings import Finding, Kind, Rules, judge, suspicious
from mmd.plan import Case
from mmd.posture import CRON_KEYS, HEALTH_FLAG, MARKER, Json, Observation
from mmd.recovery import Told, remembered


def _source(attributes: dict[str, Json]) -> Observation:
    """A source that came without its features."""
    return replace(seen(replace(BEFORE, attributes=attributes)), features=None)


def _judged(observed: Observation) -> Finding | None:
    case = Case(source_id="id1", source_name="AD", observed=observed)
    return judge(case, Rules(grace=timedelta(0), key=b"key"), NOON)


@pytest.mark.parametrize("value", [True, "true"])
def test_a_marker_that_is_shown_is_a_zombie_whatever_is_missing(value: Json) -> None:
    observed = _source({MARKER: value})
    found = _judged(observed)
    assert suspicious(observed)
    assert found is not None
    assert found.kind is Kind.ORPHAN
    assert "take the flag off by hand" in found.next_step


def test_an_escrow_that_is_shown_is_a_finding_whatever_is_missing() -> None:
    observed = replace(seen(BEFORE, escrow="{}"), features=None)
    found = _judged(observed)
    assert suspicious(observed)
    assert found is not None
    assert found.kind is Kind.HALF


def test_features_that_are_not_shown_are_not_empty_ones() -> None:
    observed = _source({HEALTH_FLAG: True, CRON_KEYS["ACCOUNT_AGGREGATION"]: "0 0 5 * * ?"})
    assert not suspicious(observed)
    assert _judged(observed) is None
    assert suspicious(replace(observed, features=()))


def test_a_source_without_any_attributes_proves_nothing() -> None:
    observed = replace(seen(BEFORE), attributes=None)
    assert not suspicious(observed)
    assert _judged(observed) is None


def test_what_is_not_shown_is_not_restored_even_when_somebody_says_what_it_was() -> None:
    told = Told(features=("PROVISIONING",), flags={HEALTH_FLAG: False})
    with pytest.raises(Conflict, match="does not show all"):
        remembered(_source({MARKER: True}), told, key=b"key", new_id="new", now=NOON)
    with pytest.raises(NotFound):
        remembered(_source({}), told, key=b"key", new_id="new", now=NOON)
