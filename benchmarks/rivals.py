"""What people do without mmd: the forum's workflow, the same on the official SDK, and the audit script.

Each is a program that does its work once and prints how long that took, in seconds. The forum's calls are
those that were published, in their order: one source after another, each call waiting for the last.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_PAGE: Final = 250
_KINDS: Final = ("GROUP_AGGREGATION", "ACCOUNT_AGGREGATION")


class Plain:
    """HTTP without a library, on one connection."""

    def __init__(self, base_url: str, client_id: str, secret: str) -> None:
        address = urlsplit(base_url)
        self._connection = HTTPConnection(address.hostname or "", address.port)
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
        head = {"Content-Type": "application/x-www-form-urlencoded"}
        answer, _ = self._exchange("POST", "/oauth/token", urlencode(form).encode(), head)
        self._head = {"Authorization": f"Bearer {answer['access_token']}"}

    def send(self, method: str, path: str, body: object = None) -> tuple[Any, dict[str, str]]:
        """Send one request and return the answer's JSON and headers."""
        kind = "application/json-patch+json" if method == "PATCH" else "application/json"
        content = b"" if body is None else json.dumps(body).encode()
        return self._exchange(method, path, content, {**self._head, "Content-Type": kind})

    def _exchange(
        self, method: str, path: str, body: bytes, head: dict[str, str]
    ) -> tuple[Any, dict[str, str]]:
        self._connection.request(method, path, body, head)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            sys.exit("the limit was hit")
        return json.loads(text or b"{}"), dict(answer.getheaders())


def _treatment(group: str, account: str) -> list[dict[str, Any]]:
    values = {
        "enableProvisioningFeature": False,
        "disable_health_check": True,
        "groupaggregationschedule": group,
        "accountaggregationschedule": account,
        "maintenancemode": True,
    }
    patch = [{"op": "add", "path": f"/connectorAttributes/{key}", "value": it} for key, it in values.items()]
    return [*patch[:2], {"op": "replace", "path": "/features", "value": []}, *patch[2:]]


def forum(http: Plain, source_ids: Sequence[str]) -> None:
    """Enable maintenance mode, source by source."""
    for source_id in source_ids:
        path = f"/v2026/sources/{source_id}"
        http.send("GET", path)
        crons = [http.send("GET", f"{path}/schedules/{kind}")[0].get("cronExpression", "") for kind in _KINDS]
        for kind in _KINDS:
            http.send("DELETE", f"{path}/schedules/{kind}")
        http.send("PATCH", path, _treatment(*crons))


def audit(http: Plain) -> None:
    """Read all sources, page by page, as the audit script does."""
    found, offset, total = [], 0, 1
    while offset < total:
        page, head = http.send("GET", f"/v3/sources?limit={_PAGE}&offset={offset}&count=true")
        total = int(head.get("X-Total-Count", total)) if not offset else total
        found += [row for row in page if row["connectorAttributes"].get("maintenancemode") in (True, "true")]
        offset += _PAGE


def sdk(base_url: str, client_id: str, secret: str, source_ids: Sequence[str]) -> None:
    """Do as the forum does, with the official SDK as its documentation shows it."""
    from sailpoint.configuration import Configuration, ConfigurationParams  # noqa: PLC0415 - only for this one
    from sailpoint.sources.api.sources_api import SourcesApi  # noqa: PLC0415 - as above
    from sailpoint.sources.api_client import ApiClient  # noqa: PLC0415 - as above
    from sailpoint.sources.exceptions import ApiException  # noqa: PLC0415 - as above
    from sailpoint.sources.models.json_patch_operation import JsonPatchOperation  # noqa: PLC0415 - as above

    parameters = ConfigurationParams()
    parameters.base_url, parameters.client_id, parameters.client_secret = base_url, client_id, secret
    api = SourcesApi(ApiClient(Configuration(parameters)))

    def cron(source_id: str, kind: str) -> str:
        try:
            return str(api.get_source_schedule_v1(source_id, kind).cron_expression)
        except ApiException:  # it has none of this kind
            return ""

    for source_id in source_ids:
        api.get_source_v1_without_preload_content(source_id)  # its model refuses features it does not know
        crons = [cron(source_id, kind) for kind in _KINDS]
        for kind in _KINDS:
            with suppress(ApiException):
                api.delete_source_schedule_v1(source_id, kind)
        operations = [JsonPatchOperation.from_dict(it) for it in _treatment(*crons)]
        api.update_source_v1(source_id, operations)


def main() -> None:
    """Do one of the works and print the seconds it took."""
    what, base_url, client_id, *source_ids = sys.argv[1:]
    secret = os.environ["RIVAL_SECRET"]
    works: dict[str, Callable[[], None]] = {
        "forum": lambda: forum(Plain(base_url, client_id, secret), source_ids),
        "audit": lambda: audit(Plain(base_url, client_id, secret)),
        "sdk": lambda: sdk(base_url, client_id, secret, source_ids),
    }
    started = time.monotonic()
    works[what]()
    print(time.monotonic() - started)


if __name__ == "__main__":
    main()
