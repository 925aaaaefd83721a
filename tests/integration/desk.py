"""What the tests of the command line share: a folder with a configuration, and `mmd` called in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mmd.cli import main
from mmd.simulator import Simulator, Switches, make_tenant
from mmd.store import Store

ROOT = Path(__file__).parents[2]
SECRET_VARIABLE = "MMD_TENANT__CLIENT_SECRET"


@dataclass(frozen=True)
class Said:
    """What a command printed, and the code it exited with."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.out)
        assert document.pop("schema_version") == 1
        return document

    @property
    def window(self) -> dict[str, Any]:
        (window,) = self.json["windows"]
        return dict(window)

    @property
    def error(self) -> str:
        """The one sentence of a refusal, whose form is the same everywhere."""
        lines = self.err.splitlines()
        at = next(number for number, line in enumerate(lines) if line.startswith("error: "))
        assert lines[at + 1].startswith("hint: ")
        assert "unexpected" not in lines[at]
        assert "Traceback" not in self.err
        return lines[at]


@dataclass(frozen=True)
class Desk:
    """Where somebody sits and types."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    @property
    def database(self) -> Path:
        return self.folder / "mmd.db"

    def mmd(self, *words: str) -> Said:
        """Call it in this process."""
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as exited:
            main(["--config", str(self.folder / "mmd.toml"), *words])
        captured = self.capsys.readouterr()
        assert isinstance(exited.value.code, int)
        return Said(exited.value.code, captured.out, captured.err)

    def done(self, *words: str) -> Said:
        """Call it, and it must go well."""
        said = self.mmd(*words)
        assert said.code == 0, said.err
        return said

    def process(self, *words: str, python: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Call it as a process of its own."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, *python, "-m", "mmd", *words]
        return subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def open(self) -> Store:
        return Store.open(self.database)

    def configure(self, simulator: Simulator | None, *lines: str) -> None:
        tenant = [] if simulator is None else [f'base_url = "{simulator.base_url}"']
        client = [] if simulator is None else [f'client_id = "{simulator.client_id}"']
        text = "\n".join(["[tenant]", *tenant, *client, "[windows]", 'timezone = "Europe/Berlin"', *lines])
        (self.folder / "mmd.toml").write_text(text + "\n")


@contextmanager
def tenant(sources: int = 12, prepare: Callable[[Simulator], None] | None = None) -> Iterator[Simulator]:
    switches = Switches(rate=None, health_seconds=0)
    with Simulator(make_tenant(sources), switches) as simulator:
        if prepare is not None:
            prepare(simulator)
        yield simulator
