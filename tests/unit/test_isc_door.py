"""What comes in from ISC, turned into values: examples, and whatever Hypothesis makes up."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmd.errors import Denied, Garbled, Missing, Rejected, TenantError, Unknown, Unreachable
from mmd.isc import door
from mmd.posture import ESCROW, MARKER, TOUCHED_KEYS

if TYPE_CHECKING:
    from mmd.posture import Json

SOURCE: dict[str, Json] = {
    "id": "2c9180835d2e5168015d32f890ca1581",
    "name": "Payroll",
    "type": "Active Directory - Direct",
    "connector": "active-directory-angularsc",
    "features": ["PROVISIONING", "ENABLE"],
    "connectorAttributes": {"enableProvisioningFeature": True, "password": "hunter2", "authType": "simple"},
    "modified": "2026-08-22T10:00:00.123Z",
}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


def with_(**changes: Json) -> dict[str, Json]:
    return SOURCE | changes


# --- JSON ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"a": 1, "a": 2}',
        b'[{"a": {"b": 1, "b": 1}}]',
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1e999",
        b"9" * 5_000,
        b'{"a": 1} {"b": 2}',
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b"\xef\xbb\xbf{}",
        b"<html><body>Down for maintenance</body></html>",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_what_is_not_one_plain_json_text_is_garbled(body: bytes) -> None:
    with pytest.raises(Garbled):
        door.decode(body)


def test_a_body_that_broke_off_is_garbled() -> None:
    with pytest.raises(Garbled, match="broke off"):
        door.decode(None)


def test_a_web_page_instead_of_data_comes_with_a_hint() -> None:
    with pytest.raises(Garbled) as caught:
        door.decode(b"\n <!DOCTYPE html><html>")
    assert "base_url" in caught.value.hint


@given(json_values)
def test_every_json_value_arrives_as_it_was_sent(value: Json) -> None:
    assert json.dumps(door.decode(json.dumps(value).encode())) == json.dumps(value)


@given(st.binary() | st.text().map(str.encode) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_an_observation_or_garbled(body: bytes) -> None:
    for read in (door.observe, door.schedules, door.rows, door.record):
        try:
            read(door.decode(body))
        except Garbled:
            continue


@given(st.dictionaries(st.sampled_from([*SOURCE, "other"]), json_values))
def test_any_object_like_a_source_is_an_observation_or_garbled(changes: dict[str, Json]) -> None:
    try:
        observed = door.observe(with_(**changes))
    except Garbled:
        return
    assert observed.features is None or observed.features == tuple(with_(**changes)["features"] or ())  # type: ignore[arg-type] # a list, then
    json.dumps([observed.name, observed.features, observed.attributes], ensure_ascii=False).encode()


# --- Sources ------------------------------------------------------------------------------------------------


def test_an_observation_has_what_mmd_may_touch_and_nothing_else() -> None:
    observed = door.observe(SOURCE)
    assert observed.features == ("PROVISIONING", "ENABLE")
    assert observed.attributes == {"enableProvisioningFeature": True}
    assert observed.schedules is None
    assert observed.connector == "Active Directory - Direct"
    assert observed.modified == datetime(2026, 8, 22, 10, 0, 0, 123_000, tzinfo=UTC)
    assert "hunter2" not in repr(observed)


def test_every_touched_key_is_kept_with_its_type() -> None:
    values: list[Json] = [True, "true", 1, None, 'a "b"', {"v": 1}, ["x"]]
    attributes = dict(zip(TOUCHED_KEYS, values, strict=False))
    assert door.observe(with_(connectorAttributes=attributes)).attributes == attributes


@pytest.mark.parametrize("features", [None, "PROVISIONING", {}, [1], ["A", None], [["A"]], ["\ud800"], 7])
def test_features_that_are_no_list_of_names_are_not_known(features: Json) -> None:
    assert door.observe(with_(features=features)).features is None


def test_missing_is_not_empty() -> None:
    observed = door.observe({"id": "a1"})
    assert (observed.features, observed.attributes, observed.modified) == (None, None, None)
    assert not observed.complete
    assert door.observe({"id": "a1", "features": [], "connectorAttributes": {}}).complete


@pytest.mark.parametrize("attributes", [None, [], "{}", {ESCROW: "\udc00"}, {MARKER: {"\ud800": 1}}])
def test_attributes_that_are_no_plain_object_are_not_known(attributes: Json) -> None:
    assert door.observe(with_(connectorAttributes=attributes)).attributes is None


def test_a_touched_key_nested_without_end_is_not_known() -> None:
    nested: Json = "x"
    for _ in range(200):
        nested = [nested]
    assert door.observe(with_(connectorAttributes={ESCROW: nested})).attributes is None


def test_an_odd_value_that_mmd_never_touches_does_no_harm() -> None:
    attributes: Json = {"description": "\ud800", MARKER: "true"}
    assert door.observe(with_(connectorAttributes=attributes)).attributes == {MARKER: "true"}


@pytest.mark.parametrize("source_id", [None, "", 7, "a/b", "..", ".", "a\\b", "a\nb", "a\x00", "\ud800"])
def test_a_source_without_a_usable_id_is_garbled(source_id: Json) -> None:
    with pytest.raises(Garbled):
        door.observe(with_(id=source_id))


@pytest.mark.parametrize("document", [None, [], "x", 1, True])
def test_a_source_that_is_no_object_is_garbled(document: Json) -> None:
    with pytest.raises(Garbled):
        door.observe(document)


def test_a_source_without_a_name_goes_by_its_id() -> None:
    assert door.observe(with_(name=None)).name == SOURCE["id"]
    assert door.observe(with_(name="a\ud800b")).name == "a?b"


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-08-22T10:00:00Z", datetime(2026, 8, 22, 10, tzinfo=UTC)),
        ("2026-08-22T12:00:00.000+02:00", datetime(2026, 8, 22, 10, tzinfo=UTC)),
        ("2026-08-22T12:00:00+0200", datetime(2026, 8, 22, 10, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("2016-12-31T23:59:60.500Z", datetime(2016, 12, 31, 23, 59, 59, 500_000, tzinfo=UTC)),
        ("2026-08-22T10:00:00", None),
        ("2026-08-22", None),
        ("0001-01-01T00:00:00+23:59", None),
        ("yesterday", None),
        (1_787_000_000, None),
        (None, None),
    ],
)
def test_modified_is_an_instant_in_utc_or_not_known(text: Json, instant: datetime | None) -> None:
    assert door.observe(with_(modified=text)).modified == instant


# --- Schedules ----------------------------------------------------------------------------------------------


def test_crons_are_kept_byte_for_byte_and_unknown_types_left_out() -> None:
    cron = " 0 0  12 1/1 * ?  *\t"
    assert door.schedules(
        [
            {"type": "ACCOUNT_AGGREGATION", "cronExpression": cron, "extra": 1},
            {"type": "ENTITLEMENT_AGGREGATION", "cronExpression": None},
        ]
    ) == {"ACCOUNT_AGGREGATION": cron}
    assert door.schedules([]) == {}


@pytest.mark.parametrize(
    "document",
    [
        None,
        {},
        [None],
        ["ACCOUNT_AGGREGATION"],
        [{}],
        [{"type": 1, "cronExpression": "x"}],
        [{"type": "GROUP_AGGREGATION"}],
        [{"type": "GROUP_AGGREGATION", "cronExpression": None}],
        [{"type": "GROUP_AGGREGATION", "cronExpression": "\ud800"}],
        [{"type": "GROUP_AGGREGATION", "cronExpression": "x"}] * 2,
    ],
)
def test_schedules_that_could_be_misread_are_garbled(document: Json) -> None:
    with pytest.raises(Garbled):
        door.schedules(document)


# --- Errors -------------------------------------------------------------------------------------------------

DTO = {
    "detailCode": "400.1.3 Illegal value",
    "trackingId": "e7eab60924f64aa284175b9fa3309599",
    "messages": [{"locale": "en-US", "localeOrigin": "DEFAULT", "text": "The value is\r\nnot valid."}],
    "causes": [],
}


def refusal(status: int, body: object = None, *, hide: tuple[str, ...] = ()) -> TenantError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return door.refusal("PATCH /v2026/sources/a1", status, {"x-request-id": "req-1"}, raw, hide=hide)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, DTO, Rejected),
        (400, {"detailCode": "400.1.404 Referenced object not found"}, Missing),
        (401, {"error": "JWT validation failed: JWT is expired"}, Denied),
        (403, {"detailCode": "403 Forbidden"}, Denied),
        (404, {"detailCode": "404 Not found"}, Missing),
        (404, b"<html>", Missing),
        (408, b"", Unknown),
        (409, DTO, Rejected),
        (415, b"", Rejected),
        (429, {"message": " Rate Limit Exceeded "}, Unreachable),
        (302, b"", Unreachable),
        (303, b"", Unknown),
        (500, DTO, Unknown),
        (503, b"<html>", Unknown),
        (504, b"\xff\xfe", Unknown),
    ],
)
def test_each_status_has_its_meaning(status: int, body: object, kind: type[TenantError]) -> None:
    error = refusal(status, body)
    assert type(error) is kind
    assert error.status == status
    assert str(status) in error.message


def test_isc_s_own_words_are_told_in_one_line() -> None:
    error = refusal(400, DTO)
    said = "ISC refused PATCH /v2026/sources/a1 (400.1.3 Illegal value: The value is not valid.)"
    assert error.message == said
    assert error.tracking_id == DTO["trackingId"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            {"error": "unauthorized", "error_description": "Full authentication is required"},
            "Full authentication",
        ),
        ({"error": "JWT validation failed"}, "JWT validation failed"),
        ({"message": " Rate Limit Exceeded "}, "Rate Limit Exceeded"),
        ({"messages": [{"text": None}, None, {"text": "second"}]}, "second"),
        ({"messages": "x", "detailCode": 7, "error": {"a": 1}}, "(401)"),
        ([1], "(401)"),
        (b"", "(401)"),
    ],
)
def test_every_envelope_is_understood(body: object, words: str) -> None:
    error = refusal(401, body)
    assert words in error.message
    assert error.tracking_id == "req-1"


def test_a_path_that_is_served_no_more_hints_at_the_version() -> None:
    assert "api_version" in refusal(404, {"error": "No message available"}).hint


def test_missing_rights_name_the_scopes() -> None:
    assert "idn:sources:manage" in refusal(403, {}).hint


def test_foreign_text_is_made_harmless_and_short() -> None:
    error = refusal(400, {"error": "a\x1b[31mred\x00\u202egnp.exe\n" + "x" * 5_000})
    assert error.message.isprintable()
    assert len(error.message) < 400


def test_what_was_sent_in_confidence_is_not_repeated() -> None:
    error = refusal(400, {"error": "bad token abc123 and pass%2Fword"}, hide=("", "abc123", "pass%2Fword"))
    assert "***" in error.message
    assert "abc123" not in error.message
    assert "pass" not in error.message


@given(st.integers(300, 599), st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_answer_that_is_no_2xx_is_one_printable_sentence(status: int, body: bytes) -> None:
    error = refusal(status, body)
    assert error.message.isprintable()


# --- Headers ------------------------------------------------------------------------------------------------

DATE = "Sun, 06 Nov 2044 08:49:37 GMT"


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("0", 0.0),
        ("-5", 0.0),
        ("-" + "9" * 400, 0.0),
        ("86400", 300.0),
        ("9" * 400, 300.0),
        ("Sun, 06 Nov 2044 08:49:49 GMT", 12.0),
        ("Sun, 06 Nov 2044 08:49:30 GMT", 0.0),
        ("Sun, 06 Nov 2050 08:49:30 GMT", 300.0),
        ("soon", 10.0),
        ("", 10.0),
        ("inf", 10.0),
        ("\u0667", 10.0),
    ],
)
def test_retry_after_is_obeyed_within_reason(told: str, seconds: float) -> None:
    assert door.retry_after({"retry-after": told, "date": DATE}, 10.0) == seconds


def test_a_retry_after_date_without_a_date_to_compare_it_with_is_no_guidance() -> None:
    assert door.retry_after({"retry-after": DATE}, 10.0) == 10.0
    assert door.retry_after({}, 10.0) == 10.0


@given(st.text(), st.text())
def test_any_retry_after_is_from_0_to_300_seconds(told: str, date: str) -> None:
    assert 0.0 <= door.retry_after({"retry-after": told, "date": date}, 10.0) <= 300.0


@pytest.mark.parametrize(
    ("told", "count"), [("600", 600), ("0", 0), ("", None), ("-1", None), ("many", None), ("\u0666", None)]
)
def test_a_total_count_is_a_number_or_not_known(told: str, count: int | None) -> None:
    assert door.total_count({"x-total-count": told}) == count
