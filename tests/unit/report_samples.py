"""A period that has everything a report tells of, as values."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mmd.findings import Finding, Kind
from mmd.history import Applied, Planned, Timeline
from mmd.report import Change, Facts, Kept, Live, Schedule
from mmd.windows import SourceRef, Window

if TYPE_CHECKING:
    from typing import Any

SINCE = datetime(2026, 11, 22, tzinfo=UTC)
UNTIL = SINCE + timedelta(days=1)
GRACE = timedelta(minutes=2)


def at(hour: float) -> datetime:
    """An instant so many hours into the period."""
    return SINCE + timedelta(hours=hour)


def planned(opens: float, closes: float, window_id: str = "wpatch", **more: Any) -> Planned:  # noqa: ANN401
    values = {"reason": "patches", "ticket": "CHG-7", "owner": "ops", **more}
    return Planned(window_id=window_id, key="k", opens_at=at(opens), closes_at=at(closes), **values)


def applied(entered: float, restored: float | None, window_id: str = "wpatch") -> Applied:
    return Applied(
        snapshot_id=f"s{entered}",
        window_ids=(window_id,),
        taken_at=at(entered - 0.001),
        entered_at=at(entered),
        restored_at=None if restored is None else at(restored),
    )


def line(source_id: str, name: str, **parts: Any) -> Timeline:  # noqa: ANN401 - Timeline's own
    return Timeline(source_id=source_id, source_name=name, **parts)


def finding(source_id: str, name: str, kind: Kind, since: float) -> Finding:
    return Finding(
        source_id=source_id,
        source_name=name,
        connector="JDBC",
        kind=kind,
        since=at(since),
        detail="maintenancemode is set, and no window accounts for it",
        next_step=f"`mmd adopt {source_id} --for D --reason …` makes it a window",
    )


def window(window_id: str = "wpatch", **changes: Any) -> Window:  # noqa: ANN401 - Window's own
    made = Window(
        id=window_id,
        sources=(SourceRef("id1", "Active Directory"),),
        starts_local=datetime(2026, 11, 22, 2),  # noqa: DTZ001 - a wall clock's
        timezone="UTC",
        duration=timedelta(hours=4),
        reason="patches",
        ticket="CHG-7",
        owner="ops",
        created_by="ada@host",
        created_at=at(-48),
        effective_from=at(-48),
    )
    return replace(made, **changes)


def facts(**changes: Any) -> Facts:  # noqa: ANN401 - Facts' own
    made = Facts(
        tenant="acme",
        since=SINCE,
        until=UNTIL,
        now=UNTIL,
        zone="UTC",
        tenant_zone="UTC",
        grace=GRACE,
        live=(),
        watched=((SINCE, UNTIL),),
    )
    return replace(made, **changes)


def away(source_id: str, name: str, kind: str, cron: str, since: float, until: float) -> Schedule:
    return Schedule(
        source_id=source_id, source_name=name, kind=kind, cron=cron, since=at(since), until=at(until)
    )


def eventful() -> Facts:
    """A day with patches, a late entry, an overdue source, two zombies, and an hour without a sweep."""
    early, night = planned(2, 6), planned(20, 23, "wnight", reason="quarterly ERP release", ticket="CHG-9")
    sap, legacy = ("id2", "SAP ERP"), ("id4", "Legacy Mainframe")
    held = line(*legacy, planned=(night,), applied=(applied(20.01, None, "wnight"),))
    overdue, foreign = finding(*legacy, Kind.OVERDUE, 23), finding("id5", "HR feed", Kind.FOREIGN, 10.5)
    return facts(
        present=(held,),
        open_now=(overdue, foreign),
        live=(Live(*legacy, "RACF - Direct"), Live("id5", "HR feed", "Delimited File")),
        windows=(window(), window("wnight", starts_local=datetime(2026, 11, 22, 20))),  # noqa: DTZ001 - as above
        timelines=(
            line("id1", "Active Directory", planned=(early,), applied=(applied(2.001, 6.002),)),
            line(*sap, planned=(early, night), applied=(applied(2.5, 6.001), applied(20, 23.01, "wnight"))),
            line("id3", "Workday", planned=(early,), applied=(applied(2.001, 9.25),)),
            held,
            line("id6", "Salesforce", planned=(planned(12, 12.5, "wpatch"),)),
        ),
        schedules=(
            away(*sap, "ACCOUNT_AGGREGATION", "0 0/15 * * * ?", 2.5, 6.001),
            away("id1", "Active Directory", "GROUP_AGGREGATION", "0 0 3 ? * SUN", 2.001, 6.002),
            away("id3", "Workday", "ACCOUNT_AGGREGATION", "@daily", 2.001, 9.25),
        ),
        findings=(
            (finding("id3", "Workday", Kind.OVERDUE, 6), at(9.25)),
            (overdue, None),
            (foreign, None),
            (finding(*sap, Kind.PARTIAL, 3), at(3.2)),
        ),
        changes=(
            Change(
                at=at(1), kind="added", actor="ada@host", window_id="wnight", what="quarterly ERP release"
            ),
            Change(at=at(21), kind="extended", actor="ben@host", window_id="wnight", what="an hour more"),
        ),
        kept=(Kept(at=at(6.001), source_id="id2", source_name="SAP ERP", notes=("features: +UNLOCK",)),),
        watched=((SINCE, at(14)), (at(15.5), UNTIL)),
    )
