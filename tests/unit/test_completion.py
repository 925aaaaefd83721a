"""`mmd completion`: scripts that a shell takes, and words from the database as a person would type them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from click.shell_completion import BashComplete, CompletionItem

from mmd.cli import cli, main
from mmd.cli.app import App
from mmd.cli.completion import VARIABLE, complete_source, complete_window
from mmd.posture import Posture
from mmd.store import Entry, Store
from mmd.store.schema import observation
from mmd.windows import SourceRef, Window

NOW = datetime.now(tz=UTC)  # noqa: TID251 - the command reads the clock itself
AD, SAP, ODD = "2c91", "2c92", "2c93"


@pytest.fixture
def app(tmp_path: Path) -> App:
    """A configuration with a database that knows three sources and a window."""
    file = tmp_path / "mmd.toml"
    file.write_text("")
    with Store.open(tmp_path / "mmd.db", create=True) as store:
        _see(store, {AD: "Active Directory", ODD: "two\nlines"})
        planned = _window("w23456", [SourceRef(SAP, "SAP ERP")])
        store.plans.add(planned, Entry(at=NOW, kind="window.added", actor="me"))
        gone = replace(_window("w77777", planned.sources), starts_local=datetime(2020, 1, 1))  # noqa: DTZ001 - local
        store.plans.add(gone, Entry(at=NOW, kind="window.added", actor="me"))
    return App(str(file))


def _see(store: Store, names: dict[str, str]) -> None:
    """Put sources on file as the daemon does when it has read them."""
    common = {
        "connector": "",
        "posture": Posture.NORMAL.value,
        "reason": "",
        "observed_at": NOW,
        "failure": "",
    }
    rows = [{"source_id": source_id, "name": name, **common} for source_id, name in names.items()]
    with store.database.write() as connection:
        connection.execute(observation.insert(), rows)


def _window(window_id: str, sources: list[SourceRef] | tuple[SourceRef, ...]) -> Window:
    return Window(
        id=window_id,
        sources=tuple(sources),
        starts_local=NOW.replace(tzinfo=None, microsecond=0),
        fold=0,
        timezone="UTC",
        duration=timedelta(hours=1),
        repeat=None,
        until=None,
        reason="patches",
        ticket="",
        owner="",
        created_by="me",
        created_at=NOW,
        treatment="full",
        effective_from=NOW - timedelta(days=4000),
        cancelled_at=None,
        recorded=(),
    )


def _context(app: App | None) -> click.Context:
    return click.Context(click.Command("show"), obj=app)


def _sources(app: App | None, typed: str = "") -> list[str]:
    return [item.value for item in complete_source(_context(app), click.Argument(["source"]), typed)]


def _script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as left:
        main(["completion", shell])
    assert left.value.code == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    return shown.out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"{VARIABLE}={shell}_complete" in _script(shell, capsys)


def test_a_mistake_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["completion"])
    assert left.value.code == 2
    message, hint = capsys.readouterr().err.splitlines()
    assert message.endswith("Choose from: bash, zsh, fish")
    assert hint.startswith("hint: ")


def test_bash_takes_the_script_and_completes_with_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    program = tmp_path / "mmd"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -m mmd\n")
    program.chmod(0o700)
    asked = 'COMP_WORDS=(mmd sch); COMP_CWORD=1; _mmd_completion mmd; printf "%s\\n" "${COMPREPLY[@]}"'
    script = f"{_script('bash', capsys)}\nPATH={tmp_path}:$PATH\n{asked}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, timeout=20)
    assert (done.stdout, done.stderr) == ("schedule\n", "")


def test_another_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["completion", "tcsh"])
    assert left.value.code == 2
    assert "tcsh" in capsys.readouterr().err


def test_sources_are_offered_by_the_name_one_would_type(app: App) -> None:
    assert _sources(app) == ["Active Directory", "SAP ERP", ODD]
    assert _sources(app, "act") == ["Active Directory"]
    assert _sources(app, "nothing") == []


def test_sources_of_one_name_are_offered_by_id(app: App) -> None:
    with app.store() as store:
        _see(store, {"2c94": "Active Directory"})
    assert _sources(app) == [AD, "2c94", "SAP ERP", ODD]


def test_windows_are_offered_while_they_matter(app: App) -> None:
    offered = complete_window(_context(app), click.Argument(["id"]), "w")
    assert [(item.value, item.help) for item in offered] == [("w23456", "patches")]


def test_bash_gets_names_as_it_must_see_them_typed(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    awkward = "O'Neill & Sons (EU) $HOME*"
    with app.store() as store:
        _see(store, {"2c94": awkward})
    monkeypatch.setenv(VARIABLE, "bash_complete")
    (offered,) = _sources(app, "O'N")
    line = BashComplete(cli, {}, "mmd", VARIABLE).format_completion(CompletionItem(offered))
    # As click's script reads the line, and then as the shell reads what it put on the command line.
    script = """IFS=',' read type value <<< "$1"; eval "set -- $value"; printf '%s' "$1" """
    done = subprocess.run(
        ["bash", "-c", script, "bash", line], capture_output=True, text=True, check=True, timeout=20
    )
    assert done.stdout == awkward


@pytest.mark.parametrize("text", ["[tenant", "nonsense = 1"])
def test_a_broken_configuration_offers_nothing_and_says_nothing(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mmd.toml"
    file.write_text(text)
    assert _sources(App(str(file))) == []
    assert capsys.readouterr() == ("", "")


def test_a_damaged_database_offers_nothing_and_says_nothing(
    app: App, capsys: pytest.CaptureFixture[str]
) -> None:
    app.config.database.file.write_bytes(b"not a database, and long enough to be looked at" * 100)
    assert _sources(app) == []
    assert capsys.readouterr() == ("", "")


def test_a_missing_database_offers_nothing_and_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMD_CONFIG", str(tmp_path / "mmd.toml"))
    (tmp_path / "mmd.toml").write_text("")
    assert _sources(None) == []
    assert [path.name for path in tmp_path.iterdir()] == ["mmd.toml"]


def _parameters(group: click.Group) -> Iterator[tuple[str, click.Parameter]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from _parameters(command)
        elif command is not None:
            yield from ((name, parameter) for parameter in command.params)


def test_whatever_takes_a_source_or_a_window_is_offered_them(app: App) -> None:
    expected = {"SOURCE": "SAP ERP", "ID": "w23456"}
    asked = 0
    for name, parameter in _parameters(cli):
        metavar = (parameter.metavar or parameter.human_readable_name).strip("[].")
        if metavar in expected and not {"--ticket", "--client-id"}.intersection(parameter.opts):
            offered = [item.value for item in parameter.shell_complete(_context(app), "")]
            assert expected[metavar] in offered, (name, parameter.name)
            asked += 1
    assert asked > 15
