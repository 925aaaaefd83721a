"""The project's own files agree with each other, and make speaks plainly where it cannot go on."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import mmd

ROOT = Path(__file__).parents[2]
LOCKS = ["run.txt", "dev.txt"]


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9-]", line)[0] for line in requirements if line[:1].isalnum()}


def wanted(file: str) -> set[str]:
    return names((ROOT / "requirements" / file).read_text("utf-8").splitlines())


def pins(lock: str) -> dict[str, str]:
    text = (ROOT / "requirements" / lock).read_text("utf-8")
    return dict(re.findall(r"^([a-z0-9-]+)(?:\[[a-z,]+\])?==(\S+) \\$", text, re.MULTILINE))


def test_the_version_is_one() -> None:
    assert pyproject()["project"]["version"] == mmd.__version__


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes_and_the_lock_names_no_host_or_path(lock: str) -> None:
    text = (ROOT / "requirements" / lock).read_text("utf-8")
    assert all("--hash=sha256:" in part for part in text.split("==")[1:])
    assert not re.search(r"://|--(extra-)?index-url|--find-links|--trusted-host|(^|\s)/\w", text)


def test_the_locks_pin_what_is_asked_for_and_agree() -> None:
    runtime = names(pyproject()["project"]["dependencies"]) | wanted("build.in")
    run, dev = pins("run.txt"), pins("dev.txt")
    assert runtime <= set(run)
    assert wanted("dev.in") <= set(dev)
    assert run.items() <= dev.items()


def test_every_dependency_is_explained() -> None:
    explained = set(re.findall(r"`([\w-]+)`", (ROOT / "docs/dependencies.md").read_text("utf-8")))
    assert names(pyproject()["project"]["dependencies"]) | wanted("build.in") | wanted("dev.in") <= explained


def test_every_ignored_rule_has_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    listed = text.partition("\nignore = [\n")[2].partition("\n]")[0].splitlines()
    assert len(listed) > 10
    assert all("  # " in line or '", # ' in line for line in listed)


def test_the_wheel_has_the_migrations_and_the_example(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    files = zipfile.ZipFile(wheel).namelist()
    assert {"mmd/config.example.toml", "mmd/migrations/env.py", "mmd/py.typed"} <= set(files)


@pytest.mark.parametrize(
    ("python", "sentence"),
    [
        ("exit 1", "is not Python 3.11 or newer"),
        ('case "$2" in *ensurepip*) exit 1;; esac', "has no venv"),
    ],
)
@pytest.mark.skipif(shutil.which("make") is None, reason="NOT RUN: make is not installed here")
def test_make_says_in_one_sentence_what_is_missing(tmp_path: Path, python: str, sentence: str) -> None:
    for needed in ("Makefile", "pyproject.toml", "requirements"):
        (tmp_path / needed).symlink_to(ROOT / needed)
    other = tmp_path / "other-python"
    other.write_text(f"#!/bin/sh\n{python}\n")
    other.chmod(0o755)
    result = subprocess.run(
        ["make", "--silent", f"PYTHON={other}", "demo"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert f"{other} {sentence}" in result.stderr.splitlines()[0]
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize(
    ("told", "exits", "code"),
    [
        ("No known vulnerabilities found", 0, 0),
        ("Found 2 known vulnerabilities in 1 package", 1, 1),
        ("ERROR: Dependency not found and could not be audited: alembic (1.20.1)", 1, 3),
        ("requests.exceptions.ConnectionError: nobody there", 1, 3),
    ],
)
def test_an_audit_that_nobody_answers_is_never_green(
    tmp_path: Path, told: str, exits: int, code: int
) -> None:
    auditor = tmp_path / "pip-audit"
    auditor.write_text(f"#!/bin/sh\necho '{told}'\nexit {exits}\n")
    auditor.chmod(0o755)
    done = subprocess.run([ROOT / ".ci/audit", auditor], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert ("AUDIT NOT RUN" in done.stderr) == (code == 3)
