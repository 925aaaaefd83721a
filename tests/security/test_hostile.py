"""What others may put in mmd's way: escrows, configurations, and what the code must not contain."""

from __future__ import annotations

import hashlib
import io
import json
import random
import re
import string
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hostile import HOSTILE
from world import KEY, START, World

from mmd.cli import main
from mmd.cli.rescue import take
from mmd.errors import Conflict
from mmd.escrow import Trust, derive_key, unseal
from mmd.isc import door
from mmd.posture import ESCROW, MARKER
from mmd.recovery import from_escrow

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FUZZED = 10_000
CONFIGS = 500


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


# --- Escrows ----------------------------------------------------------------------------------------------


def a_real_one(world: World, key: str) -> str:
    world.plan([key])
    world.run(2)
    assert world.in_maintenance(key)
    return str(world.tenant.sources[key]["connectorAttributes"][ESCROW])


def _letter(text: str, chance: random.Random) -> str:
    at = chance.randrange(len(text))
    return text[:at] + chance.choice(string.printable) + text[at + 1 :]


def _cut(text: str, chance: random.Random) -> str:
    return text[: chance.randrange(len(text))]


def _field(text: str, chance: random.Random) -> str:
    body = json.loads(text)
    values: list[Any] = [
        None,
        0,
        -1,
        1e308,
        "",
        "x",
        [],
        {},
        [[]],
        chance.choice(HOSTILE),
        "9999-12-31T00:00:00Z",
    ]
    body[chance.choice(list(body))] = chance.choice(values)
    return json.dumps(body)


def _features(text: str, chance: random.Random) -> str:
    body = json.loads(text)
    body["before"]["features"] = ["PROVISIONING", chance.choice(HOSTILE)]
    return json.dumps(body)


def _without_signature(text: str, chance: random.Random) -> str:
    body = json.loads(text)
    body.pop(chance.choice(["hmac", "sha256"]))
    return json.dumps(body)


def _nested(_text: str, chance: random.Random) -> str:
    return "[" * chance.randrange(1, 50_000)


CHANGES: list[Callable[[str, random.Random], str]] = [
    _letter,
    _cut,
    _field,
    _features,
    _without_signature,
    _nested,
]


def test_no_changed_escrow_is_ever_believed(world: World, tally: Callable[[str, int], None]) -> None:
    key = world.ids[0]
    real = a_real_one(world, key)
    assert unseal(real, source_id=key, key=KEY)[0] is Trust.SIGNED
    assert unseal(real, source_id=world.ids[1], key=KEY)[0] is Trust.BROKEN
    assert unseal(real, source_id=key, key=derive_key("other"))[0] is Trust.UNSIGNED
    believed = 0
    for seed in range(FUZZED):
        chance = random.Random(seed)  # noqa: S311 - which change, nothing more
        changed = CHANGES[seed % len(CHANGES)](real, chance)
        trust, _ = unseal(changed, source_id=key, key=KEY)
        assert trust is not Trust.SIGNED or json.loads(changed) == json.loads(real), seed
        believed += trust is Trust.SIGNED
    assert believed < FUZZED // 100  # a letter in place of itself
    tally("T14 hostile input", FUZZED)


@pytest.mark.parametrize(
    "change", [_field, _features, _without_signature, _cut], ids=lambda it: it.__name__[1:]
)
def test_a_planted_escrow_changes_nothing_on_a_source_that_nobody_holds(
    world: World, change: Callable[[str, random.Random], str]
) -> None:
    """Neither found on a source in maintenance, nor on one that is about to be entered."""
    mine, planted = world.ids[:2]
    real = a_real_one(world, mine)
    attributes = world.tenant.sources[planted]["connectorAttributes"]
    for seed in range(50):
        chance = random.Random(seed)  # noqa: S311 - as above
        text = change(real.replace(mine, planted), chance)
        attributes.update({ESCROW: text, MARKER: bool(seed % 2)})
        before, writes = world.tenant.comparable(planted), world.writes
        if seed == 25:
            world.plan([planted])
        world.run(1, seconds=3)
        assert world.tenant.comparable(planted) == before
        assert world.writes == writes


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401 - any JSON
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in inner:
        yield from _places(item, (*path, name))


def _resealed(text: str, path: tuple[Any, ...], value: object) -> str:
    """Put a value anywhere into an escrow, and the right digest beside it: anybody can."""
    body = {name: part for name, part in json.loads(text).items() if name not in ("sha256", "hmac")}
    inner: Any = body
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    plain = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    digest = hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()
    return json.dumps({**body, "sha256": digest})


ODD: list[object] = [*HOSTILE[::8], "", "\ud800", 2**70, -1, float("inf"), [["\udfff"]], {"\ud800": {}}]


def test_an_escrow_with_the_right_digest_may_say_anything_and_stops_nothing(
    world: World, tally: Callable[[str, int], None]
) -> None:
    """Neither a sweep, nor a pass over it and others, nor `mmd recover --accept-unsigned`."""
    mine, planted, zombie = world.ids
    real = a_real_one(world, mine)
    body = json.loads(real.replace(mine, planted))
    places = [path for path in _places(body) if path and path[0] not in ("v", "source", "sha256", "hmac")]
    world.tenant.sources[zombie]["connectorAttributes"][MARKER] = True
    world.plan([planted])
    start = world.save()
    for number, path in enumerate(places * len(ODD)):
        world.load(start)
        world.begin()
        text = _resealed(json.dumps(body), path, ODD[number // len(places)])
        world.tenant.sources[planted]["connectorAttributes"][ESCROW] = text
        swept = world.sweep()
        assert swept is not None
        assert swept.error is None
        assert {planted, zombie} <= world.store.findings.open().keys()
        (report,) = world.run(1)
        assert report.error is None
        assert world.recover(accept_unsigned=True)
        world.run(1)
    tally("T14 hostile input", len(places) * len(ODD))


def test_an_escrow_with_the_id_of_another_sources_entry_is_not_believed(world: World) -> None:
    """Or who may edit one source could have another go back to what he likes."""
    mine, planted, second = world.ids
    real = a_real_one(world, mine)
    for key in (planted, second):
        body = json.loads(real.replace(mine, key))
        world.tenant.sources[key]["connectorAttributes"][ESCROW] = _resealed(
            json.dumps(body), ("revision",), 7
        )
    held = world.store.holds.held(mine)
    seen = door.observe(world.tenant.sources[planted])
    with pytest.raises(Conflict, match="another source") as refused:
        take(world.store, from_escrow(seen, KEY, accept_unsigned=True), now=START, actor="test")
    assert "take mmd_escrow off" in refused.value.hint
    assert world.recover(accept_unsigned=True)
    assert world.store.holds.held() == held
    world.wipe()
    world.begin()
    assert world.recover(accept_unsigned=True)
    assert world.held == {mine}


def test_the_escrow_of_a_held_source_may_be_anything_and_the_database_wins(world: World) -> None:
    key = world.ids[0]
    real = a_real_one(world, key)
    chance = random.Random(1)  # noqa: S311 - as above
    world.tenant.sources[key]["connectorAttributes"][ESCROW] = _features(real, chance)
    world.clock.pass_by(timedelta(hours=2).total_seconds())
    world.quiet()
    assert world.restored(key)


# --- Configurations ---------------------------------------------------------------------------------------


def _mutated(text: str, chance: random.Random) -> str:
    lines = text.splitlines()
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(lines))
        match chance.randrange(6):
            case 0:
                lines[at] = _letter(lines[at] + " ", chance)
            case 1:
                lines[at] = lines[chance.randrange(len(lines))]
            case 2:
                lines[at] = f"{lines[at].partition('=')[0]}= {chance.choice(_VALUES)}"
            case 3:
                lines[at] = chance.choice(HOSTILE).encode("utf-8", "replace").decode()
            case 4:
                del lines[at]
            case _:
                lines.insert(at, f"{chance.choice(string.ascii_letters)} = {chance.choice(_VALUES)}")
    return "\n".join(lines)


_VALUES = (
    "0",
    "-1",
    "1e400",
    "true",
    '""',
    '"x"',
    "[]",
    "{}",
    "[[1]]",
    "2026-01-01",
    '"99999999999999d"',
    '"\\u0000"',
)


def test_no_configuration_is_more_than_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: Callable[[str, int], None]
) -> None:
    """Half a thousand broken ones, through the command line."""
    monkeypatch.chdir(tmp_path)
    example = (ROOT / "config.example.toml").read_text("utf-8").replace("# ", "").replace("#", "")
    bare = "\n".join(line for line in example.splitlines() if re.match(r"^(\[|\w+ = )", line))
    codes = []
    for seed in range(CONFIGS):
        chance = random.Random(seed)  # noqa: S311 - as above
        (tmp_path / "mmd.toml").write_text(_mutated(bare, chance), "utf-8", "surrogatepass")
        said = io.StringIO()
        with redirect_stderr(said), redirect_stdout(said), pytest.raises(SystemExit) as left:
            main(["--config", "mmd.toml", "status"])
        text = said.getvalue()
        assert "Traceback" not in text, seed
        assert "unexpected" not in text, (seed, text)
        codes.append(left.value.code)
    assert set(codes) <= {0, 1, 2, 3}
    assert codes.count(2) > CONFIGS // 3
    tally("T14 hostile input", CONFIGS)


# --- The code ---------------------------------------------------------------------------------------------

FORBIDDEN = {
    "objects from bytes": r"\b(pickle|marshal|shelve|dill)\b",
    "code from text": r"(?<![\w.])(eval|exec)\(",
    "YAML": r"\byaml\.",
    "a shell": r"shell\s*=\s*True|os\.system|os\.popen",
    "TLS unchecked": r"verify\s*=\s*False|CERT_NONE|check_hostname\s*=\s*False|_create_unverified",
    "redirects": r"follow_redirects\s*=\s*True",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_the_code_does_without(what: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in (*ROOT.glob("mmd/**/*.py"), *ROOT.glob("migrations/**/*.py"))
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1)
        if re.search(FORBIDDEN[what], line)
    ]
    assert not found
