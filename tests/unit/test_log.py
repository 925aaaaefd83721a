"""Log lines: one each, without secrets, whatever is in them."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from urllib.parse import quote_plus

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from mmd import log
from mmd.secret import Secret

SECRET = 'hunter2 &"pass/word'


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(log, "_hidden", set())
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def logged(form: str = "json", **values: object) -> str:
    """The one line that an entry with these values becomes."""
    stream = io.StringIO()
    log.configure("debug", form, hidden=[Secret(SECRET)], stream=stream)
    structlog.get_logger().info("pass.done", **values)
    (line,) = stream.getvalue().split("\n")[:-1]
    return line


def test_json_away_from_a_terminal_and_console_on_one() -> None:
    for stream, is_json in ((io.StringIO(), True), (Terminal(), False)):
        log.configure("info", "auto", stream=stream)
        structlog.get_logger().info("pass.done", entered=3)
        assert stream.getvalue().startswith("{") is is_json
        assert "pass.done" in stream.getvalue()


def test_a_json_line_tells_when_how_grave_and_what_first() -> None:
    entry = json.loads(logged(entered=3, took=1.5, source="AD", ok=True, none=None))
    assert list(entry)[:3] == ["timestamp", "level", "event"]
    assert datetime.fromisoformat(entry["timestamp"]).utcoffset() == timedelta(0)
    assert (entry["level"], entry["event"]) == ("info", "pass.done")
    assert {key: entry[key] for key in ("entered", "took", "source", "ok", "none")} == {
        "entered": 3,
        "took": 1.5,
        "source": "AD",
        "ok": True,
        "none": None,
    }


def test_a_console_line_reads_well() -> None:
    line = logged("console", source="Active Directory", entered=3, ids=["a", "b"], reason="", equals="a=b")
    assert (
        line[8:]
        == ' info     pass.done  source="Active Directory" entered=3 ids=["a", "b"] reason="" equals="a=b"'
    )


def test_what_is_below_the_level_is_not_logged() -> None:
    stream = io.StringIO()
    log.configure("warning", "json", stream=stream)
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    assert [json.loads(line)["event"] for line in lines(stream)] == ["loud"]


@pytest.mark.parametrize(
    "key",
    [
        "client_secret",
        "Authorization",
        "access_token",
        "password",
        "api_key",
        "apiKey",
        "cookie",
        "tokenValue",
    ],
)
def test_what_goes_by_a_secret_name_is_masked(key: str) -> None:
    for body in ({key: "x-y-z"}, {"a": {key: "x-y-z"}}, [{key: ["x-y-z"]}], {key: b"x-y-z"}):
        assert "x-y-z" not in logged(body=body)
    assert "x-y-z" not in logged("json", **{key: "x-y-z"})


def test_a_time_or_number_under_a_secret_name_is_none() -> None:
    entry = json.loads(logged(token_expires_at=datetime(2026, 12, 1, tzinfo=UTC), token_age=3))
    assert (entry["token_expires_at"], entry["token_age"]) == ("2026-12-01T00:00:00+00:00", 3)


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize(
    "value",
    [
        f"sent {SECRET}.",
        {"deep": [{"er": (SECRET,)}]},
        {SECRET: 1},
        ValueError(f"no {SECRET}"),
        quote_plus(SECRET),
        json.dumps({"x": SECRET}),
        repr(SECRET),
        Secret(SECRET),
    ],
)
def test_a_known_secret_is_masked_anywhere(form: str, value: object) -> None:
    line = logged(form, note=value)
    assert "hunter2" not in line
    assert "*****" in line


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abcdefgh12345678",
        "Authorization: Basic YWJjZGVmZ2gxMjM0NTY3OA==",
        "token eyJhbGciOiJIUzI1NiJ9.eyJhYmNkZWZnaCI6MX0.abcdefgh12345678",
        "grant_type=x&client_secret=abcdefgh12345678&y=1",
        '{"access_token": "abcdefgh12345678", "a": 1}',
        "mailto://me:abcdefgh12345678@example.com",
    ],
)
def test_what_looks_like_a_secret_is_masked_unannounced(text: str) -> None:
    line = logged(note=text)
    assert "abcdefgh" not in line
    assert "YWJjZGVmZ2g" not in line


def test_plain_words_are_left_alone() -> None:
    text = "the bearer of bad news has basic treatment at https://acme.example:8080/v2026/sources?limit=1"
    assert json.loads(logged(note=text))["note"] == text


@pytest.mark.parametrize("form", ["json", "console"])
@given(text=st.text(max_size=40))
def test_no_text_can_forge_a_line(form: str, text: str) -> None:
    line = logged(form, source=text + "\n\r\x1b[2J\x85\u2028\u202e", note={text: "\n"})
    assert not {unicodedata.category(letter) for letter in line} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_json_gives_back_what_was_logged() -> None:
    name = "Zürich\n\u202e\ud800"
    assert json.loads(logged(source=name))["source"] == name


def test_an_exception_is_one_field_with_its_causes_and_members() -> None:
    stream = io.StringIO()
    log.configure("info", "json", hidden=[Secret(SECRET)], stream=stream)
    group = ExceptionGroup("two", [ValueError("one\nline"), OSError("other")])
    group.__cause__ = KeyError(SECRET)
    with suppress(ExceptionGroup):
        fail_with(group)
    structlog.get_logger().error("pass.failed", exc_info=group)
    (line,) = lines(stream)
    told = json.loads(line)["exception"]
    assert "exc_info" not in line
    assert told.startswith("ExceptionGroup: two (2 sub-exceptions) [test_log.py:")
    assert "ValueError: one\nline" in told
    assert "OSError: other" in told
    assert " <- KeyError: " in told
    assert "hunter2" not in line


def fail_with(error: Exception) -> None:
    raise error


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError


def test_logging_never_raises() -> None:
    knot: list[object] = []
    knot.append(knot)
    for value in (
        Unspeakable(),
        knot,
        10**5000,
        float("nan"),
        object(),
        {Unspeakable(): 1},
        b"\xff",
        [[[[[[[[1]]]]]]]],
    ):
        assert logged(value=value)
        assert logged("console", value=value)
    closed = io.StringIO()
    log.configure("info", "json", stream=closed)
    closed.close()
    structlog.get_logger().info("lost")


def test_a_secret_of_one_letter_does_not_break_lines() -> None:
    stream = io.StringIO()
    log.configure("info", "json", hidden=[Secret("e")], stream=stream)
    structlog.get_logger().info("event", level_of="e")
    assert json.loads(stream.getvalue())["level_of"] == str(Secret())


def test_libraries_warn_through_our_lines_and_are_otherwise_quiet() -> None:
    stream = io.StringIO()
    log.configure("debug", "json", stream=stream)
    logging.getLogger("httpx").info(
        'HTTP Request: GET https://acme.example/?filters=secret "HTTP/1.1 200 OK"'
    )
    logging.getLogger("httpcore.http11").debug("send_request_headers.started Authorization")
    logging.getLogger("apscheduler.scheduler").warning("Run time of job %s was missed", "tick")
    logging.getLogger("odd").log(35, "%d", "not a number")
    entries = [json.loads(line) for line in lines(stream)]
    assert [(entry["logger"], entry["level"], entry["event"]) for entry in entries] == [
        ("apscheduler.scheduler", "warning", "Run time of job tick was missed"),
        ("odd", "warning", "%d"),
    ]


def test_python_warnings_are_lines_too() -> None:
    stream = io.StringIO()
    log.configure("info", "json", stream=stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old ways", stacklevel=1)
    assert "old ways" in json.loads(stream.getvalue())["event"]


def test_importing_the_module_loads_no_logging_library() -> None:
    code = "import sys, mmd.log; sys.exit(bool({'structlog', 'logging', 'asyncio'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)
