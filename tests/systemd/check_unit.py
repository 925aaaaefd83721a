"""The unit as it is shipped, under a real systemd in a container of its own: `make test-systemd`.

Needs root, debootstrap and systemd-nspawn (Debian: apt install debootstrap systemd-container), a mirror of
Debian, and some minutes for the first time; what is built is kept for the next. Not part of `make test`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
BASE = Path(os.environ.get("MMD_SYSTEMD_ROOT", "/var/tmp/mmd-systemd"))  # noqa: S108 - root's, and kept
TOOLS = ("debootstrap", "systemd-nspawn", "nsenter", "unshare")
PORT = 8080
DROP_IN = "[Service]\nWatchdogSec=4s\nRestartSec=1s\n"
PROGRAM = """#!/usr/bin/python3
import sys
sys.path.insert(0, "/opt/mmd/lib")
from mmd.cli import main
main()
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(map(shutil.which, TOOLS)),
        reason=f"NOT RUN: needs root and {', '.join(TOOLS)}",
    ),
]


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def build(root: Path) -> None:
    """A small Debian, once; and in it mmd as it is now."""
    if not (root / "opt/mmd/lib/httpx").exists():
        packages = "systemd,systemd-sysv,dbus,python3,ca-certificates"
        if not (root / "usr/bin/python3").exists():
            run("debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(root))
        locked = str(REPOSITORY / "requirements/run.txt")
        target = ("--target", str(root / "opt/mmd/lib"), "--python-version", "3.11", "--only-binary=:all:")
        run(sys.executable, "-m", "pip", "install", "--quiet", *target, "--require-hashes", "-r", locked)
    wheels = BASE / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    (wheel,) = wheels.glob("*.whl")
    shutil.rmtree(root / "opt/mmd/lib/mmd", ignore_errors=True)
    zipfile.ZipFile(wheel).extractall(root / "opt/mmd/lib")
    program = root / "opt/mmd/bin/mmd"
    program.parent.mkdir(exist_ok=True)
    program.write_text(PROGRAM)
    program.chmod(0o755)
    for unit in (REPOSITORY / "systemd").glob("*.service"):
        shutil.copy(unit, root / "etc/systemd/system")
    for old in ("etc/mmd", "var/lib/mmd", "var/lib/private/mmd", "etc/systemd/system/mmd.service.d"):
        path = root / old
        path.unlink() if path.is_symlink() else shutil.rmtree(path, ignore_errors=True)


class Machine:
    """The container, once it has come up."""

    def __init__(self, root: Path, pid: int) -> None:
        self.root = root
        self._enter = ("nsenter", "-t", str(pid), "-m", "-p", "-i", "-u", "-n", "-C", "--")
        self.secret = ""

    def __call__(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "MMD_TENANT__CLIENT_SECRET": self.secret}
        done = subprocess.run(
            [*self._enter, *command], check=False, capture_output=True, text=True, env=environment
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout} {done.stderr}"
        return done

    def mmd(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self("/opt/mmd/bin/mmd", "--config", "/etc/mmd/config.toml", *words, check=check)

    def show(self, name: str) -> str:
        return self("systemctl", "show", "--value", "-p", name, "mmd").stdout.strip()

    def wait(self, happened: Callable[[], bool], within: float = 30) -> None:
        begun = time.monotonic()
        while not happened():
            log = self("journalctl", "--no-pager", "-n", "30", "-u", "mmd", check=False).stdout
            assert time.monotonic() - begun < within, log
            time.sleep(0.2)

    def posture(self, name: str) -> str:
        """Where the tenant's own state is to be seen: what mmd reads of it."""
        found = self.mmd("sources", "--live", "-o", "csv").stdout
        return next(line for line in found.splitlines() if name in line)


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    root = BASE / "root"
    BASE.mkdir(exist_ok=True)
    try:
        build(root)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"NOT RUN: {error.cmd[0]} failed: {str(error.stderr)[-300:]}")
    nspawn = (
        f"mount -t tmpfs tmpfs /run && exec systemd-nspawn -q -D {root} --boot --register=no --keep-unit "
        "--private-network --console=pipe"
    )
    with subprocess.Popen(
        ["unshare", "-m", "--propagation", "private", "sh", "-c", nspawn],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            made = Machine(root, _systemd(process.pid))
            state = ("systemctl", "is-system-running")
            made.wait(lambda: made(*state, check=False).stdout.strip() in {"running", "degraded"})
            furnish(made)
            yield made
        finally:
            process.terminate()


def _systemd(pid: int) -> int:
    """The process id of the container's systemd: the child of nspawn, and of what is nspawn only later."""
    for _ in range(100):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with suppress(OSError):  # the mount that came before, and is done
                if Path(f"/proc/{child}/comm").read_text().strip() in {"systemd", "init"}:
                    return int(child)
        time.sleep(0.1)
    raise AssertionError("the container did not come up")


def furnish(machine: Machine) -> None:
    """A tenant beside it, slow enough to be met at work, and the configuration that the unit asks for."""
    log = machine.root / "root/simulator.log"
    log.unlink(missing_ok=True)
    log.touch()
    properties = ("-p", "StandardError=file:/root/simulator.log")
    simulate = ("/opt/mmd/bin/mmd", "simulate", "--port", str(PORT), "--latency", "0.3")
    machine("systemd-run", "--unit=tenant", *properties, *simulate)
    machine.wait(lambda: "--client-id" in log.read_text())
    secret, client_id = (re.search(p, log.read_text()) for p in (r"SECRET=(\w+)", r"--client-id (\w+)"))
    assert secret
    assert client_id
    machine.secret = secret[1]
    folder = machine.root / "etc/mmd"
    folder.mkdir(mode=0o755)
    (folder / "client_secret").write_text(secret[1] + "\n")
    (folder / "client_secret").chmod(0o600)
    (folder / "config.toml").write_text(
        f'[tenant]\nbase_url = "http://127.0.0.1:{PORT}"\nclient_id = "{client_id[1]}"\n'
        '[database]\nurl = "sqlite:////var/lib/mmd/mmd.db"\n[reports]\ndirectory = "/var/lib/mmd/reports"\n'
        '[reconcile]\ninterval = "2s"\n'
    )
    (folder / "config.toml").chmod(0o600)
    drop_in = machine.root / "etc/systemd/system/mmd.service.d"
    drop_in.mkdir()
    (drop_in / "test.conf").write_text(DROP_IN)
    machine("systemctl", "daemon-reload")


def test_it_is_ready_and_says_what_it_does(machine: Machine) -> None:
    machine("systemctl", "start", "mmd")  # returns when READY=1 was said
    assert machine.show("ActiveState") == "active"
    assert machine.show("StatusText")
    assert machine.show("NRestarts") == "0"


def test_it_is_nobody_and_owns_only_its_directory(machine: Machine) -> None:
    pid = machine.show("MainPID")
    status = machine("cat", f"/proc/{pid}/status").stdout
    assert not re.search(r"^Uid:\s+0\b", status, re.MULTILINE)
    assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
    assert re.search(r"^Seccomp:\s+2$", status, re.MULTILINE)
    assert machine("stat", "-c", "%a", "/var/lib/private/mmd").stdout.strip() == "700"
    assert machine("stat", "-c", "%a", "/var/lib/mmd/mmd.db").stdout.strip() == "600"
    environment = machine("cat", f"/proc/{pid}/environ").stdout
    assert machine.secret not in environment
    assert "CREDENTIALS_DIRECTORY" in environment


def test_commands_of_root_work_beside_it(machine: Machine) -> None:
    machine.mmd("start", "Salesforce", "--for", "1h", "--reason", "patching")
    machine.wait(lambda: '"posture": "maintenance"' in machine.mmd("status", "-o", "json").stdout)
    machine.mmd("restore", "Salesforce", "--yes")
    assert "maintenance" not in machine.posture("Salesforce")
    assert machine.show("NRestarts") == "0"


def test_a_stop_in_the_middle_of_entering_is_clean_and_the_next_start_goes_on(machine: Machine) -> None:
    machine.mmd("start", "Workday", "--for", "1h", "--reason", "patching")
    time.sleep(1.2)
    begun = time.monotonic()
    machine("systemctl", "stop", "mmd")
    assert time.monotonic() - begun < 10
    assert machine.show("Result") == "success"
    assert machine.show("ExecMainStatus") == "0"
    machine("systemctl", "start", "mmd")
    machine.wait(lambda: '"posture": "maintenance"' in machine.mmd("status", "-o", "json").stdout)


def test_the_watchdog_kills_it_when_it_hangs_and_it_comes_back(machine: Machine) -> None:
    before, pid = int(machine.show("NRestarts")), machine.show("MainPID")
    machine("systemctl", "kill", "--kill-whom=main", "--signal=SIGSTOP", "mmd")
    machine.wait(lambda: int(machine.show("NRestarts")) > before, within=40)
    machine.wait(lambda: machine.show("ActiveState") == "active", within=40)
    assert "Watchdog timeout" in machine("journalctl", "--no-pager", "-u", "mmd").stdout
    assert machine.show("MainPID") != pid


def test_it_comes_back_after_sigkill_and_restores_what_is_due(machine: Machine) -> None:
    before = int(machine.show("NRestarts"))
    machine("systemctl", "kill", "--kill-whom=main", "--signal=SIGKILL", "mmd")
    machine.wait(lambda: int(machine.show("NRestarts")) > before)
    machine.wait(lambda: machine.show("ActiveState") == "active")
    (window,) = machine.mmd("schedule", "list", "-o", "id").stdout.split()[-1:]
    machine.mmd("schedule", "cancel", window, "--yes", check=False)
    machine.wait(lambda: "maintenance" not in machine.posture("Workday"))
    assert machine.secret not in machine("journalctl", "--no-pager", "-u", "mmd").stdout
