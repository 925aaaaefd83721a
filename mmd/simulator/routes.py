"""Which path does what, and under which scopes (docs/isc.md §1, §3 to §5)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from mmd.simulator import filters
from mmd.simulator.access import allowed
from mmd.simulator.health import timestamp
from mmd.simulator.problems import BAD_SYNTAX, Problem, rejected
from mmd.simulator.wire import Call, Reply, answer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mmd.simulator.tenant import Tenant

_PATCH_TYPE = "application/json-patch+json"
_MOST = 250


@dataclass(frozen=True, slots=True)
class Asked:
    """A call on its way through the rules: who asks, in which API version, for what."""

    tenant: Tenant
    call: Call
    version: str
    client_id: str
    names: Mapping[str, str]

    @property
    def source_id(self) -> str:
        """The source that the path names."""
        return self.names["id"]


Handler: TypeAlias = Callable[[Asked], Reply]


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. Any one of the scopes will do; `versions` are where it is routed."""

    method: str
    pattern: re.Pattern[str]
    handler: Handler
    scopes: tuple[str, ...]
    in_v3: bool


def dispatch(tenant: Tenant, call: Call, version: str, path: str, client_id: str) -> Reply:
    """Answer a call of a client that is known and within its rate."""
    for route in _ROUTES:
        match = route.pattern.fullmatch(path)
        if match and route.method == call.method and (route.in_v3 or version != "v3"):
            return _run(route, Asked(tenant, call, version, client_id, match.groupdict()))
    return answer(404, {"error": "No message available"})


def _run(route: Route, asked: Asked) -> Reply:
    try:
        _check_rights(route, asked)
        return route.handler(asked)
    except Problem as problem:
        return answer(problem.status, problem.body())


def _check_rights(route: Route, asked: Asked) -> None:
    switches = asked.tenant.switches
    if not allowed(route.scopes, asked.names.get("id"), switches.denied):
        raise Problem(403)
    experimental = asked.call.headers.get("x-sailpoint-experimental", "").lower() == "true"
    if switches.experimental_required and "/schedules" in asked.call.path and not experimental:
        raise rejected("This operation needs the header X-SailPoint-Experimental: true.")


def _body(call: Call, content_type: str, tenant: Tenant) -> object:
    given = call.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != content_type and tenant.switches.wrong_content_type != 200:  # noqa: PLR2004 - an HTTP status
        raise Problem(tenant.switches.wrong_content_type)
    try:
        return json.loads(call.body)
    except ValueError:
        raise rejected("The request could not be parsed.", code=BAD_SYNTAX) from None


def _number(call: Call, name: str, default: int, most: int | None = None) -> int:
    text = call.query.get(name, str(default))
    if not text.isdecimal() or (most is not None and int(text) > most):
        raise rejected(f"The parameter {name} is out of range.")
    return int(text)


def _collection(asked: Asked, items: Sequence[Mapping[str, Any]], total: int) -> Reply:
    counted = asked.call.query.get("count", "").lower() == "true"
    return answer(200, items, {"X-Total-Count": str(total)} if counted else {})


def _page(asked: Asked) -> tuple[int, int]:
    return _number(asked.call, "offset", 0), _number(asked.call, "limit", _MOST, _MOST)


def _list_sources(asked: Asked) -> Reply:
    offset, limit = _page(asked)
    return _collection(asked, *asked.tenant.page(asked.call.query, offset=offset, limit=limit))


def _get_source(asked: Asked) -> Reply:
    return answer(200, asked.tenant.read(asked.source_id))


def _patch_source(asked: Asked) -> Reply:
    operations = _body(asked.call, _PATCH_TYPE, asked.tenant)
    return answer(200, asked.tenant.patch(asked.source_id, operations))


def _put_source(asked: Asked) -> Reply:
    body = _body(asked.call, "application/json", asked.tenant)
    return answer(200, asked.tenant.put(asked.source_id, body))


def _delete_source(asked: Asked) -> Reply:
    return answer(202, {"type": "TASK_RESULT", "id": asked.tenant.delete(asked.source_id), "name": None})


def _list_schedules(asked: Asked) -> Reply:
    return answer(200, asked.tenant.read_schedules(asked.source_id))


def _post_schedule(asked: Asked) -> Reply:
    body = _body(asked.call, "application/json", asked.tenant)
    return answer(201, asked.tenant.post_schedule(asked.source_id, body))


def _get_schedule(asked: Asked) -> Reply:
    return answer(200, asked.tenant.read_schedule(asked.source_id, asked.names["kind"]))


def _patch_schedule(asked: Asked) -> Reply:
    operations = _body(asked.call, _PATCH_TYPE, asked.tenant)
    return answer(200, asked.tenant.patch_schedule(asked.source_id, asked.names["kind"], operations))


def _delete_schedule(asked: Asked) -> Reply:
    asked.tenant.delete_schedule(asked.source_id, asked.names["kind"])
    return Reply(204)


def _health(asked: Asked) -> Reply:
    return answer(200, asked.tenant.health(asked.source_id))


def _check_connection(asked: Asked) -> Reply:
    return answer(200, asked.tenant.check_connection(asked.source_id))


def _list_tasks(asked: Asked) -> Reply:
    offset, limit = _page(asked)
    sorters, text = asked.call.query.get("sorters", "-created"), asked.call.query.get("filters", "")
    known = filters.TASK_FILTERS_V2024 if asked.version == "v2024" else filters.TASK_FILTERS
    tasks = filters.ordered(asked.tenant.tasks.listed(asked.tenant.clock()), sorters, filters.TASK_SORTERS)
    conditions = filters.parse(text, known) if text else []
    found = [task for task in tasks if all(condition.holds(task) for condition in conditions)]
    shown = [task["shown"] for task in found[offset : offset + limit]]
    return _collection(asked, shown, len(found))


def _get_task(asked: Asked) -> Reply:
    for task in asked.tenant.tasks.listed(asked.tenant.clock()):
        if task["id"] == asked.names["task"]:
            return answer(200, task["shown"])
    raise Problem(404)


def _org_config(asked: Asked) -> Reply:
    tenant = asked.tenant
    config = {
        "orgName": tenant.name,
        "timeZone": tenant.time_zone,
        "lcsChangeHonorsSourceEnableFeature": False,
        "armCustomerId": None,
        "iaiEnableCertificationRecommendations": True,
        "sodReportConfigs": [],
    }
    return answer(200, config)


def _own_token(asked: Asked) -> Reply:
    """The caller's personal access token, as the official client reads it."""
    if asked.call.query.get("owner-id") != "me":
        raise Problem(403)
    expires = asked.tenant.switches.pat_expires
    token = {
        "id": asked.client_id,
        "name": "mmd",
        "scope": ["sp:scopes:all"],
        "owner": {"type": "IDENTITY", "id": "service-account", "name": "mmd service account"},
        "created": "2024-02-08T14:50:03.000Z",
        "lastUsed": None,
        "managed": False,
        "accessTokenValiditySeconds": asked.tenant.switches.token_seconds,
        "expirationDate": None if expires is None else timestamp(expires),
        "userAwareTokenNeverExpires": expires is None,
    }
    return answer(200, [token])


def _list_identities(asked: Asked) -> Reply:
    offset, limit = _page(asked)
    text = asked.call.query.get("filters", "")
    conditions = filters.parse(text, filters.IDENTITY_FILTERS) if text else []
    found = [one for one in asked.tenant.identities if all(condition.holds(one) for condition in conditions)]
    return _collection(asked, found[offset : offset + limit], len(found))


_READ = ("idn:sources:read", "idn:sources:manage")
_MANAGE = ("idn:sources:manage",)
_SOURCE = r"/sources/(?P<id>[^/]+)"
_SCHEDULE = _SOURCE + r"/schedules/(?P<kind>[^/]+)"


def _route(method: str, pattern: str, handler: Handler, *scopes: str, in_v3: bool = False) -> Route:
    return Route(method, re.compile(pattern), handler, scopes, in_v3)


_ROUTES = (
    _route("GET", "/sources", _list_sources, *_READ, in_v3=True),
    _route("GET", _SOURCE, _get_source, *_READ, in_v3=True),
    _route("PATCH", _SOURCE, _patch_source, *_MANAGE, in_v3=True),
    _route("PUT", _SOURCE, _put_source, *_MANAGE, in_v3=True),
    _route("DELETE", _SOURCE, _delete_source, *_MANAGE, in_v3=True),
    _route("GET", _SOURCE + "/schedules", _list_schedules, *_READ),
    _route("POST", _SOURCE + "/schedules", _post_schedule, *_MANAGE),
    _route("GET", _SCHEDULE, _get_schedule, *_READ),
    _route("PATCH", _SCHEDULE, _patch_schedule, *_MANAGE),
    _route("DELETE", _SCHEDULE, _delete_schedule, *_MANAGE),
    _route("GET", _SOURCE + "/source-health", _health, *_READ, in_v3=True),
    _route("POST", _SOURCE + "/connector/check-connection", _check_connection, "idn:source-connector:manage"),
    _route("GET", "/task-status", _list_tasks, "idn:task-management:read", "idn:task-management:write"),
    _route("GET", "/task-status/(?P<task>[^/]+)", _get_task, "idn:task-management:read"),
    _route("GET", "/org-config", _org_config, "idn:org-configs:read"),
    _route("GET", "/personal-access-tokens", _own_token, "sp:my-personal-access-tokens:read", in_v3=True),
    _route("GET", "/public-identities", _list_identities, "sp:scopes:default", in_v3=True),
)
