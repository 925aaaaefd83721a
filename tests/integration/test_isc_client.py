"""The ISC client against the simulated tenant, over a socket: paths, requests, listings, refusals."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from isc_rig import EPOCH, MARK, Time, failure, listed, reading, run, running, with_two_schedules

from mmd.changes import Operation
from mmd.errors import ConfigError, Denied, Garbled, Missing, Rejected, Unreachable
from mmd.isc import Call, Isc, Priority, Tenant
from mmd.posture import MARKER
from mmd.simulator import Rule, Simulator, faults

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mmd.posture import Observation


@pytest.fixture(name="simulator")
def _simulator() -> Iterator[Simulator]:
    yield from running(12)


@pytest.fixture(name="source_id")
def _source_id(simulator: Simulator) -> str:
    return with_two_schedules(simulator)


# --- Paths and requests -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "stem"), [("v2026", "/v2026/sources"), ("v2024", "/v2024/sources"), ("v1", "/sources/v1")]
)
def test_a_source_is_read_changed_and_put_back_in_either_path_style(
    simulator: Simulator, source_id: str, version: str, stem: str
) -> None:
    before = simulator.tenant.comparable(source_id)

    async def work(isc: Isc) -> None:
        crons = await isc.schedules(source_id, priority=Priority.ENTER)
        for kind in crons:
            assert await isc.delete_schedule(source_id, kind, priority=Priority.ENTER) is None
        assert await isc.schedules(source_id, priority=Priority.ENTER) == {}
        changed, _ = await isc.patch_source(source_id, MARK, priority=Priority.ENTER)
        assert changed is not None
        assert changed.marked
        assert (await isc.source(source_id, priority=Priority.VERIFY)).marked
        await isc.patch_source(
            source_id, [Operation("remove", f"/connectorAttributes/{MARKER}")], priority=Priority.RESTORE
        )
        for kind, cron in crons.items():
            await isc.create_schedule(source_id, kind, cron, priority=Priority.RESTORE)

    run(simulator, work, api_version=version)
    assert simulator.tenant.comparable(source_id) == before
    assert all(one.path.startswith(stem) for one in simulator.log if one.path != "/oauth/token")


def test_every_request_says_who_sends_it_and_what_it_takes(simulator: Simulator, source_id: str) -> None:
    async def work(isc: Isc) -> None:
        crons = await isc.schedules(source_id, priority=Priority.ENTER)
        await isc.patch_source(source_id, MARK, priority=Priority.ENTER)
        kind = next(iter(crons))
        await isc.delete_schedule(source_id, kind, priority=Priority.ENTER)
        await isc.create_schedule(source_id, kind, crons[kind], priority=Priority.ENTER)

    run(simulator, work)
    for one in simulator.log:
        assert one.headers["user-agent"] == "mmd/test"
        assert one.headers["accept"] == "application/json"
        assert one.headers["accept-encoding"] == "identity"
        assert one.headers["x-sailpoint-experimental"] == "true"
    kinds = {one.method: one.headers.get("content-type") for one in simulator.log if "/sources" in one.path}
    assert kinds == {
        "GET": None,
        "PATCH": "application/json-patch+json",
        "DELETE": None,
        "POST": "application/json",
    }


@pytest.mark.parametrize("bad", ["", "..", ".", "a/b", "../x", "a\\b", "a\nb", "\x00"])
def test_an_id_that_could_lead_elsewhere_is_never_sent(simulator: Simulator, bad: str) -> None:
    assert isinstance(failure(simulator, lambda isc: isc.source(bad, priority=Priority.ENTER)), Rejected)
    assert not simulator.log


def test_an_odd_id_stays_in_its_place_in_the_path(simulator: Simulator) -> None:
    odd = 'a?b#c%2F d"é'
    assert isinstance(failure(simulator, lambda isc: isc.source(odd, priority=Priority.ENTER)), Missing)
    assert [one.path for one in simulator.log[1:]] == [f"/v2026/sources/{odd}"]  # unquoted once


def test_plain_http_is_for_this_machine_alone() -> None:
    for url in ("http://acme.api.identitynow.com", "ftp://127.0.0.1", "acme"):
        tenant = Tenant(base_url=url, api_version="v1", client_id="x", user_agent="x")
        with pytest.raises(ConfigError):
            Isc(tenant, lambda: "x")


def test_doctor_can_ask_about_the_tenant(simulator: Simulator, source_id: str) -> None:
    async def work(isc: Isc) -> None:
        assert "tokenEndpoint" in await isc.oauth_info()
        assert simulator.count() == 1  # without a token
        assert isc.server_time(datetime.now(UTC)) == pytest.approx(0, abs=2)  # noqa: TID251 - compared with the real clock
        assert "timeZone" in await isc.org_config()
        assert len(await isc.own_tokens()) == 1
        assert await isc.task_status(source_id) == []
        assert isinstance(await isc.get_json("/sources", {"limit": "1"}), list)

    run(simulator, work)
    asked = next(one for one in simulator.log if "task-status" in one.path)
    assert asked.query["filters"] == f'sourceId eq "{source_id}" and completionStatus isnull'


def test_the_tenant_s_clock_is_not_known_before_it_has_answered(simulator: Simulator) -> None:
    async def work(isc: Isc) -> float | None:
        return isc.server_time(EPOCH)

    assert run(simulator, work) is None


def test_the_observer_sees_each_request_and_no_secrets(simulator: Simulator, source_id: str) -> None:
    calls: list[Call] = []
    simulator.faults.append(Rule(faults.fail(500), "GET", "/sources/", nth=1))
    simulator.faults.append(Rule(faults.drop(), "GET", "/sources/", nth=2))
    deprecated = faults.rewrite(lambda reply: replace(reply, headers={"X-Deprecated": "true"}))
    simulator.faults.append(Rule(deprecated, "GET", "/sources/", nth=3))

    async def work(isc: Isc) -> tuple[int, str | None]:
        await isc.source(source_id, priority=Priority.ENTER)
        return isc.stats.requests, isc.stats.tracking_id

    sent, tracking_id = run(simulator, work, observer=calls.append, time=Time())
    assert sent == len(simulator.log) == len(calls) == 4
    assert [(call.method, call.status, call.attempt) for call in calls] == [
        ("POST", 200, 1),
        ("GET", 500, 1),
        ("GET", None, 2),
        ("GET", 200, 3),
    ]
    assert tracking_id == calls[1].tracking_id is not None
    assert calls[2].note == "RemoteProtocolError"
    assert [call.deprecated for call in calls] == [False, False, False, True]
    assert simulator.client_secret not in repr(calls)


# --- Listing ----------------------------------------------------------------------------------------------


@pytest.fixture(name="large")
def _large() -> Iterator[Simulator]:
    yield from running(600)


def test_all_sources_come_once_in_pages(large: Simulator) -> None:
    async def work(isc: Isc) -> list[int]:
        return [len(page) async for page in isc.pages()]

    assert run(large, work) == [250, 250, 100]
    asked = [one.query for one in large.log if one.path.endswith("/sources")]
    assert asked == [
        {"limit": "250", "sorters": "id", "offset": offset, "count": "true"} for offset in ("0", "250", "500")
    ]


def test_some_sources_are_asked_for_by_id_in_short_urls(large: Simulator) -> None:
    ids = [str(source["id"]) for source in large.tenant.page({}, offset=0, limit=600)[0]]

    async def work(isc: Isc) -> list[Observation]:
        return await listed(isc, [*ids[:400], ids[0], "gone", 'od"d\\'])

    assert [row.source_id for row in run(large, work)] == ids[:400]
    assert large.count("GET", "/sources$") == 3


def test_no_ids_are_no_request(simulator: Simulator) -> None:
    assert run(simulator, lambda isc: listed(isc, [])) == []
    assert not simulator.log


def test_rows_that_were_not_asked_for_are_left_out(simulator: Simulator, source_id: str) -> None:
    ignored = lambda call, proceed: proceed(replace(call, query={}))  # noqa: E731 - an action
    simulator.faults.append(Rule(ignored, "GET", "/sources$"))
    assert [row.source_id for row in run(simulator, lambda isc: listed(isc, [source_id]))] == [source_id]


def test_a_source_that_appears_between_pages_gives_no_duplicate(large: Simulator) -> None:
    first = large.tenant.page({}, offset=0, limit=1)[0][0]
    newcomer = {**first, "id": "0" * 32, "name": "newcomer"}
    large.faults.append(Rule(faults.run(lambda: large.tenant.add(newcomer)), "GET", "/sources$", nth=2))
    rows = run(large, listed)
    assert len(rows) == len({row.source_id for row in rows}) == 600


def test_a_source_that_vanishes_between_pages_is_no_error(large: Simulator) -> None:
    victim = str(large.tenant.page({}, offset=0, limit=1)[0][0]["id"])
    large.faults.append(Rule(faults.run(lambda: large.edit.delete_source(victim)), "GET", "/sources$", nth=2))
    assert 599 <= len(run(large, listed)) <= 600


def total(count: str | None) -> faults.Action:
    headers = {} if count is None else {"X-Total-Count": count}
    return faults.rewrite(lambda reply: replace(reply, headers=headers))


@pytest.mark.parametrize("count", [None, "0", "250", "599", "many"])
def test_a_count_that_is_absent_or_too_low_is_no_error(large: Simulator, count: str | None) -> None:
    large.faults.append(Rule(total(count), "GET", "/sources$"))
    assert len(run(large, listed)) == 600


def test_a_listing_shorter_than_its_count_is_garbled(large: Simulator) -> None:
    large.faults.append(Rule(total("601"), "GET", "/sources$"))
    assert isinstance(failure(large, listed), Garbled)


def test_an_empty_listing_of_a_tenant_that_has_sources_is_garbled(large: Simulator) -> None:
    emptied = faults.rewrite(lambda reply: replace(reply, body=b"[]"))
    large.faults.append(Rule(emptied, "GET", "/sources$"))
    assert isinstance(failure(large, listed), Garbled)


def test_pages_cut_shorter_than_asked_for_are_still_all_read(large: Simulator) -> None:
    shorter = lambda call, proceed: proceed(replace(call, query={**call.query, "limit": "70"}))  # noqa: E731 - an action
    large.faults.append(Rule(shorter, "GET", "/sources$"))
    large.faults.append(Rule(total(None), "GET", "/sources$"))
    assert len(run(large, listed)) == 600


@pytest.mark.parametrize("count", [None, "600"])
def test_a_tenant_that_repeats_its_first_page_for_ever_is_garbled(
    large: Simulator, count: str | None
) -> None:
    large.faults.append(Rule(total(count), "GET", "/sources$"))
    stuck = lambda call, proceed: proceed(replace(call, query={**call.query, "offset": "0"}))  # noqa: E731 - an action
    large.faults.append(Rule(stuck, "GET", "/sources$"))
    assert isinstance(failure(large, listed), Garbled)
    assert large.count("GET", "/sources$") == 2


@pytest.mark.parametrize("body", [b"{}", b"null", b"[1]", b'[{"name": "x"}]', b'[{"id": null}]', b'"x"'])
def test_a_page_that_is_no_list_of_sources_is_garbled(large: Simulator, body: bytes) -> None:
    large.faults.append(Rule(faults.fail(200, body=body), "GET", "/sources$", nth=2))
    assert isinstance(failure(large, listed), Garbled)


def test_a_page_that_fails_fails_the_listing_after_what_came_before(large: Simulator) -> None:
    large.faults.append(Rule(faults.fail(500), "GET", "/sources$", nth=2, times=9))
    seen: list[int] = []

    async def work(isc: Isc) -> None:
        async for page in isc.pages():
            seen.append(len(page))  # noqa: PERF401 - to be seen after the failure

    error = failure(large, work, time=Time())
    assert isinstance(error, Unreachable)
    assert seen == [250]
    assert large.count("GET", "/sources$") == 5


# --- What ISC refuses -------------------------------------------------------------------------------------


def test_a_source_that_is_not_there_is_missing(simulator: Simulator) -> None:
    error = failure(simulator, lambda isc: isc.source("0" * 32, priority=Priority.ENTER))
    assert isinstance(error, Missing)
    assert error.tracking_id


@pytest.mark.parametrize("switch", ["404", "400.1.404"])
def test_deleting_a_schedule_that_is_gone_is_fine(simulator: Simulator, source_id: str, switch: Any) -> None:  # noqa: ANN401 - a literal
    simulator.switches.missing_schedule = switch
    simulator.switches.content_encoding_quirk = True

    async def work(isc: Isc) -> None:
        for _ in range(2):
            await isc.delete_schedule(source_id, "ACCOUNT_AGGREGATION", priority=Priority.ENTER)

    run(simulator, work)
    assert simulator.count("DELETE") == 2


def test_what_isc_refuses_is_told_in_its_words(simulator: Simulator, source_id: str) -> None:
    simulator.switches.content_encoding_quirk = True
    operations = [Operation("replace", "/id", "x")]
    error = failure(simulator, lambda isc: isc.patch_source(source_id, operations, priority=Priority.ENTER))
    assert isinstance(error, Rejected)
    assert error.status == 400
    assert error.tracking_id
    assert simulator.count("PATCH") == 1


def test_missing_rights_are_denied_with_a_hint(simulator: Simulator, source_id: str) -> None:
    simulator.switches.denied = {"idn:sources:read", "idn:sources:manage"}
    error = failure(simulator, reading(source_id))
    assert isinstance(error, Denied)
    assert "idn:sources:manage" in error.hint
    assert simulator.count("GET") == 1
