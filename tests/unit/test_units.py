"""The systemd units: systemd itself has nothing to say against them, and they open no more than they must."""

from __future__ import annotations

import difflib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNITS = ["mmd.service", "mmd@.service"]

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="NOT RUN: systemd-analyze is not installed here"
)


def analyze(folder: Path, unit: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`systemd-analyze` on a copy of the unit whose program exists on this machine."""
    copy = folder / unit.replace("@", "@sandbox")
    text = (SYSTEMD / unit).read_text("utf-8")
    copy.write_text(text.replace("ExecStart=/opt/mmd/bin/mmd", "ExecStart=/bin/true"))
    command = ["systemd-analyze", "--no-pager", *arguments, str(copy)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@needs_systemd
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_nothing_wrong(tmp_path: Path, unit: str) -> None:
    result = analyze(tmp_path, unit, "verify")
    # A misspelt key is only "ignored", with exit code 0: any word at all is a failure.
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@needs_systemd
@pytest.mark.parametrize("unit", UNITS)
def test_exposure_is_at_most_one_and_a_half(tmp_path: Path, unit: str) -> None:
    result = analyze(tmp_path, unit, "security", "--offline=true")
    exposure = re.search(r"exposure level for \S+: ([0-9.]+)", result.stdout)
    assert exposure is not None, result.stderr
    assert float(exposure[1]) <= 1.5


def test_the_units_differ_only_in_what_names_the_instance() -> None:
    one, other = ((SYSTEMD / unit).read_text("utf-8").partition("[Unit]")[2].splitlines() for unit in UNITS)
    added = [line[2:] for line in difflib.ndiff(one, other) if line.startswith("+ ")]
    assert len(added) == 4
    assert all("%i" in line for line in added)


@pytest.mark.parametrize("unit", UNITS)
def test_the_daemon_is_told_what_it_relies_on(unit: str) -> None:
    lines = (SYSTEMD / unit).read_text("utf-8").splitlines()
    for needed in ("Type=notify", "NotifyAccess=main", "DynamicUser=yes", "Restart=on-failure", "UMask=0077"):
        assert needed in lines
    assert any(line.startswith("LoadCredential=client_secret:/etc/mmd/") for line in lines)
    assert any(line.startswith("WatchdogSec=") for line in lines)
