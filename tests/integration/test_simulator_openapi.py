"""Requests and answers of every operation in use, against SailPoint's own documents.

The documents are not part of the project; where they are not at hand the tests say so and are skipped.
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft7Validator
from simulated import ACCOUNT, GROUP, JSON_PATCH, HandClock, Peer, simulated

from mmd.simulator import Switches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

DOCUMENTS = Path(__file__).parents[2].parent / "shared" / "openapi"
VERSIONS = ("v1", "v2024", "v2025", "v2026")

pytestmark = pytest.mark.skipif(
    not DOCUMENTS.is_dir(), reason="SailPoint's OpenAPI documents are not in ../shared/openapi: NOT VALIDATED"
)


def nullable(node: Any) -> Any:  # noqa: ANN401 - any JSON
    """OpenAPI 3.0's nullable, as JSON Schema says it."""
    if isinstance(node, list):
        return [nullable(item) for item in node]
    if not isinstance(node, dict):
        return node
    found = {key: nullable(value) for key, value in node.items()}
    if node.get("nullable") is True and "type" in node:
        found["type"] = [node["type"], "null"]
        if "enum" in node:
            found["enum"] = [*node["enum"], None]
    return found


@functools.cache
def document(version: str) -> dict[str, Any]:
    return dict(nullable(json.loads((DOCUMENTS / f"sources-{version}.json").read_text())))


def resolved(version: str, node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        found: Any = document(version)
        for step in node["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        node = found
    return node


def operation(version: str, method: str, path: str) -> dict[str, Any]:
    """The documented operation; exact paths win over templates."""
    paths = document(version)["paths"]
    path = path if version == "v1" else path.removeprefix(f"/{version}")
    for template in sorted(paths, key=lambda one: one.count("{")):
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path) and method.lower() in paths[template]:
            return dict(paths[template][method.lower()])
    pytest.fail(f"{method} {path} is not in the documents of {version}")


def faults_of(version: str, schema: dict[str, Any], instance: object) -> list[str]:
    whole = {"components": document(version)["components"], **schema}
    return [f"{error.json_path}: {error.message}" for error in Draft7Validator(whole).iter_errors(instance)]


def check(version: str, answer: httpx.Response) -> None:
    """Fail unless request and answer are what the document of the version says."""
    request = answer.request
    found = operation(version, request.method, request.url.path)
    check_parameters(version, found, request)
    if request.content:
        kind = request.headers["Content-Type"]
        body = found["requestBody"]["content"][kind]["schema"]
        assert faults_of(version, body, json.loads(request.content)) == []
    told = resolved(version, found["responses"][str(answer.status_code)])
    if "content" not in told:
        assert answer.content == b""
        return
    assert answer.headers["Content-Type"] == "application/json"
    assert faults_of(version, told["content"]["application/json"]["schema"], answer.json()) == []


def check_parameters(version: str, found: dict[str, Any], request: httpx.Request) -> None:
    documented = [resolved(version, one) for one in found.get("parameters", [])]
    schemas = {one["name"]: one["schema"] for one in documented if one["in"] == "query"}
    for name, text in request.url.params.items():
        kind = schemas[name].get("type")
        value = int(text) if kind == "integer" else text == "true" if kind == "boolean" else text
        assert faults_of(version, schemas[name], value) == []


def base(version: str, service: str) -> str:
    return f"/{service}/v1" if version == "v1" else f"/{version}/{service}"


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def peer() -> Iterator[Peer]:
    with simulated(Switches(rate=None), clock=HandClock()) as found:
        # The documents know features only as an enumeration of their day.
        found.sim.edit.set_features(found.sim.tenant.id_of("RACF Mainframe"), ["PROVISIONING", "UNLOCK"])
        found.sim.tenant.start_task(found.sim.tenant.id_of("Workday"), seconds=60)
        yield found


CRON = {"op": "replace", "path": "/cronExpression", "value": "0 0 6 * * ?"}
FLAG = {"op": "add", "path": "/connectorAttributes/maintenancemode", "value": True}
EMPTY: dict[str, Any] = {"op": "replace", "path": "/features", "value": []}
GONE = {"op": "remove", "path": "/connectorAttributes/maintenancemode"}
NEW = {"type": GROUP, "cronExpression": "0 0 7 * * ?"}

HAPPY: dict[str, Callable[[Peer, str, str], list[httpx.Response]]] = {
    "list": lambda peer, root, _one: [
        peer.get(root, limit=250, offset=0, count="true", sorters="id"),
        peer.get(root, filters='name eq "Workday"', sorters="-name"),
    ],
    "read": lambda peer, _root, one: [peer.get(one), peer.get(one + "/source-health")],
    "patch": lambda peer, _root, one: [peer.patch(one, FLAG, EMPTY), peer.patch(one, GONE)],
    "schedules": lambda peer, _root, one: [
        peer.get(f"{one}/schedules"),
        peer.get(f"{one}/schedules/{ACCOUNT}"),
        peer.patch(f"{one}/schedules/{ACCOUNT}", CRON),
        peer.post(f"{one}/schedules", NEW),
        peer.delete(f"{one}/schedules/{GROUP}"),
    ],
    "connection": lambda peer, _root, one: [peer.post(f"{one}/connector/check-connection")],
}


@pytest.mark.parametrize("name", HAPPY)
def test_what_is_asked_and_answered_is_documented(peer: Peer, version: str, name: str) -> None:
    root = base(version, "sources")
    answers = HAPPY[name](peer, root, f"{root}/{peer.sim.tenant.id_of('Workday')}")
    assert all(answer.is_success for answer in answers)
    for answer in answers:
        check(version, answer)


def test_what_is_asked_besides_sources_is_documented(peer: Peer, version: str) -> None:
    source_id = peer.sim.tenant.id_of("Workday")
    tasks = base(version, "task-status")
    listed = peer.get(tasks, filters=f'sourceId eq "{source_id}"', sorters="-created", count="true")
    answers = [
        listed,
        peer.get(f"{tasks}/{listed.json()[0]['id']}"),
        peer.get(base(version, "org-config")),
        peer.get(base(version, "public-identities"), filters='id in ("a","b")', limit=250),
        peer.get(base(version, "public-identities")),
    ]
    assert all(answer.is_success for answer in answers)
    for answer in answers:
        check(version, answer)


def test_every_refusal_is_documented(peer: Peer, version: str) -> None:
    root = base(version, "sources")
    one = f"{root}/{peer.sim.tenant.id_of('Workday')}"
    answers = [
        peer.patch(one, {"op": "replace", "path": "/type", "value": "x"}),
        peer.post(f"{one}/schedules", {"type": ACCOUNT, "cronExpression": "0 0 1 * * ?"}),
        peer.get(root, filters='connectorAttributes eq "x"'),
        peer.get(f"{root}/nothing"),
        peer.delete(f"{one}/schedules/{GROUP}"),
    ]
    peer.sim.switches.denied = {"idn:sources:manage"}
    answers.append(peer.patch(one, FLAG))
    peer.sim.switches.rate = (0, 10.0)
    answers.append(peer.get(one))
    peer.sim.clients.revoke()
    answers.append(peer.get(one))
    assert [answer.status_code for answer in answers] == [400, 400, 400, 404, 404, 403, 429, 401]
    for answer in answers:
        check(version, answer)


@pytest.mark.parametrize(
    "spoilt",
    [
        {"name": None},
        {"features": "PROVISIONING"},
        {"connectorAttributes": None},
        {"owner": {"type": "PERSON"}},
        {"deleteThreshold": "ten"},
    ],
    ids=str,
)
def test_the_check_itself_can_fail(peer: Peer, version: str, spoilt: dict[str, Any]) -> None:
    answer = peer.get(f"{base(version, 'sources')}/{peer.sim.tenant.id_of('Workday')}")
    answer._content = json.dumps(answer.json() | spoilt).encode()
    with pytest.raises(AssertionError):
        check(version, answer)


def test_the_check_sees_a_wrong_request(peer: Peer, version: str) -> None:
    one = f"{base(version, 'sources')}/{peer.sim.tenant.id_of('Workday')}"
    peer.sim.switches.null_values = "store"
    with pytest.raises(AssertionError):
        check(version, peer.patch(one, {"op": "add", "path": "/description", "value": None}))
    peer.sim.switches.wrong_content_type = 200
    with pytest.raises(KeyError):
        check(version, peer.patch(one, FLAG, content_type="application/json"))
    assert JSON_PATCH in operation(version, "PATCH", one)["requestBody"]["content"]
