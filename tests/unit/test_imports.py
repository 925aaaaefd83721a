"""What a command does not need is not imported: help and completion answer at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmd.cli import COMMANDS

HEAVY = {"alembic", "apprise", "apscheduler", "dateutil", "httpx", "sqlalchemy", "structlog"}
# Run in one interpreter, so that no command may import what another one needs.
CODE = """
import sys
from mmd.cli import main
for words in {lines!r}:
    try:
        main(words)
    except SystemExit as left:
        assert not left.code, words
print(*sys.modules, file=sys.stderr)
"""


def imported(*lines: list[str]) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(lines=lines)], capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


def test_the_first_page_of_help_imports_no_command() -> None:
    found = imported(["--help"], ["--version"])
    assert not {module for module, _ in COMMANDS.values()} & found
    assert not found & (HEAVY | {"asyncio", "json", "tomllib", "zoneinfo"})


def test_no_help_imports_a_library_for_work() -> None:
    found = imported(*([name, "--help"] for name in COMMANDS))
    assert {module for module, _ in COMMANDS.values()} <= found
    assert not found & HEAVY


def test_nothing_but_the_lock_needs_a_module_that_only_some_platforms_have() -> None:
    absent = ("fcntl", "grp", "pwd", "resource", "termios")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent}))\n"
        "import importlib; from mmd.cli import COMMANDS\n"
        "for name in {module for module, _ in COMMANDS.values()} | {'mmd.cli.workshop', 'mmd.daemon'}:\n"
        "    importlib.import_module(name)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_imports_no_library_for_work(shell: str) -> None:
    assert not imported(["completion", shell]) & (HEAVY | {"asyncio"})


@pytest.mark.parametrize("typed", ["mmd sta", "mmd schedule ", "mmd status --o", "mmd status W"])
def test_a_shell_that_asks_what_may_follow_is_answered_at_once(tmp_path: Path, typed: str) -> None:
    """Names of sources come from the database, if there is one."""
    words = {"_MMD_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        "from mmd.cli import main\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, **words},
    )
    assert "mmd.cli" in done.stderr.split()
    assert not set(done.stderr.split()) & HEAVY - {"sqlalchemy"}
