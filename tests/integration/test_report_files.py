"""Report files: whole or not there, for their owner alone, one per period, and gone after 400 days."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from desk import tenant

from mmd.errors import MmdError, Refused
from mmd.findings import Rules
from mmd.isc import Isc, Tenant
from mmd.publish import KEEP, RETRY, Publisher, Terms, forget, make_folder, publish_periodically, save
from mmd.simulator import Rule, Simulator, faults
from mmd.store import Entry, Store

RULES = Rules(grace=timedelta(minutes=2), key=b"key")
MORNING = datetime(2026, 11, 23, 6, tzinfo=UTC)
DAY = timedelta(days=1)


# --- One file ---------------------------------------------------------------------------------------------


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_report_is_for_its_owner_alone_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "reports"
    make_folder(folder)
    target = save(folder / "r.csv", "text", complete=True)
    assert (target.read_text(), mode(target), mode(folder)) == ("text", 0o600, 0o700)
    assert [path.name for path in folder.iterdir()] == ["r.csv"]


def test_a_planted_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    for name in ("r.csv", "r.csv.incomplete"):
        (tmp_path / name).symlink_to(precious)
    save(tmp_path / "r.csv", "text", complete=False)
    save(tmp_path / "r.csv", "text", complete=True)
    assert precious.read_text() == "mine"
    assert not (tmp_path / "r.csv").is_symlink()


def test_a_link_in_the_place_of_the_draft_stops_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attacker who knew the random name would gain nothing."""
    precious = tmp_path / "precious"
    precious.write_text("mine")
    monkeypatch.setattr("mmd.publish.secrets.token_hex", lambda _: "00000000")
    (tmp_path / ".r.csv.00000000.tmp").symlink_to(precious)
    with pytest.raises(MmdError, match="cannot be written"):
        save(tmp_path / "r.csv", "text", complete=True)
    assert precious.read_text() == "mine"


def test_a_full_disk_leaves_the_old_report_and_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "r.csv", "old", complete=True)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("mmd.publish.os.fsync", full)
    with pytest.raises(MmdError, match="No space left"):
        save(tmp_path / "r.csv", "new", complete=True)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("r.csv", "old")]


def test_a_folder_in_the_place_of_a_report_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.csv").mkdir()
    with pytest.raises(Refused):
        save(tmp_path / "r.csv", "text", complete=True)


def test_a_file_in_the_place_of_the_folder_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("")
    with pytest.raises(MmdError, match="cannot be made"):
        make_folder(tmp_path / "reports")


def test_old_reports_go_and_nothing_else_does(tmp_path: Path) -> None:
    today = date(2026, 11, 23)
    edge, old = today - KEEP, today - KEEP - DAY
    gone = {f"mmd-{old}.csv", f"mmd-{old}T0600Z-6h.html", f"mmd-{old}-7d.json", f"mmd-{old}.csv.incomplete"}
    kept = {
        f"mmd-{edge}.csv",
        f"mmd-{today}.html",
        "mmd-2020-99-99.csv",
        f"mmd-{old}.txt",
        f"x-mmd-{old}.csv",
    }
    for name in gone | kept:
        (tmp_path / name).write_text("")
    assert set(forget(tmp_path, today)) == gone
    assert {path.name for path in tmp_path.iterdir()} == kept


# --- By themselves ----------------------------------------------------------------------------------------


@dataclass
class Press:
    """A tenant, a database that has known something for two days, and a publisher."""

    simulator: Simulator
    store: Store
    folder: Path
    publisher: Publisher

    def run(self, now: datetime, **changes: Any) -> bool | None:  # noqa: ANN401 - the publisher's own
        """Whether a report was written, and a complete one."""

        async def once() -> bool | None:
            async with self.isc() as isc:
                report = await replace(self.publisher, isc=isc, **changes).run(now)
                return None if report is None else report.complete

        return asyncio.run(once())

    def isc(self) -> Isc:
        sim = self.simulator
        asked = Tenant(base_url=sim.base_url, api_version="v2026", client_id=sim.client_id, user_agent="test")
        return Isc(asked, lambda: sim.client_secret)

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir()) if self.folder.exists() else []

    def break_listing(self) -> None:
        self.simulator.faults.append(Rule(faults.fail(403), "GET", "/sources$"))


@pytest.fixture
def press(tmp_path: Path) -> Iterator[Press]:
    with tenant() as simulator, Store.open(tmp_path / "mmd.db", create=True) as store:
        store.journal.write(Entry(at=MORNING - 2 * DAY, kind="window.added", actor="ada"))
        press = Press(simulator, store, tmp_path / "reports", None)  # type: ignore[arg-type] # made below
        terms = Terms(tenant="acme", zone="UTC", rules=RULES)
        press.publisher = Publisher(
            store=store,
            isc=press.isc(),
            terms=terms,
            every=DAY,
            folder=press.folder,
            formats=("csv", "html"),
        )
        yield press


def test_the_day_that_is_over_is_reported_once_under_its_own_name(press: Press) -> None:
    assert press.run(MORNING) is True
    assert press.files == ["mmd-2026-11-22.csv", "mmd-2026-11-22.html"]
    assert mode(press.folder) == 0o700
    asked = len(press.simulator.log)
    assert press.run(MORNING + timedelta(hours=1)) is None
    assert len(press.simulator.log) == asked
    assert press.run(MORNING + DAY) is True
    assert len(press.files) == 4


def test_no_report_is_made_of_a_time_before_mmd_knew_anything(press: Press) -> None:
    assert press.run(MORNING - 2 * DAY) is None
    assert press.files == []
    assert len(press.simulator.log) == 0


def test_an_incomplete_report_has_a_name_of_its_own_until_the_complete_one_comes(press: Press) -> None:
    press.break_listing()
    assert press.run(MORNING) is False
    assert press.files == ["mmd-2026-11-22.csv.incomplete", "mmd-2026-11-22.html.incomplete"]
    press.simulator.faults.clear()
    assert press.run(MORNING) is True
    assert press.files == ["mmd-2026-11-22.csv", "mmd-2026-11-22.html"]


def test_a_complete_report_is_never_replaced_by_an_incomplete_one(press: Press) -> None:
    press.run(MORNING)
    before = (press.folder / "mmd-2026-11-22.csv").read_bytes()
    (press.folder / "mmd-2026-11-22.html").unlink()  # so that it is written again
    press.break_listing()
    assert press.run(MORNING) is False
    assert (press.folder / "mmd-2026-11-22.csv").read_bytes() == before
    assert press.files == ["mmd-2026-11-22.csv", "mmd-2026-11-22.html.incomplete"]


def test_old_reports_go_when_a_new_one_is_written(press: Press) -> None:
    press.folder.mkdir()
    (press.folder / "mmd-2020-01-01.csv").write_text("")
    press.run(MORNING)
    assert "mmd-2020-01-01.csv" not in press.files


class EnoughError(Exception):
    """The test has seen enough."""


@dataclass
class Watch:
    """A clock that sleeping moves, a log in memory, and an end."""

    until: datetime
    at: datetime = MORNING
    naps: list[float] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)

    def now(self) -> datetime:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.at += timedelta(seconds=seconds)
        if self.at > self.until:
            raise EnoughError

    def __getattr__(self, level: str) -> Any:  # noqa: ANN401 - stands in for a logger
        return lambda event, **_: self.told.append((level, event))


def watched(press: Press, watch: Watch, **changes: Any) -> None:  # noqa: ANN401 - the publisher's own
    async def serve() -> None:
        async with press.isc() as isc:
            publisher = replace(press.publisher, isc=isc, **changes)
            await publish_periodically(publisher, now=watch.now, log=watch, sleep=watch.sleep)

    with pytest.raises(EnoughError):
        asyncio.run(serve())


def test_a_report_comes_within_a_minute_of_the_end_of_its_period(press: Press) -> None:
    watch = Watch(until=MORNING + timedelta(hours=13))
    watched(press, watch, every=timedelta(hours=6))
    hours = ("00", "06", "12")
    assert press.files == [
        f"mmd-2026-11-23T{hour}00Z-6h.{form}" for hour in hours for form in ("csv", "html")
    ]
    assert max(watch.naps) <= 60


def test_a_report_that_fails_is_told_tried_again_and_stops_nothing(press: Press) -> None:
    press.folder.write_text("a file in its place")
    watch = Watch(until=MORNING + 3 * RETRY)
    watched(press, watch)
    assert watch.told == [("error", "report.failed")] * 4


def test_a_defect_in_a_report_does_not_end_the_reports(press: Press, monkeypatch: pytest.MonkeyPatch) -> None:
    def defect(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("mmd.publish.make", defect)
    watch = Watch(until=MORNING + RETRY)
    watched(press, watch)
    assert watch.told == [("error", "report.failed")] * 2


def test_an_incomplete_report_is_made_again_after_a_while(press: Press) -> None:
    press.break_listing()
    watch = Watch(until=MORNING + RETRY + timedelta(seconds=1))
    watched(press, watch)
    assert watch.told == [("warning", "report.incomplete")] * 2
