"""`mmd report` against a simulated tenant, beside the forum's audit script."""

from __future__ import annotations

import csv
import io
import json
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from desk import SECRET_VARIABLE, Desk, tenant

from mmd.simulator import Rule, Simulator, faults

FORUM = ["SourceName", "SourceId", "ConnectorType", "MaintenanceMode", "ExportedAt"]


@dataclass(frozen=True)
class Office(Desk):
    """A desk beside a tenant."""

    simulator: Simulator

    def mark(self, name: str, value: object) -> None:
        """Set the marker by hand, as somebody with a browser would."""
        source = self.simulator.tenant.sources[self.simulator.tenant.id_of(name)]
        source["connectorAttributes"]["maintenancemode"] = value

    def csv(self, *words: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.done("report", *words).out)))


@pytest.fixture
def office(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Office]:
    with tenant(30) as simulator:
        monkeypatch.setenv(SECRET_VARIABLE, simulator.client_secret)
        office = Office(tmp_path, capsys, simulator)
        office.configure(simulator)
        yield office


def forum_audit(simulator: Simulator) -> list[dict[str, str]]:
    """The forum's PowerShell script, line by line in Python; a PSCustomObject is a dictionary of texts."""
    form = {"grant_type": "client_credentials", "client_id": simulator.client_id}
    body = urlencode({**form, "client_secret": simulator.client_secret})
    with closing(HTTPConnection(simulator.base_url.removeprefix("http://"))) as http:
        http.request("POST", "/oauth/token", body, {"Content-Type": "application/x-www-form-urlencoded"})
        bearer = {"Authorization": f"Bearer {json.loads(http.getresponse().read())['access_token']}"}
        every: list[dict[str, Any]] = []
        limit, offset, total = 250, 0, 0
        while True:
            http.request("GET", f"/v3/sources?limit={limit}&offset={offset}&count=true", headers=bearer)
            answer = http.getresponse()
            if offset == 0:
                total = int(answer.headers["X-Total-Count"])
            every += json.loads(answer.read())
            offset += limit
            if offset >= total:
                break
    return [
        {
            "SourceName": source["name"],
            "SourceId": source["id"],
            "ConnectorType": source["type"],
            "MaintenanceMode": "True",
        }
        for source in every
        if _equals_true(source["connectorAttributes"].get("maintenancemode"))
    ]


def _equals_true(mode: object) -> bool:
    """PowerShell's `$mMode -eq "true" -or $mMode -eq $true`: the right side becomes what the left side is."""
    match mode:
        case bool():
            return mode
        case str():
            return mode.lower() == "true"
        case int() | float():
            return mode == 1
    return False


def _sorted(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return sorted(rows, key=lambda row: row["SourceId"])


# --- CSV, beside the script -------------------------------------------------------------------------------


def test_the_audit_script_of_the_forum_and_our_csv_agree(office: Office) -> None:
    marks = {"Active Directory": True, "SAP ERP": "true", "Workday": "TRUE", "Slack": 1}
    others = {"ServiceNow": False, "Salesforce": "false", "Badge Readers": "yes", "RACF Mainframe": " true "}
    for name, value in {**marks, **others}.items():
        office.mark(name, value)
    ours = office.csv()
    assert list(ours[0])[:5] == FORUM
    assert {row["SourceName"] for row in ours} == set(marks)
    without_time = [{name: row[name] for name in FORUM[:4]} for row in ours]
    assert _sorted(without_time) == _sorted(forum_audit(office.simulator))


def test_a_tenant_without_maintenance_gives_a_heading_alone(office: Office) -> None:
    assert office.csv() == []
    assert office.done("report").out.startswith('"SourceName","SourceId",')


@pytest.mark.slow
def test_ours_says_why_where_the_script_cannot(office: Office) -> None:
    office.done("start", "SAP ERP", "--for", "2h", "--reason", "=patches", "--ticket", "CHG-7", "--yes")
    office.done("reconcile")
    (row,) = office.csv()
    assert (row["SourceName"], row["MaintenanceMode"], row["Ticket"]) == ("SAP ERP", "True", "CHG-7")
    assert row["Reason"] == "'=patches"
    assert row["Window"].startswith("w")
    assert row["Since"].endswith("Z")
    assert row["Until"] > row["Since"]
    assert forum_audit(office.simulator)[0]["SourceId"] == row["SourceId"]


def test_a_report_changes_nothing_on_the_tenant_and_makes_no_database(office: Office) -> None:
    office.done("report", "--format", "html")
    assert office.simulator.mutations == []
    assert not office.database.exists()


# --- The other forms --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_json_tells_of_the_window_its_source_and_what_did_not_run(office: Office) -> None:
    office.done("start", "SAP ERP", "--for", "2h", "--reason", "patches", "--yes")
    office.done("reconcile")
    document = json.loads(office.done("report", "--format", "json").out)
    (window,), (source,), (stay,) = (document[name] for name in ("windows", "sources", "occurrences"))
    assert (window["reason"], window["state"], source["in_maintenance"]) == ("patches", "active", True)
    assert source["windows"] == [window["id"]]
    assert stay["entered_at"] is not None
    assert document["complete"] is True
    assert document["tenant_timezone"] == {"name": "UTC", "assumed": False}
    assert [change["kind"] for change in document["changes"]] == ["added"]
    assert document["totals"]["occurrences"] == 1


def test_the_zone_is_assumed_where_the_token_may_not_ask(office: Office) -> None:
    office.simulator.faults.append(Rule(faults.fail(403), path="/org-config"))
    document = json.loads(office.done("report", "--format", "json").out)
    assert document["tenant_timezone"] == {"name": "UTC", "assumed": True}


def test_a_page_is_written_to_a_file_for_its_owner_alone(office: Office) -> None:
    target = office.folder / "report.html"
    office.done("report", "--format", "html", "--output", str(target))
    assert target.read_text().startswith("<!DOCTYPE html>")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [path.name for path in office.folder.iterdir() if "report" in path.name] == ["report.html"]


# --- The period -------------------------------------------------------------------------------------------


def test_the_period_is_as_asked_for_in_the_configured_zone(office: Office) -> None:
    words = ("--since", "2026-01-01 00:00", "--until", "2026-01-02T00:00Z")
    document = json.loads(office.done("report", "--format", "json", *words).out)
    assert document["period"] == {"since": "2025-12-31T23:00:00Z", "until": "2026-01-02T00:00:00Z"}


def test_the_period_is_as_long_as_that_of_the_reports_that_come_by_themselves(office: Office) -> None:
    office.configure(office.simulator, "[reports]", 'every = "6h"')
    period = json.loads(office.done("report", "--format", "json").out)["period"]
    ends = [datetime.fromisoformat(period[name]) for name in ("since", "until")]
    assert ends[1] - ends[0] == timedelta(hours=6)


def test_csv_is_about_now_whatever_the_period(office: Office) -> None:
    office.done("start", "SAP ERP", "--for", "2h", "--reason", "patches", "--yes")
    office.done("reconcile")
    (row,) = office.csv("--since", "2026-01-01 00:00", "--until", "2026-01-02 00:00")
    assert row["Reason"] == "patches"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--until", "+1h"), "--until is still to come"),
        (("--since", "2026-01-02 00:00", "--until", "2026-01-01 00:00"), "not before --until"),
        (("--since", "2026-01-01 00:00", "--until", "2026-01-01 00:00"), "not before --until"),
        (("--since", "2100-01-01 00:00"), "--since is still to come"),
        (("--since", "yesterday"), "yesterday"),
        (("--since", "01/02/2026"), "01/02/2026"),
    ],
)
def test_a_period_that_makes_no_sense_is_refused(office: Office, words: tuple[str, ...], why: str) -> None:
    said = office.mmd("report", *words)
    assert said.code == 2
    assert why in said.error
    assert said.out == ""


def test_what_no_sweep_has_found_yet_is_found_by_the_report(office: Office) -> None:
    office.mark("Workday", True)
    office.simulator.forum_enable(office.simulator.tenant.id_of("SAP ERP"))
    document = json.loads(office.done("report", "--format", "json").out)
    assert {item["source_name"]: item["kind"] for item in document["findings"]} == {
        "Workday": "orphan",
        "SAP ERP": "foreign",
    }
    assert {row["SourceName"]: row["Finding"] for row in office.csv()} == {
        "Workday": "orphan",
        "SAP ERP": "foreign",
    }
    assert "Nothing was found wrong" not in office.done("report", "--format", "html").out


def test_what_was_released_while_the_tenant_was_listed_is_no_finding(office: Office) -> None:
    office.done("start", "SAP ERP", "--for", "1h", "--reason", "patches", "--yes")
    office.done("reconcile")
    attributes = office.simulator.tenant.sources[office.simulator.tenant.id_of("SAP ERP")][
        "connectorAttributes"
    ]
    marked = dict(attributes)
    office.done("restore", "SAP ERP", "--yes")
    office.simulator.tenant.sources[office.simulator.tenant.id_of("SAP ERP")]["connectorAttributes"] = marked
    assert json.loads(office.done("report", "--format", "json").out)["findings"] == []


# --- INCOMPLETE -------------------------------------------------------------------------------------------


def break_listing(office: Office) -> None:
    """Let the pages say that there are more sources than they show."""
    boast = faults.rewrite(lambda reply: replace(reply, headers={**reply.headers, "X-Total-Count": "500"}))
    office.simulator.faults.append(Rule(boast, "GET", "/sources$"))


@pytest.mark.slow
def test_a_tenant_that_cannot_be_read_whole_is_reported_from_the_database_and_exits_7(office: Office) -> None:
    office.done("start", "SAP ERP", "--for", "2h", "--reason", "patches", "--yes")
    office.done("reconcile")
    office.mark("Workday", True)
    break_listing(office)
    said = office.mmd("report")
    assert said.code == 7
    assert "INCOMPLETE" in said.error
    (row,) = csv.DictReader(io.StringIO(said.out))
    assert row["SourceName"] == "SAP ERP"
    document = json.loads(office.mmd("report", "--format", "json").out)
    assert document["complete"] is False
    assert "INCOMPLETE" in office.mmd("report", "--format", "html").out


def test_an_incomplete_report_leaves_the_complete_one_alone(office: Office) -> None:
    target = office.folder / "report.csv"
    office.done("report", "--output", str(target))
    before = target.read_bytes()
    break_listing(office)
    said = office.mmd("report", "--output", str(target))
    assert said.code == 7
    assert target.read_bytes() == before
    assert (office.folder / "report.csv.incomplete").exists()
    office.simulator.faults.clear()
    office.done("report", "--output", str(target))
    assert not (office.folder / "report.csv.incomplete").exists()


def test_an_incomplete_report_never_has_the_name_of_a_complete_one(office: Office) -> None:
    break_listing(office)
    assert office.mmd("report", "--output", str(office.folder / "report.csv")).code == 7
    assert not (office.folder / "report.csv").exists()
    assert (office.folder / "report.csv.incomplete").exists()


def test_a_source_that_came_without_its_attributes_makes_the_listing_incomplete(office: Office) -> None:
    del office.simulator.tenant.sources[office.simulator.tenant.id_of("Slack")]["connectorAttributes"]
    said = office.mmd("report")
    assert said.code == 7
    assert "1 of its sources came without connectorAttributes" in said.error


def test_without_credentials_there_is_still_what_the_database_knows(office: Office) -> None:
    office.configure(None)
    assert office.mmd("report").code == 7


def test_a_folder_that_is_not_there_is_said_in_a_sentence(office: Office) -> None:
    said = office.mmd("report", "--output", str(office.folder / "none" / "report.csv"))
    assert said.code == 1
    assert "cannot be written" in said.error
