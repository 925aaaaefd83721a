"""Logging: set up once by an entry point; lines to stderr, console on a terminal, JSON otherwise.

Nothing secret gets through, and no value can pretend to be a line of its own: source names, reasons and error
bodies come from elsewhere. Logging never raises, because a full disk under stderr must not stop a restore.

structlog and logging are imported in `configure`: commands that only read the database log nothing, and need
not wait 150 ms for them (docs/dependencies.md).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, MutableMapping
from contextlib import suppress
from datetime import date
from typing import Any, Final, TextIO

from mmd.secret import Secret
from mmd.text import printable

_MASK: Final = str(Secret())
_SECRET_KEY: Final = re.compile(
    r"secret|token|passw|passphrase|\bpwd|authori[sz]ation|credential|api[-_]?key|private[-_]?key|cookie",
    re.IGNORECASE,
)
# What gives a secret away wherever it stands: group 1 stays, the rest goes.
_SECRET_TEXT: Final = re.compile(
    r"(\bbearer\s+)\S{8,}"
    r"|(\bbasic\s+)[A-Za-z0-9+/]{16,}={0,2}"
    r"|\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"
    r"""|((?:client_secret|access_token|refresh_token|password)["']?\s*[=:]\s*["']?)[^\s"'&,}]+"""
    r"|(://[^/\s:@]*:)[^/\s@]+(?=@)",
    re.IGNORECASE,
)
# The library's own lines at INFO and DEBUG hold URLs with queries, and headers with tokens.
_LEVEL_OF_LIBRARIES: Final = "WARNING"
_DEEPEST: Final = 6

_hidden: set[str] = set()

EventDict = MutableMapping[str, Any]


def hide(*secrets: Secret) -> None:
    """Mask these from now on wherever they turn up, URL-encoded and escaped too."""
    from urllib.parse import quote, quote_plus  # noqa: PLC0415 - only for processes that log

    for text in filter(None, (secret.reveal() for secret in secrets)):
        _hidden.update((text, quote(text), quote(text, safe=""), quote_plus(text)))
        _hidden.update((json.dumps(text)[1:-1], repr(text)[1:-1]))


def configure(level: str, form: str, *, hidden: Iterable[Secret] = (), stream: TextIO | None = None) -> None:
    """Log to `stream` (stderr) from `level` up: debug, info, warning, error. `form`: auto, console, json."""
    import structlog  # noqa: PLC0415 - see the module's docstring

    hide(*hidden)
    stream = stream or sys.stderr
    console = form == "console" or (form == "auto" and stream.isatty())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _exception,
            _redact,
            _as_console if console else _as_json,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Lines(stream),
        cache_logger_on_first_use=False,
    )
    _route_stdlib()


def _route_stdlib() -> None:
    """Libraries that log through `logging` come out as our lines, and only what they warn of."""
    import logging  # noqa: PLC0415 - see the module's docstring

    import structlog  # noqa: PLC0415 - as above

    class Route(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            event = record.msg
            # A library's mistake in its own format string must not cost us the line.
            with suppress(Exception):
                event = record.getMessage()
            level = min(max(record.levelno // 10, 1), 5) * 10
            structlog.get_logger().log(level, str(event), logger=record.name, exc_info=record.exc_info)

    logging.basicConfig(level=_LEVEL_OF_LIBRARIES, handlers=[Route()], force=True)
    logging.captureWarnings(capture=True)


class _Lines:
    """Where finished lines go; a stream that is closed or full loses them silently."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(line + "\n")
            self._stream.flush()

    debug = info = warning = error = critical = msg


# --- Processors ---------------------------------------------------------------------------------------------


def _exception(_logger: object, _method: str, event: EventDict) -> EventDict:
    """The exception, if there is one, as one field: what it says, and the way it came."""
    found = event.pop("exc_info", None)
    error = found[1] if isinstance(found, tuple) else found
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        event["exception"] = _story(error)
    return event


def _story(error: BaseException, depth: int = 0) -> str:
    """What an exception says and the way it came; then the members, if it is a group, and the cause."""
    from traceback import walk_tb  # noqa: PLC0415 - only for exceptions

    steps = walk_tb(error.__traceback__)
    way = " > ".join(f"{frame.f_code.co_filename.rpartition('/')[2]}:{line}" for frame, line in steps)
    story = f"{type(error).__name__}: {_said(error)} [{way}]"
    if depth == _DEEPEST:
        return story
    members = error.exceptions[:_DEEPEST] if isinstance(error, BaseExceptionGroup) else ()
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    story += "".join(f" | {_story(member, depth + 1)}" for member in members)
    return story + (f" <- {_story(cause, depth + 1)}" if cause is not None else "")


def _redact(_logger: object, _method: str, event: EventDict) -> EventDict:
    return {key: _clean(key, value) for key, value in event.items()}


def _clean(key: str, value: object, depth: int = 0) -> object:
    """`value` as plain JSON without secrets, told by its key, as known text, or by their look."""
    if value is None or isinstance(value, bool) or _is_plain_number(value):
        return value
    if isinstance(value, date):
        return value.isoformat()
    if _SECRET_KEY.search(key):
        return _MASK
    if isinstance(value, dict) and depth < _DEEPEST:
        return {_masked(_said(name)): _clean(_said(name), item, depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset) and depth < _DEEPEST:
        return [_clean(key, item, depth + 1) for item in value]
    return _masked(_said(value))


def _is_plain_number(value: object) -> bool:
    # Larger ones are refused by readers of JSON, or by Python itself.
    return isinstance(value, int | float) and abs(value) < 2**63


def _said(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - somebody else's __str__ may do anything
        return f"<a {type(value).__name__} that cannot be shown>"


def _masked(text: str) -> str:
    # The longest first: one secret may be part of another.
    for secret in sorted(_hidden, key=len, reverse=True):
        text = text.replace(secret, _MASK)
    return _SECRET_TEXT.sub(lambda found: "".join(filter(None, found.groups())) + _MASK, text)


def _as_json(_logger: object, _method: str, event: EventDict) -> str:
    """One JSON object, ASCII alone: whatever a value contains, it is escaped."""
    return json.dumps(_in_order(event))


def _as_console(_logger: object, _method: str, event: EventDict) -> str:
    first = {"timestamp", "level", "event"}
    fields = (
        f"{printable(key)}={printable(_quoted(value))}" for key, value in event.items() if key not in first
    )
    clock = str(event["timestamp"])[11:19]
    return f"{clock} {event['level']:<8} {printable(str(event['event']))}  {' '.join(fields)}".rstrip()


def _in_order(event: EventDict) -> EventDict:
    first = ("timestamp", "level", "event")
    return {key: event[key] for key in first} | {key: event[key] for key in event if key not in first}


def _quoted(value: object) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False) if not value or set(value) & set(" =\"'") else value
    return json.dumps(value, ensure_ascii=False)
