"""The lock beside the database: one mmd works on the tenant at a time; the kernel frees it on any death."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING, Final

from mmd.errors import Conflict, MmdError, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import TextIO

COMMAND: Final = ", a command"  # ends the lock's text where it is not the daemon that holds it


class Taken(Conflict):
    """Another process holds the lock of the database; `holder` says which."""

    def __init__(self, holder: str) -> None:
        super().__init__(
            f"mmd is already running on this database ({holder or 'another process'})",
            hint="wait for its end"
            if holder.endswith(COMMAND)
            else "one daemon per database; `mmd status` shows what it does",
        )
        self.holder = holder


@contextlib.contextmanager
def only_one(database: Path, role: str = "") -> Iterator[None]:
    """Keep a second mmd from working on the same database; the kernel frees the lock on any death.

    `role` is what to write behind the process's number: COMMAND, or nothing for the daemon.

    Raises:
        Taken: another process holds it.
        NotFound: the database's folder does not exist.
        MmdError: nothing can be written there, or this system has no such locks.
    """
    try:
        import fcntl  # noqa: PLC0415 - not on every platform, and commands import this module
    except ImportError:
        raise MmdError("this system has no locks that mmd knows", hint="run mmd on Linux") from None
    path = _path(database)
    if not path.parent.is_dir():
        raise NotFound(f"there is no folder {path.parent}", hint=f"mkdir -p {path.parent}")
    with _opened(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Taken(file.read().strip()) from None
        file.truncate(0)
        file.write(f"pid {os.getpid()} on {socket.gethostname()}{role}")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _opened(path: Path) -> TextIO:
    try:
        return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+")
    except OSError as error:
        raise MmdError(
            f"{path} cannot be written: {error.strerror}",
            hint=f"look whose it is, and whether there is room: ls -ld {path.parent}; df {path.parent}",
        ) from error


def is_held_by_daemon(pid: int, database: Path) -> bool:
    """Whether the lock that a daemon holds while it lives is held, and by this process."""
    import fcntl  # noqa: PLC0415 - not on every platform; where it is not, no daemon ran

    try:
        with _path(database).open() as file:
            holder = file.read()
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return holder.startswith(f"pid {pid} ") and not holder.endswith(COMMAND)
    except OSError:
        return False
    return False


def _path(database: Path) -> Path:
    return database.with_name(f"{database.name}.lock")
