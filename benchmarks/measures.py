"""What is measured. Each measure returns rows of the table, and raises if the work itself was not done."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from benchmarks.databases import Size, fill, source_name
from benchmarks.site import MMD, Site
from benchmarks.tenant import Request, SimulatedTenant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

LATENCY: Final = 0.3
ROUNDS: Final = 15
_OPENINGS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table. `bound` is what the ratio may be at most; None where nothing was promised."""

    what: str
    value: str
    beside: str
    ratio: float
    bound: float | None = None
    unit: str = " x"

    @property
    def is_kept(self) -> bool:
        """Whether it is as good as promised."""
        return self.bound is None or self.ratio <= self.bound


# A curve: its name, what the x axis counts, and by series the points (x, seconds).
@dataclass(frozen=True, slots=True)
class Curve:
    """How something grows: by series the points (x, seconds or MiB)."""

    name: str
    title: str
    across: str
    unit: str
    series: Mapping[str, Sequence[tuple[float, float]]]


def utcnow() -> datetime:
    """Return the time."""
    return datetime.now(tz=UTC)  # noqa: TID251 - a measurement is of the real clock


def in_turn(
    commands: Mapping[str, Sequence[str]], rounds: int, environment: Mapping[str, str] | None = None
) -> dict[str, float]:
    """Run commands one after the other, round by round, and return the median seconds of each."""
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            started = time.perf_counter()
            done = subprocess.run(command, check=False, capture_output=True, env=environment)
            if done.returncode and done.stderr:  # `mmd was` answers by its exit code
                raise RuntimeError(f"{name}: {done.stderr.decode()[-500:]}")
            if number:  # the first round only warms the file cache
                taken[name].append(time.perf_counter() - started)
    return {name: statistics.median(times) for name, times in taken.items()}


# --- Start-up -------------------------------------------------------------------------------------------


def start_up(folder: Path) -> list[Row]:
    """Compare the commands that must answer at once with the bare interpreter."""
    site = Site(folder / "start")
    fill(site.database, Size(past=1_000, entries=1_000), utcnow())
    took = in_turn(
        {
            "pass": [sys.executable, "-c", "pass"],
            "help": [*MMD, "--help"],
            "sqlalchemy": [sys.executable, "-c", "import sqlalchemy"],
            "status": site.command("status"),
        },
        ROUNDS,
        site.environment,
    )
    return [
        _row("`mmd --help`", took["help"], "`python -c pass`", took["pass"], 8.0),
        _row(
            "`mmd status`, 60 sources planned",
            took["status"],
            '`python -c "import sqlalchemy"`',
            took["sqlalchemy"],
            1.8,
        ),
    ]


def _row(what: str, value: float, beside: str, other: float, bound: float | None) -> Row:
    return Row(
        what=what,
        value=seconds(value),
        beside=f"{beside}: {seconds(other)}",
        ratio=value / other,
        bound=bound,
    )


def seconds(value: float) -> str:
    """Return a duration as people read it."""
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


# --- A window -------------------------------------------------------------------------------------------


_RIVALS: Final = {"forum": "the forum's calls", "sdk": "the same calls on the official SDK"}


@dataclass(frozen=True, slots=True)
class Side:
    """How one direction went: when it was done after the boundary, and the floor of its own requests."""

    took: float
    floor: float
    requests: int


def window(
    folder: Path, *, sources: int = 60, both: bool = False, rate: int = 80, what: str = "forum"
) -> list[Row]:
    """Open a window over many sources while a rival does the same to a tenant of its own; close it again."""
    label = f"{sources} sources{', two schedules each' if both else ''}, {rate}/10s"
    lasts = 30 + 10 * (sources * 8 // rate)
    peers = [SimulatedTenant(sources * 2, LATENCY, both_schedules=both) for _ in range(2)]
    with peers[0] as tenant, peers[1] as theirs:
        rival = _rival(what, theirs, theirs.usable[:sources])
        site = Site(folder / f"window{sources}{both}", tenant, tenant={"rate": f"{rate}/10s"})
        site.run("schedule", "list")
        opens = _whole(utcnow() + timedelta(seconds=15))
        closes = opens + timedelta(seconds=lasts)
        chosen = tenant.usable[:sources]
        words = ("--start", _said(opens), "--end", _said(closes), "--reason", "benchmark", "--yes")
        site.run("schedule", "add", *chosen, *words)
        with site.daemon() as daemon:
            daemon.wait_for("source.restore", sources, within=lasts * 3 + 60)
        forum = _seconds_of(rival)
    mine = [one for one in tenant.log if not one.is_token]
    enter = _side(mine, chosen, _monotonic(opens), _is_quiet, rate)
    restore = _side(mine, chosen, _monotonic(closes), _is_restored, rate)
    refused = sum(one.status == 429 for one in tenant.log)  # noqa: PLR2004 - HTTP's number
    return [
        _row(
            f"{label}: quiet after",
            enter.took,
            f"the floor of its {enter.requests} requests",
            enter.floor,
            1.1,
        ),
        _row(f"{label}: quiet after", enter.took, _RIVALS[what], forum, None if both else 0.3),
        _row(
            f"{label}: restored after",
            restore.took,
            f"the floor of its {restore.requests} requests",
            restore.floor,
            1.15,
        ),
        Row(what=f"{label}: 429s", value=str(refused), beside="", ratio=refused, bound=0, unit=""),
    ]


def _side(log: Sequence[Request], chosen: Sequence[str], boundary: float, done: object, rate: int) -> Side:
    """Find when the last source was done, and how many requests that took at the least."""
    ids = set(chosen)
    after = [one for one in log if one.at >= boundary - 1]
    last: dict[str, float] = {}
    for one in after:
        source_id = _source_of(one)
        if source_id in ids and source_id not in last and done(one):  # type: ignore[operator]
            last[source_id] = one.at
    if last.keys() != ids:
        raise RuntimeError(f"{len(ids - last.keys())} sources were not done")
    # Of each source what came up to that request, and one page for all of them.
    needed = 1 + sum(_source_of(one) in ids and one.at <= last[_source_of(one)] for one in after)
    floor = (needed - 1) // rate * 10.0 + LATENCY
    return Side(max(last.values()) + LATENCY - boundary, floor, needed)


def _source_of(one: Request) -> str:
    parts = one.path.split("/")
    return parts[3] if len(parts) > 3 and parts[2] == "sources" else ""  # noqa: PLR2004 - /v2026/sources/ID


def _is_quiet(one: Request) -> bool:
    return one.status == 200 and "add /connectorAttributes/maintenancemode" in one.writes  # noqa: PLR2004 - HTTP's


def _is_restored(one: Request) -> bool:
    return one.status == 200 and "remove /connectorAttributes/mmd_escrow" in one.writes  # noqa: PLR2004 - HTTP's


def _rival(what: str, tenant: SimulatedTenant, chosen: Sequence[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.rivals", what, tenant.base_url, tenant.client_id, *chosen]
    environment = {**os.environ, "RIVAL_SECRET": tenant.client_secret}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def _seconds_of(rival: subprocess.Popen[str]) -> float:
    told, _ = rival.communicate()
    if rival.returncode:
        raise RuntimeError("a rival failed")
    return float(told)


def _monotonic(at: datetime) -> float:
    return time.monotonic() + (at - utcnow()).total_seconds()


def _whole(at: datetime) -> datetime:
    return at.replace(microsecond=0)


def _said(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


# --- The sweep ------------------------------------------------------------------------------------------


def sweeps(folder: Path) -> tuple[list[Row], list[Curve]]:
    """Sweep tenants of several sizes."""
    rows: list[Row] = []
    swept: list[tuple[float, float]] = []
    looped: list[tuple[float, float]] = []
    for sources, rounds in ((100, 1), (1_000, 2), (10_000, 3)):
        mine, loop, peak = _sweep(folder, sources, rounds)
        swept.append((sources, mine))
        looped.append((sources, loop))
    rows = [
        _row("sweep of 10,000 sources", mine, "the audit script's loop", loop, 1.3),
        Row(
            what="daemon at its peak, 10,000 sources",
            value=f"{peak:.0f} MiB",
            beside="",
            ratio=peak,
            bound=150,
            unit=" MiB",
        ),
    ]
    series = {"mmd's sweep": swept, "the audit script": looped}
    return rows, [Curve("sweep", "A sweep, by sources in the tenant", "sources", "s", series)]


def _sweep(folder: Path, sources: int, rounds: int) -> tuple[float, float, float]:
    """Sweep, and run the audit script in between; return the median seconds of both, and the peak in MiB."""
    with SimulatedTenant(sources, LATENCY) as tenant, SimulatedTenant(sources, LATENCY) as theirs:
        site = Site(folder / f"sweep{sources}", tenant, reconcile={"sweep": "30s"})
        loops = []
        with site.daemon() as daemon:
            for number in range(rounds):
                daemon.wait_for("sweep.done", number + 1, within=120)
                loops.append(_seconds_of(_rival("audit", theirs, ())))
            swept = [event["ms"] / 1000 for event in daemon.events("sweep.done")][:rounds]
            peak = daemon.memory("VmHWM")
    return statistics.median(swept), statistics.median(loops), peak


# --- Lateness -------------------------------------------------------------------------------------------


def lateness(folder: Path, *, openings: int = _OPENINGS, apart: float = 1.0) -> list[Row]:
    """Open many windows, one after the other, and see how late the first request about each source is."""
    with SimulatedTenant(openings * 5 // 4, 0.0, rate=(1_000, 1.0)) as tenant:
        site = Site(folder / "lateness", tenant, tenant={"rate": "100/1s"})
        chosen = tenant.usable[:openings]
        site.run("schedule", "list")
        opens = _plan(site, chosen, apart)
        last = max(opens.values())
        with site.daemon() as daemon:
            daemon.wait_for("source.enter", openings, within=(last - utcnow()).total_seconds() + 30)
            boundaries = {name: _monotonic(at) for name, at in opens.items()}
    late = sorted(_first(tenant.log, name, at) - at for name, at in boundaries.items())
    p99 = late[len(late) * 99 // 100 - 1]
    return [
        Row(
            what=f"lateness of {openings} openings: p99",
            value=f"{p99 * 1000:.0f} ms",
            beside=f"median {statistics.median(late) * 1000:.0f} ms",
            ratio=p99 * 1000,
            bound=250,
            unit=" ms",
        )
    ]


def _first(log: Sequence[Request], source_id: str, boundary: float) -> float:
    return next(one.at for one in log if _source_of(one) == source_id and one.at >= boundary - 0.5)


def _plan(site: Site, chosen: Sequence[str], apart: float) -> dict[str, datetime]:
    """Put the windows on file directly: two hundred commands take two minutes."""
    from mmd.store import Entry, Store, new_id  # noqa: PLC0415 - only here
    from mmd.windows import SourceRef, Window  # noqa: PLC0415 - only here

    now = utcnow()
    begin = _whole(now) + timedelta(seconds=20)
    found = {}
    with Store.open(site.database, create=True) as store:
        for number, source_id in enumerate(chosen):
            found[source_id] = begin + timedelta(seconds=int(number * apart))
            planned = Window(
                id=new_id(),
                sources=(SourceRef(source_id, source_id),),
                starts_local=found[source_id].replace(tzinfo=None),
                timezone="UTC",
                duration=timedelta(hours=1),
                reason="benchmark",
                created_by="benchmark",
                created_at=now,
                effective_from=now,
            )
            store.plans.add(
                planned, Entry(at=now, kind="window.added", actor="benchmark", window_id=planned.id)
            )
    return found


# --- Idle -----------------------------------------------------------------------------------------------


def idle(folder: Path, *, span: float = 60.0) -> list[Row]:
    """Leave the daemon alone, as it is installed, with windows planned and none open."""
    with SimulatedTenant(60, 0.0) as tenant:
        site = Site(folder / "idle", tenant)
        fill(site.database, Size(past=1_000, entries=10_000, sources=60), utcnow())
        with site.daemon() as daemon:
            daemon.wait_for("sweep.done")
            time.sleep(5)
            before = daemon.cpu_seconds()
            time.sleep(span)
            share = (daemon.cpu_seconds() - before) / span * 100
            memory = daemon.memory("VmRSS")
    return [
        Row(
            what="idle daemon: of one core",
            value=f"{share:.2f} %",
            beside="",
            ratio=share,
            bound=0.5,
            unit=" %",
        ),
        Row(
            what="idle daemon: memory",
            value=f"{memory:.0f} MiB",
            beside="",
            ratio=memory,
            bound=100,
            unit=" MiB",
        ),
    ]


# --- Years ----------------------------------------------------------------------------------------------

SIZES: Final = ((1_000, 1_000), (10_000, 100_000), (100_000, 1_000_000))
AHEAD: Final = (100, 1_000, 10_000, 100_000)


def years(folder: Path) -> tuple[list[Row], list[Curve]]:
    """Compare what reads the database at three sizes of the past, and a pass at four of the future."""
    now = utcnow()
    sites = {}
    for past, entries in SIZES:
        sites[past] = Site(folder / f"years{past}")
        fill(sites[past].database, Size(past=past, entries=entries), now)
    then = _said(now - timedelta(days=200))
    words = {
        "`mmd status`": ("status",),
        "`mmd schedule list`": ("schedule", "list"),
        "`mmd was`": ("was", source_name(77), "--at", then),
    }
    series: dict[str, Sequence[tuple[float, float]]] = {}
    for name, command in words.items():
        took = in_turn({str(past): site.command(*command) for past, site in sites.items()}, 7)
        series[name] = [(past, took[str(past)]) for past in sites]
    series["a pass"] = _passes({past: site.database for past, site in sites.items()})
    rows = [
        _row(
            f"{name}, 100,000 windows and 1,000,000 entries",
            points[-1][1],
            "at 1,000 of each",
            points[0][1],
            1.5,
        )
        for name, points in series.items()
    ]
    ahead = {}
    for count in AHEAD:
        site = Site(folder / f"ahead{count}")
        ahead[count] = fill(site.database, Size(past=1_000, entries=1_000, ahead=count), now)
    planned = _passes(ahead)
    rows.append(
        _row("a pass, 100,000 windows planned for next year", planned[-1][1], "at 100", planned[0][1], None)
    )
    curves = [
        Curve("years", "Windows that are over (ten times as many journal rows)", "windows", "s", series),
        Curve("ahead", "A pass, by windows planned for next year", "windows", "s", {"a pass": planned}),
    ]
    return rows, curves


def _passes(databases: Mapping[int, Path]) -> list[tuple[float, float]]:
    """Return the median seconds of a pass on each database, in turn."""
    taken: dict[int, list[float]] = {size: [] for size in databases}
    for _ in range(5):
        for size, path in databases.items():
            command = [sys.executable, "-m", "benchmarks.passes", str(path)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            taken[size].append(float(done.stdout))
    return [(size, statistics.median(times)) for size, times in taken.items()]
