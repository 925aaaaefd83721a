"""What `mmd doctor` looks at. Each check is a value; nothing here changes anything, here or on the tenant."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import platform
import shutil
import socket
import sqlite3
import subprocess
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mmd import __version__, config
from mmd.errors import Denied, Missing, MmdError, Unknown, Unreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence

    from mmd.cli.app import App
    from mmd.isc import Isc
    from mmd.posture import Json
    from mmd.secret import Secret
    from mmd.store import DaemonRow

ADMIN_LEVELS: Final = frozenset({"ORG_ADMIN", "SOURCE_ADMIN", "SOURCE_SUBADMIN"})  # docs/isc.md §3, §4
EVERYTHING: Final = "sp:scopes:all"
MANAGE: Final = "idn:sources:manage"
SKEW_WARNING: Final = 5.0  # seconds; windows open by our clock, and ISC's schedules run by theirs
SKEW_FAILURE: Final = 60.0
EXPIRY_WARNING: Final = timedelta(days=30)
FREE_WARNING: Final = 100 * 1024 * 1024  # bytes
FREE_FAILURE: Final = 10 * 1024 * 1024
QUIET: Final = timedelta(minutes=2)  # a daemon that has finished no pass for so long is not well
# SQLite's write-ahead log needs memory that all its users share, which these do not give across machines.
_NETWORK: Final = frozenset({"afs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "nfs", "nfs4", "smb3"})


class Status(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """One check: a sentence about what was found, and what to do about it. `exit_code` is of a failed one."""

    name: str
    status: Status
    detail: str
    hint: str = ""
    exit_code: int = 0


def ok(name: str, detail: str) -> Check:
    """Nothing to do."""
    return Check(name, Status.OK, detail)


def warning(name: str, detail: str, hint: str = "") -> Check:
    """It works, and could be better."""
    return Check(name, Status.WARNING, detail, hint)


def skipped(name: str, detail: str, hint: str = "") -> Check:
    """It could not be seen."""
    return Check(name, Status.SKIPPED, detail, hint)


def failed(name: str, error: MmdError, *, exit_code: int | None = None) -> Check:
    """It does not work."""
    return Check(name, Status.FAILED, error.message, error.hint, exit_code or error.exit_code)


def exit_code(checks: Collection[Check]) -> int:
    """Return the process's exit code: what has to be mended first is what it names."""
    codes = {check.exit_code for check in checks if check.status is Status.FAILED}
    return next((code for code in (5, 6, 2, 1) if code in codes), 1 if codes else 0)


async def examine(app: App, clock: Callable[[], datetime]) -> AsyncIterator[Check]:
    """Yield the checks one by one, as they are made."""
    yield versions()
    try:
        loaded = app.config
    except MmdError as error:
        yield failed("configuration", error)
        yield skipped("all else", "needs a configuration")
        return
    yield configuration(loaded)
    for check in database(loaded):
        yield check
    credentials = _credentials(loaded)
    yield credentials
    if credentials.status is Status.OK:
        async with app.isc() as isc:
            async for check in tenant(isc, loaded, clock):
                yield check
    else:
        yield skipped("tenant", "needs credentials")
    yield alerts(loaded.alerts.urls)
    for check in service(app, clock()):
        yield check


def configuration(loaded: config.Config) -> Check:
    """The file, and whether others may read the channels' URLs in it, which carry passwords."""
    mode = loaded.path.stat().st_mode & 0o777
    in_file = loaded.alerts.heartbeat_url.reveal() and "MMD_ALERTS__HEARTBEAT_URL" not in os.environ
    if mode & 0o044 and (loaded.alerts.urls or in_file):
        said = f"others may read the URLs of [alerts] in {loaded.path} (mode {mode:04o})"
        return warning("configuration", said, f"they carry passwords: chmod 600 {loaded.path}")
    return ok("configuration", str(loaded.path))


def versions() -> Check:
    """Which mmd, Python and SQLite this is."""
    parts = (f"mmd {__version__}", f"Python {platform.python_version()}", f"SQLite {sqlite3.sqlite_version}")
    return ok("versions", ", ".join(parts))


# --- The database ------------------------------------------------------------------------------------------


def database(loaded: config.Config) -> Iterator[Check]:
    """The file, whether it is whole and this tenant's, and the disk it is on."""
    from mmd import store  # noqa: PLC0415 - SQLAlchemy takes a quarter of a second

    path = loaded.database.file
    if not path.exists():
        yield warning("database", f"there is none at {path}", "`mmd init`, or the first window, makes it")
    else:
        try:
            store.check_mode(path)
            revision = store.revision_of(path)
            with store.Store.open(path) as opened:
                if loaded.tenant.name or loaded.tenant.base_url:
                    opened.service.check_tenant(config.base_url(loaded))
        except MmdError as error:
            yield failed("database", error, exit_code=1)
        else:
            yield ok("database", f"{path} (mode {path.stat().st_mode & 0o777:04o}, schema {revision})")
            yield _integrity(store.check(path))
    with contextlib.suppress(OSError):  # its folder may be missing, which the check above has said
        yield disk(shutil.disk_usage(path.parent).free, _file_system(path))


def _integrity(problems: Sequence[str]) -> Check:
    if problems:
        return failed("integrity", MmdError(problems[0], hint="`mmd db check` says more"))
    return ok("integrity", "the database is whole")


def disk(free: int, file_system: str) -> Check:
    """Room for snapshots: without it nothing is entered."""
    said = f"{free // (1024 * 1024)} MiB free, {file_system or 'file system not known'}"
    if free < FREE_FAILURE:
        return failed("disk", MmdError(said, hint="without room for a snapshot nothing can be entered"))
    if file_system in _NETWORK:
        return warning("disk", said, "SQLite is not safe on a network file system: use a local disk")
    return warning("disk", said, "make room") if free < FREE_WARNING else ok("disk", said)


def _file_system(path: Path) -> str:
    """The type of the file system the path is on; proc(5), mountinfo. Empty where there is no such list."""
    found: dict[Path, str] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            place, _, about = line.partition(" - ")
            found[Path(place.split()[4].replace("\\040", " "))] = about.split()[0]
    return next((found[parent] for parent in path.resolve().parents if parent in found), "")


# --- The tenant --------------------------------------------------------------------------------------------


def _credentials(loaded: config.Config) -> Check:
    try:
        base_url, client_id = config.base_url(loaded), config.client_id(loaded)
        config.client_secret(loaded)
    except MmdError as error:
        return failed("credentials", error)
    if "MMD_TENANT__CLIENT_SECRET" in os.environ:
        place = "in the environment"
    elif Path(os.environ.get("CREDENTIALS_DIRECTORY", "/none"), "client_secret").exists():
        place = "a systemd credential"
    else:
        place = f"in {loaded.tenant.client_secret_file}, for its owner alone"
    return ok("credentials", f"client {client_id} for {base_url}; the secret is {place}")


async def tenant(isc: Isc, loaded: config.Config, clock: Callable[[], datetime]) -> AsyncIterator[Check]:
    """What can be seen of the tenant without changing anything."""
    reached = await _reached(isc, loaded.tenant.name)
    yield reached
    if reached.status is Status.FAILED:
        yield skipped("token", "the tenant was not reached")
        return
    signed_in = await _attempt("token", _token(isc))
    yield signed_in
    if signed_in.status is Status.FAILED:
        yield skipped("sources", "needs a token")
        return
    for check in await _sources(isc, loaded.tenant.api_version):
        yield check
    yield clocks(isc.server_time(clock()))
    tokens, check = await _own_token(isc, config.client_id(loaded), clock())
    yield check
    claims = claims_of(isc._token.bearer() or "")  # noqa: SLF001 - no other command looks into a token
    for check in rights(claims, tokens):
        yield check
    yield await _zone(isc)


async def _attempt(name: str, work: Awaitable[Check]) -> Check:
    try:
        return await work
    except MmdError as error:
        return failed(name, error)


async def _reached(isc: Isc, name: str) -> Check:
    try:
        found = str((await isc.oauth_info()).get("tenantName") or "")
    except (Unreachable, Unknown) as error:
        return failed("tenant", error)
    except MmdError as error:  # somebody answered, and the token will show whether it is ISC
        return warning("tenant", error.message, error.hint)
    if name and found and found.lower() != name:
        return warning("tenant", f"the tenant says that it is {found}", f"[tenant] name is {name}")
    return ok("tenant", f"{found or 'a tenant without a name'} answers")


async def _token(isc: Isc) -> Check:
    await isc.token()
    return ok("token", "ISC gave one")


async def _sources(isc: Isc, version: str) -> list[Check]:
    """All sources are listed, and the schedules of one are read."""
    try:
        ids = [seen.source_id async for page in isc.pages() for seen in page]
    except Missing as error:
        hint = f"does the tenant know API version {version}? see [tenant] api_version"
        return [failed("sources", Denied(error.message, hint=hint), exit_code=1)]
    except Denied as error:
        return [failed("sources", Denied(error.message, hint=_may_read(error)))]
    except MmdError as error:
        return [failed("sources", error)]
    if not ids:
        return [
            warning("sources", "ISC lists none", "is it the right tenant, and may the user see its sources?")
        ]
    return [
        ok("sources", f"{len(ids)} listed, by API version {version}"),
        await _attempt("schedules", _schedules(isc, ids[0])),
    ]


def _may_read(error: Denied) -> str:
    return error.hint or "mmd needs the scope idn:sources:read, and a user of level SOURCE_ADMIN or ORG_ADMIN"


async def _schedules(isc: Isc, source_id: str) -> Check:
    from mmd.isc import Priority  # noqa: PLC0415 - httpx takes a tenth of a second

    found = await isc.schedules(source_id, priority=Priority.VERIFY)
    return ok("schedules", f"read those of one source ({len(found)})")


async def _own_token(isc: Isc, client_id: str, now: datetime) -> tuple[list[dict[str, Json]], Check]:
    try:
        tokens = await isc.own_tokens()
    except MmdError as error:
        return [], _useful("token expiry", error, "sp:my-personal-access-tokens:read")
    own = [token for token in tokens if token.get("id") == client_id]
    return own, expiry(own, now)


async def _zone(isc: Isc) -> Check:
    try:
        found = await isc.org_config()
    except MmdError as error:
        return _useful("time zone", error, "idn:org-configs:read (and level ORG_ADMIN)")
    return ok("time zone", f"the tenant's schedules run by {found.get('timeZone') or 'an unknown zone'}")


def _useful(name: str, error: MmdError, scope: str) -> Check:
    """What mmd would like to know, and can do without."""
    if isinstance(error, Denied):
        return skipped(name, "the token may not ask for it", f"to see it, add the scope {scope}")
    return warning(name, error.message, error.hint)


def clocks(ahead: float | None) -> Check:
    """Whether this clock and ISC's agree; `ahead` is how many seconds ISC's is ahead of it, to about one."""
    if ahead is None:
        return skipped("clock", "ISC sent no date")
    said = f"ISC's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this one"
    hint = "windows open by this clock: have it kept by NTP (timedatectl)"
    if abs(ahead) > SKEW_FAILURE:
        return failed("clock", MmdError(said, hint=hint))
    if abs(ahead) > SKEW_WARNING:
        return warning("clock", said, hint)
    return ok("clock", "within a few seconds of ISC's")


def expiry(own: Sequence[Mapping[str, Json]], now: datetime) -> Check:
    """When the personal access token ends: in the middle of a window it would leave sources behind."""
    if not own:
        return skipped("token expiry", "the client id is not a personal access token of its own user")
    end, life = own[0].get("expirationDate"), own[0].get("accessTokenValiditySeconds")
    if not end:
        return ok(
            "token expiry", f"ISC names no end; each access token lives {life or 'an unknown number of'} s"
        )
    try:
        left = datetime.fromisoformat(str(end)) - now
    except (ValueError, TypeError):
        return skipped("token expiry", "ISC's date of it cannot be read")
    when = f"ends on {str(end)[:10]}, in {left.days} days" if left.days >= 0 else f"ended on {str(end)[:10]}"
    said = f"the personal access token {when}"
    if left < EXPIRY_WARNING:
        return warning(
            "token expiry", said, "make a new one in time; docs/operations.md says how to change over"
        )
    return ok("token expiry", said)


def claims_of(token: str) -> dict[str, Any]:
    """Return what a JSON Web Token says of itself, not verified; empty for any other token."""
    try:
        _, payload, _ = token.split(".")
        found = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def rights(claims: Mapping[str, Any], own: Sequence[Mapping[str, Json]]) -> Iterator[Check]:
    """What the token may do, as far as it tells."""
    scopes = _words(claims.get("scope")) | {scope for token in own for scope in _words(token.get("scope"))}
    levels = _words(claims.get("authorities")) & ADMIN_LEVELS
    yield _least(scopes, levels)
    if scopes & {MANAGE, EVERYTHING}:
        yield ok("write rights", "the token may change sources and schedules")
    elif any(scope.startswith("idn:") for scope in scopes):
        yield failed("write rights", Denied(f"the token lacks {MANAGE}", hint="make one that has this scope"))
    else:
        seen = f"seen when the first window opens, or where the token shows {MANAGE}"
        yield skipped("write rights", f"cannot be called without writing; {seen}")


def _least(scopes: Collection[str], levels: Collection[str]) -> Check:
    if EVERYTHING in scopes:
        hint = f"mmd needs {MANAGE}; idn:org-configs:read and sp:my-personal-access-tokens:read are useful"
        return warning("rights", f"the token may do everything ({EVERYTHING})", hint)
    if levels == {"SOURCE_SUBADMIN"}:
        return warning("rights", "ISC refuses a SOURCE_SUBADMIN the list of sources", "take a SOURCE_ADMIN")
    if "ORG_ADMIN" in levels:
        return warning("rights", "the user is of level ORG_ADMIN", "SOURCE_ADMIN is enough for windows")
    said = ", ".join(sorted({*scopes, *levels}))
    return ok("rights", said) if said else skipped("rights", "the token does not tell")


def _words(value: object) -> set[str]:
    """Scopes come as one text or as a list of them."""
    if isinstance(value, str):
        return set(value.split())
    return {str(item) for item in value} if isinstance(value, list) else set()


# --- Who is told, and who keeps watch -----------------------------------------------------------------------


def alerts(urls: Sequence[Secret]) -> Check:
    """Whether Apprise knows the services; nothing is sent, and no URL is shown: they carry passwords."""
    if not urls:
        return skipped("alerts", "nobody is told of anything", "name someone in [alerts] urls")
    from mmd.notify import Channel  # noqa: PLC0415 - a third of a second

    channels = [Channel(url, number) for number, url in enumerate(urls, start=1)]
    bad = [number for number, channel in enumerate(channels, start=1) if not channel.is_understood]
    if bad:
        said = f"Apprise does not understand number {', '.join(map(str, bad))} of [alerts] urls"
        return failed("alerts", MmdError(said, hint="Apprise's documentation has the form of each service"))
    kinds = ", ".join(sorted({channel.scheme for channel in channels}))
    return ok("alerts", f"{len(urls)} understood ({kinds}); none was sent; `mmd alerts test` sends")


def service(app: App, now: datetime) -> Iterator[Check]:
    """The daemon, and whether systemd would notice its end."""
    try:
        with app.store() as store:
            row = store.service.daemon()
    except MmdError:
        yield skipped("daemon", "needs the database")
        return
    gone = row is not None and _is_gone(row)
    yield daemon(row, now, gone=gone, interval=app.config.reconcile.interval)
    yield systemd(_unit(row))


def daemon(row: DaemonRow | None, now: datetime, *, gone: bool, interval: timedelta) -> Check:
    """Whether the daemon runs, and how it does."""
    hint = "`mmd run`, or `systemctl enable --now mmd`; without it no window opens or closes"
    if row is None:
        return warning("daemon", "has never run on this database", hint)
    last = row.pass_at or row.started_at
    if row.stopped_at is not None or gone:
        return warning("daemon", f"is not running; its last pass was at {last:%Y-%m-%d %H:%M:%SZ}", hint)
    if now - last > max(interval * 3, QUIET):
        said = f"has finished no pass since {last:%Y-%m-%d %H:%M:%SZ} (pid {row.pid} on {row.host})"
        return warning("daemon", said, "see its log")
    if row.version != __version__:
        return warning("daemon", f"runs mmd {row.version}, this is {__version__}", "restart it")
    if not row.pass_ok:
        return warning("daemon", f"its last pass went wrong: {row.pass_note}", "see its log")
    return ok("daemon", f"runs (pid {row.pid} on {row.host}): {row.pass_note}")


def _is_gone(row: DaemonRow) -> bool:
    """Whether the process that wrote the row is certainly no more."""
    if row.host != socket.gethostname():
        return False
    try:
        os.kill(row.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _unit(row: DaemonRow | None) -> str:
    """The systemd unit the daemon runs in, or the usual one."""
    if row is not None:
        with contextlib.suppress(OSError):
            name = Path(f"/proc/{row.pid}/cgroup").read_text().strip().rpartition("/")[2]
            if name.endswith(".service"):
                return name
    return "mmd.service"


def systemd(unit: str) -> Check:
    """Whether systemd starts the daemon again when it dies, or hangs (sd_notify(3), WatchdogSec)."""
    program = shutil.which("systemctl")
    if program is None or not Path("/run/systemd/system").is_dir():
        return skipped("systemd", "does not run this machine")
    command = [program, "show", unit, "--property=LoadState,Restart,WatchdogUSec"]
    try:
        shown = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout  # noqa: S603 - fixed words, and a unit's name
    except (OSError, subprocess.SubprocessError):
        return skipped("systemd", "does not answer")
    found = dict(line.partition("=")[::2] for line in shown.splitlines())
    if found.get("LoadState") != "loaded":
        return warning("systemd", f"knows no {unit}", "systemd/mmd.service: see docs/operations.md")
    if found.get("WatchdogUSec", "0") in {"0", "infinity"}:
        return warning("systemd", f"{unit} has no watchdog", "set WatchdogSec, as systemd/mmd.service does")
    return ok("systemd", f"{unit} has a watchdog ({found['WatchdogUSec']}), restart {found.get('Restart')}")
