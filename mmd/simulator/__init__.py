"""An honest ISC tenant on a real socket: for the demonstration, for practice, and for the tests.

It imports nothing of mmd and nothing beyond the standard library: it is a peer, and must not share mmd's
mistakes. What ISC documents it does; each answer that it does not document is a switch (docs/isc.md §8, §10).
"""

from mmd.simulator import faults
from mmd.simulator.faults import Rule
from mmd.simulator.seeds import make_tenant
from mmd.simulator.server import Request, Simulator, serve
from mmd.simulator.switches import Switches
from mmd.simulator.tenant import Tenant
from mmd.simulator.wire import Call, Reply

__all__ = [
    "Call",
    "Reply",
    "Request",
    "Rule",
    "Simulator",
    "Switches",
    "Tenant",
    "faults",
    "make_tenant",
    "serve",
]
