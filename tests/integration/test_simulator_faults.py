"""What the simulator can do to a client on purpose; each rule says how often it did."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from simulated import ACCOUNT, Peer, simulated

from mmd.simulator import Reply, Rule, Simulator, Switches, faults, make_tenant

if TYPE_CHECKING:
    from mmd.simulator.faults import Action

FIRST = {"op": "add", "path": "/connectorAttributes/first", "value": 1}
SECOND = {"op": "add", "path": "/connectorAttributes/second", "value": 2}
ONE_SOURCE = r"/sources/[^/]+$"


def given(peer: Peer, action: Action, method: str | None = None, path: str = "", **when: Any) -> Rule:  # noqa: ANN401 - passed on
    rule = Rule(action, method, path, **when)
    peer.sim.faults.append(rule)
    return rule


def attributes(peer: Peer, name: str = "Workday") -> dict[str, Any]:
    source = peer.sim.tenant.sources[peer.sim.tenant.id_of(name)]
    return dict(source["connectorAttributes"])


@pytest.mark.parametrize("after", [False, True])
def test_an_error_comes_before_or_after_the_change(*, after: bool) -> None:
    with simulated() as peer:
        rule = given(peer, faults.fail(503, after=after), "PATCH", ONE_SOURCE, nth=1)
        assert peer.patch(peer.source("Workday"), FIRST).status_code == 503
        assert ("first" in attributes(peer)) is after
        assert rule.fired == 1
        assert peer.patch(peer.source("Workday"), FIRST).status_code == 200
        assert (rule.matched, rule.fired) == (2, 1)


@pytest.mark.parametrize("after", [False, True])
def test_a_connection_is_dropped_before_or_after_the_change(*, after: bool) -> None:
    with simulated() as peer:
        rule = given(peer, faults.drop(after=after), "PATCH", nth=1)
        with pytest.raises(httpx.RemoteProtocolError):
            peer.patch(peer.source("Workday"), FIRST)
        assert ("first" in attributes(peer)) is after
        assert rule.fired == 1
        assert peer.sim.log[-1].status == 0
        assert peer.get(peer.source("Workday")).status_code == 200


def test_a_body_breaks_off() -> None:
    with simulated() as peer:
        given(peer, faults.truncate(20), "GET", "/sources$")
        with pytest.raises(httpx.RemoteProtocolError):
            peer.get("/sources")


def test_a_body_comes_byte_by_byte() -> None:
    with simulated() as peer:
        given(peer, faults.trickle(0.01), path="/org-config")
        started = time.monotonic()
        assert peer.get("/org-config").json()["orgName"] == "acme-sim"
        assert time.monotonic() - started > 0.5


@pytest.mark.parametrize("after", [False, True])
def test_a_request_hangs_until_the_client_gives_up(*, after: bool) -> None:
    with simulated() as peer:
        rule = given(peer, faults.hang(60, after=after), "PATCH")
        peer.http.timeout = httpx.Timeout(0.2)
        started = time.monotonic()
        with pytest.raises(httpx.ReadTimeout):
            peer.patch(peer.source("Workday"), FIRST)
        assert ("first" in attributes(peer)) is after
        assert rule.fired == 1
        peer.sim.stop()
        assert time.monotonic() - started < 5


def test_a_page_of_html_comes_instead_of_an_answer() -> None:
    with simulated() as peer:
        given(peer, faults.html(502), path="/sources", nth=1)
        given(peer, faults.html(200), path="/sources", nth=2)
        for status in (502, 200):
            answer = peer.get("/sources")
            assert (answer.status_code, answer.headers["Content-Type"]) == (status, "text/html")
            with pytest.raises(json.JSONDecodeError):
                answer.json()


def test_one_operation_is_ignored_and_the_answer_is_200() -> None:
    with simulated() as peer:
        given(peer, faults.ignore_op(0), "PATCH")
        answer = peer.patch(peer.source("Workday"), FIRST, SECOND)
        assert answer.status_code == 200
        assert "first" not in answer.json()["connectorAttributes"]
        assert attributes(peer)["second"] == 2
        assert peer.sim.mutations[0].body == [FIRST, SECOND]


def test_a_patch_is_applied_in_part_and_the_answer_is_400() -> None:
    with simulated() as peer:
        given(peer, faults.prefix_ops(1), "PATCH")
        assert peer.patch(peer.source("Workday"), FIRST, SECOND).status_code == 400
        assert attributes(peer)["first"] == 1
        assert "second" not in attributes(peer)


def test_a_request_is_sent_to_another_host() -> None:
    with Simulator(make_tenant(1)) as other, simulated() as peer:
        given(peer, faults.redirect(other.base_url), "GET")
        answer = peer.get("/sources")
        assert (answer.status_code, answer.headers["Location"]) == (307, f"{other.base_url}/v2026/sources")
        assert other.log == []


def test_a_person_edits_between_two_requests() -> None:
    with simulated() as peer:
        tenant, source_id = peer.sim.tenant, peer.sim.tenant.id_of("Workday")
        given(peer, faults.run(lambda: peer.sim.edit.rename(source_id, "W")), "GET", ONE_SOURCE, nth=2)
        given(peer, faults.run(lambda: tenant.sources.pop(source_id), after=True), "GET", ONE_SOURCE, nth=3)
        seen = [peer.get(f"/sources/{source_id}") for _ in range(4)]
        assert [answer.json().get("name") for answer in seen] == ["Workday", "W", "W", None]


def test_an_answer_is_rewritten_on_its_way() -> None:
    def without_features(reply: Reply) -> Reply:
        source = json.loads(reply.body)
        del source["features"]
        return replace(reply, body=json.dumps(source).encode())

    with simulated() as peer:
        given(peer, faults.rewrite(without_features), "GET", ONE_SOURCE)
        assert "features" not in peer.get(peer.source("Workday")).json()


def test_a_rule_may_be_for_the_request_of_a_number_or_for_some_in_a_row() -> None:
    with simulated() as peer:
        given(peer, faults.fail(500), request=2)
        assert [peer.get("/sources", limit=0).status_code for _ in range(3)] == [200, 500, 200]
        row = given(peer, faults.fail(503), "GET", nth=2, times=2)
        assert [peer.get("/sources", limit=0).status_code for _ in range(4)] == [200, 503, 503, 200]
        assert row.fired == 2


def test_a_rule_may_look_at_the_request_itself() -> None:
    with simulated() as peer:
        given(peer, faults.fail(500), when=lambda call: b"second" in call.body)
        assert peer.patch(peer.source("Workday"), FIRST).status_code == 200
        assert peer.patch(peer.source("Workday"), SECOND).status_code == 500


def test_two_rules_act_on_one_request() -> None:
    with simulated() as peer:
        source_id = peer.sim.tenant.id_of("Workday")
        given(peer, faults.run(lambda: peer.sim.edit.delete_schedule(source_id, ACCOUNT)), "PATCH")
        given(peer, faults.drop(after=True), "PATCH")
        with pytest.raises(httpx.RemoteProtocolError):
            peer.patch(f"/sources/{source_id}", FIRST)
        assert peer.sim.tenant.schedules[source_id] == {}
        assert "first" in attributes(peer)


def test_a_rule_that_fails_itself_fails_the_test() -> None:
    def meet(action: Action) -> None:
        with simulated() as peer:
            given(peer, action, "GET")
            assert peer.get("/sources").status_code == 500

    with pytest.raises(ZeroDivisionError):
        meet(faults.run(lambda: 1 // 0))


def test_a_client_is_killed_at_a_request() -> None:
    with simulated(Switches(rate=None)) as peer:
        program = (
            f"import urllib.request as u\nwhile True: u.urlopen('{peer.sim.base_url}/oauth/info').read()"
        )
        with subprocess.Popen([sys.executable, "-c", program]) as client:
            given(peer, faults.run(lambda: os.kill(client.pid, signal.SIGKILL)), request=3)
            assert client.wait(20) == -signal.SIGKILL
        assert peer.sim.count() == 3


def test_serving_ends_with_a_signal() -> None:
    program = (
        "from mmd.simulator import serve\n"
        "serve(0, 3, announce=lambda sim: print(sim.base_url, sim.client_id, sim.client_secret, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        base_url, client_id, secret = server.stdout.readline().split()
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
        assert httpx.post(f"{base_url}/oauth/token", data=form).status_code == 200
        server.send_signal(signal.SIGTERM)
        assert server.wait(10) == 0
