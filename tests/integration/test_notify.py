"""Delivery, over sockets: channels that fail, hang and come back, and the heartbeat."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mmd.alerts import Kind, Message, Verdict
from mmd.desk import GIVE_WAY, OVERDUE, Courier
from mmd.notify import Channel, ping
from mmd.secret import Secret
from mmd.store import Store
from mmd.store.alerts import Change

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
ROOT = Path(__file__).parents[2]
LIMIT = 0.5  # seconds that a send may take here


@dataclass
class Inbox:
    """Somebody's server: what it got by path, and how it is to behave, a word a request, then well."""

    port: int
    got: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    mood: dict[str, list[int | str]] = field(default_factory=lambda: defaultdict(list))
    wake: threading.Event = field(default_factory=threading.Event)
    heard: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str = "a") -> Secret:
        return Secret(f"json://user:hush-hush@127.0.0.1:{self.port}/{path}")

    def channel(self, path: str = "a", number: int = 1) -> Channel:
        return Channel(self.url(path), number, limit=LIMIT)

    def titles(self, path: str = "a") -> list[str]:
        return [body["title"] for body in self.got[f"/{path}"]]


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.answer(body)

        def do_GET(self) -> None:
            self.answer({})

        def answer(self, body: dict[str, Any]) -> None:
            mood = box.mood[self.path].pop(0) if box.mood[self.path] else 200
            if mood in ("hang", "trickle"):
                self.close_connection = True
                self.dawdle(b"HTTP/1.1 200 OK\r\nX: " if mood == "trickle" else b"")
                return
            if mood == 200:
                box.got[self.path].append(body)
                box.heard.set()
            self.send_response(int(mood))
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def dawdle(self, begun: bytes) -> None:
            """Say nothing, or begin to answer and never end, until the test is over or the caller gone."""
            with suppress(OSError):
                self.wfile.write(begun)
                while not box.wake.wait(0.05):
                    self.wfile.write(b"x" * bool(begun))

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    box = Inbox(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield box
    box.wake.set()
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass
class Office:
    """A database on disk, a clock that moves when told, and whoever delivers."""

    path: Path
    now: datetime = NOON

    def __post_init__(self) -> None:
        self.store = Store.open(self.path, create=True)

    def restart(self) -> None:
        """Die, and come back with nothing but the file."""
        self.store.close()
        self.store = Store.open(self.path)

    def say(self, *titles: str, to: list[Channel]) -> None:
        messages = [Message(kind=Kind.FAILED, title=title, body=f"about {title}") for title in titles]
        change = Change(verdict=Verdict(), messages=messages)
        keys = [channel.key for channel in to]
        self.store.alerts.write(change, channels=keys, now=self.now, actor="test")

    def courier(self, *channels: Channel, heartbeat: str = "", seconds: float = 30) -> Courier:
        return Courier(
            self.store,
            channels,
            now=lambda: self.now,
            heartbeat_url=Secret(heartbeat),
            interval=timedelta(seconds=seconds),
        )

    def deliver(self, *channels: Channel, after: float = 0) -> None:
        self.now += timedelta(seconds=after)
        asyncio.run(self.courier(*channels).deliver())

    @property
    def pending(self) -> int:
        return self.store.alerts.waiting()[0]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path / "mmd.db")
    yield made
    made.store.close()


def message(title: str = "failing: AD") -> Message:
    return Message(
        kind=Kind.FAILED, title=title, body="AD (id1): no <b>way</b>\n  next: *look* {{7*7}} \\n :smile:"
    )


def send(channel: Channel, what: Message | None = None) -> str:
    return asyncio.run(channel.send(what or message()))


# -- one channel ---------------------------------------------------------------------------------------------


def test_a_message_arrives_as_it_was_written(inbox: Inbox) -> None:
    assert send(inbox.channel()) == ""
    (body,) = inbox.got["/a"]
    assert (body["title"], body["message"]) == (message().title, message().body)
    assert body["type"] == "warning"


def test_a_service_that_shows_markup_gets_it_escaped(inbox: Inbox) -> None:
    channel = Channel(Secret(f"{inbox.url().reveal()}?format=html"), limit=LIMIT)
    assert send(channel) == ""
    (body,) = inbox.got["/a?format=html"] or inbox.got["/a"]
    assert "<b>" not in body["message"]
    assert "&lt;b&gt;way" in body["message"]


@pytest.mark.parametrize(("mood", "said"), [(500, "500"), (404, "404"), ("hang", "no answer within 0.5 s")])
def test_a_failure_is_told_in_our_own_words(inbox: Inbox, mood: int | str, said: str) -> None:
    inbox.mood["/a"] = [mood]
    problem = send(inbox.channel())
    assert said in problem
    assert "hush" not in problem


def test_a_refused_connection_is_a_failure() -> None:
    assert send(Channel(Secret("json://127.0.0.1:1/"))) == "it could not be reached, or refused"


def test_a_url_that_apprise_does_not_know_is_told() -> None:
    channel = Channel(Secret("slak://tokenA/tokenB"), 3)
    assert not channel.is_understood
    assert send(channel) == "Apprise does not understand the URL"
    assert channel.label == "slak:// (number 3 of [alerts] urls)"


def test_what_apprise_logs_of_a_url_goes_nowhere() -> None:
    code = (
        "import logging; logging.basicConfig()\n"
        "from mmd.notify import Channel; from mmd.secret import Secret\n"
        "Channel(Secret('slak://tokenA/tokenB')); Channel(Secret('slack://tokenA'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_channel_is_shown_without_what_may_be_a_secret(inbox: Inbox) -> None:
    assert inbox.channel().label == "json://127.0.0.1"
    slack = Channel(Secret("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"))
    assert slack.label == "slack:// (number 1 of [alerts] urls)"
    assert slack.is_understood
    assert len(slack.key) == 12


def test_a_channel_that_hangs_has_one_thread_and_no_more(inbox: Inbox) -> None:
    inbox.mood["/a"] = ["hang"]
    channel = inbox.channel()

    async def both() -> tuple[str, str]:
        return await channel.send(message()), await channel.send(message())

    first, second = asyncio.run(both())
    assert first == "no answer within 0.5 s"
    assert second == "it has not answered to the last message yet"
    assert [thread.name for thread in threading.enumerate()].count("mmd-alert") == 1


# -- the outbox ----------------------------------------------------------------------------------------------


def test_what_fails_is_sent_again_later_and_in_order(inbox: Inbox, office: Office) -> None:
    inbox.mood["/a"] = [500, "hang", 503]
    office.say("one", "two", to=[inbox.channel()])
    channel = inbox.channel()
    office.deliver(channel)
    office.deliver(channel, after=29)  # too early
    assert inbox.mood["/a"] == ["hang", 503]
    office.deliver(inbox.channel(), after=1)
    office.deliver(inbox.channel(), after=60)
    assert (inbox.titles(), inbox.mood["/a"], office.pending) == ([], [], 2)
    office.deliver(inbox.channel(), after=120)
    assert (inbox.titles(), office.pending) == (["one", "two"], 0)
    office.deliver(inbox.channel(), after=3600)
    assert inbox.titles() == ["one", "two"]


def test_a_channel_that_fails_does_not_touch_the_others(inbox: Inbox, office: Office) -> None:
    inbox.mood["/a"] = ["hang"]
    channels = [inbox.channel("a"), inbox.channel("b", 2)]
    office.say("one", "two", to=channels)
    office.deliver(*channels)
    assert (inbox.titles("a"), inbox.titles("b")) == ([], ["one", "two"])
    office.deliver(inbox.channel("a"), inbox.channel("b"), after=30)
    assert (inbox.titles("a"), inbox.titles("b")) == (["one", "two"], ["one", "two"])


def test_what_was_committed_is_sent_by_the_next_life(inbox: Inbox, office: Office) -> None:
    office.say("one", to=[inbox.channel()])
    office.restart()
    office.deliver(inbox.channel())
    assert inbox.titles() == ["one"]
    office.restart()
    office.deliver(inbox.channel(), after=86400)
    assert inbox.titles() == ["one"]


def test_a_message_that_nobody_takes_gives_way_and_is_tried_every_hour(inbox: Inbox, office: Office) -> None:
    inbox.mood["/a"] = [400] * GIVE_WAY
    office.say("poison", "cure", to=[inbox.channel()])
    for wait in (0, 30, 60, 120, 240, 480, 960, 1920):
        office.deliver(inbox.channel(), after=wait)
    assert (inbox.titles(), inbox.mood["/a"]) == ([], [])
    office.deliver(inbox.channel(), after=1)
    assert inbox.titles() == ["cure"]
    inbox.mood["/a"] = [400] * 24
    for _ in range(24):
        office.deliver(inbox.channel(), after=3600)
    assert inbox.mood["/a"] == []
    office.deliver(inbox.channel(), after=3600)
    assert inbox.titles() == ["cure", "poison"]


def test_a_channel_that_is_back_gets_all_that_waited_at_once(inbox: Inbox, office: Office) -> None:
    inbox.mood["/a"] = [500] * (2 * GIVE_WAY)
    office.say("one", "two", to=[inbox.channel()])
    while inbox.mood["/a"]:
        office.deliver(inbox.channel(), after=60)
    office.deliver(inbox.channel(), after=3600)
    office.deliver(inbox.channel())
    assert sorted(inbox.titles()) == ["one", "two"]


def test_what_was_put_off_by_a_clock_that_was_ahead_is_sent_when_the_clock_is_right(
    inbox: Inbox, office: Office
) -> None:
    inbox.mood["/a"] = [503]
    office.now += timedelta(hours=30)
    office.say("one", to=[inbox.channel()])
    office.deliver(inbox.channel())
    office.say("two", to=[inbox.channel()])
    office.deliver(inbox.channel(), after=-30 * 3600)
    assert (inbox.titles(), office.pending) == (["one", "two"], 0)


def test_no_url_reaches_the_database(inbox: Inbox, office: Office) -> None:
    inbox.mood["/a"] = [500]
    office.say("one", to=[inbox.channel()])
    office.deliver(inbox.channel())
    office.store.close()
    written = b"".join(path.read_bytes() for path in office.path.parent.iterdir())
    assert b"one" in written
    assert b"hush" not in written
    assert str(inbox.port).encode() not in written


def test_what_serves_delivers_what_is_queued_later(inbox: Inbox, office: Office) -> None:
    async def life() -> None:
        courier = office.courier(inbox.channel())
        serving = asyncio.create_task(courier.serve())
        await asyncio.sleep(0.05)
        office.say("one", to=[inbox.channel()])
        courier.look()
        await asyncio.to_thread(inbox.heard.wait, 5)
        serving.cancel()

    asyncio.run(life())
    assert inbox.titles() == ["one"]


def test_a_life_that_ends_does_not_wait_for_a_channel_that_hangs(inbox: Inbox, office: Office) -> None:
    inbox.mood["/a"] = ["hang"]
    office.say("one", to=[inbox.channel()])
    slow = Channel(inbox.url(), limit=60)

    async def life() -> None:
        serving = asyncio.create_task(office.courier(slow).serve())
        await asyncio.sleep(0.1)
        serving.cancel()

    begun = asyncio.run(_seconds(life()))
    assert begun < 2
    assert office.pending == 1


def test_a_process_does_not_wait_for_a_channel_that_hangs(inbox: Inbox) -> None:
    inbox.mood["/a"] = ["hang"]
    code = (
        "import asyncio, sys; from mmd.alerts import Kind, Message\n"
        "from mmd.notify import Channel; from mmd.secret import Secret\n"
        "channel = Channel(Secret(sys.argv[1]), limit=0.2)\n"
        "print(asyncio.run(channel.send(Message(kind=Kind.TEST, title='t', body='b'))))"
    )
    url = f"{inbox.url().reveal()}?rto=60"  # Apprise itself would wait for a minute
    inbox.mood["/a?rto=60"] = ["hang"]
    command = [sys.executable, "-c", code, url]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=15)
    assert done.stdout == "no answer within 0.2 s\n"


async def _seconds(work: Any) -> float:  # noqa: ANN401 - any coroutine
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await work
    return loop.time() - begun


# -- the heartbeat -------------------------------------------------------------------------------------------


def beat(inbox: Inbox, office: Office, *after: float) -> int:
    """Let good passes end, each so many seconds after the one before; return how often the watcher heard."""

    async def life() -> None:
        url = f"http://127.0.0.1:{inbox.port}/ping"
        courier = office.courier(heartbeat=url)
        for seconds in after:
            office.now += timedelta(seconds=seconds)
            courier.beat()
            if courier._ping is not None:
                await courier._ping

    asyncio.run(life())
    return len(inbox.got["/ping"])


def test_the_watcher_is_pinged_once_per_interval(inbox: Inbox, office: Office) -> None:
    assert beat(inbox, office, 0, 1, 1, 27.9, 30, 5) == 3


def test_a_clock_that_was_ahead_does_not_silence_the_heartbeat(inbox: Inbox, office: Office) -> None:
    assert beat(inbox, office, 86_400, -86_400) == 2


def test_the_heartbeat_is_withheld_while_an_alert_cannot_be_delivered(inbox: Inbox, office: Office) -> None:
    inbox.mood["/a"] = [500]
    office.say("one", to=[inbox.channel()])
    office.deliver(inbox.channel())
    assert beat(inbox, office, OVERDUE.total_seconds()) == 1
    assert beat(inbox, office, 1) == 1
    office.deliver(inbox.channel())
    assert beat(inbox, office, 1) == 2


def test_the_heartbeat_is_withheld_in_other_trouble(inbox: Inbox, office: Office) -> None:
    async def life() -> None:
        courier = office.courier(heartbeat=f"http://127.0.0.1:{inbox.port}/ping")
        courier.beat("no good sweep for 15 minutes")
        assert courier._ping is None
        courier.beat()
        assert courier._ping is not None
        await courier._ping

    asyncio.run(life())
    assert len(inbox.got["/ping"]) == 1


def test_a_watcher_that_fails_stops_nothing(inbox: Inbox, office: Office) -> None:
    inbox.mood["/ping"] = [500]
    assert beat(inbox, office, 0, 30) == 1


def test_a_ping_follows_no_redirect_and_has_a_limit(inbox: Inbox) -> None:
    inbox.mood["/ping"] = [302, "trickle"]
    url = Secret(f"http://127.0.0.1:{inbox.port}/ping")
    assert asyncio.run(ping(url)) == "the watcher answered with status 302"
    assert inbox.got["/elsewhere"] == []
    assert asyncio.run(ping(url, limit=0.2)) == "the watcher cannot be reached: TimeoutError"
