"""What the demo plays on: a simulated tenant, a daemon in its own process, and what is shown of them."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from threading import Event
from typing import Any, Final
from urllib.parse import urlencode

from mmd.cli.screen import Cell, Screen, cell
from mmd.errors import MmdError
from mmd.isc import door
from mmd.posture import HEALTH_FLAG, PROVISIONING_FLAG, Posture, alike, classify
from mmd.simulator import Simulator
from mmd.store import Store

PATIENCE: Final = 15.0  # seconds after which what should have happened has not
_FRAME: Final = 0.1  # seconds between pictures
_BAR: Final = 24  # columns
_CONFIG: Final = """[tenant]
base_url = "{base_url}"
client_id = "{client_id}"
client_secret_file = "client_secret"

[reconcile]
interval = "1s"
sweep = "2s"

[log]
format = "json"
"""
_HEADINGS: Final = (
    ("SOURCE", 22),
    ("POSTURE", 13),
    ("FEATURES", 10),
    ("PROVISIONING", 14),
    ("HEALTH CHECK", 14),
    ("SCHEDULES", 14),
)
_STYLES: Final = {Posture.NORMAL: "green", Posture.MAINTENANCE: "yellow", Posture.MIXED: "magenta"}


@dataclass(slots=True)
class Stage:
    """All that the scenes share. `window` is when the window opens and closes, as the command line said.

    `interrupted` is set where somebody wants the end of it; only between two steps it is asked for.
    """

    screen: Screen
    simulator: Simulator
    home: Path
    window: tuple[datetime, datetime] | None = None
    process: subprocess.Popen[bytes] | None = None
    interrupted: Event = field(default_factory=Event)
    began: float = field(default_factory=time.monotonic)
    _postures: dict[str, Posture] = field(default_factory=dict)

    def __post_init__(self) -> None:
        secret = self.home / "client_secret"
        secret.touch(mode=0o600)
        secret.write_text(self.simulator.client_secret)
        text = _CONFIG.format(base_url=self.simulator.base_url, client_id=self.simulator.client_id)
        (self.home / "mmd.toml").write_text(text)

    @property
    def log(self) -> Path:
        """What the daemon writes."""
        return self.home / "mmd.log"

    @property
    def environment(self) -> dict[str, str]:
        """The caller's, without anything that could lead mmd to the caller's own tenant."""
        strange = ("MMD_", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(strange)}
        return kept | {"MMD_CONFIG": str(self.home / "mmd.toml")}

    def store(self) -> Store:
        """Open the daemon's database, as every command does."""
        return Store.open(self.home / "mmd.db")

    # --- The command line and the daemon -------------------------------------------------------------------

    def mmd(self, *arguments: str, exits: int = 0, shows: bool = False) -> str:
        """Run the real command line and show what it tells people; return its data, shown too if wanted.

        Raises:
            MmdError: it does not exit with the code it should.
        """
        self.say(f"$ mmd {shlex.join(arguments)}")
        try:
            done = subprocess.run(  # noqa: S603 - ourselves
                [sys.executable, "-m", "mmd", *arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise MmdError(f"`mmd {arguments[0]}` did not end within {PATIENCE:.0f} s") from None
        self._heed()
        for line in (done.stdout * shows + done.stderr).splitlines():
            self.screen.line(f"         {line}", "dim")
        if done.returncode != exits:
            raise MmdError(f"`mmd {arguments[0]}` ended with exit code {done.returncode}")
        return done.stdout

    def start(self) -> int:
        """Start the daemon and wait for its first pass; return its process id."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mmd", "run"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the demo, which then ends the daemon
            )
        pid = self.process.pid
        self.wait(lambda: self._has_passed(pid), "the daemon's first pass")
        return pid

    def _has_passed(self, pid: int) -> bool:
        with self.store() as store:
            row = store.service.daemon()
        return row is not None and row.pid == pid and row.pass_at is not None

    def stop(self, number: signal.Signals) -> None:
        """End the daemon with a signal, if it runs, and wait until it is gone.

        Raises:
            MmdError: it does not go.
        """
        if self.process is None:
            return
        self.process.send_signal(number)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise MmdError(f"the daemon did not leave within {PATIENCE:.0f} s") from None
        self.process = None

    # --- What is shown -------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Write a line of the story, with the seconds since its beginning."""
        self.screen.line(f"{time.monotonic() - self.began:5.1f} s  {text}")

    def wait(self, done: Callable[[], bool], what: str, *, seconds: float = PATIENCE) -> None:
        """Show the tenant until something is done.

        Raises:
            MmdError: it is not done in time, or the daemon has died.
        """
        deadline = time.monotonic() + seconds
        while not done():
            self._heed()
            if self.process is not None and self.process.poll() is not None:
                raise MmdError(f"the daemon died, with exit code {self.process.returncode}")
            if time.monotonic() > deadline:
                raise MmdError(f"{what} did not come about within {seconds:.0f} s")
            self.look()
            time.sleep(_FRAME)
        self.look()

    def _heed(self) -> None:
        """End the story where somebody asked for it."""
        if self.interrupted.is_set():
            raise KeyboardInterrupt

    def pause(self, seconds: float) -> None:
        """Give the reader time to see it."""
        until = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() >= until, "a pause", seconds=seconds + 1)

    def look(self) -> None:
        """Show the tenant as it is now; off a terminal, say what has changed."""
        self.screen.picture([*self.table(), self._clock()])
        for source_id, source in list(self.simulator.tenant.sources.items()):
            seen = self.posture(source_id)
            was = self._postures.get(source_id, seen)
            self._postures[source_id] = seen
            if seen is not was and not self.screen.moving:
                self.say(f"{source['name']}: {was} -> {seen}")

    def table(self) -> list[list[Cell]]:
        """The tenant's sources, as their administrator would see them."""
        names = {source_id: source["name"] for source_id, source in self.simulator.tenant.sources.items()}
        headings = [cell(text, columns, "dim") for text, columns in _HEADINGS]
        return [headings, *(self._row(one) for one in sorted(names, key=lambda one: names[one].lower()))]

    def posture(self, source_id: str) -> Posture:
        """What one look at the source says, without knowing what mmd holds."""
        shown = self.simulator.tenant.snapshot(source_id)["source"]
        seen = door.observe({"features": [], **shown})  # a source without the key has none
        return classify(seen, None, escrow="", restored=False)

    def _row(self, source_id: str) -> list[Cell]:
        found, seen = self.simulator.tenant.snapshot(source_id), self.posture(source_id)
        attributes = found["source"]["connectorAttributes"]
        flag = attributes.get(PROVISIONING_FLAG, "absent")
        texts = (
            (found["source"]["name"], ""),
            (seen.value, _STYLES.get(seen, "")),
            (str(len(found["source"].get("features", []))), ""),
            (flag if isinstance(flag, str) else json.dumps(flag), ""),
            ("off" if alike(attributes.get(HEALTH_FLAG), True) else "on", ""),
            (", ".join(kind.partition("_")[0].lower() for kind in sorted(found["schedules"])) or "none", ""),
        )
        return [
            cell(text, columns, style) for (text, style), (_, columns) in zip(texts, _HEADINGS, strict=True)
        ]

    def _clock(self) -> list[Cell]:
        if self.window is None:
            return [("no window is planned", "dim")]
        opens_at, closes_at = self.window
        left, whole = (closes_at - utcnow()).total_seconds(), (closes_at - opens_at).total_seconds()
        if left <= 0:
            return [("the window is over", "dim")]
        done = round(_BAR * (1 - min(1, left / whole)))
        return [("━" * done, "yellow"), ("─" * (_BAR - done), "dim"), (f" open for {left:.0f} s more", "")]


def utcnow() -> datetime:
    """Return the wall clock's instant in UTC."""
    return datetime.now(tz=UTC)  # noqa: TID251 - this is the shell's clock


def audit(simulator: Simulator) -> list[str]:
    """Run the forum's audit script: page through /v3/sources, and name those whose marker is true or "true".

    It signs in as somebody else, so that its requests are not counted as mmd's.
    """
    simulator.clients.secrets["auditor"] = simulator.client_secret
    form = {"grant_type": "client_credentials", "client_id": "auditor"}
    body = urlencode({**form, "client_secret": simulator.client_secret})
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    found, offset = [], 0
    with contextlib.closing(HTTPConnection(simulator.base_url[len("http://") :], timeout=PATIENCE)) as http:
        token = _fetched(http, "POST", "/oauth/token", kind, body)["access_token"]
        bearer = {"Authorization": f"Bearer {token}"}
        while page := _fetched(http, "GET", f"/v3/sources?limit=5&offset={offset}", bearer):
            offset += len(page)
            marks = {one["name"]: one["connectorAttributes"].get("maintenancemode") for one in page}
            found += [name for name, mark in marks.items() if mark in {"true", True}]
    return found


def _fetched(http: HTTPConnection, method: str, path: str, headers: dict[str, str], body: str = "") -> Any:  # noqa: ANN401 - any JSON
    http.request(method, path, body, headers)
    answer = http.getresponse()
    if answer.status != HTTPStatus.OK:
        raise MmdError(f"the tenant answered {answer.status} to the audit script")
    return json.loads(answer.read())
