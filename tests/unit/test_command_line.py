"""The command line as a whole: what it says to somebody who does not know it yet."""

from __future__ import annotations

import re

import pytest

from mmd.cli import COMMANDS, main


def _typed(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int | str | None, str, str]:
    with pytest.raises(SystemExit) as left:
        main(list(words))
    shown = capsys.readouterr()
    return left.value.code, shown.out, shown.err


@pytest.mark.parametrize("words", [(), ("schedule",), ("db",), ("alerts",)])
def test_a_group_alone_shows_its_help(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = _typed(*words, capsys=capsys)
    assert (code, out) == (2, "")
    assert err.startswith(f"Usage: {' '.join(('mmd', *words))} ")
    assert "\\x0a" not in err


def test_help_lists_every_command_in_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _typed("--help", capsys=capsys)
    listed = out.partition("Commands:\n")[2].splitlines()
    assert (code, len(listed)) == (0, len(COMMANDS))
    assert [line.split()[0] for line in listed] == list(COMMANDS)


@pytest.mark.parametrize(
    "words",
    [("run",), ("report",), ("reconcile",), ("db", "upgrade"), ("restore",), ("adopt",), ("schedule", "add")],
)
def test_what_writes_takes_yes(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _typed(*words, "--help", capsys=capsys)
    assert code == 0
    assert re.search(r"^  --yes ", out, re.MULTILINE)


@pytest.mark.parametrize("group", ["schedule", "db", "alerts"])
def test_the_help_of_a_group_cuts_no_sentence_off(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = _typed(group, "--help", capsys=capsys)
    listed = out.partition("Commands:\n")[2]
    assert re.search(r"^  \w+ ", listed, re.MULTILINE)
    assert "..." not in listed


@pytest.mark.parametrize(
    ("words", "sentence", "hint"),
    [
        (("shcedule",), "there is no command 'shcedule'", "did you mean `mmd schedule`?"),
        (("quux",), "there is no command 'quux'", "`mmd --help` lists the commands"),
        (("status", "--foo"), "No such option '--foo'.", "`mmd status --help` shows how it is used"),
        (("schedule", "ad"), "No such command 'ad'.", "`mmd schedule --help` shows how it is used"),
    ],
)
def test_a_wrong_word_gets_a_sentence_and_a_hint(
    words: tuple[str, ...], sentence: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = _typed(*words, capsys=capsys)
    assert (code, out) == (2, "")
    first, second = err.splitlines()
    assert first.startswith(f"error: {sentence}")
    assert second.startswith(f"hint: {hint}")
