"""SailPoint's own Python client against the simulator: it lists, reads, patches and reschedules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from simulated import ACCOUNT, simulated

from mmd.simulator import Simulator, Switches

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("sailpoint", reason="SailPoint's Python client is not installed (pip install sailpoint)")

from sailpoint.configuration import Configuration, ConfigurationParams
from sailpoint.org_config.api.org_config_api import OrgConfigApi
from sailpoint.org_config.api_client import ApiClient as OrgConfigClient
from sailpoint.personal_access_tokens.api.personal_access_tokens_api import PersonalAccessTokensApi
from sailpoint.personal_access_tokens.api_client import ApiClient as TokensClient
from sailpoint.sources.api.sources_api import SourcesApi
from sailpoint.sources.api_client import ApiClient
from sailpoint.sources.exceptions import ApiException
from sailpoint.sources.models.json_patch_operation import JsonPatchOperation
from sailpoint.sources.models.schedule3 import Schedule3
from sailpoint.task_management.api.task_management_api import TaskManagementApi
from sailpoint.task_management.api_client import ApiClient as TasksClient


def configured(sim: Simulator) -> Configuration:
    params = ConfigurationParams()
    params.base_url, params.client_id, params.client_secret = sim.base_url, sim.client_id, sim.client_secret
    return Configuration(params)


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with simulated(Switches(rate=None)) as peer:
        # The client knows features only as an enumeration of its day.
        peer.sim.edit.set_features(peer.sim.tenant.id_of("RACF Mainframe"), ["PROVISIONING", "UNLOCK"])
        yield peer.sim


def operation(name: str, path: str, value: object = None) -> JsonPatchOperation:
    # Its JsonPatchOperation(value={...}) would be sent as null; from_dict keeps the value.
    found: dict[str, Any] = {"op": name, "path": path}
    return JsonPatchOperation.from_dict(found if value is None else {**found, "value": value})


def test_the_client_lists_and_reads_sources(sim: Simulator) -> None:
    api = SourcesApi(ApiClient(configured(sim)))
    listed = api.list_sources_v1(limit=5, sorters="name", filters='name sw "S"', count=True)
    assert [source.name for source in listed] == ["SAP ERP", "Salesforce", "ServiceNow", "Slack"]
    every = api.list_sources_v1()
    assert {source.id for source in every} == set(sim.tenant.sources)
    one = api.get_source_v1(id=every[0].id)
    assert one.connector_attributes == sim.tenant.sources[one.id]["connectorAttributes"]


def test_the_client_patches_a_source(sim: Simulator) -> None:
    api = SourcesApi(ApiClient(configured(sim)))
    source_id = sim.tenant.id_of("Active Directory")
    changed = api.update_source_v1(
        id=source_id,
        json_patch_operation=[
            operation("add", "/connectorAttributes/maintenancemode", value="true"),
            operation("remove", "/connectorAttributes/IQServicePort"),
        ],
    )
    assert changed.connector_attributes["maintenancemode"] == "true"
    assert "IQServicePort" not in sim.tenant.sources[source_id]["connectorAttributes"]
    assert sim.mutations[-1].headers["content-type"] == "application/json-patch+json"


def test_the_client_reads_a_refusal(sim: Simulator) -> None:
    api = SourcesApi(ApiClient(configured(sim)))
    source_id = sim.tenant.id_of("Active Directory")
    with pytest.raises(ApiException) as refusal:
        api.update_source_v1(id=source_id, json_patch_operation=[operation("replace", "/type", value="x")])
    assert refusal.value.status == 400


def test_the_client_reschedules(sim: Simulator) -> None:
    api = SourcesApi(ApiClient(configured(sim)))
    source_id = sim.tenant.id_of("Workday")
    (before,) = api.get_source_schedules_v1(source_id=source_id)
    api.delete_source_schedule_v1(source_id=source_id, schedule_type=ACCOUNT)
    assert api.get_source_schedules_v1(source_id=source_id) == []
    api.create_source_schedule_v1(source_id=source_id, schedule3=Schedule3(**before.to_dict()))
    assert api.get_source_schedule_v1(source_id=source_id, schedule_type=ACCOUNT) == before
    change = [operation("replace", "/cronExpression", value="0 0 6 * * ?")]
    api.update_source_schedule_v1(source_id=source_id, schedule_type=ACCOUNT, json_patch_operation=change)
    assert sim.tenant.schedules[source_id] == {ACCOUNT: "0 0 6 * * ?"}


def test_the_client_checks_a_connection_and_reads_health(sim: Simulator) -> None:
    api = SourcesApi(ApiClient(configured(sim)))
    source_id = sim.tenant.id_of("Workday")
    assert api.test_source_connection_v1(source_id=source_id).status == "SUCCESS"
    assert api.get_source_health_v1(source_id=source_id).status == "SOURCE_STATE_HEALTHY"


def test_the_client_reads_the_tenant_s_zone_tasks_and_token(sim: Simulator) -> None:
    configuration = configured(sim)
    task_id = sim.tenant.start_task(sim.tenant.id_of("Workday"))
    assert OrgConfigApi(OrgConfigClient(configuration)).get_org_config_v1().time_zone == "UTC"
    (task,) = TaskManagementApi(TasksClient(configuration)).get_task_status_list_v1(
        filters="completionStatus isnull"
    )
    assert task.id == task_id
    (token,) = PersonalAccessTokensApi(TokensClient(configuration)).list_personal_access_tokens_v1(
        owner_id="me"
    )
    assert (token.id, token.expiration_date) == (sim.client_id, None)
