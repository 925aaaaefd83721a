"""The real program beside a simulated tenant: commands and the daemon as processes, HTTP over a socket."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmd.simulator import Simulator, Switches, Tenant, make_tenant

PATIENCE = 20.0  # seconds that a test waits at most for what must happen within less


class Site:
    """One installation: a folder with configuration and database, and a tenant."""

    def __init__(self, folder: Path, sim: Simulator) -> None:
        self.folder = folder
        self.sim = sim
        self.tenant: Tenant = sim.tenant
        self.config = folder / "mmd.toml"
        self.database = folder / "mmd.db"
        self.configure()
        self.before = {key: self.tenant.comparable(key) for key in self.tenant.sources}

    def configure(self, **sections: Mapping[str, Any]) -> None:
        """Write the configuration: the tenant's part, and what a test wants different."""
        tenant = {"base_url": self.sim.base_url, "client_id": self.sim.client_id}
        wanted = {"tenant": tenant, "reconcile": {"interval": "1s", "sweep": "2s"}}
        for name, values in sections.items():
            wanted[name] = {**wanted.get(name, {}), **values}
        lines = []
        for name, values in wanted.items():
            lines.append(f"[{name}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        self.config.write_text("\n".join(lines) + "\n")

    @property
    def environment(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("MMD_")},
            "MMD_TENANT__CLIENT_SECRET": self.sim.client_secret,
        }

    def start_command(self) -> list[str]:
        return [sys.executable, "-m", "mmd", "--config", str(self.config)]

    def writes(self) -> int:
        return len(self.sim.mutations)

    def mmd(self, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [*self.start_command(), *arguments],
            check=False,
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )

    def data(self, *arguments: str) -> Any:  # noqa: ANN401 - whatever JSON says
        """Run a command that must succeed, and return its JSON."""
        done = self.mmd(*arguments, "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def start(self) -> subprocess.Popen[str]:
        """Start the daemon; its log goes to a file."""
        with (self.folder / "daemon.log").open("a") as log:
            return subprocess.Popen(
                [*self.start_command(), "run"],
                stdout=log,
                stderr=log,
                text=True,
                env=self.environment,
            )

    @contextmanager
    def daemon(self) -> Iterator[subprocess.Popen[str]]:
        """Run the daemon for as long as the block lasts; it must leave in peace."""
        process = self.start()
        try:
            self.wait_until(self.running, "the daemon has done a pass")
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=10)

    def running(self) -> bool:
        return self.database.exists() and bool(self.data("status")["daemon"].get("last_pass_at"))

    @property
    def log(self) -> str:
        return (self.folder / "daemon.log").read_text()

    def wait_until(self, happened: Callable[[], bool], what: str, *, within: float = PATIENCE) -> float:
        """Wait for something; return how many seconds it took."""
        begun = time.monotonic()
        while not happened():
            if time.monotonic() - begun > within:
                log = self.log if (self.folder / "daemon.log").exists() else ""
                raise AssertionError(f"not within {within} s: {what}\n{log[-4000:]}")
            time.sleep(0.02)
        return time.monotonic() - begun

    def in_maintenance(self, source_id: str) -> bool:
        attributes = self.tenant.sources[source_id]["connectorAttributes"]
        return attributes.get("maintenancemode") is True and not self.tenant.schedules[source_id]

    def restored(self, source_id: str) -> bool:
        return self.tenant.comparable(source_id) == self.before[source_id]


@contextmanager
def site(folder: Path, *, sources: int = 12, switches: Switches | None = None) -> Iterator[Site]:
    """Make an installation beside a fresh tenant."""
    with Simulator(make_tenant(sources=sources, seed=3), switches or Switches()) as sim:
        yield Site(folder, sim)
