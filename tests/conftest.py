"""What every test has: Hypothesis profiles, and the count of each kind at the end."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import PurePath

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("dev", deadline=None)
# A slow machine is no finding.
settings.register_profile("ci", deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
# For those who package mmd: the same examples each time.
settings.register_profile("deterministic", parent=settings.get_profile("ci"), derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if "CI" in os.environ else "dev"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many tests of each kind passed, by the folder they are in."""
    passed = terminalreporter.stats.get("passed", [])
    kinds = Counter(PurePath(report.nodeid).parts[1] for report in passed if report.when == "call")
    counts = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
    terminalreporter.write_line(f"passed: {counts or 'none'}")
