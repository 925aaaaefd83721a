"""Certificates made on the spot, and a server that shows one."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

OPENSSL = shutil.which("openssl")


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@dataclass(frozen=True, slots=True)
class Authority:
    """Someone who vouches, for a client that was told to believe it."""

    folder: Path

    @property
    def certificate(self) -> Path:
        return self.folder / "ca.pem"

    def __post_init__(self) -> None:
        self.folder.mkdir()
        key, request = self.folder / "ca.key", ("-subj", "/CN=Test Authority", "-days", "2")
        constraints = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=keyCertSign")
        _openssl(
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out",
            str(self.certificate), *request, *constraints,
        )  # fmt: skip

    def vouch(self, name: str, *dates: str) -> Path:
        """A certificate with its key, for a name; `dates` are openssl's first and last."""
        pem = self.folder / f"{len(list(self.folder.iterdir()))}.pem"
        key, request, extra = (pem.with_suffix(end) for end in (".key", ".csr", ".ext"))
        extra.write_text(f"subjectAltName={name}\nauthorityKeyIdentifier=keyid\n")
        _openssl(
            "req",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            str(key),
            "-out",
            str(request),
            "-subj",
            "/CN=x",
        )
        first, last = dates or ("", "")
        when = ("-not_before", first, "-not_after", last) if dates else ("-days", "2")
        _sign(self, request, extra, pem, when)
        pem.write_text(pem.read_text() + key.read_text())
        return pem


def _sign(authority: Authority, request: Path, extra: Path, pem: Path, when: tuple[str, ...]) -> None:
    """Sign by `openssl ca`, whose older releases can set dates in the past, too."""
    folder = authority.folder
    (folder / "index.txt").touch()
    config = folder / "ca.cnf"
    config.write_text(
        f"[ca]\ndefault_ca=it\n[it]\ndatabase={folder}/index.txt\nnew_certs_dir={folder}\nrand_serial=yes\n"
        f"default_md=sha256\npolicy=any\nunique_subject=no\ncopy_extensions=none\n[any]\ncommonName=supplied\n"
    )
    dates = ("-startdate", when[1], "-enddate", when[3]) if when[0] == "-not_before" else when
    _openssl(
        "ca", "-batch", "-notext", "-config", str(config), "-cert", str(authority.certificate), "-keyfile",
        str(folder / "ca.key"), "-in", str(request), "-out", str(pem), "-extfile", str(extra), *dates,
    )  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.heard.append(dict(self.headers))  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def server(pem: Path, newest: ssl.TLSVersion | None = None) -> Iterator[tuple[int, list[dict[str, str]]]]:
    """Serve with a certificate, and with TLS of that version at most; yield the port and what was heard."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    if newest is not None:
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = newest
        context.set_ciphers("ALL:@SECLEVEL=0")
    listening = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    heard: list[dict[str, str]] = []
    listening.heard = heard  # type: ignore[attr-defined]
    listening.handle_error = lambda *_: None  # type: ignore[method-assign] # a handshake that failed
    listening.socket = context.wrap_socket(listening.socket, server_side=True)
    thread = threading.Thread(target=listening.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield listening.server_address[1], heard
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()
