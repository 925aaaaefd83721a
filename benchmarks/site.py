"""mmd as its users have it: a folder with a configuration and a database, commands, and the daemon."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.tenant import SimulatedTenant

# What the installed program does; the one that is installed may be another.
MMD: Final = [sys.executable, "-c", "from mmd.cli import main; main()"]
_PATIENCE: Final = 60.0


class Site:
    """One installation beside a simulated tenant, or beside none."""

    def __init__(
        self, folder: Path, tenant: SimulatedTenant | None = None, /, **sections: Mapping[str, str]
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.config = folder, folder / "mmd.toml"
        self.database = folder / "mmd.db"
        peer = {
            "base_url": tenant.base_url if tenant else "http://127.0.0.1:1",
            "client_id": tenant.client_id if tenant else "nobody",
        }
        texts = {"database": {"url": "sqlite:///mmd.db"}, "log": {"format": "json"}, **sections}
        texts["tenant"] = {**peer, **sections.get("tenant", {})}
        lines = []
        for name, values in texts.items():
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
        self.config.write_text("\n".join(lines) + "\n")
        secret = tenant.client_secret if tenant else "none"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MMD_")}
        self.environment = {**kept, "MMD_TENANT__CLIENT_SECRET": secret}

    def command(self, *words: str) -> list[str]:
        """Return a command line of mmd."""
        return [*MMD, "--config", str(self.config), *words]

    def run(self, *words: str) -> Any:  # noqa: ANN401 - whatever JSON says
        """Run a command that must succeed, and return its JSON."""
        done = subprocess.run(
            [*self.command(*words), "-o", "json"],
            check=False,
            capture_output=True,
            text=True,
            env=self.environment,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr}")
        return json.loads(done.stdout)

    @contextmanager
    def daemon(self) -> Iterator[Daemon]:
        """Run the daemon for as long as the block lasts."""
        path = self.folder / "daemon.log"
        with path.open("w") as log:
            process = subprocess.Popen(self.command("run"), stdout=log, stderr=log, env=self.environment)
        daemon = Daemon(process.pid, path)
        try:
            daemon.wait_for("pass.done")
            yield daemon
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=15)


class Daemon:
    """A running daemon: its log, and what the kernel counts of it."""

    def __init__(self, pid: int, log: Path) -> None:
        self._proc = Path(f"/proc/{pid}")
        self._log = log

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log's lines of one event."""
        lines = [line for line in self._log.read_text().splitlines() if f'"{name}"' in line]
        return [json.loads(line) for line in lines]

    def wait_for(self, name: str, times: int = 1, *, within: float = _PATIENCE) -> list[dict[str, Any]]:
        """Wait until the log has so many lines of an event, and return them."""
        until = time.monotonic() + within
        while len(found := self.events(name)) < times:
            if time.monotonic() > until:
                raise RuntimeError(f"no {times} x {name}:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.1)
        return found

    def cpu_seconds(self) -> float:
        """Return the processor time it has used, all threads."""
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self, which: str) -> float:
        """Return VmRSS or VmHWM, in MiB."""
        found = re.search(rf"{which}:\s+(\d+) kB", (self._proc / "status").read_text())
        if found is None:
            raise RuntimeError(f"no {which}")
        return int(found[1]) / 1024
