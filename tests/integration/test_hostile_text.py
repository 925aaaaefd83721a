"""Hostile names, reasons, owners and tickets, in all that a terminal, a program or a log gets to see."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from desk import SECRET_VARIABLE, Desk, Said, tenant
from hostile import HOSTILE

from mmd import log
from mmd.simulator import Simulator

pytestmark = pytest.mark.slow

SURROGATES = frozenset(map(chr, range(0xD800, 0xE000)))
# What a person can type as a reason, and mmd takes.
TYPED = tuple(text for text in HOSTILE if text.strip() and len(text) <= 500 and SURROGATES.isdisjoint(text))
HARMFUL = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
FORMULA = frozenset("=+-@")
JSON = ("-o", "json")
CSV = ("-o", "csv")
MANY = len(HOSTILE)


def rename(simulator: Simulator) -> None:
    """Give each source a hostile name; the last is a zombie."""
    sources = simulator.tenant.sources
    for key, name in zip(sources, HOSTILE, strict=True):
        sources[key]["name"] = name
    sources[list(sources)[-1]]["connectorAttributes"]["maintenancemode"] = True


@pytest.fixture(scope="module")
def sim() -> Iterator[Simulator]:
    with tenant(MANY, rename) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("desk")


@pytest.fixture
def desk(
    sim: Simulator, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Desk:
    """A desk at which everything hostile was planned and entered once."""
    monkeypatch.setenv(SECRET_VARIABLE, sim.client_secret)
    monkeypatch.setenv("MMD_TENANT__RATE", "100/1s")  # the simulated tenant has no limit here
    found = Desk(folder, capsys)
    if not found.database.exists():
        found.configure(sim)
        for key, text in zip(sim.tenant.sources, TYPED, strict=False):
            words = (f"--reason={text}", f"--owner={text}", f"--ticket={text}", "--repeat", "FREQ=DAILY")
            found.done("start", key, "--for", "1h", *words)
        harmless(found.mmd("reconcile"))
        rest = list(sim.tenant.sources)[len(TYPED) : -1]
        harmless(found.done("start", *rest, "--for", "1h", "--reason", "not entered yet"))
    return found


def harmless(said: Said) -> Said:
    """See to it that nothing printed does more than be read."""
    for text in (said.out, said.err):
        letters = {letter for letter in text if unicodedata.category(letter) in HARMFUL}
        assert letters <= {"\n"}, letters
        text.encode()
    assert "Traceback" not in said.err
    assert "unexpected" not in said.err
    return said


COMMANDS: dict[str, tuple[tuple[str, ...], str]] = {
    "status": (("status",), "sources"),
    "schedule list": (("schedule", "list"), "windows"),
    "schedule next": (("schedule", "next"), ""),
    "sources": (("sources",), "sources"),
    "sources --live": (("sources", "--live"), "sources"),
    "plan": (("plan",), "actions"),
    "zombies": (("zombies",), "zombies"),
    "history": (("history", "-n", "0"), "entries"),
    "history of a while": (("history", "--since", "2020-01-01 00:00", "-n", "0"), "entries"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_table_has_a_line_for_each_row_and_nothing_but_text(name: str, desk: Desk) -> None:
    words, subject = COMMANDS[name]
    said = harmless(desk.mmd(*words))
    rows = harmless(desk.mmd(*words, *CSV)).out
    headings = 0 if words[0] == "history" else 1
    assert said.out.count("\n") == len(list(csv.reader(io.StringIO(rows)))) - 1 + headings
    if subject:
        assert said.out.count("\n") == len(desk.mmd(*words, *JSON).json[subject]) + headings
    assert said.out.strip()


@pytest.mark.parametrize("name", COMMANDS)
def test_csv_has_no_formula(name: str, desk: Desk) -> None:
    said = harmless(desk.mmd(*COMMANDS[name][0], *CSV))
    for row in csv.reader(io.StringIO(said.out)):
        for cell in row:
            first = unicodedata.normalize("NFKC", cell.lstrip()[:1])
            assert first not in FORMULA, cell


@pytest.mark.parametrize("name", COMMANDS)
def test_json_is_plain_ascii(name: str, desk: Desk) -> None:
    said = harmless(desk.mmd(*COMMANDS[name][0], *JSON))
    assert said.out.isascii()
    assert json.loads(said.out)["schema_version"] == 1


def test_json_gives_each_name_back_as_it_is(desk: Desk) -> None:
    names = [item["source_name"] for item in desk.done("sources", "--live", *JSON).json["sources"]]
    assert {name for name in HOSTILE if name and SURROGATES.isdisjoint(name)} <= set(names)


def test_json_gives_each_reason_back_as_it_was_typed(desk: Desk) -> None:
    windows = desk.done("schedule", "list", *JSON).json["windows"]
    for field in ("reason", "owner", "ticket"):
        given = [item[field] for item in windows if item["reason"] != "not entered yet"]
        assert sorted(given) == sorted(text.strip() for text in TYPED)


def test_the_journal_gives_each_reason_back(desk: Desk) -> None:
    entries = desk.done("history", "-n", "0", *JSON).json["entries"]
    planned = [item["body"]["reason"] for item in entries if item["kind"] == "window.added"]
    assert planned[:-1] == [text.strip() for text in TYPED]


def test_a_window_shown_alone_is_harmless(desk: Desk) -> None:
    for window in desk.done("schedule", "list", *JSON).json["windows"]:
        said = harmless(desk.done("schedule", "show", window["id"]))
        assert said.out.startswith("FIELD")
        harmless(desk.done("schedule", "show", window["id"], *JSON))


def test_an_answer_about_the_past_is_harmless(desk: Desk) -> None:
    for item in desk.done("sources", *JSON).json["sources"]:
        said = harmless(desk.mmd("was", item["source_id"], "--at", "now"))
        assert said.code in (0, 1, 3)
        assert said.out.splitlines()[0].split() == ["FIELD", "VALUE"]
        document = harmless(desk.mmd("was", item["source_id"], "--at", "now", *JSON)).json
        assert document["source_name"] == item["source_name"]


@pytest.mark.parametrize("text", HOSTILE, ids=range(MANY))
def test_what_is_typed_is_repeated_harmlessly(text: str, desk: Desk) -> None:
    for words in (("was", "--at", "now"), ("history",), ("status",), ("schedule", "show")):
        harmless(desk.mmd(*words, "--", text))


# --- Logs -----------------------------------------------------------------------------------------------


@pytest.fixture
def _log_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(log, "_hidden", set())
    yield
    structlog.reset_defaults()


Shape = Callable[[str], dict[str, Any]]
SHAPES: dict[str, Shape] = {
    "value": lambda text: {"source": text},
    "key": lambda text: {f"k{text}": 1},
    "list": lambda text: {"sources": [text, text]},
    "mapping": lambda text: {"sources": {text: text}},
    "error": lambda text: {"error": ValueError(text)},
}


@pytest.mark.usefixtures("_log_as_before")
@pytest.mark.parametrize("form", ["console", "json"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_log_entry_is_one_harmless_line(form: str, shape: str) -> None:
    for text in HOSTILE:
        stream = io.StringIO()
        log.configure("debug", form, hidden=[], stream=stream)
        structlog.get_logger().info(text or "event", **SHAPES[shape](text))
        written = stream.getvalue()
        assert written.count("\n") == 1
        harmless(Said(0, written, ""))
        if form == "json":
            assert written.isascii()
            json.loads(written)
