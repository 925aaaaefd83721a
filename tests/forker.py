"""Starts mmd again and again without importing it again: a program, and the class that talks to it.

Each life is a process of its own, made by fork(2) from one that has everything imported, so that it begins
within milliseconds and hundreds fit into a minute. What it then does is the real command line's.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self, TypeVar

T = TypeVar("T")

MODULES = (
    "mmd.cli.schedule",
    "mmd.cli.service",
    "mmd.cli.workshop",
    "mmd.daemon",
    "mmd.desk",
    "mmd.isc",
    "mmd.notify",
    "mmd.publish",
    "mmd.store",
    # What these import only when they need it.
    "anyio._backends._asyncio",
    "certifi",
    "httpcore",
)


class Forker:
    """Runs one life after the other. Use one per thread; `borrowed` gives one that is running already."""

    def __init__(self, *prefix: str) -> None:
        """Start the program; `prefix` is what to start it through, such as strace or faketime."""
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-c", "import forker; forker.serve()"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._hear()  # 0: everything is imported
        self.born = threading.Event()
        self.alive = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the program, and a life that is left."""
        self.stop()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def begin(
        self,
        *arguments: str,
        log: Path,
        environment: Mapping[str, str],
        file_size: int | None = None,
        call: str = "mmd.cli:main",
    ) -> int:
        """Start a life; return its process id.

        No file of its may grow beyond `file_size` bytes. `call` is what gets the arguments.
        """
        self.born.clear()
        self._say(
            {
                "arguments": arguments,
                "log": str(log),
                "environment": dict(environment),
                "file_size": file_size,
                "call": call,
            }
        )
        self.pid, self.alive = self._hear(), True
        self.born.set()
        return self.pid

    def end(self) -> int:
        """Wait for the life's end; return its exit code, negative for a signal."""
        code = self._hear()
        self.alive = False
        return code

    def stop(self) -> None:
        """End a life that a failed test has left behind, if it has not ended by itself."""
        if self.alive:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.end()

    def kill(self, number: int) -> Callable[[], None]:
        """Return what sends the present life a signal, once there is one."""

        def send() -> None:
            assert self.born.wait(10)
            os.kill(self.pid, number)

        return send

    def _say(self, order: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def _hear(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


_idle: list[Forker] = []


@contextmanager
def borrowed() -> Iterator[Forker]:
    """A forker that the next test uses again: each takes most of a second to start, and some 60 MB."""
    try:
        forker = _idle.pop()
    except IndexError:
        forker = Forker()
    try:
        yield forker
    finally:
        forker.stop()
        _idle.append(forker)


@atexit.register
def _end_the_idle() -> None:
    for forker in _idle:
        forker.close()


def side_by_side(run: Callable[[Forker, T], None], items: Iterable[T], *, forkers: int = 8) -> None:
    """Run each item with a forker of its own, so many at a time; the first failure is raised."""

    def with_its_own(item: T) -> None:
        with borrowed() as forker:
            run(forker, item)

    with ThreadPoolExecutor(forkers) as pool:
        list(pool.map(with_its_own, items))


def serve() -> None:
    """Read orders until there are none; answer each with a process id and then an exit code."""
    for module in MODULES:
        importlib.import_module(module)
    print(0, flush=True)  # noqa: T201 - ready
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            live(order)
        print(pid, flush=True)  # noqa: T201 - the answer
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201 - as above


def live(order: dict[str, Any]) -> None:
    """Be mmd, or what else is called, until its end."""
    module, _, name = order["call"].partition(":")
    call = getattr(importlib.import_module(module), name)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for old, new in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(old, new)
    os.environ.update(order["environment"])
    if order["file_size"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["file_size"], order["file_size"]))
    code: Any = 1
    try:
        call(list(order["arguments"]))
    except SystemExit as left:
        code = left.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0)
