"""No message goes where a machine answers for itself: docs/adr/0021, docs/security.md."""

from __future__ import annotations

import asyncio
import socket
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from threading import Thread
from typing import Any

import pytest

from mmd.alerts import Kind, Message
from mmd.guard import METADATA, is_refused, watched
from mmd.notify import Channel, ping
from mmd.secret import Secret

OWN = [
    "169.254.169.254",
    "169.254.170.2",
    "169.254.1.1",
    "[fe80::1]",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::]",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "169.254.43518",
    "224.0.0.1",
    "[ff02::1]",
    *(
        f"[{it[1]}]" if it.version == 6 else str(it[0])
        for it in METADATA
        if it.num_addresses > 1 or it.version == 4
    ),
    "[fd00:ec2::23]",
    "[fd20:ce::254]",
    "[64:ff9b:1::a9fe:a9fe]",
]
REACHED: list[str] = []
MESSAGE = Message(kind=Kind.TEST, title="a title", body="a body")


def _record(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        REACHED.append(str(arguments[1][0]))


@pytest.fixture(autouse=True)
def reached() -> list[str]:
    """The addresses to which a connection was tried, and not refused before."""
    asyncio.run(ping(Secret("http://127.0.0.1:9/")))  # our hook is there, and comes first
    if not REACHED:
        sys.addaudithook(_record)
    REACHED[:] = ["the start"]
    return REACHED


def send(url: str) -> str:
    channel = Channel(Secret(url), limit=5)
    assert channel.is_understood
    return asyncio.run(channel.send(MESSAGE))


@pytest.mark.parametrize("host", OWN)
def test_an_address_at_which_a_machine_answers_for_itself_is_refused(host: str, reached: list[str]) -> None:
    refused = ("answers for itself", "InvalidURL")  # the client itself refuses an octal one
    assert asyncio.run(ping(Secret(f"http://{host}/latest/meta-data/"))).endswith(refused)
    channel = Channel(Secret(f"json://{host}/latest/meta-data/"), limit=5)
    assert asyncio.run(channel.send(MESSAGE)).endswith(("answers for itself", "understand the URL"))
    assert reached == ["the start"]


def test_a_name_that_leads_there_is_refused(monkeypatch: pytest.MonkeyPatch, reached: list[str]) -> None:
    """Whatever it led to when it was looked at before."""
    honest = socket.getaddrinfo

    def lying(host: Any, *arguments: Any, **more: Any) -> Any:  # noqa: ANN401 - getaddrinfo's own
        return honest(
            "169.254.169.254" if host in ("rebound.test", b"rebound.test") else host, *arguments, **more
        )

    monkeypatch.setattr(socket, "getaddrinfo", lying)
    assert "answers for itself" in send("json://rebound.test/")
    assert "answers for itself" in asyncio.run(ping(Secret("http://rebound.test/")))
    assert is_refused("rebound.test")
    assert reached == ["the start"]


class _Redirecting(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(302)
        self.send_header("Location", "http://169.254.169.254/latest/meta-data/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Taking(_Redirecting):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


def test_a_redirection_there_is_refused(reached: list[str]) -> None:
    with HTTPServer(("127.0.0.1", 0), _Redirecting) as here:
        Thread(target=here.handle_request, daemon=True).start()
        assert "169.254.169.254 is an address" in send(f"json://127.0.0.1:{here.server_port}/")
    assert set(reached) == {"the start", "127.0.0.1"}


@pytest.mark.parametrize("host", ["127.0.0.1", "10.1.2.3", "192.168.0.1", "fd12::1", "93.184.216.34", "::1"])
def test_other_addresses_are_not(host: str) -> None:
    assert not is_refused(host)
    assert not is_refused(str(ip_address(host)))


def test_who_is_not_watched_is_not_kept_from_anything() -> None:
    """ISC is asked by the same process, and chosen by its own rules."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("169.254.169.254", 9))  # of a datagram socket, which sends nothing


def test_a_datagram_is_looked_at_as_well() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe,
        watched() as refused,
        pytest.raises(PermissionError),
    ):
        probe.sendto(b"", ("169.254.169.254", 9))
    assert refused == ["169.254.169.254"]


def test_a_name_of_which_another_address_took_the_message_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = socket.getaddrinfo
    with HTTPServer(("127.0.0.1", 0), _Taking) as here:
        Thread(target=here.handle_request, daemon=True).start()
        bad = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.1.1", here.server_port))

        def two(host: Any, *arguments: Any, **more: Any) -> Any:  # noqa: ANN401 - getaddrinfo's own
            found = honest("127.0.0.1" if host == "both.test" else host, *arguments, **more)
            return [bad, *found] if host == "both.test" else found

        monkeypatch.setattr(socket, "getaddrinfo", two)
        assert send(f"json://both.test:{here.server_port}/") == ""
