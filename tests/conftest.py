"""What every test has: Hypothesis profiles, and the count of each kind and of each tier at the end."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import PurePath

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("dev", deadline=None, max_examples=50)
# A slow machine is no finding.
settings.register_profile("ci", deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
# For those who package mmd: the same examples each time.
settings.register_profile("deterministic", parent=settings.get_profile("ci"), derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if "CI" in os.environ else "dev"))


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Callable[[str, int], None]:
    """Count runs of a tier of the proof (docs/reliability.md); the sums are printed at the end."""
    return lambda tier, runs: record_property("runs", [tier, runs])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many tests of each kind passed, by the folder they are in; how many runs of each tier."""
    passed = terminalreporter.stats.get("passed", [])
    kinds = Counter(PurePath(report.nodeid).parts[1] for report in passed if report.when == "call")
    counts = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
    terminalreporter.write_line(f"passed: {counts or 'none'}")
    runs: Counter[str] = Counter()
    for report in passed:
        for name, value in report.user_properties:
            if name == "runs":
                runs[value[0]] += value[1]
    for tier, count in sorted(runs.items()):
        terminalreporter.write_line(f"{tier}: {count:,} runs")
