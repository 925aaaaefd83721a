"""The simulated tenant's sources and what belongs to them, over HTTP."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from simulated import ACCOUNT, GROUP, HandClock, simulated

from mmd.simulator import Switches, make_tenant
from mmd.simulator.health import DIAGNOSTICS

FIRST = {"op": "add", "path": "/description", "value": "first"}


def add(key: str, value: object) -> dict[str, Any]:
    return {"op": "add", "path": f"/connectorAttributes/{key}", "value": value}


def names(answer: Any) -> list[str]:  # noqa: ANN401 - a response's JSON
    return [source["name"] for source in answer.json()]


def test_the_same_seed_makes_the_same_tenant() -> None:
    assert make_tenant(30, seed=7).sources == make_tenant(30, seed=7).sources
    assert make_tenant(30, seed=7).sources.keys().isdisjoint(make_tenant(30, seed=8).sources)


def test_the_dozen_has_every_shape() -> None:
    tenant = make_tenant()
    shapes = list(tenant.sources.values())
    flags = [source["connectorAttributes"].get("enableProvisioningFeature") for source in shapes]
    assert {None, True, False, "true", "false"} <= set(flags)
    assert {len(crons) for crons in tenant.schedules.values()} == {0, 1, 2}
    assert any(source.get("features") == [] for source in shapes)
    assert any("features" not in source for source in shapes)
    assert any("groupaggregationschedule" in source["connectorAttributes"] for source in shapes)
    assert len({source["name"] for source in shapes}) == 12


def test_a_list_is_paged_at_most_250_at_a_time() -> None:
    with simulated(sources=600) as peer:
        pages = [peer.get("/sources", offset=offset, count="true") for offset in (0, 250, 500, 750)]
        assert [len(page.json()) for page in pages] == [250, 250, 100, 0]
        assert {page.headers["X-Total-Count"] for page in pages} == {"600"}
        found = [source["id"] for page in pages for source in page.json()]
        assert found == sorted(peer.sim.tenant.sources)
        assert "X-Total-Count" not in peer.get("/sources").headers


@pytest.mark.parametrize("query", [{"limit": 251}, {"limit": -1}, {"limit": "x"}, {"offset": -1}])
def test_a_page_out_of_range_is_refused(query: dict[str, Any]) -> None:
    with simulated() as peer:
        assert peer.get("/sources", **query).status_code == 400


def test_a_limit_of_nothing_is_an_empty_page() -> None:
    with simulated() as peer:
        assert peer.get("/sources", limit=0).json() == []


def test_sources_are_sorted_and_filtered_as_asked() -> None:
    with simulated() as peer:
        every = names(peer.get("/sources", sorters="name"))
        assert every == sorted(every)
        assert names(peer.get("/sources", sorters="-name")) == every[::-1]
        assert names(peer.get("/sources", filters='name sw "S"', sorters="-name")) == [
            "Slack",
            "ServiceNow",
            "Salesforce",
            "SAP ERP",
        ]
        assert names(peer.get("/sources", filters='features ca ("UNLOCK","SEARCH")', sorters="name")) == [
            "Active Directory",
            "SAP ERP",
        ]
        assert peer.get("/sources", filters='connectorAttributes.x eq "1"').status_code == 400
        assert peer.get("/sources", sorters="deleteThreshold").status_code == 400


def test_features_come_in_another_order_and_are_the_same_set() -> None:
    with simulated() as peer:
        path = peer.source("Active Directory")
        seen = [peer.get(path).json()["features"] for _ in range(3)]
        assert len({tuple(features) for features in seen}) == 3
        assert len({frozenset(features) for features in seen}) == 1
        peer.sim.switches.shuffle_features = False
        assert peer.get(path).json()["features"] == peer.get(path).json()["features"]


def test_absent_stays_absent_on_the_wire() -> None:
    with simulated() as peer:
        assert "features" not in peer.get(peer.source("Slack")).json()
        attributes = peer.get(peer.source("Oracle HR Database")).json()["connectorAttributes"]
        assert "disable_health_check" not in attributes


def test_a_patch_answers_with_the_whole_source_and_moves_modified() -> None:
    with simulated(clock=HandClock()) as peer:
        path = peer.source("Workday")
        before = peer.get(path).json()
        after = peer.patch(
            path, add("maintenancemode", True), {"op": "replace", "path": "/features", "value": []}
        )
        assert after.status_code == 200
        assert after.json()["connectorAttributes"]["maintenancemode"] is True
        assert after.json()["features"] == []
        assert after.json()["modified"] > before["modified"]
        again = peer.patch(path, FIRST)
        assert again.json()["modified"] > after.json()["modified"]


@pytest.mark.parametrize(
    "refused",
    [
        {"op": "remove", "path": "/connectorAttributes/nothing"},
        {"op": "replace", "path": "/connectorAttributes/nothing", "value": 1},
        {"op": "add", "path": "/connectorAttributes/a/b", "value": 1},
        {"op": "test", "path": "/name", "value": "no"},
        {"op": "replace", "path": "/id", "value": "x"},
        {"op": "replace", "path": "/type", "value": "x"},
        {"op": "replace", "path": "/authoritative", "value": False},
        {"op": "add", "path": "/created", "value": "x"},
        {"op": "add", "path": "/modified", "value": "x"},
        {"op": "replace", "path": "/connector", "value": "x"},
        {"op": "remove", "path": "/connectorClass"},
        {"op": "add", "path": "/passwordPolicies/0", "value": {}},
        {"op": "replace", "path": "", "value": {}},
        {"op": "move", "from": "/type", "path": "/description"},
        {"op": "remove", "path": "/owner"},
        {"op": "replace", "path": "/name", "value": ""},
        {"op": "replace", "path": "/features", "value": "PROVISIONING"},
        {"op": "replace", "path": "/features", "value": [1]},
        {"op": "replace", "path": "/connectorAttributes", "value": []},
        {"op": "replace", "path": "/deleteThreshold", "value": 101},
        add("x", None),
    ],
    ids=str,
)
def test_a_refused_patch_changes_nothing(refused: dict[str, Any]) -> None:
    with simulated() as peer:
        path = peer.source("Workday")
        before = peer.sim.tenant.snapshot(peer.sim.tenant.id_of("Workday"))
        answer = peer.patch(path, FIRST, refused)
        assert answer.status_code == 400
        assert answer.json()["detailCode"].startswith("400.1")
        assert peer.sim.tenant.snapshot(before["source"]["id"]) == before


def test_a_test_of_an_immutable_field_is_no_attempt_to_change_it() -> None:
    with simulated() as peer:
        path = peer.source("Workday")
        assert peer.patch(path, {"op": "test", "path": "/type", "value": "Workday"}).status_code == 200


def test_a_patch_needs_its_content_type() -> None:
    with simulated() as peer:
        path = peer.source("Workday")
        assert peer.patch(path, FIRST, content_type="application/json").status_code == 415
        assert peer.patch(path, FIRST, content_type="application/json-patch+json; charset=utf-8").is_success
        peer.sim.switches.wrong_content_type = 400
        assert peer.patch(path, FIRST, content_type="application/json").status_code == 400
        peer.sim.switches.wrong_content_type = 200
        assert peer.patch(path, FIRST, content_type="application/json").status_code == 200


def test_a_body_that_is_no_json_is_bad_syntax() -> None:
    with simulated() as peer:
        path = "/v2026" + peer.source("Workday")
        headers = {"Content-Type": "application/json-patch+json"}
        answer = peer.http.patch(path, content=b"[{", headers=headers)
        assert (answer.status_code, answer.json()["detailCode"]) == (400, "400.0 Bad request syntax")


def test_null_and_unknown_features_go_by_their_switches() -> None:
    with simulated() as peer:
        path = peer.source("Workday")
        peer.sim.switches.null_values = "store"
        assert peer.patch(path, add("x", None)).json()["connectorAttributes"]["x"] is None
        unknown = {"op": "replace", "path": "/features", "value": ["QUANTUM"]}
        assert peer.patch(path, unknown).status_code == 200
        peer.sim.switches.known_features_only = True
        assert peer.patch(path, unknown).status_code == 400


def test_an_unknown_source_is_not_found_by_any_operation() -> None:
    with simulated() as peer:
        path = "/sources/0123"
        answers = [
            peer.get(path),
            peer.patch(path, FIRST),
            peer.put(path, {}),
            peer.delete(path),
            peer.get(f"{path}/schedules"),
            peer.post(f"{path}/schedules", {"type": ACCOUNT, "cronExpression": "0 0 6 * * ?"}),
            peer.delete(f"{path}/schedules/{ACCOUNT}"),
            peer.post(f"{path}/connector/check-connection"),
        ]
        assert {answer.status_code for answer in answers} == {404}


def test_put_replaces_the_source_but_not_what_is_immutable() -> None:
    with simulated() as peer:
        path = peer.source("Workday")
        source = peer.get(path).json()
        assert peer.put(path, {**source, "type": "Other"}).status_code == 400
        assert peer.put(path, {**source, "owner": None}).status_code == 400
        assert peer.put(path, []).status_code == 400
        del source["description"], source["modified"]
        answer = peer.put(path, {**source, "name": "Workday EMEA"})
        assert answer.status_code == 200
        assert answer.json()["name"] == "Workday EMEA"
        assert "description" not in answer.json()


def test_delete_takes_the_source_and_its_schedules() -> None:
    with simulated() as peer:
        path = peer.source("Workday")
        answer = peer.delete(path)
        assert (answer.status_code, answer.json()["type"]) == (202, "TASK_RESULT")
        assert peer.get(path).status_code == 404
        assert peer.get(path + "/schedules").status_code == 404
        assert len(peer.get("/sources").json()) == 11


def test_a_source_may_be_made_again_under_its_name_and_a_new_id() -> None:
    with simulated() as peer:
        tenant = peer.sim.tenant
        old = tenant.snapshot(tenant.id_of("Workday"))
        peer.sim.edit.delete_source(old["source"]["id"])
        with pytest.raises(KeyError):
            tenant.id_of("Workday")
        tenant.add({**old["source"], "id": "0" * 32}, old["schedules"])
        assert peer.get(peer.source("Workday") + "/schedules").json()[0]["type"] == ACCOUNT
        assert tenant.id_of("Workday") == "0" * 32


def test_a_secret_is_shown_as_ciphertext_only() -> None:
    with simulated() as peer:
        path = peer.source("Active Directory")
        old = peer.get(path).json()["connectorAttributes"]["password"]
        peer.patch(path, add("password", old))
        assert peer.get(path).json()["connectorAttributes"]["password"] == old
        shown = peer.patch(path, add("password", "plain")).json()["connectorAttributes"]["password"]
        assert shown not in {"plain", old}
        assert "plain" not in json.dumps(peer.get(path).json())


def test_a_health_check_moves_modified_and_leaves_its_diagnostics() -> None:
    clock = HandClock()
    with simulated(Switches(health_seconds=60), clock=clock) as peer:
        path = peer.source("Workday")
        first = peer.get(path).json()
        assert peer.get(path).json()["modified"] == first["modified"]
        clock.advance(60)
        second = peer.get(path).json()
        assert second["modified"] > first["modified"]
        told = json.loads(second["connectorAttributes"][DIAGNOSTICS])
        assert (told["healthcheckDisabled"], told["healthcheckCount"]) == (False, 38)
        assert told["lastHealthcheck"] == clock.now.timestamp() * 1000


@pytest.mark.parametrize("spoilt", ["no JSON", "[]", 5])
def test_a_health_check_gets_over_spoilt_diagnostics(spoilt: object) -> None:
    clock = HandClock()
    with simulated(Switches(health_seconds=60), clock=clock) as peer:
        path = peer.source("Workday")
        peer.patch(path, add(DIAGNOSTICS, spoilt))
        peer.get(path)
        clock.advance(60)
        told = json.loads(peer.get(path).json()["connectorAttributes"][DIAGNOSTICS])
        assert told["healthcheckCount"] == 1


def test_no_health_check_touches_a_file_source_or_a_tenant_without_them() -> None:
    clock = HandClock()
    with simulated(Switches(health_seconds=60), clock=clock) as peer:
        paths = [peer.source("Contractors (CSV)"), peer.source("Workday")]
        before = [peer.get(path).json()["modified"] for path in paths]
        clock.advance(60)
        assert peer.get(paths[0]).json()["modified"] == before[0]
        peer.sim.switches.health_seconds = 0
        assert peer.get(paths[1]).json()["modified"] == before[1]


@pytest.mark.parametrize("flag", [True, "true"])
def test_a_disabled_health_check_leaves_the_source_alone(*, flag: bool | str) -> None:
    clock = HandClock()
    with simulated(Switches(health_seconds=60), clock=clock) as peer:
        path = peer.source("Workday")
        first = peer.patch(path, add("disable_health_check", flag)).json()
        peer.get(path)
        peer.sim.tenant.down.add(first["id"])
        clock.advance(60)
        second = peer.get(path).json()
        assert second["modified"] == first["modified"]
        assert second["status"] == "SOURCE_STATE_HEALTHY"
        assert json.loads(second["connectorAttributes"][DIAGNOSTICS])["healthcheckDisabled"] is True


def test_a_target_that_is_down_shows_in_health_and_connection() -> None:
    clock = HandClock()
    with simulated(Switches(health_seconds=60), clock=clock) as peer:
        path = peer.source("Workday")
        assert peer.post(path + "/connector/check-connection").json()["status"] == "SUCCESS"
        assert peer.get(path + "/source-health").json()["status"] == "SOURCE_STATE_HEALTHY"
        peer.sim.tenant.down.add(peer.sim.tenant.id_of("Workday"))
        clock.advance(60)
        failure = peer.post(path + "/connector/check-connection")
        assert (failure.status_code, failure.json()["status"]) == (200, "FAILURE")
        assert peer.get(path + "/source-health").json()["status"] == "SOURCE_STATE_ERROR_SOURCE"
        assert peer.get(path).json()["healthy"] is False


def test_comparable_leaves_out_only_what_the_server_owns() -> None:
    clock = HandClock()
    with simulated(Switches(health_seconds=60), clock=clock) as peer:
        tenant, path = peer.sim.tenant, peer.source("Workday")
        source_id = tenant.id_of("Workday")
        before = tenant.comparable(source_id)
        peer.get(path)
        clock.advance(60)
        assert peer.get(path).json()["modified"] > "2026"
        peer.patch(
            path, {"op": "replace", "path": "/features", "value": peer.get(path).json()["features"][::-1]}
        )
        assert tenant.comparable(source_id) == before
        peer.patch(path, add("maintenancemode", False))
        assert tenant.comparable(source_id) != before


def test_schedules_are_created_read_changed_and_deleted() -> None:
    with simulated() as peer:
        path = peer.source("Contractors (CSV)") + "/schedules"
        assert peer.get(path).json() == []
        schedule = {"type": ACCOUNT, "cronExpression": "0 0 5,13,21 * * ?"}
        created = peer.post(path, schedule)
        assert (created.status_code, created.json()) == (201, schedule)
        assert peer.get(path).json() == [schedule]
        assert peer.get(f"{path}/{ACCOUNT}").json() == schedule
        change = {"op": "replace", "path": "/cronExpression", "value": "0 0 6 * * ?"}
        assert peer.patch(f"{path}/{ACCOUNT}", change).json()["cronExpression"] == "0 0 6 * * ?"
        deleted = peer.delete(f"{path}/{ACCOUNT}")
        assert (deleted.status_code, deleted.content) == (204, b"")
        assert peer.get(path).json() == []


@pytest.mark.parametrize(
    "schedule",
    [
        {"type": ACCOUNT, "cronExpression": "0 6 * * *"},
        {"type": ACCOUNT, "cronExpression": ""},
        {"type": ACCOUNT},
        {"type": "OTHER", "cronExpression": "0 0 6 * * ?"},
        {"cronExpression": "0 0 6 * * ?"},
        [],
    ],
)
def test_a_bad_schedule_is_refused(schedule: object) -> None:
    with simulated() as peer:
        path = peer.source("Contractors (CSV)") + "/schedules"
        assert peer.post(path, schedule).status_code == 400
        assert peer.get(path).json() == []


def test_the_type_of_a_schedule_cannot_be_changed() -> None:
    with simulated() as peer:
        path = peer.source("Workday") + f"/schedules/{ACCOUNT}"
        assert peer.patch(path, {"op": "replace", "path": "/type", "value": GROUP}).status_code == 400


def test_a_duplicate_schedule_goes_by_its_switch() -> None:
    with simulated() as peer:
        path = peer.source("Workday") + "/schedules"
        schedule = {"type": ACCOUNT, "cronExpression": "0 0 1 * * ?"}
        assert peer.post(path, schedule).status_code == 400
        peer.sim.switches.duplicate_schedule = "409"
        assert peer.post(path, schedule).status_code == 409
        assert peer.get(path).json()[0]["cronExpression"] == "0 0 0/4 1/1 * ? *"
        peer.sim.switches.duplicate_schedule = "upsert"
        assert peer.post(path, schedule).status_code == 201
        assert peer.get(path).json() == [schedule]


def test_a_missing_schedule_goes_by_its_switch() -> None:
    with simulated() as peer:
        path = peer.source("Workday") + f"/schedules/{GROUP}"
        change = {"op": "replace", "path": "/cronExpression", "value": "0 0 6 * * ?"}
        assert {a.status_code for a in (peer.get(path), peer.delete(path), peer.patch(path, change))} == {404}
        peer.sim.switches.missing_schedule = "400.1.404"
        answer = peer.delete(path)
        assert (answer.status_code, answer.json()["detailCode"][:9]) == (400, "400.1.404")


def test_reads_may_lag_behind_a_write_by_a_number_of_reads() -> None:
    with simulated(Switches(lag_reads=2)) as peer:
        path = peer.source("Workday")
        assert peer.patch(path, FIRST).json()["description"] == "first"
        assert [peer.get(path).json()["description"] == "first" for _ in range(3)] == [False, False, True]
        peer.delete(f"{path}/schedules/{ACCOUNT}")
        assert [len(peer.get(f"{path}/schedules").json()) for _ in range(3)] == [1, 1, 0]


def test_reads_may_lag_behind_writes_by_time() -> None:
    clock = HandClock()
    with simulated(Switches(lag_seconds=10), clock=clock) as peer:
        path = peer.source("Workday")
        peer.patch(path, FIRST)
        clock.advance(6)
        peer.patch(path, {**FIRST, "value": "second"})
        clock.advance(5)
        assert peer.get(path).json()["description"] == "first"
        assert names(peer.get("/sources", filters='name eq "Workday"')) == ["Workday"]
        clock.advance(5)
        assert peer.get(path).json()["description"] == "second"


def test_a_running_task_is_seen_until_it_is_over() -> None:
    clock = HandClock()
    with simulated(clock=clock) as peer:
        source_id = peer.sim.tenant.id_of("Workday")
        task_id = peer.sim.tenant.start_task(source_id, seconds=60)
        running = f'sourceId eq "{source_id}" and completionStatus isnull'
        assert [task["id"] for task in peer.get("/task-status", filters=running).json()] == [task_id]
        assert peer.get("/task-status", filters='sourceId eq "other"').json() == []
        assert peer.get("/v2024/task-status", filters=running).status_code == 400
        clock.advance(60)
        assert peer.get("/task-status/v1", filters=running).json() == []
        assert peer.get(f"/task-status/{task_id}").json()["completionStatus"] == "SUCCESS"
        assert peer.get("/task-status/nothing").status_code == 404


def test_the_tenant_tells_its_zone_its_people_and_the_token_s_expiry() -> None:
    with simulated(Switches(pat_expires=datetime(2027, 1, 1, tzinfo=UTC))) as peer:
        peer.sim.tenant.time_zone = "Europe/Berlin"
        assert peer.get("/org-config").json()["timeZone"] == "Europe/Berlin"
        (token,) = peer.get("/personal-access-tokens", **{"owner-id": "me"}).json()
        assert (token["id"], token["expirationDate"]) == (peer.sim.client_id, "2027-01-01T00:00:00.000Z")
        assert peer.get("/personal-access-tokens").status_code == 403
        owner = peer.get(peer.source("Workday")).json()["owner"]
        (person,) = peer.get("/public-identities", filters=f'id in ("{owner["id"]}")', count="true").json()
        assert (person["name"], person["email"]) == (owner["name"], "thomas.edison@example.test")


def test_the_forum_s_workflow_does_not_bring_back_what_it_took() -> None:
    with simulated() as peer:
        source_id = peer.sim.tenant.id_of("Active Directory")
        before = peer.sim.tenant.comparable(source_id)
        steps = peer.sim.forum_enable(source_id)
        assert [step.method for step in steps] == ["GET", "GET", "GET", "DELETE", "DELETE", "PATCH"]
        during = peer.get(f"/sources/{source_id}").json()
        assert during["connectorAttributes"]["maintenancemode"] is True
        assert during["connectorAttributes"]["accountaggregationschedule"] == "0 0 5,13,21 * * ?"
        assert (during["features"], peer.sim.tenant.schedules[source_id]) == ([], {})
        steps = peer.sim.forum_disable(source_id)
        assert [step.method for step in steps] == ["GET", "PATCH", "POST", "POST", "PATCH"]
        after = peer.sim.tenant.comparable(source_id)
        assert after["schedules"] == before["schedules"]
        assert after["source"]["features"] == []
        assert after["source"]["connectorAttributes"]["maintenancemode"] is False
        assert peer.sim.count() == 1  # ours alone


def test_the_forum_s_enable_run_twice_loses_the_schedules() -> None:
    with simulated() as peer:
        source_id = peer.sim.tenant.id_of("Active Directory")
        peer.sim.forum_enable(source_id)
        peer.sim.forum_enable(source_id)
        assert peer.sim.tenant.sources[source_id]["connectorAttributes"]["accountaggregationschedule"] == ""
        assert [step.status for step in peer.sim.forum_disable(source_id)] == [200, 200, 400, 400, 200]
        assert peer.sim.tenant.schedules[source_id] == {}


def test_a_person_s_edits_meet_the_same_rules() -> None:
    with simulated() as peer:
        tenant, edit = peer.sim.tenant, peer.sim.edit
        source_id = tenant.id_of("Active Directory")
        old = tenant.snapshot(source_id)["source"]
        edit.set_attribute(source_id, "a/b~c", "1")
        edit.remove_attribute(source_id, "IQServicePort")
        edit.set_features(source_id, ["PROVISIONING"])
        edit.set_schedule(source_id, ACCOUNT, "0 0 1 * * ?")
        edit.delete_schedule(source_id, GROUP)
        edit.set_schedule(source_id, GROUP, "0 0 2 * * ?")
        edit.rename(source_id, "AD")
        edit.describe(source_id, "renamed")
        source = peer.get(f"/sources/{source_id}").json()
        assert source["connectorAttributes"]["a/b~c"] == "1"
        assert "IQServicePort" not in source["connectorAttributes"]
        assert (source["name"], source["description"], source["features"]) == (
            "AD",
            "renamed",
            ["PROVISIONING"],
        )
        assert tenant.schedules[source_id] == {ACCOUNT: "0 0 1 * * ?", GROUP: "0 0 2 * * ?"}
        edit.put_whole(source_id, old)
        assert tenant.comparable(source_id)["source"]["features"] == sorted(old["features"])
        assert tenant.sources[source_id]["modified"] > source["modified"]
        edit.delete_source(source_id)
        assert source_id not in tenant.sources
        assert peer.sim.mutations == []
