"""The ISC client against a peer that sends any bytes at all, or is not there, or not who it should be."""

from __future__ import annotations

import asyncio
import gzip
import json
import shutil
import ssl
import subprocess
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import pytest
from isc_rig import MARK, Time

from mmd.errors import Garbled, Rejected, TenantError, Unknown, Unreachable
from mmd.isc import Call, Isc, Priority, Tenant, wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
    from pathlib import Path

T = TypeVar("T")
Observer: TypeAlias = "Callable[[Call], None]"
SOURCE = json.dumps(
    {"id": "a1", "name": "x", "features": [], "connectorAttributes": {"password": "hunter2"}}
).encode()
TOKEN = b'{"access_token": "TOKEN-CANARY", "expires_in": 749}'


def http(body: bytes, status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


@asynccontextmanager
async def peer(
    answers: Iterable[bytes], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Serve a token, then the answers in turn, then no more; yield the URL and the requests that came.

    An empty answer ends the connection instead; so does one that does not look like HTTP.
    """
    seen: list[bytes] = []
    rest = iter([http(TOKEN), *answers])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    (int(line.split()[1]) for line in head.lower().splitlines() if b"content-length" in line),
                    0,
                )
                seen.append(head + await reader.readexactly(length))
                answer = next(rest, b"")
                writer.write(answer)
                if not answer.startswith(b"HTTP/1.1"):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"http{'s' if tls else ''}://127.0.0.1:{port}", seen


def client(url: str, *, api_version: str = "v2026", observer: Observer | None = None) -> Isc:
    moments = Time()
    tenant = Tenant(base_url=url, api_version=api_version, client_id="x", user_agent="mmd/test", rate=1_000)
    return Isc(tenant, lambda: "SECRET-CANARY", clock=moments.clock, sleep=moments.sleep, observer=observer)


def talk(
    answers: Iterable[bytes],
    work: Callable[[Isc], Awaitable[T]],
    *,
    api_version: str = "v2026",
    observer: Observer | None = None,
) -> tuple[T, list[bytes]]:
    """Do the work with a client of a peer that answers so; return also the requests that came."""

    async def main() -> tuple[T, list[bytes]]:
        async with (
            peer(answers) as (url, seen),
            client(url, api_version=api_version, observer=observer) as isc,
        ):
            return await work(isc), seen

    return asyncio.run(main())


def failure(answers: Iterable[bytes], work: Callable[[Isc], Awaitable[object]]) -> tuple[TenantError, int]:
    """The error, and how many requests were sent after the token."""

    async def main() -> tuple[TenantError, int]:
        async with peer(answers) as (url, seen), client(url) as isc:
            with pytest.raises(TenantError) as caught:
                await work(isc)
            return caught.value, len(seen) - 1

    return asyncio.run(main())


async def read(isc: Isc) -> str:
    return (await isc.source("a1", priority=Priority.ENTER)).source_id


async def change(isc: Isc) -> tuple[bool, str | None]:
    observed, tracking_id = await isc.patch_source("a1", MARK, priority=Priority.ENTER)
    return observed is not None, tracking_id


@pytest.mark.parametrize(
    "encoding", ["UTF-8", "utf8", "identity", "none", "br", "zstd", "", "gzip", "deflate"]
)
def test_no_content_encoding_keeps_a_plain_body_from_being_read(encoding: str) -> None:
    found, _ = talk([http(SOURCE, "200 OK", f"Content-Encoding: {encoding}")], read)
    assert found == "a1"


def test_isc_s_words_are_read_under_its_odd_content_encoding() -> None:
    body = b'{"detailCode": "400.1.3 Illegal value", "messages": [{"text": "No such cron."}]}'
    error, _ = failure([http(body, "400 Bad Request", "Content-Encoding: UTF-8")], change)
    assert isinstance(error, Rejected)
    assert "No such cron." in error.message


@pytest.mark.parametrize("header", ["Content-Encoding: gzip", "X-Nothing: here"])
def test_a_body_packed_on_the_way_is_unpacked(header: str) -> None:
    found, _ = talk([http(gzip.compress(SOURCE), "200 OK", header)], read)
    assert found == "a1"


@pytest.mark.parametrize(
    "body",
    [
        SOURCE + b" " * wire.BODY_LIMIT,
        gzip.compress(SOURCE + b" " * wire.BODY_LIMIT),
        gzip.compress(SOURCE)[:-9],
        b"\x1f\x8bnonsense",
    ],
    ids=["too long", "too long when unpacked", "packed and cut", "badly packed"],
)
def test_a_body_out_of_all_proportion_is_no_data(body: bytes) -> None:
    error, sent = failure([http(body)] * 4, read)
    assert isinstance(error, Garbled)
    assert sent == 4
    (changed, _), _ = talk([http(body)], change)
    assert changed is False


def test_a_body_at_the_limit_is_read() -> None:
    found, _ = talk([http(SOURCE + b" " * (wire.BODY_LIMIT - len(SOURCE)))], read)
    assert found == "a1"


@pytest.mark.parametrize(
    "garbage", [b"", b"\x16\x03\x01\x00", b"SSH-2.0-x\r\n", b"HTP/1.1 200 OK\r\n\r\n", b"HTTP/9 x\r\n\r\n"]
)
def test_what_is_no_http_leaves_a_change_unknown_and_a_read_unreachable(garbage: bytes) -> None:
    error, sent = failure([garbage], change)
    assert (type(error), sent) == (Unknown, 1)
    error, sent = failure([garbage] * 9, read)
    assert (type(error), sent) == (Unreachable, 4)


def test_a_connection_that_went_stale_leaves_a_change_unknown() -> None:
    """The peer closes a kept-alive connection in the moment of the next request: it may have been read."""
    error, sent = failure([http(SOURCE), b""], _read_then_change)
    assert (type(error), sent) == (Unknown, 2)


async def _read_then_change(isc: Isc) -> None:
    await read(isc)
    await change(isc)


def test_duplicate_keys_in_a_source_are_garbled_rather_than_guessed() -> None:
    error, _ = failure([http(b'{"id": "a1", "features": ["A"], "features": []}')] * 4, read)
    assert isinstance(error, Garbled)


def test_nothing_that_is_secret_is_in_any_error() -> None:
    echo = b'{"error": "Bearer TOKEN-CANARY client_secret=SECRET-CANARY is bad"}'
    error, _ = failure([http(echo, "400 Bad Request")], change)
    assert "TOKEN-CANARY" not in repr(error)
    denied, _ = failure_of_token(http(echo, "401 Unauthorized"))
    assert "SECRET-CANARY" not in repr(denied)
    assert "is bad" in denied.message


def failure_of_token(answer: bytes) -> tuple[TenantError, list[bytes]]:
    async def main() -> tuple[TenantError, list[bytes]]:
        seen: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server, client(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as isc:
            with pytest.raises(TenantError) as caught:
                await read(isc)
            return caught.value, seen

    return asyncio.run(main())


def test_a_tracking_id_comes_from_the_header_where_the_body_has_none() -> None:
    calls: list[Call] = []
    (_, tracking_id), _ = talk(
        [http(SOURCE, "200 OK", "SLPT-Request-ID: abc")], change, observer=calls.append
    )
    assert tracking_id == "abc"
    assert calls[-1].tracking_id == "abc"


def test_cookies_are_not_kept() -> None:
    _, seen = talk([http(SOURCE, "200 OK", "Set-Cookie: a=b; Path=/")] * 2, _read_twice)
    assert not any(b"cookie" in one.lower() for one in seen)


async def _read_twice(isc: Isc) -> None:
    await read(isc)
    await read(isc)


def test_the_tenant_s_clock_is_read_from_its_answers() -> None:
    now = datetime(2026, 8, 22, 10, tzinfo=UTC)
    date = (now + timedelta(seconds=90)).strftime("Date: %a, %d %b %Y %H:%M:%S GMT")

    async def work(isc: Isc) -> float | None:
        await read(isc)
        await isc._sleep(30.0)
        return isc.server_time(now)

    assert talk([http(SOURCE, "200 OK", date)], work)[0] == 120.0


def test_a_200_without_the_whole_source_is_no_observation() -> None:
    (changed, _), _ = talk([http(b'{"id": "a1", "features": []}')], change)
    assert changed is False


@pytest.mark.parametrize(("version", "asked"), [("v2024", False), ("v2026", True)])
def test_only_tasks_that_are_not_complete_count(version: str, asked: bool) -> None:
    tasks = b'[{"id": "1", "completionStatus": "SUCCESS"}, {"id": "2", "completionStatus": null}]'
    found, seen = talk([http(tasks)], lambda isc: isc.task_status("a1"), api_version=version)
    assert [task["id"] for task in found] == ["2"]
    assert (b"completionStatus%20isnull" in seen[-1]) is asked


def test_a_proxy_that_refuses_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(http(b"", "407 Proxy Authentication Required"))
        await writer.drain()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        async with server, client("https://acme.example") as isc:
            isc._token._bearer, isc._token._renew_at = "t", 1e9
            with pytest.raises(Unreachable, match="ProxyError"):
                await change(isc)

    asyncio.run(main())


def test_a_peer_must_prove_itself_with_modern_tls() -> None:
    context = wire.tls()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_nobody_at_home_is_unreachable_for_reads_and_changes_alike() -> None:
    async def main() -> None:
        async with peer([]) as (url, _):
            pass
        for work in (read, change):
            async with client(url) as isc:
                with pytest.raises(Unreachable, match="no connection"):
                    await work(isc)

    asyncio.run(main())


def test_a_change_that_could_not_be_sent_is_tried_again() -> None:
    calls: list[Call] = []

    async def main() -> None:
        async with peer([]) as (url, _):
            pass
        async with client(url, observer=calls.append) as isc:
            isc._token._bearer, isc._token._renew_at = "t", 1e9
            with pytest.raises(Unreachable):
                await change(isc)

    asyncio.run(main())
    assert [(call.method, call.attempt, call.note) for call in calls] == [
        ("PATCH", attempt, "ConnectError") for attempt in (1, 2, 3, 4)
    ]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            key,
            "-out",
            certificate,
            *subject,
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def main() -> list[bytes]:
        async with peer([], tls=context) as (url, seen), client(url) as isc:
            with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
                await read(isc)
            return seen

    assert asyncio.run(main()) == []
