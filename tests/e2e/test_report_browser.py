"""The HTML report in a real browser: nothing runs, nothing is fetched, and there is a picture to see."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hostile import HOSTILE, MARK

from mmd.findings import Finding, Kind
from mmd.history import Applied, Planned, Timeline
from mmd.report import Facts, Live, as_html, make
from mmd.report.picture import ACTUAL, PLANNED, ZOMBIE

pytestmark = pytest.mark.slow

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SINCE = datetime(2026, 11, 22, tzinfo=UTC)
Pixels = set[tuple[int, int, int]]


@pytest.fixture(autouse=True)
def _needs_a_browser() -> None:
    if CHROMIUM is None:
        pytest.skip("NO BROWSER: install chromium to see whether the HTML report is harmless in one")


@dataclass
class Site:
    """Gives one page to whoever asks for it, and remembers everything that anybody asks for.

    Browsers also ask their makers for the time of day; all that our names could ask for ends in ".test".
    """

    page: str
    requests: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def asked(self) -> list[str]:
        return [url for url in self.requests if url.partition("/")[0].endswith(".test")]

    def browse(self, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
        """Open the page in a browser without a window and without a past, to which every host is this one."""
        words = [
            *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *("--enable-logging=stderr", "--disable-background-networking", "--no-first-run"),
            *("--force-device-scale-factor=1", "--window-size=1180,1000"),
            *(f"--user-data-dir={folder / 'profile'}", f"--host-resolver-rules=MAP * 127.0.0.1:{self.port}"),
            *(*options, "http://report.test/"),
        ]
        done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done


@contextmanager
def served(page: str) -> Iterator[Site]:
    site = Site(page)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.requests.append(f"{self.headers['Host']}{self.path}")
            body = site.page.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield site
        server.shutdown()


def day(names: tuple[str, ...]) -> Facts:
    """A day on which each of these sources was planned, late, and is a zombie."""
    hours = [SINCE + timedelta(hours=n) for n in range(25)]
    lines, findings, live = [], [], []
    for number, name in enumerate(names):
        source_id = f"id{number}"
        planned = Planned(window_id="w1", key="k", opens_at=hours[2], closes_at=hours[8], reason=name)
        stay = Applied(
            snapshot_id="s", window_ids=("w1",), taken_at=hours[3], entered_at=hours[4], restored_at=hours[9]
        )
        finding = Finding(
            source_id=source_id,
            source_name=name,
            connector=name,
            kind=Kind.ORPHAN,
            since=hours[14],
            detail=name,
            next_step=name,
        )
        lines.append(Timeline(source_id=source_id, source_name=name, planned=(planned,), applied=(stay,)))
        findings.append((finding, None))
        live.append(Live(source_id, name, name))
    return Facts(
        tenant=names[0],
        since=hours[0],
        until=hours[24],
        now=hours[24],
        zone="UTC",
        tenant_zone="UTC",
        grace=timedelta(minutes=2),
        live=tuple(live),
        timelines=tuple(lines),
        findings=tuple(findings),
        watched=((hours[0], hours[24]),),
    )


def test_the_worst_names_run_nothing_fetch_nothing_and_stay_text(tmp_path: Path) -> None:
    facts = replace(day(HOSTILE), tenant="acme", trouble="</div><script>")
    with served(as_html(make(facts))) as site:
        done = site.browse(tmp_path, "--dump-dom")
    assert site.asked == ["report.test/"]
    assert "CONSOLE" not in done.stderr
    assert "<title>Maintenance report: acme</title>" in done.stdout
    assert not re.search(r"<(script|img|iframe|link|a)\b", done.stdout)
    assert MARK in done.stdout  # as text


def test_the_browser_would_have_told(tmp_path: Path) -> None:
    """The same questions to a page that does run and fetch: or the test above could not fail."""
    script = f"<script>document.title='{MARK}';console.log(1)</script>"
    with served(f"<title>x</title>{script}<img src='y.png'><img src='http://x.test/z.png'>") as site:
        done = site.browse(tmp_path, "--dump-dom")
    assert {"report.test/", "report.test/y.png", "x.test/z.png"} <= set(site.asked)
    assert "CONSOLE" in done.stderr
    assert f"<title>{MARK}</title>" in done.stdout


def test_there_is_a_picture_in_which_planned_actual_and_zombie_differ(tmp_path: Path) -> None:
    shot = tmp_path / "shot.png"
    with served(as_html(make(day(("Active Directory", "SAP ERP", "Workday"))))) as site:
        site.browse(tmp_path, f"--screenshot={shot}")
    colours = pixels(shot.read_bytes())
    assert len(colours) > 50
    for ink in (PLANNED, ACTUAL, ZOMBIE):
        assert tuple(bytes.fromhex(ink[1:])) in colours


def test_it_prints(tmp_path: Path) -> None:
    paper = tmp_path / "report.pdf"
    with served(as_html(make(day(tuple(f"Source {number}" for number in range(60)))))) as site:
        site.browse(tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={paper}")
    pages = len(re.findall(rb"/Type\s*/Page\b", paper.read_bytes()))
    assert 2 <= pages <= 20


def pixels(png: bytes) -> Pixels:
    """Return the colours in a PNG of eight bits a channel (RFC 2083)."""
    width, _, depth, kind = struct.unpack(">IIBB", png[16:26])
    assert depth == 8
    size = {2: 3, 6: 4}[kind]
    data, at = b"", 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            data += png[at + 8 : at + 8 + length]
        at += length + 12
    raw, stride = zlib.decompress(data), width * size
    line, found = bytearray(stride), set()
    for start in range(0, len(raw), stride + 1):
        line = _unfiltered(raw[start], raw[start + 1 : start + 1 + stride], line, size)
        found |= {(line[n], line[n + 1], line[n + 2]) for n in range(0, stride, size)}
    return found


def _unfiltered(kind: int, row: bytes, above: bytearray, size: int) -> bytearray:
    line = bytearray(row)
    for n in range(len(line)) if kind else ():
        left = line[n - size] if n >= size else 0
        corner = above[n - size] if n >= size else 0
        near = min((left, above[n], corner), key=lambda value: abs(left + above[n] - corner - value))
        line[n] = (line[n] + (0, left, above[n], (left + above[n]) // 2, near)[kind]) & 255
    return line
