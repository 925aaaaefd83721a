"""Standard streams that are closed, full, or that nobody reads: real processes, called by a shell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from desk import ROOT, SECRET_VARIABLE, Desk

from mmd.simulator import Simulator, make_tenant


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv(SECRET_VARIABLE, "no-secret")
    found = Desk(tmp_path, capsys)
    found.configure(None)
    return found


def typed(desk: Desk, line: str) -> subprocess.CompletedProcess[str]:
    """Have bash run a line in which `mmd` is mmd."""
    script = f'mmd() {{ "{sys.executable}" -m mmd --config "{desk.folder}/mmd.toml" "$@"; }}\n{line}'
    return subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=desk.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    "line", ["mmd status >&-", "mmd status <&- >&-", "mmd completion bash >&-", "mmd --help >&-"]
)
def test_a_closed_stdout_is_one_where_nothing_goes(desk: Desk, line: str) -> None:
    said = typed(desk, line)
    assert (said.returncode, said.stdout) == (0, "")
    assert "error" not in said.stderr


def test_a_closed_stderr_is_no_reason_to_fail(desk: Desk) -> None:
    assert typed(desk, "mmd status 2>&-").returncode == 0
    assert typed(desk, "mmd status --foo 2>&-").returncode == 2
    said = typed(desk, "mmd run >&- 2>&-")
    assert (said.returncode, said.stdout, said.stderr) == (2, "", "")  # there is no tenant yet


def test_the_database_never_gets_the_number_of_a_closed_stream(desk: Desk) -> None:
    with Simulator(make_tenant(2)) as simulator:
        desk.configure(simulator)
        plan = f"mmd start {next(iter(simulator.tenant.sources))} --for 1h --reason r"
        said = typed(desk, f"{SECRET_VARIABLE}={simulator.client_secret} {plan} <&- >&- 2>&-")
    assert said.returncode == 0
    assert typed(desk, "mmd db check").returncode == 0


@pytest.mark.parametrize("words", ["completion bash", "--help", "status --foo"])
def test_a_reader_that_has_gone_away_is_no_failure(desk: Desk, words: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone:
        said = subprocess.run(
            [sys.executable, "-m", "mmd", *words.split()],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=desk.folder,
            stdout=gone,
            stderr=gone if "--foo" in words else subprocess.PIPE,
            check=False,
            timeout=60,
        )
    assert said.returncode == (2 if "--foo" in words else 0)
    assert not said.stderr


@pytest.mark.parametrize("words", ["completion bash", "--help", "schedule list -o json", "simulate"])
def test_a_full_stdout_is_a_failure_and_no_defect(desk: Desk, words: str) -> None:
    said = typed(desk, f"mmd {words} > /dev/full")
    assert said.returncode == 1
    first, second = said.stderr.splitlines()[-2:]
    assert first == "error: the output cannot be written: No space left on device"
    assert second.startswith("hint: ")


def test_a_window_that_is_on_file_is_told_where_it_cannot_be_printed(desk: Desk) -> None:
    with Simulator(make_tenant(2)) as simulator:
        desk.configure(simulator)
        plan = f"mmd start {next(iter(simulator.tenant.sources))} --for 1h --reason r"
        line = f"{SECRET_VARIABLE}={simulator.client_secret} {plan} > /dev/full"
        said, tried = typed(desk, line), typed(desk, line.replace(" >", " --dry-run >"))
    window_id = typed(desk, "mmd schedule list -o id").stdout.strip()
    told = f"window {window_id} is on file all the same"
    assert (said.returncode, said.stderr.splitlines()[-3]) == (1, told)
    assert (tried.returncode, "on file" in tried.stderr) == (1, False)


def test_a_full_stderr_changes_no_exit_code_of_a_failure(desk: Desk) -> None:
    assert typed(desk, "mmd status --foo 2> /dev/full").returncode == 2
