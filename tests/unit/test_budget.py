"""The request budget, in a loop whose time jumps to the next timer."""

from __future__ import annotations

import asyncio
import selectors
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmd.isc.budget import RANK, SLACK, Budget, Priority

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

T = TypeVar("T")


class _Jumping(selectors.SelectSelector):
    """Never waits: says how long it was asked to, instead."""

    def __init__(self) -> None:
        super().__init__()
        self.waited = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        self.waited += timeout or 0.0
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.selector = _Jumping()
        super().__init__(self.selector)

    def time(self) -> float:
        return self.selector.waited


def run(scenario: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    loop = VirtualLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(asyncio.wait_for(scenario(loop), 1e6))


def budget_of(loop: VirtualLoop, rate: int, period: float = 10.0) -> Budget:
    return Budget(rate, period, clock=loop.time, sleep=asyncio.sleep)


async def use(budget: Budget, priority: Priority = Priority.ENTER, seconds: float = 0.0) -> float:
    """Send one request that takes so long; return when it was granted."""
    slot = await budget.acquire(priority)
    granted = asyncio.get_running_loop().time()
    await asyncio.sleep(seconds)
    slot.settle()
    return granted


async def spread(count: int, one: Callable[[], Awaitable[T]]) -> list[T]:
    return list(await asyncio.gather(*(one() for _ in range(count))))


def most_in_any(period: float, moments: Sequence[float]) -> int:
    ordered = sorted(moments)
    return max(bisect_right(ordered, start + period) - index for index, start in enumerate(ordered))


request = st.tuples(
    st.floats(0, 40),  # when it is wanted
    st.sampled_from(Priority),
    st.floats(0, SLACK),  # how long its answer takes
    st.floats(0, 1),  # where in that time, but for its way back, ISC counts it
)


@given(rate=st.integers(1, 12), requests=st.lists(request, min_size=1, max_size=60))
@settings(max_examples=100)
def test_no_window_of_a_period_ever_has_more_than_the_rate_by_isc_s_count(
    rate: int, requests: list[tuple[float, Priority, float, float]]
) -> None:
    way_back = min(seconds for _, _, seconds, _ in requests) / 2

    async def scenario(loop: VirtualLoop) -> list[float]:
        budget = budget_of(loop, rate)

        for _ in range(25):  # so that it knows the network
            await use(budget, seconds=2 * way_back)
        await asyncio.sleep(20)

        async def one(at: float, priority: Priority, seconds: float, share: float) -> float:
            await asyncio.sleep(at)
            return await use(budget, priority, seconds) + (seconds - way_back) * share

        return list(await asyncio.gather(*(one(*item) for item in requests)))

    counted = run(scenario)
    assert len(counted) == len(requests)
    assert most_in_any(10.0 - 1e-6, counted) <= rate


def test_the_whole_rate_is_used() -> None:
    async def scenario(loop: VirtualLoop) -> list[float]:
        budget = budget_of(loop, 80)
        return await spread(300, lambda: use(budget, seconds=0.3))

    granted = run(scenario)
    assert [round(moment, 1) for moment in granted[::80]] == [0.0, 10.2, 20.3, 30.5]


def test_an_answer_that_never_comes_holds_its_place_no_longer_than_the_slack() -> None:
    async def scenario(loop: VirtualLoop) -> float:
        budget = budget_of(loop, 1)
        await budget.acquire(Priority.ENTER)
        await budget.acquire(Priority.ENTER)
        return loop.time()

    assert run(scenario) == pytest.approx(10.0 + SLACK)


def test_restores_go_first_and_equals_in_the_order_they_came() -> None:
    async def scenario(loop: VirtualLoop) -> list[str]:
        budget, order = budget_of(loop, 1), []

        async def one(name: str, priority: Priority) -> None:
            await use(budget, priority)
            order.append(name)

        wanted = [
            ("first", Priority.SWEEP),
            ("sweep", Priority.SWEEP),
            ("enter", Priority.ENTER),
            ("restore 1", Priority.RESTORE),
            ("restore 2", Priority.RESTORE),
        ]
        await asyncio.gather(*(one(*item) for item in wanted))
        return order

    assert run(scenario) == ["first", "restore 1", "restore 2", "enter", "sweep"]


def test_the_smaller_rank_goes_first_so_that_sources_are_done_one_after_the_other() -> None:
    async def scenario(loop: VirtualLoop) -> list[int]:
        budget, done = budget_of(loop, 4), []

        async def source(rank: int) -> None:
            RANK.set(rank)
            for _ in range(4):
                await use(budget)
            done.append(round(loop.time()))

        await asyncio.gather(*(source(rank) for rank in range(3)))
        return done

    assert run(scenario) == [10, 20, 20]  # not one before the last round, if all went in turn


def test_sweeps_leave_half_of_the_rate_to_what_cannot_wait() -> None:
    async def scenario(loop: VirtualLoop) -> tuple[float, list[float]]:
        budget = budget_of(loop, 10)
        sweeps = [asyncio.create_task(use(budget, Priority.SWEEP)) for _ in range(20)]
        await asyncio.sleep(1)
        assert sum(task.done() for task in sweeps) == 5
        restores = await spread(5, lambda: use(budget, Priority.RESTORE))
        return max(restores), await asyncio.gather(*sweeps)

    restored, swept = run(scenario)
    assert restored == 1.0
    assert max(swept) == pytest.approx(30.0, abs=1)


def test_verification_takes_nothing_from_work_that_is_between_two_requests() -> None:
    async def scenario(loop: VirtualLoop) -> tuple[float, float]:
        budget = budget_of(loop, 4)

        async def enter() -> float:
            return max([await use(budget, Priority.ENTER, seconds=0.3) for _ in range(3)])

        entering = [asyncio.create_task(enter()) for _ in range(2)]
        await asyncio.sleep(0.1)
        verified = await use(budget, Priority.VERIFY)
        return max(await asyncio.gather(*entering)), verified

    entered, verified = run(scenario)
    assert entered < verified < 15.0


def test_verification_does_not_wait_where_there_is_enough_for_all() -> None:
    async def scenario(loop: VirtualLoop) -> float:
        budget = budget_of(loop, 10)
        entering = [asyncio.create_task(use(budget, Priority.ENTER, seconds=5.0)) for _ in range(4)]
        await asyncio.sleep(0)
        verified = await use(budget, Priority.VERIFY)
        await asyncio.gather(*entering)
        return verified

    assert run(scenario) == 0.0


def test_an_endless_row_of_restores_does_not_starve_a_sweep() -> None:
    async def scenario(loop: VirtualLoop) -> float:
        budget = budget_of(loop, 10)
        restores = [asyncio.create_task(use(budget, Priority.RESTORE)) for _ in range(1_000)]
        await asyncio.sleep(0)
        swept = await use(budget, Priority.SWEEP)
        assert sum(task.done() for task in restores) < 100
        await asyncio.gather(*restores)
        return swept

    assert 30.0 < run(scenario) < 60.0


def test_cancelled_waiters_leave_no_hole() -> None:
    async def scenario(loop: VirtualLoop) -> list[float]:
        budget = budget_of(loop, 2)
        await spread(2, lambda: use(budget))
        doomed = [asyncio.create_task(use(budget, Priority.RESTORE)) for _ in range(50)]
        rest = [asyncio.create_task(use(budget)) for _ in range(4)]
        await asyncio.sleep(1)
        for task in doomed:
            task.cancel()
        return list(await asyncio.gather(*rest))

    assert run(scenario) == pytest.approx([10.0, 10.0, 20.0, 20.0])


def test_a_waiter_cancelled_in_the_moment_of_its_grant_gives_the_slot_back() -> None:
    async def scenario(loop: VirtualLoop) -> float:
        budget = budget_of(loop, 1)
        slot = await budget.acquire(Priority.ENTER)
        doomed = asyncio.create_task(budget.acquire(Priority.ENTER))
        heir = asyncio.create_task(use(budget))
        await asyncio.sleep(0)
        slot.give_back()  # grants it to the doomed one, who has not run yet
        doomed.cancel()
        return await heir

    assert run(scenario) == 0.0


def test_a_slot_given_back_is_free_at_once() -> None:
    async def scenario(loop: VirtualLoop) -> float:
        budget = budget_of(loop, 1)
        (await budget.acquire(Priority.ENTER)).give_back()
        return await use(budget)

    assert run(scenario) == 0.0


def test_after_a_429_nobody_sends_until_then() -> None:
    async def scenario(loop: VirtualLoop) -> list[float]:
        budget = budget_of(loop, 10)
        waiting = asyncio.create_task(spread(3, lambda: use(budget)))
        budget.penalise(42.0)
        return await waiting

    assert run(scenario) == pytest.approx([42.0, 42.0, 42.0])


def test_a_shorter_penalty_does_not_end_a_longer_one() -> None:
    async def scenario(loop: VirtualLoop) -> float:
        budget = budget_of(loop, 10)
        budget.penalise(42.0)
        budget.penalise(1.0)
        return await use(budget)

    assert run(scenario) == pytest.approx(42.0)


def test_after_a_429_the_rate_is_lower_and_comes_back_slowly() -> None:
    async def scenario(loop: VirtualLoop) -> list[int]:
        budget = budget_of(loop, 80)
        seen = [budget.ceiling]
        for _ in range(5):  # one burst of them counts once
            budget.penalise(10.0)
        for _ in range(4):
            seen.append(budget.ceiling)
            await asyncio.sleep(30.0)
        return seen

    assert run(scenario) == [80, 56, 64, 76, 80]


def test_however_many_429s_come_a_share_of_the_rate_is_left() -> None:
    async def scenario(loop: VirtualLoop) -> int:
        budget = budget_of(loop, 80)
        for _ in range(50):
            budget.penalise(1.0)
            await asyncio.sleep(1.0)
        return budget.ceiling

    assert run(scenario) == 20


def test_closing_ends_the_wait_of_everybody() -> None:
    async def scenario(loop: VirtualLoop) -> bool:
        budget = budget_of(loop, 1)
        await use(budget)
        waiting = asyncio.create_task(use(budget))
        await asyncio.sleep(1)
        budget.close()
        await asyncio.wait([waiting])
        return waiting.cancelled()

    assert run(scenario)
