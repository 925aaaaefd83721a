"""What goes wrong between the ISC client and the tenant: 429s, lost, late and broken answers, redirects."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from isc_rig import MARK, Time, failure, listed, marking, reading, run, running, with_two_schedules

from mmd.errors import Garbled, Unknown, Unreachable
from mmd.isc import Isc, Priority, wire
from mmd.simulator import Rule, Simulator, faults, make_tenant

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator


@pytest.fixture(name="simulator")
def _simulator() -> Iterator[Simulator]:
    yield from running(12)


@pytest.fixture(name="source_id")
def _source_id(simulator: Simulator) -> str:
    return with_two_schedules(simulator)


# --- 429 --------------------------------------------------------------------------------------------------


def throttled(told: str | None) -> faults.Action:
    headers = {} if told is None else {"Retry-After": told}
    return faults.fail(429, body=b'{"message":" Rate Limit Exceeded "}', headers=headers)


@pytest.mark.parametrize(
    ("told", "least", "most"),
    [
        ("7", 7, 7.3),
        ("0", 0, 0.6),
        ("-3", 0, 0.6),
        (None, 10, 10.3),
        ("absurd", 10, 10.3),
        ("99999999", 300, 300.3),
        ("date", 11, 13.3),
    ],
)
@pytest.mark.parametrize("change", [False, True])
def test_a_429_is_obeyed_and_the_request_sent_again(
    simulator: Simulator, source_id: str, told: str | None, least: float, most: float, change: bool
) -> None:
    if told == "date":
        later = datetime.now(UTC) + timedelta(seconds=12)  # noqa: TID251 - compared with the Date header
        told = later.strftime("%a, %d %b %Y %H:%M:%S GMT")
    moments = Time()
    simulator.faults.append(Rule(throttled(told), None, "/sources/", nth=1))

    async def work(isc: Isc) -> None:
        if change:
            await isc.patch_source(source_id, MARK, priority=Priority.ENTER)
        else:
            await isc.source(source_id, priority=Priority.ENTER)
        assert isc.stats.throttled == 1

    run(simulator, work, time=moments)
    assert least <= moments.now <= most
    assert simulator.count(None, "/sources/") == 2


def test_a_429_holds_back_everybody(simulator: Simulator, source_id: str) -> None:
    moments = Time()
    arrivals: list[float] = []
    simulator.faults.append(Rule(faults.run(lambda: arrivals.append(moments.now)), "GET", "/sources/"))
    simulator.faults.append(Rule(throttled("30"), "GET", "/sources/", nth=1))

    async def work(isc: Isc) -> None:
        await reading(source_id)(isc)
        await reading(source_id, 5)(isc)

    run(simulator, work, time=moments)
    assert [moment >= 30.0 for moment in arrivals] == [False, *[True] * 6]


@pytest.mark.parametrize("told", ["0", "7", None, "86400"])
def test_429s_without_end_are_unreachable_within_minutes(
    simulator: Simulator, source_id: str, told: str | None
) -> None:
    moments = Time()
    simulator.faults.append(Rule(throttled(told), "PATCH"))
    error = failure(simulator, marking(source_id), time=moments)
    assert isinstance(error, Unreachable)
    assert error.status == 429
    assert 10 <= moments.now <= 660
    assert simulator.count("PATCH") <= 45


# --- Lost, late and broken answers ------------------------------------------------------------------------

lost = pytest.mark.parametrize(
    "trouble",
    [
        faults.drop(),
        faults.drop(after=True),
        faults.fail(500),
        faults.fail(500, after=True),
        faults.html(502),
        faults.fail(503),
        faults.fail(504, after=True),
        faults.fail(408),
    ],
)


@lost
def test_a_lost_reply_to_a_change_is_unknown_and_the_change_sent_once(
    simulator: Simulator, source_id: str, trouble: faults.Action
) -> None:
    simulator.faults.append(Rule(trouble, path="/sources/"))
    changes: list[Callable[[Isc], Awaitable[object]]] = [
        marking(source_id),
        lambda isc: isc.delete_schedule(source_id, "GROUP_AGGREGATION", priority=Priority.ENTER),
        lambda isc: isc.create_schedule(
            source_id, "GROUP_AGGREGATION", "0 0 6 * * ?", priority=Priority.ENTER
        ),
    ]
    for number, change in enumerate(changes, 1):
        assert isinstance(failure(simulator, change), Unknown)
        assert len(simulator.mutations) == number


@lost
def test_a_lost_reply_to_a_read_is_read_again(
    simulator: Simulator, source_id: str, trouble: faults.Action
) -> None:
    simulator.faults.append(Rule(trouble, "GET", "/sources/", nth=1, times=3))
    moments = Time()
    assert run(simulator, reading(source_id), time=moments)
    assert simulator.count("GET") == 4
    assert moments.now <= 0.25 + 0.5 + 1.0


@lost
def test_reads_that_stay_lost_are_unreachable(
    simulator: Simulator, source_id: str, trouble: faults.Action
) -> None:
    simulator.faults.append(Rule(trouble, "GET", "/sources/"))
    error = failure(simulator, reading(source_id), time=Time())
    assert isinstance(error, Unreachable)
    assert simulator.count("GET") == 4


broken = pytest.mark.parametrize(
    "trouble",
    [faults.truncate(), faults.truncate(0), faults.html(200), faults.fail(200, body=b'{"id": NaN}')],
)


@broken
def test_a_broken_answer_to_a_read_is_garbled_in_the_end(
    simulator: Simulator, source_id: str, trouble: faults.Action
) -> None:
    rule = Rule(trouble, "GET", "/sources/", nth=1, times=3)
    simulator.faults.append(rule)
    assert run(simulator, reading(source_id), time=Time())
    rule.nth = None
    assert isinstance(failure(simulator, reading(source_id), time=Time()), Garbled)


@broken
def test_a_broken_200_to_a_change_means_it_was_made(
    simulator: Simulator, source_id: str, trouble: faults.Action
) -> None:
    simulator.faults.append(Rule(trouble, "PATCH"))
    assert run(simulator, marking(source_id)) == (
        None,
        None,
    )
    assert simulator.count("PATCH") == 1


def test_an_answer_about_another_source_is_garbled(simulator: Simulator, source_id: str) -> None:
    other = next(one for one in simulator.tenant.schedules if one != source_id)
    swapped = lambda call, proceed: proceed(replace(call, path=call.path.replace(source_id, other)))  # noqa: E731 - an action
    simulator.faults.append(Rule(swapped, "GET", "/sources/"))
    assert isinstance(failure(simulator, reading(source_id)), Garbled)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed_and_no_token_goes_elsewhere(
    simulator: Simulator, source_id: str, status: int
) -> None:
    with Simulator(make_tenant(1)) as elsewhere:
        simulator.faults.append(Rule(faults.redirect(elsewhere.base_url, status), path="/sources"))
        works: list[Callable[[Isc], Awaitable[object]]] = [
            reading(source_id),
            marking(source_id),
            listed,
        ]
        for work in works:
            assert isinstance(failure(simulator, work), Unreachable | Unknown)
        simulator.faults[0].path = "/oauth/token"
        assert isinstance(failure(simulator, works[0]), Unreachable)
        assert not elsewhere.log


def test_a_change_that_is_never_answered_is_unknown(
    simulator: Simulator, source_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "READ_SECONDS", 0.1)
    simulator.faults.append(Rule(faults.hang(2.0, after=True), "PATCH"))
    error = failure(simulator, marking(source_id))
    assert isinstance(error, Unknown)
    assert "ReadTimeout" in error.message


def test_a_body_that_trickles_in_is_given_up(
    simulator: Simulator, source_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "TOTAL_SECONDS", 1.0)
    simulator.faults.append(Rule(faults.trickle(0.2), path="/sources/"))
    started = time.monotonic()
    assert run(simulator, marking(source_id)) == (
        None,
        None,
    )
    assert time.monotonic() - started < 2.0


def test_a_read_that_always_trickles_in_is_given_up_in_the_time_of_one_operation(
    simulator: Simulator, source_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "TOTAL_SECONDS", 0.5)
    simulator.faults.append(Rule(faults.trickle(0.2), path="/sources/"))
    assert isinstance(failure(simulator, reading(source_id)), Garbled)
    assert simulator.count("GET") == 1


# --- Budget -----------------------------------------------------------------------------------------------


def test_latency_does_not_limit(simulator: Simulator, source_id: str) -> None:
    simulator.switches.latency = 0.3

    async def work(isc: Isc) -> float:
        await isc.token()
        started = time.monotonic()
        await reading(source_id, 80)(isc)
        return time.monotonic() - started

    assert run(simulator, work, rate=81) < 5.0  # one after the other they take 24


@pytest.mark.slow
def test_no_429_is_of_our_own_making(source_id: str, simulator: Simulator) -> None:
    simulator.switches.rate = (20, 0.5)
    simulator.switches.latency = lambda: 0.03

    async def work(isc: Isc) -> int:
        await reading(source_id, 100)(isc)
        return isc.stats.throttled

    assert run(simulator, work, rate=20, period=0.5) == 0


@pytest.mark.slow
def test_another_tool_on_the_same_client_id_is_given_way(source_id: str, simulator: Simulator) -> None:
    simulator.switches.rate = (10, 0.5)

    async def work(isc: Isc) -> int:
        await reading(source_id, 30)(isc)
        return isc.stats.throttled

    assert 0 < run(simulator, work, rate=20, period=0.5) < 30


def test_an_answered_request_makes_room_after_one_period(simulator: Simulator, source_id: str) -> None:
    started = time.monotonic()
    run(simulator, reading(source_id, 7), rate=2, period=0.1)
    assert 0.3 <= time.monotonic() - started < 1.0


def test_restores_overtake_a_sweep(simulator: Simulator, source_id: str) -> None:
    async def work(isc: Isc) -> None:
        await isc.token()
        sweep = [isc.get_json("sources", {"limit": "1"}, priority=Priority.SWEEP) for _ in range(6)]
        restores = [isc.source(source_id, priority=Priority.RESTORE) for _ in range(6)]
        await asyncio.gather(*sweep, *restores)

    run(simulator, work, rate=2, period=0.1)
    order = ["restore" if source_id in urlsplit(one.path).path else "sweep" for one in simulator.log[1:]]
    assert order.index("restore") <= 2
    assert order[-4:] == ["sweep"] * 4
