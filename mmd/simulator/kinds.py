"""A dozen systems that most companies have, and between them every shape a source comes in.

Flags present and absent, true and "true"; no schedule, one or two; features in many forms, none, or no key;
and on one of them what the forum's workflow leaves behind.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mmd.simulator.rules import SCHEDULE_TYPES, ciphertext

_ACCOUNT, _GROUP = SCHEDULE_TYPES
_DIRECTORY = (
    "AUTHENTICATE",
    "PROVISIONING",
    "ENABLE",
    "UNLOCK",
    "PASSWORD",
    "CURRENT_PASSWORD",
    "SEARCH",
    "SYNC_PROVISIONING",
    "GROUP_PROVISIONING",
    "GROUPS_HAVE_MEMBERS",
    "PREFER_UUID",
    "MANAGER_LOOKUP",
)
_CLOUD = ("PROVISIONING", "SYNC_PROVISIONING", "ENABLE", "GROUP_PROVISIONING", "USES_UUID", "DELETE")
_READ_ONLY = ("NO_RANDOM_ACCESS", "DISCOVER_SCHEMA", "NO_PERMISSIONS_PROVISIONING")


@dataclass(frozen=True, slots=True)
class Kind:
    """One system, and the shape its source has."""

    name: str
    type: str
    connector: str
    features: tuple[str, ...] | None
    attributes: dict[str, Any] = field(default_factory=dict)
    crons: dict[str, str] = field(default_factory=dict)
    authoritative: bool = False
    file: bool = False


KINDS = (
    Kind(
        "Active Directory",
        "Active Directory - Direct",
        "active-directory-angularsc",
        _DIRECTORY,
        {
            "enableProvisioningFeature": True,
            "IQServicePort": "5050",
            "encrypted": "password",
            "password": ciphertext("swordfish"),
            "supportsDeltaAgg": "true",
        },
        {_ACCOUNT: "0 0 5,13,21 * * ?", _GROUP: "0 30 5 * * ?"},
    ),
    Kind(
        "Workday",
        "Workday",
        "workday",
        ("DISCOVER_SCHEMA", "PROVISIONING", "NO_RANDOM_ACCESS"),
        {"enableProvisioningFeature": False, "disable_health_check": False},
        {_ACCOUNT: "0 0 0/4 1/1 * ? *"},
        authoritative=True,
    ),
    Kind(
        "SAP ERP",
        "SAP - Direct",
        "sap-angularsc",
        ("PROVISIONING", "ENABLE", "UNLOCK", "PASSWORD", "SEARCH"),
        {
            "enableProvisioningFeature": "true",
            "disable_health_check": "false",
            "encrypted": "password,sncpass",
            "password": ciphertext("tuna"),
        },
        {_ACCOUNT: "0 15 2 ? * MON-FRI", _GROUP: "0 45 2 ? * 2-6"},
    ),
    Kind(
        "Microsoft Entra ID",
        "Azure Active Directory",
        "azure-active-directory-angularsc",
        _CLOUD,
        {"partitionAggregationEnabled": False, "healthCheckTimeout": 30},
        {_ACCOUNT: "0 0/30 * * * ?", _GROUP: "0 0 3 ? * 1#1"},
    ),
    Kind(
        "Salesforce",
        "Salesforce - Direct",
        "salesforce-angularsc",
        ("PROVISIONING", "ENABLE", "PASSWORD"),
        {"enableProvisioningFeature": True, "oauth_token_info": None},
        {_ACCOUNT: "0 0 6 * * ?"},
    ),
    Kind(
        "ServiceNow",
        "ServiceNow",
        "servicenow-angularsc",
        ("PROVISIONING", "GROUP_PROVISIONING", "ENABLE"),
        {"disable_health_check": False, "pageSize": 250},
        {_GROUP: "0 0 4 L * ?"},
    ),
    Kind(
        "Oracle HR Database",
        "JDBC",
        "jdbc-angularsc",
        _READ_ONLY,
        {"url": "jdbc:oracle:thin:@hr.example.test:1521/HR", "numSQLStatements": "2"},
        {_ACCOUNT: "0 10 1 ? * 7"},
    ),
    Kind(
        "Contractors (CSV)",
        "Delimited File",
        "delimited-file-angularsc",
        ("DIRECT_PERMISSIONS", *_READ_ONLY),
        {"delimiter": ",", "hasHeader": True, "group.file": "groups.csv"},
        file=True,
    ),
    Kind(
        "Badge Readers",
        "Web Services",
        "web-services-angularsc",
        (),
        {"genericWebServiceBaseUrl": "https://badges.example.test", "enableProvisioningFeature": "false"},
        {_ACCOUNT: "0 0 12 1/1 * ? *"},
    ),
    Kind(
        "RACF Mainframe",
        "RACF - Full",
        "racf-full-angularsc",
        ("PROVISIONING", "UNLOCK", "LEGACY_MAINFRAME"),
        {"enableProvisioningFeature": True, "disable_health_check": True},
        {_GROUP: "0 0 23 ? * SUN"},
    ),
    Kind(
        "Slack",
        "Slack",
        "slack-saas",
        None,
        {"spConnectorInstanceId": "2f9a"},
        {_ACCOUNT: "0 20 7 * * ? 2024-2099"},
    ),
    Kind(
        "GitHub Enterprise",
        "GitHub",
        "github-saas",
        ("PROVISIONING", "ENABLE", "DELETE"),
        # What the forum's Disable leaves behind: its keys, and a marker that says false.
        {
            "enableProvisioningFeature": True,
            "disable_health_check": False,
            "maintenancemode": False,
            "accountaggregationschedule": "0 0 8 * * ?",
            "groupaggregationschedule": "",
        },
        {_ACCOUNT: "0 0 8 * * ?"},
    ),
)
