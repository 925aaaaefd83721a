"""Where messages may go: anywhere but to the addresses at which a machine answers for itself.

A channel's URL, a name it resolves to, or a redirection may lead to the metadata service of a cloud, which
gives the machine's own credentials to whoever asks. So each connection is looked at when it is made, by its
address, after names are resolved and redirections followed. Private addresses are allowed: chat servers and
watchers mostly stand there (docs/adr/0021).
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

# Metadata services that are not at link-local addresses: Alibaba, Oracle, Azure, AWS and Google by IPv6.
METADATA: Final = tuple(
    map(
        ipaddress.ip_network,
        ("100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::/32", "fd20:ce::254"),
    )
)
_NAT64: Final = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48")))

# What was refused in this thread or task; None where nobody watches.
_refused: ContextVar[list[str] | None] = ContextVar("refused", default=None)


@contextmanager
def watched() -> Iterator[list[str]]:
    """Refuse bad addresses in this thread or task; yields the list of those that were refused."""
    _install()
    found: list[str] = []
    token = _refused.set(found)
    try:
        yield found
    finally:
        _refused.reset(token)


def is_refused(host: str) -> bool:
    """Whether no message may go to an address, or to a name that leads to one."""
    try:
        return _is_own(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return any(_is_own(address) for address in _resolved(host))


def _is_own(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if any(address in network for network in _NAT64):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return _is_own(inner)
    known = any(address in network for network in METADATA)
    return address.is_link_local or address.is_multicast or known


def _resolved(name: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Return what a name leads to; who connects to a name itself, and not to what it resolved, is rare."""
    try:
        found = socket.getaddrinfo(name, None)
    except (OSError, UnicodeError):
        return []
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


@cache
def _install() -> None:
    """Have Python tell of every connection and datagram beforehand; such a hook stays for good."""
    sys.addaudithook(_look)


def _look(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in ("socket.connect", "socket.sendto"):
        return
    found, address = _refused.get(), arguments[1]
    if found is None or not isinstance(address, tuple) or not is_refused(str(address[0])):
        return
    found.append(str(address[0]))
    raise PermissionError(f"no message goes to {address[0]}")
