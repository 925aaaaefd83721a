"""The client for ISC: values in, values out, over HTTP.

`client` has the requests; `wire` one exchange over HTTP; `budget` who may send when; `token` signing in;
`retry` what is tried again; `door` turns what ISC sends into values. Nothing here reads configuration, logs,
or knows windows.
"""

from __future__ import annotations

from mmd.isc.budget import RANK, Priority
from mmd.isc.client import Isc, Tenant
from mmd.isc.wire import Call, Stats

__all__ = ["RANK", "Call", "Isc", "Priority", "Stats", "Tenant"]
