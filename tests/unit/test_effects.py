"""What the effects measure by."""

from __future__ import annotations

import time

import pytest

from mmd.effects import elapsed


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="NOT RUN: this system does not count it")
def test_a_read_grows_old_while_the_machine_is_suspended(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = {time.CLOCK_BOOTTIME: 100.0, time.CLOCK_MONOTONIC: 40.0}  # a minute of it suspended
    monkeypatch.setattr(time, "clock_gettime", counted.__getitem__)
    assert elapsed() == 100.0


def test_without_such_a_clock_it_is_the_monotonic_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    monkeypatch.setattr(time, "monotonic", lambda: 40.0)
    assert elapsed() == 40.0
