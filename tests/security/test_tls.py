"""Whom mmd talks to: reliability.md 2.3 B21 and B22, and docs/security.md."""

from __future__ import annotations

import asyncio
import os
import ssl
import warnings
from pathlib import Path

import pytest
from certificates import OPENSSL, Authority, server

from mmd.errors import ConfigError, MmdError
from mmd.isc import Isc, Tenant
from mmd.notify import ping
from mmd.secret import Secret
from mmd.simulator import Simulator, faults, make_tenant
from mmd.simulator.faults import Rule

pytestmark = pytest.mark.skipif(OPENSSL is None, reason="NOT RUN: openssl is not installed here")

PAST = ("20200101000000Z", "20200201000000Z")
FUTURE = ("20400101000000Z", "20400201000000Z")
LOCALHOST = "DNS:localhost"


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("known") / "ca")


@pytest.fixture(scope="module")
def unknown(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("unknown") / "ca")


@pytest.fixture(autouse=True)
def believed(known: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an operator's own authority would be: by the environment."""
    monkeypatch.setenv("SSL_CERT_FILE", str(known.certificate))
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


def ask(port: int, host: str = "localhost") -> None:
    """Ask for something that needs no token."""

    async def main() -> None:
        tenant = Tenant(
            base_url=f"https://{host}:{port}", api_version="v2026", client_id="id", user_agent="mmd/test"
        )
        async with Isc(tenant, lambda: "CANARY", sleep=_at_once) as isc:
            await isc.oauth_info()

    asyncio.run(main())


async def _at_once(_seconds: float) -> None:
    await asyncio.sleep(0)


def certificate(kind: str, known: Authority, unknown: Authority) -> Path:
    match kind:
        case "expired":
            return known.vouch(LOCALHOST, *PAST)
        case "not valid yet":
            return known.vouch(LOCALHOST, *FUTURE)
        case "of another name":
            return known.vouch("DNS:evil.example.test")
        case "of an address only":
            return known.vouch("IP:127.0.0.1")
        case _:
            return unknown.vouch(LOCALHOST)


BAD = ["expired", "not valid yet", "of another name", "of an address only", "of an unknown authority"]


def test_a_certificate_that_is_vouched_for_is_believed(known: Authority) -> None:
    """Else the tests below would show nothing."""
    with server(known.vouch(LOCALHOST)) as (port, heard):
        ask(port)
        assert asyncio.run(ping(Secret(f"https://localhost:{port}/"))) == ""
    assert len(heard) == 2


@pytest.mark.parametrize("kind", BAD)
def test_a_certificate_that_does_not_hold_is_refused(kind: str, known: Authority, unknown: Authority) -> None:
    with server(certificate(kind, known, unknown)) as (port, heard):
        with pytest.raises(MmdError, match=r"(?i)certificate|ssl") as caught:
            ask(port)
        assert "CANARY" not in str(caught.value)
        assert "ConnectError" in asyncio.run(ping(Secret(f"https://localhost:{port}/")))
    assert not heard


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
def test_old_tls_is_refused(version: str, known: Authority) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it is the point
        newest = ssl.TLSVersion[version]
        with server(known.vouch(LOCALHOST), newest) as (port, heard), pytest.raises(MmdError):
            ask(port)
    assert not heard


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_new_tls_is_taken(version: str, known: Authority) -> None:
    with server(known.vouch(LOCALHOST), ssl.TLSVersion[version]) as (port, heard):
        ask(port)
    assert heard


@pytest.mark.parametrize(
    "url", ["http://example.test", "http://192.0.2.1:8080", "http://127.0.0.1.example.test"]
)
def test_a_token_never_travels_in_the_clear(url: str) -> None:
    tenant = Tenant(base_url=url, api_version="v2026", client_id="id", user_agent="mmd/test")
    with pytest.raises(ConfigError, match="https"):
        Isc(tenant, lambda: "CANARY")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("path", ["/oauth/token", "/sources"])
def test_a_redirect_takes_neither_token_nor_secret_elsewhere(status: int, path: str) -> None:
    with Simulator(make_tenant(1)) as here, Simulator(make_tenant(1)) as elsewhere:
        here.faults.append(Rule(faults.redirect(elsewhere.base_url, status), path=path))

        async def main() -> None:
            tenant = Tenant(
                base_url=here.base_url, api_version="v2026", client_id=here.client_id, user_agent="mmd/test"
            )
            async with Isc(tenant, lambda: here.client_secret, sleep=_at_once) as isc:
                await isc.get_json("sources")

        with pytest.raises(MmdError):
            asyncio.run(main())
        assert not elsewhere.log
