"""The simulator's door: tokens, versions, the rate limit, rights."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest
from simulated import HandClock, Peer, simulated

from mmd.simulator import Simulator, Switches, make_tenant
from mmd.simulator.access import Limiter

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx


@pytest.mark.parametrize(
    "ask",
    [
        lambda peer: peer.http.post("/oauth/token", data=peer.credentials()),
        lambda peer: peer.http.post("/oauth/token", params=peer.credentials()),
        lambda peer: peer.http.post(
            "/oauth/token", files={key: (None, value) for key, value in peer.credentials().items()}
        ),
    ],
    ids=["urlencoded", "query", "multipart"],
)
def test_a_token_is_had_by_body_form_and_query(ask: Callable[[Peer], httpx.Response]) -> None:
    with simulated(Switches(token_seconds=15)) as peer:
        answer = ask(peer)
        assert answer.status_code == 200
        assert answer.json()["expires_in"] == 15
        peer.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        assert peer.get("/sources").status_code == 200


@pytest.mark.parametrize("wrong", [{"client_secret": "no"}, {"client_id": "no"}, {"client_secret": ""}])
def test_wrong_credentials_are_a_401_in_oauth_s_own_shape(wrong: dict[str, str]) -> None:
    with simulated() as peer:
        answer = peer.token(**wrong)
        assert answer.status_code == 401
        assert set(answer.json()) == {"error", "error_description"}


def test_another_grant_is_refused() -> None:
    with simulated() as peer:
        assert peer.token(grant_type="password").status_code == 400


def test_a_token_dies_when_its_seconds_are_over() -> None:
    clock = HandClock()
    with simulated(Switches(token_seconds=15), clock=clock) as peer:
        clock.advance(14.9)
        assert peer.get("/sources", limit=1).status_code == 200
        clock.advance(0.1)
        answer = peer.get("/sources", limit=1)
        assert answer.status_code == 401
        assert answer.json() == {"error": "JWT validation failed: JWT is expired"}


def test_without_a_token_and_after_revocation_there_is_a_401() -> None:
    with simulated() as peer:
        peer.sim.clients.revoke()
        assert peer.get("/sources").status_code == 401
        del peer.http.headers["Authorization"]
        assert peer.get("/sources").status_code == 401


def test_the_tenant_says_who_it_is_without_a_token() -> None:
    with Simulator(make_tenant(1)) as sim, simulated() as peer:
        assert peer.http.get(f"{sim.base_url}/oauth/other").status_code == 404
        info = peer.http.get(f"{sim.base_url}/oauth/info", headers={"Authorization": ""}).json()
        assert info["tenantName"] == "acme-sim"
        assert info["tokenEndpoint"] == f"{sim.base_url}/oauth/token"


@pytest.mark.parametrize("prefix", ["/v2024/sources", "/v2025/sources", "/v2026/sources", "/sources/v1"])
def test_every_version_serves_sources_and_schedules(prefix: str) -> None:
    with simulated() as peer:
        first = peer.get(prefix, limit=1).json()[0]
        assert peer.get(f"{prefix}/{first['id']}").json()["name"] == first["name"]
        assert peer.get(f"{prefix}/{first['id']}/schedules").status_code == 200
        version = peer.sim.log[-1].api_version
        assert version == ("v1" if prefix == "/sources/v1" else prefix.split("/")[1])


def test_v3_has_sources_but_no_schedules() -> None:
    with simulated() as peer:
        answer = peer.get("/v3/sources", limit=1)
        assert answer.headers["X-Deprecated"] == "true"
        schedules = peer.get(f"/v3/sources/{answer.json()[0]['id']}/schedules")
        assert schedules.status_code == 404
        assert schedules.json() == {"error": "No message available"}


@pytest.mark.parametrize("path", ["/", "/v2026", "/v2023/sources", "/v2026/nonsense", "/nonsense/v1"])
def test_what_is_not_routed_is_not_found(path: str) -> None:
    with simulated() as peer:
        assert peer.http.get(path).status_code == 404


def test_the_rate_limit_counts_each_client_and_version_apart() -> None:
    with simulated(Switches(rate=(3, 60.0))) as peer:
        other = {"client_id": "other", "client_secret": "also secret"}
        peer.sim.clients.secrets["other"] = "also secret"
        assert [peer.get("/sources", limit=1).status_code for _ in range(4)] == [200, 200, 200, 429]
        assert peer.get("/v2025/sources", limit=1).status_code == 200
        bearer = peer.token(**other).json()["access_token"]
        mine = peer.http.get("/v2026/sources", headers={"Authorization": f"Bearer {bearer}"})
        assert mine.status_code == 200


def test_the_rate_limit_holds_for_tokens_too() -> None:
    with simulated(Switches(rate=(2, 60.0))) as peer:
        assert [peer.token().status_code for _ in range(2)] == [200, 429]  # one was had at log-in


def test_a_429_says_when_to_come_back_in_each_way_seen() -> None:
    clock = HandClock()
    with simulated(clock=clock) as peer:
        peer.sim.switches.rate = (1, 10.0)
        peer.get("/sources", limit=1)
        answer = peer.get("/sources", limit=1)
        assert answer.json() == {"message": " Rate Limit Exceeded "}
        assert 1 <= int(answer.headers["Retry-After"]) <= 10
        peer.sim.switches.retry_after = "date"
        told = parsedate_to_datetime(peer.get("/sources").headers["Retry-After"])
        assert 0 < (told - clock.now).total_seconds() <= 10
        peer.sim.switches.retry_after = "none"
        assert "Retry-After" not in peer.get("/sources").headers
        peer.sim.switches.retry_after = "absurd"
        assert int(peer.get("/sources").headers["Retry-After"]) > 86400


def test_a_rate_of_nothing_is_a_storm_of_429() -> None:
    with simulated() as peer:
        peer.sim.switches.rate = (0, 10.0)
        assert [peer.get("/sources").headers["Retry-After"] for _ in range(2)] == ["11", "11"]


def test_the_limit_slides() -> None:
    limiter, rate = Limiter(), (2, 10.0)
    key = ("client", "v2026")
    assert [limiter.wait(key, at, rate) for at in (0.0, 6.0)] == [0.0, 0.0]
    assert limiter.wait(key, 7.0, rate) == pytest.approx(3.0)
    assert limiter.wait(key, 10.0, rate) == 0.0
    assert limiter.wait(key, 11.0, rate) == pytest.approx(5.0)


def test_a_right_may_be_missing_altogether_or_for_one_source() -> None:
    with simulated() as peer:
        workday, sap = peer.source("Workday"), peer.source("SAP ERP")
        change = {"op": "add", "path": "/description", "value": "changed"}
        peer.sim.switches.denied = {("idn:sources:manage", peer.sim.tenant.id_of("Workday"))}
        answer = peer.patch(workday, change)
        assert answer.status_code == 403
        assert answer.json()["detailCode"] == "403 Forbidden"
        assert peer.patch(sap, change).status_code == 200
        assert peer.get(workday).status_code == 200
        peer.sim.switches.denied = {"idn:org-configs:read"}
        assert peer.get("/org-config").status_code == 403


def test_manage_alone_is_enough_to_read() -> None:
    with simulated(Switches(denied={"idn:sources:read"})) as peer:
        assert peer.get("/sources").status_code == 200
        peer.sim.switches.denied = {"idn:sources:read", "idn:sources:manage"}
        assert peer.get("/sources").status_code == 403


def test_schedules_may_need_the_experimental_header() -> None:
    with simulated(Switches(experimental_required=True)) as peer:
        path = peer.source("Workday") + "/schedules"
        assert peer.get(path).status_code == 400
        peer.http.headers["X-SailPoint-Experimental"] = "true"
        assert peer.get(path).status_code == 200


def test_the_edge_may_claim_an_encoding_that_is_none() -> None:
    with simulated(Switches(content_encoding_quirk=True)) as peer:
        answer = peer.get("/sources/nothing")
        assert answer.headers["Content-Encoding"] == "UTF-8"
        assert "Content-Encoding" not in peer.get("/sources", limit=1).headers


def test_an_error_carries_a_tracking_id_of_its_own() -> None:
    with simulated() as peer:
        first, second = (peer.get("/sources/nothing").json() for _ in range(2))
        assert len(first["trackingId"]) == 32
        assert first["trackingId"] != second["trackingId"]
        assert first["messages"][0]["localeOrigin"] == "DEFAULT"


def test_latency_is_taken_before_each_request() -> None:
    left = [0.02, 0.01]
    with simulated() as peer:
        peer.sim.switches.latency = left.pop
        peer.get("/sources", limit=1)
        peer.sim.switches.latency = 0.05
        started = time.monotonic()
        peer.get("/sources", limit=1)
        assert time.monotonic() - started >= 0.05
        assert left == [0.02]


def test_the_log_tells_requests_but_no_secret() -> None:
    with simulated() as peer:
        peer.http.post("/oauth/token", params=peer.credentials())
        peer.token()
        path = peer.source("Workday")
        peer.patch(path, {"op": "add", "path": "/description", "value": "x"})
        peer.post(path + "/connector/check-connection")
        assert peer.sim.client_secret not in repr(peer.sim.log)
        assert [one.method for one in peer.sim.mutations] == ["PATCH"]
        assert peer.sim.mutations[0].body == [{"op": "add", "path": "/description", "value": "x"}]
        assert peer.sim.mutations[0].client_id == peer.sim.client_id
        assert peer.sim.count() == 4
        assert peer.sim.count("POST", "/oauth/") == 2


def test_answers_on_a_kept_connection_do_not_wait_for_acknowledgements() -> None:
    with simulated(Switches(rate=None)) as peer:
        started = time.monotonic()
        for _ in range(100):
            peer.get("/sources")  # too long for one write
        assert time.monotonic() - started < 2.0  # 40 ms each would be 4 s


def test_stopping_ends_kept_connections_and_frees_the_port() -> None:
    with simulated() as peer:
        port = int(peer.sim.base_url.rpartition(":")[2])
        started = time.monotonic()
        peer.sim.stop()
        peer.sim.stop()
        assert time.monotonic() - started < 2.0
        with Simulator(make_tenant(1), port=port) as again:
            assert again.base_url == peer.sim.base_url


def test_requests_may_come_in_pieces_on_one_connection() -> None:
    with simulated() as peer:
        host, port = peer.sim.base_url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=5) as raw:
            for piece in (b"GET /oauth/in", b"fo HTTP/1.1\r\nHost: a\r\n", b"\r\n"):
                raw.sendall(piece)
            assert raw.recv(20).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("header", ["Transfer-Encoding: chunked", "Content-Length: many"])
def test_a_body_of_no_stated_length_ends_the_connection(header: str) -> None:
    with simulated() as peer:
        host, port = peer.sim.base_url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=5) as raw:
            raw.sendall(f"POST /oauth/token HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n".encode())
            answer = b"".join(iter(lambda: raw.recv(1000), b""))
        assert answer.startswith(b"HTTP/1.1 411")


def test_the_simulator_stands_alone() -> None:
    program = (
        "import sys; before = set(sys.modules); import mmd.simulator\n"
        "print(*{name.split('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)\n"
        "print(*[name for name in sys.modules if name.startswith('mmd.') and 'simulator' not in name])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["mmd", ""]


def test_the_default_clock_is_utc_now() -> None:
    assert abs((make_tenant(1).clock() - datetime.now(UTC)).total_seconds()) < 5  # noqa: TID251 - compared
