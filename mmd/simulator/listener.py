"""HTTP/1.1 on a loopback socket, with nothing in it of ISC."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

from mmd.simulator.wire import Call, Dropped, Reply

Take: TypeAlias = Callable[[Call], Reply]

_JOIN_SECONDS = 5.0


class Listener:
    """Hands each request to `take` in a thread of its connection, and sends what it returns."""

    def __init__(self, port: int, take: Take) -> None:
        self.stopping = threading.Event()
        self._server = _Server(port, take, self.stopping)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def start(self) -> None:
        """Begin to answer; until then connections wait."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving, end every connection and wait for the threads. Twice is once."""
        if not self.stopping.is_set():
            self.stopping.set()
            self._server.shutdown()
            self._server.end_connections()
            self._server.server_close()
            self._thread.join()


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def __init__(self, port: int, take: Take, stopping: threading.Event) -> None:
        self.take = take
        self.stopping = stopping
        self.connections: dict[socket.socket, threading.Thread] = {}
        super().__init__(("127.0.0.1", port), _Handler)

    def server_bind(self) -> None:
        """Bind without asking the name service who 127.0.0.1 is, which can take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "simulator", self.server_address[1]

    def end_connections(self) -> None:
        """Wake the threads that wait for a next request, and see them off."""
        for connection, thread in list(self.connections.items()):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(_JOIN_SECONDS)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else an answer in two parts waits 40 ms for an acknowledgement
    wbufsize = -1  # head and body leave in one write
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.connections[self.connection] = threading.current_thread()

    def finish(self) -> None:
        self.server.connections.pop(self.connection, None)
        with contextlib.suppress(OSError):
            super().finish()

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # clients that go away are part of the exercise
            super().handle()

    def version_string(self) -> str:
        return "simulator"

    def log_message(self, *_args: object) -> None:
        """Say nothing: the simulator keeps a log of its own."""

    def _serve(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal():
            self.close_connection = True
            self._send(Reply(411))
            return
        try:
            self._send(self.server.take(self._call(int(length))))
        except Dropped:
            self.close_connection = True

    def _call(self, length: int) -> Call:
        parts = urlsplit(self.path)
        return Call(
            method=self.command,
            path=unquote(parts.path),
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(length),
            pause=self.server.stopping.wait,
        )

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status != 204:  # noqa: PLR2004 - No Content
            self.send_header("Content-Type", reply.content_type)
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self._send_body(reply)

    def _send_body(self, reply: Reply) -> None:
        if reply.pause:
            for byte in reply.body:
                self.wfile.flush()
                self.server.stopping.wait(reply.pause)
                self.wfile.write(bytes([byte]))
            return
        self.wfile.write(reply.body if reply.keep is None else reply.body[: reply.keep])
        self.close_connection |= reply.keep is not None

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Every method is served alike; http.server looks for `do_GET` and the like."""
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)
