"""The access token, against the simulated tenant: one for all, renewed in time, never in a storm."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from isc_rig import MARK, Time, failure, marking, reading, run, running, with_two_schedules

from mmd.errors import Denied, Garbled, Unreachable
from mmd.isc import Isc, Priority
from mmd.isc.token import PAUSE, UNREACHED_PAUSE
from mmd.simulator import Rule, Simulator, Switches, faults, make_tenant

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(name="simulator")
def _simulator() -> Iterator[Simulator]:
    yield from running(12)


@pytest.fixture(name="source_id")
def _source_id(simulator: Simulator) -> str:
    return with_two_schedules(simulator)


def tokens(simulator: Simulator) -> int:
    return simulator.count("POST", "/oauth/token")


def test_fifty_who_need_a_token_ask_for_one(simulator: Simulator, source_id: str) -> None:
    run(simulator, reading(source_id, 50))
    assert tokens(simulator) == 1
    assert simulator.count("GET") == 50


def test_the_secret_travels_in_the_body_alone(simulator: Simulator, source_id: str) -> None:
    run(simulator, reading(source_id))
    first = simulator.log[0]
    assert (first.method, first.path, first.query) == ("POST", "/oauth/token", {})
    assert first.headers["content-type"] == "application/x-www-form-urlencoded"
    assert simulator.client_secret not in repr([(one.path, one.query, one.headers) for one in simulator.log])


@pytest.mark.parametrize(("life", "expected"), [(15, 9), (749, 1), (43_200, 1)])
def test_a_token_is_renewed_when_a_fifth_of_its_life_is_left(life: int, expected: int) -> None:
    moments = Time()
    switches = Switches(rate=None, token_seconds=life, health_seconds=0)
    with Simulator(make_tenant(12), switches, clock=moments.wall) as simulator:
        source_id = next(iter(simulator.tenant.schedules))

        async def work(isc: Isc) -> None:
            for _ in range(100):
                await isc.source(source_id, priority=Priority.ENTER)
                moments.now += 1.0

        run(simulator, work, time=moments)
        assert tokens(simulator) == expected
        assert all(one.status == 200 for one in simulator.log)


def test_tokens_that_live_a_second_are_enough_even_in_a_queue() -> None:
    with Simulator(make_tenant(12), Switches(rate=None, token_seconds=1)) as simulator:
        source_id = next(iter(simulator.tenant.schedules))
        run(simulator, reading(source_id, 30), rate=12, period=0.6)
        assert 2 <= tokens(simulator) <= 4
        assert simulator.count("GET") - 3 <= 30


def test_a_token_kept_warm_is_fetched_once(simulator: Simulator, source_id: str) -> None:
    async def work(isc: Isc) -> None:
        await isc.token()
        await isc.token()
        await isc.source(source_id, priority=Priority.ENTER)

    run(simulator, work)
    assert [one.method for one in simulator.log] == ["POST", "GET"]


def test_a_revoked_token_is_replaced_once_for_all_who_used_it(simulator: Simulator, source_id: str) -> None:
    async def work(isc: Isc) -> None:
        await isc.token()
        simulator.clients.revoke()
        await reading(source_id, 20)(isc)

    run(simulator, work)
    assert tokens(simulator) == 2
    assert simulator.count("GET") == 40


def test_a_change_refused_for_its_token_is_sent_again(simulator: Simulator, source_id: str) -> None:
    async def work(isc: Isc) -> bool:
        await isc.token()
        simulator.clients.revoke()
        changed, _ = await isc.patch_source(source_id, MARK, priority=Priority.ENTER)
        return changed is not None and changed.marked

    assert run(simulator, work)
    assert [one.status for one in simulator.mutations] == [401, 200]


def test_a_secret_that_was_replaced_is_read_again(simulator: Simulator, source_id: str) -> None:
    async def work(isc: Isc) -> None:
        await isc.token()
        simulator.clients.revoke()
        simulator.client_secret = simulator.clients.secrets[simulator.client_id] = "another"
        await isc.source(source_id, priority=Priority.ENTER)

    run(simulator, work)
    assert tokens(simulator) == 2


def test_wrong_credentials_are_denied_and_not_tried_in_a_row(simulator: Simulator, source_id: str) -> None:
    moments = Time()
    secrets = ["wrong"]

    async def work(isc: Isc) -> None:
        for _ in range(3):
            outcomes = await asyncio.gather(
                *(isc.source(source_id, priority=Priority.ENTER) for _ in range(10)), return_exceptions=True
            )
            assert all(isinstance(one, Denied) for one in outcomes)
            assert "client_id" in str(getattr(outcomes[0], "hint", ""))
            assert "does not accept the credentials for" in str(outcomes[0])
            assert "wrong" not in repr(outcomes)
        assert tokens(simulator) == 1
        moments.now += 5.0
        secrets[0] = simulator.client_secret
        await isc.source(source_id, priority=Priority.ENTER)

    run(simulator, work, time=moments, secret=lambda: secrets[0])
    assert tokens(simulator) == 2


def test_a_fresh_token_that_is_refused_too_is_denied_without_a_storm(
    simulator: Simulator, source_id: str
) -> None:
    moments = Time()
    simulator.faults.append(Rule(faults.fail(401, body=b'{"error": "no"}'), "GET", "/sources/"))

    async def work(isc: Isc) -> None:
        for _ in range(10):
            with pytest.raises(Denied):
                await isc.source(source_id, priority=Priority.ENTER)

    run(simulator, work, time=moments)
    assert tokens(simulator) == 2


@pytest.mark.parametrize(
    ("trouble", "pause"),
    [
        (faults.fail(500), PAUSE),
        (faults.html(503), PAUSE),
        (faults.fail(200, body=b"{"), PAUSE),
        (faults.fail(429), PAUSE),
        # It was most likely not reached, and that may be over in a moment.
        (faults.drop(), UNREACHED_PAUSE),
        (faults.truncate(), UNREACHED_PAUSE),
    ],
)
def test_a_token_endpoint_in_trouble_is_left_alone_for_a_while(
    simulator: Simulator, source_id: str, trouble: faults.Action, pause: float
) -> None:
    moments = Time()
    asked: list[float] = []
    simulator.faults.append(Rule(faults.run(lambda: asked.append(moments.now)), "POST", "/oauth/token"))
    simulator.faults.append(Rule(trouble, "POST", "/oauth/token", nth=1, times=2))
    run(simulator, reading(source_id, 20), time=moments)
    assert len(asked) == 3
    assert min(asked[1] - asked[0], asked[2] - asked[1]) >= pause


def test_without_a_token_endpoint_a_change_is_unreachable_never_unknown(
    simulator: Simulator, source_id: str
) -> None:
    simulator.faults.append(Rule(faults.drop(), "POST", "/oauth/token"))
    moments = Time()
    error = failure(simulator, marking(source_id), time=moments)
    assert isinstance(error, Unreachable)
    assert not simulator.mutations
    assert tokens(simulator) <= 1 + moments.now / UNREACHED_PAUSE


def test_an_old_token_serves_to_its_end_when_no_new_one_is_to_be_had() -> None:
    moments = Time()
    switches = Switches(rate=None, token_seconds=100, health_seconds=0)
    with Simulator(make_tenant(12), switches, clock=moments.wall) as simulator:
        source_id = next(iter(simulator.tenant.schedules))
        simulator.faults.append(Rule(faults.fail(500), "POST", "/oauth/token", nth=2, times=99))

        async def work(isc: Isc) -> None:
            await isc.token()
            for _ in range(19):
                moments.now = min(moments.now + 6.0, 99.0)
                await isc.source(source_id, priority=Priority.ENTER)

        run(simulator, work, time=moments)
        assert 2 <= tokens(simulator) <= 5


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b'{"access_token": ""}',
        b'{"access_token": "a\\nb"}',
        b'{"access_token": "\\u00e9"}',
        b'{"access_token": 1}',
    ],
)
def test_an_answer_without_a_usable_token_is_garbled(
    simulator: Simulator, source_id: str, body: bytes
) -> None:
    simulator.faults.append(Rule(faults.fail(200, body=body), "POST", "/oauth/token"))
    assert isinstance(failure(simulator, reading(source_id), time=Time()), Garbled)


@pytest.mark.parametrize(
    "life",
    [
        b"",
        b', "expires_in": "749"',
        b', "expires_in": 0',
        b', "expires_in": null',
        b', "expires_in": "soon"',
        b', "expires_in": -1',
    ],
)
def test_any_life_that_isc_may_tell_is_taken(simulator: Simulator, source_id: str, life: bytes) -> None:
    token = simulator.clients.issue(
        simulator.client_id,
        simulator.client_secret,
        now=datetime.max.replace(tzinfo=UTC) - timedelta(days=9),
        seconds=60,
    )
    assert token
    body = b'{"access_token": "' + token.encode() + b'"' + life + b"}"
    simulator.faults.append(Rule(faults.fail(200, body=body), "POST", "/oauth/token"))
    run(simulator, reading(source_id, 3))
    assert tokens(simulator) == 1
