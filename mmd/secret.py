"""A value that must not be shown: client secret, alert URL, token."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final, final

from mmd.errors import ConfigError

# Non-blocking, so that a FIFO is refused rather than waited for; not every platform has that.
_READ: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_ALONE: Final = "it must hold the secret alone, on one line"


@final
class Secret:
    """Text that prints as asterisks; only `reveal()` gives it away, so that each place doing so can be found.

    Not a dataclass on purpose: `dataclasses.asdict` of a configuration would lay the text open.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the one call that needs it; never for a message, a log or a report."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __repr__(self) -> str:
        return "**********"

    __str__ = __repr__


def from_file(file: Path, *, private: bool) -> Secret:
    """The secret in `file`; `private`: refused unless only its owner, us or root, can read it.

    Raises ConfigError.
    """
    try:
        with os.fdopen(os.open(file, _READ), "rb") as opened:
            _check(file, os.fstat(opened.fileno()), private=private)
            return from_text(opened.read(65536).decode(), str(file))
    except UnicodeDecodeError:
        raise ConfigError(f"{file} is not UTF-8 text", hint=_ALONE) from None
    except OSError as error:
        raise ConfigError(
            f"the client secret in {file} cannot be read: {error.strerror}",
            hint=f"put it there, for your eyes only: (umask 077; cat > {file})",
        ) from None


def from_text(text: str, place: str) -> Secret:
    """The secret in `text`, without the line end an editor leaves; `place` names it. Raises ConfigError."""
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise ConfigError(f"the client secret in {place} is empty", hint=_ALONE)
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ConfigError(
            f"the client secret in {place} has spaces, line breaks or odd characters", hint=_ALONE
        )
    return Secret(text)


def _check(file: Path, status: os.stat_result, *, private: bool) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(
            f"{file} is not a regular file, so it is not read as the client secret",
            hint="name a file that holds the secret in [tenant] client_secret_file",
        )
    if not private or os.name != "posix":  # elsewhere modes say nothing
        return
    if status.st_mode & 0o077:
        raise ConfigError(
            f"{file} holds the client secret and is open to others (mode {stat.S_IMODE(status.st_mode):04o})",
            hint=f"chmod 600 {file}",
        )
    if status.st_uid not in {0, os.geteuid()}:
        raise ConfigError(
            f"{file} holds the client secret and belongs to another user (id {status.st_uid})",
            hint=f"chown it to user {os.geteuid()} or to root",
        )
