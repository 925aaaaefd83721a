"""Killed, or left without an answer, at every request both ways (reliability.md 2.3 A1, B1, B2, B16).

Each run is one source, one fault, and then healthy lives: the source is back as it was, whole, every time.
"""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from forker import Forker, side_by_side
from wards import KINDS, SHAPES, Ward, Wards, tenant, until

from mmd.simulator import faults
from mmd.simulator.faults import Action, Proceed
from mmd.simulator.wire import Call, Dropped, Reply

pytestmark = pytest.mark.slow

# Requests in one life each way: token, page, two reads, changes, two reads, another page.
REQUESTS = {"two schedules": 11, "flags as text": 11, "one schedule, flags absent": 10}
FAULTS = ("killed, applied", "killed, lost", "dropped before", "dropped after", "truncated")


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes wrong when: at the nth request of the way in, or of the way out."""

    fault: str
    shape: str
    entering: bool
    nth: int


def plans(fault: str) -> list[Plan]:
    return [
        Plan(fault, shape, entering, nth)
        for shape, entering in itertools.product(SHAPES, (True, False))
        for nth in range(1, REQUESTS[shape] + 1)
    ]


def action(plan: Plan, forker: Forker) -> Action:
    kill = forker.kill(signal.SIGKILL)
    match plan.fault:
        case "killed, applied":
            return faults.run(kill)
        case "killed, lost":
            return _kill_and_drop(kill)
        case "dropped before":
            return faults.drop()
        case "dropped after":
            return faults.drop(after=True)
        case _:
            return faults.truncate(0)


def _kill_and_drop(kill: Callable[[], object]) -> Action:
    def act(_call: Call, _proceed: Proceed) -> Reply:
        kill()
        raise Dropped

    return act


def suffer(plan: Plan, ward: Ward, forker: Forker) -> None:
    """One run: the fault, and healthy lives after it until the source is what it was."""
    ward.open_window()
    if not plan.entering:
        ward.pass_by()
        assert ward.in_maintenance
        ward.close_window()
    rule = ward.fault(action(plan, forker), nth=plan.nth)
    code = ward.live(forker)
    assert rule.fired == 1, f"{plan}: nothing happened in {ward.requests()}"
    assert (code == -signal.SIGKILL) == plan.fault.startswith("killed"), f"{plan}: {code} {ward.told()}"
    if plan.entering:
        # Somebody comes back within the window, or only after its end.
        if plan.nth % 2:
            until(lambda: ward.in_maintenance, lambda: ward.live(forker), times=2)
        ward.close_window()
    until(lambda: ward.restored and ward.released, lambda: ward.live(forker), times=2)
    assert "Traceback" not in ward.told()


@pytest.fixture
def wards(tmp_path: Path) -> Iterator[Wards]:
    with tenant(sources=KINDS * 2 * max(REQUESTS.values())) as sim:
        yield Wards(sim, tmp_path)


@pytest.mark.parametrize("fault", FAULTS)
def test_everything_is_back_after_a_fault_at_any_request(
    wards: Wards, fault: str, tally: Callable[[str, int], None]
) -> None:
    planned = plans(fault)
    assert len(planned) == 64  # 320 with the other faults
    side_by_side(lambda forker, plan: suffer(plan, wards.take(plan.shape), forker), planned)
    tally("T6 real processes", len(planned))
