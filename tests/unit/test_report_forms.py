"""The report as CSV, JSON, HTML and picture: what is in it, and that no name is more than text in it."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from hostile import HOSTILE
from hypothesis import example, given
from hypothesis import strategies as st
from report_samples import SINCE, UNTIL, applied, at, away, eventful, facts, finding, line, planned, window

from mmd.findings import Kind
from mmd.report import Change, Facts, Kept, Live, as_csv, as_html, as_json, make
from mmd.report.picture import BUSIEST, INK, MUTED, ZOMBIE, as_svg, axis_ticks, chosen
from mmd.report.sheet import COLUMNS, audited
from mmd.report.words import lasting
from mmd.text import printable
from mmd.windows import SourceRef

EVENTFUL = make(eventful())


def hostile(text: str) -> Facts:
    """A day on which everything that others may write is the same text."""
    why = {"reason": text, "ticket": text, "owner": text}
    stay = line("a", text, planned=(planned(2, 30, **why),), applied=(applied(2, None),))
    return facts(
        tenant=text,
        trouble=text,
        live=(Live("a", text, text),),
        windows=(window(sources=(SourceRef("a", text),), created_by=text, **why),),
        present=(stay,),
        timelines=(stay,),
        schedules=(away("a", text, text, text, 1, 2), away("a", text, text, "0 0 * * * ?", 1, 3)),
        findings=((replace(finding("a", text, Kind.ORPHAN, 3), detail=text, next_step=text), None),),
        changes=(Change(at=at(1), kind="edited", actor=text, window_id="wpatch", what=text),),
        kept=(Kept(at=at(1), source_id="a", source_name=text, notes=(text,)),),
    )


# --- CSV --------------------------------------------------------------------------------------------------


def cells(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def test_csv_begins_with_the_columns_of_the_forums_script() -> None:
    heading, *rows = cells(as_csv(EVENTFUL))
    assert heading == list(COLUMNS)
    assert ",".join(heading).startswith("SourceName,SourceId,ConnectorType,MaintenanceMode,ExportedAt,")
    assert rows[1] == [
        *("Legacy Mainframe", "id4", "RACF - Direct", "True", "2026-11-23 00:00:00"),
        *("wnight", "quarterly ERP release", "CHG-9", "ops"),
        *("2026-11-22T20:00:36Z", "2026-11-22T23:00:00Z", "overdue"),
    ]


def test_the_time_of_export_is_by_the_clock_of_the_configured_zone() -> None:
    moved = make(replace(eventful(), zone="Europe/Berlin"))
    assert {row[4] for row in cells(as_csv(moved))[1:]} == {"2026-11-23 01:00:00"}


@pytest.mark.parametrize("text", HOSTILE)
def test_no_cell_is_a_formula_and_no_text_leaves_its_cell(text: str) -> None:
    written = as_csv(make(hostile(text)))
    written.encode()
    assert written.count("\n") == 2
    assert not set(written) & {"\r", "\x00", "\x1b", "\u202e"}
    _, row = cells(written)
    assert len(row) == len(COLUMNS)
    for cell in row:
        assert unicodedata.normalize("NFKC", cell.lstrip()[:1]) not in {"=", "+", "-", "@"}
    assert row[0] in {printable(text), f"'{printable(text)}"}


@pytest.mark.parametrize("marker", [True, "true", "True", "TRUE", 1, 1.0])
def test_what_powershell_takes_for_true_is_listed(marker: bool | str | float) -> None:
    assert audited(marker)


@pytest.mark.parametrize("marker", [False, "false", " true", "yes", "1", 0, 2, None, [], {}])
def test_what_powershell_does_not_take_for_true_is_not_listed(marker: bool | str | int | None) -> None:
    assert not audited(marker)


# --- JSON -------------------------------------------------------------------------------------------------


def test_json_has_what_the_contract_promises() -> None:
    document = json.loads(as_json(EVENTFUL))
    assert document["schema_version"] == 1
    assert (document["generated_at"], document["complete"]) == ("2026-11-23T00:00:00Z", True)
    assert document["period"] == {"since": "2026-11-22T00:00:00Z", "until": "2026-11-23T00:00:00Z"}
    assert [item["id"] for item in document["windows"]] == ["wpatch", "wnight"]
    assert {item["kind"] for item in document["findings"]} == {"overdue", "foreign", "partial"}
    sources = {item["source_name"]: item for item in document["sources"]}
    assert sources["HR feed"]["in_maintenance"] is True
    assert sources["SAP ERP"]["in_maintenance"] is False
    assert sources["SAP ERP"]["maintenance_seconds"] == 23440  # 3 h 30 m 4 s, and 3 h 36 s
    assert sources["Workday"]["zombie"] == [
        {"since": "2026-11-22T06:00:00Z", "until": "2026-11-22T09:15:00Z"}
    ]


def test_json_without_the_whole_tenant_says_so_and_does_not_know_who_is_not_in_maintenance() -> None:
    document = json.loads(
        as_json(make(replace(eventful(), trouble="the listing broke off", tenant_zone=None)))
    )
    assert (document["complete"], document["incomplete_because"]) == (False, "the listing broke off")
    assert {item["in_maintenance"] for item in document["sources"]} == {True, None}
    assert document["tenant_timezone"] == {"name": "UTC", "assumed": True}


@pytest.mark.parametrize("text", HOSTILE)
def test_json_gives_every_text_back_as_it_was_and_is_plain_ascii(text: str) -> None:
    written = as_json(make(hostile(text)))
    assert written.isascii()
    assert not set(written) & {"\x00", "\x1b", "\r"}
    assert json.loads(written)["sources"][0]["source_name"] == text


# --- HTML -------------------------------------------------------------------------------------------------

_HTML = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "div",
    "h1",
    "h2",
    "p",
    "strong",
    "bdi",
    "code",
    "span",
}
_HTML |= {"table", "thead", "tbody", "tr", "th", "td"}
_SVG = {"svg", "title", "desc", "defs", "pattern", "rect", "g", "text", "line"}
_VOID = {"meta", "rect", "line"}
_MAY_SAY = {"style", "role", "lang", "charset", "name", "content", "http-equiv", "scope", "class", "id"}
_MAY_DRAW = {
    *("xmlns", "viewbox", "width", "height", "role", "aria-labelledby", "font-family", "font-size", "fill"),
    *("patternunits", "patterntransform", "x", "y", "x1", "x2", "y1", "y2", "rx", "stroke", "text-anchor"),
    "font-weight",
}


class Reader(HTMLParser):
    """Reads a page as a browser would: tags, their balance, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.strange: list[str] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        drawing = "svg" in [*self.open, tag]
        if tag not in (_SVG if drawing else _HTML):
            self.strange.append(tag)
        self.strange += [
            name for name, _ in attrs if name not in (_MAY_DRAW | {"id"} if drawing else _MAY_SAY)
        ]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        assert tag in _VOID

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.strange.append(f"/{tag}")

    def handle_comment(self, data: str) -> None:
        self.strange.append(f"comment {data}")

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_page_has_only_our_tags_whatever_names_are_in_it(text: str) -> None:
    page = as_html(make(hostile(text)))
    page.encode()
    read = Reader(page)
    assert read.strange == []
    assert read.open == []
    shown = printable(text).strip()
    assert shown[:20] in " ".join(read.text)


@given(st.text(alphabet=st.characters(), max_size=30))
@example("\ud800<")
def test_no_text_at_all_makes_a_tag(text: str) -> None:
    page = as_html(make(hostile(text)))
    page.encode()
    assert Reader(page).strange == []


def test_a_page_loads_nothing_and_its_policy_forbids_it() -> None:
    page = as_html(EVENTFUL)
    assert "default-src 'none'" in page
    assert not re.search(
        r"(?i)<(script|link|img|iframe|object|form|base)\b|\burl\((?!#hatch)|@import|\bsrc=", page
    )
    links = set(re.findall(r"https?://[^\"'\s<]+", page))
    assert links == {"http://www.w3.org/2000/svg"}  # the name of SVG, which nobody fetches


def test_a_page_says_each_part_of_an_eventful_day() -> None:
    text = " ".join(Reader(as_html(EVENTFUL)).text)
    for part in (
        *("Maintenance report: acme", "2026-11-22 00:00", "all times UTC"),
        *("1 entered late, by 30 m; 1 never entered; 1 restored late, by 3 h 15 m", "1 not back yet, by 1 h"),
        *("still open", "foreign", "mmd adopt id5", "an hour more", "not read", "0 0/15 * * * ?"),
        *("features: +UNLOCK", "The whole tenant was watched for 22 h 30 m of this period"),
    ):
        assert part in text
    assert "INCOMPLETE" not in text


def test_a_page_without_the_whole_tenant_says_incomplete_at_the_top() -> None:
    page = as_html(make(replace(eventful(), trouble="ISC listed 7 of at least 12 sources")))
    text = " ".join(Reader(page).text)
    assert text.index("INCOMPLETE") < text.index("Timeline")
    assert "ISC listed 7 of at least 12 sources" in text


def test_a_page_about_nothing_says_so() -> None:
    text = " ".join(Reader(as_html(make(facts()))).text)
    for part in ("Nothing was planned", "No source is in maintenance", "Nothing was found wrong"):
        assert part in text


def test_a_zone_that_was_assumed_is_said_to_be() -> None:
    assert "UTC (assumed" in as_html(make(replace(eventful(), tenant_zone=None)))


@pytest.mark.parametrize("ink", [INK, MUTED, ZOMBIE])
def test_every_ink_can_be_read_on_white(ink: str) -> None:
    """WCAG 2.1, 1.4.3: a contrast of at least 4.5."""
    parts = [int(ink[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    assert 1.05 / (luminance + 0.05) >= 4.5


# --- The picture ------------------------------------------------------------------------------------------


def drawn(report_facts: Facts) -> ET.Element:
    return ET.fromstring(as_svg(make(report_facts)))  # noqa: S314 - our own text


@pytest.mark.parametrize("text", HOSTILE)
def test_a_picture_is_well_formed_whatever_names_are_in_it(text: str) -> None:
    tags = {element.tag.rpartition("}")[2] for element in drawn(hostile(text)).iter()}
    assert tags <= _SVG


def test_a_picture_has_a_title_a_description_and_a_row_for_each_source() -> None:
    picture = drawn(eventful())
    names = [element.tag.rpartition("}")[2] for element in picture]
    assert names[:2] == ["title", "desc"]
    assert "6 sources" in (picture[1].text or "")
    rows = [element for element in picture if element.tag.endswith("}g")]
    assert [(row[0].text or "").partition(":")[0] for row in rows] == [
        *("Active Directory", "HR feed", "Legacy Mainframe", "Salesforce", "SAP ERP", "Workday")
    ]


def test_bars_stand_where_the_axis_says() -> None:
    """A quarter of the period in, half of it long."""
    picture = drawn(facts(timelines=(line("a", "A", planned=(planned(6, 18),)),)))
    (row,) = [element for element in picture if element.tag.endswith("}g")]
    bar = next(element for element in row if element.tag.endswith("}rect"))
    labels = {
        element.text: float(element.get("x", "")) for element in picture if element.tag.endswith("}text")
    }
    assert float(bar.get("x", "")) == pytest.approx(labels["06:00"], abs=0.1)
    assert float(bar.get("x", "")) + float(bar.get("width", "")) == pytest.approx(labels["18:00"], abs=0.1)


def test_of_many_sources_the_picture_shows_the_busiest_and_says_so() -> None:
    lines = [line(f"id{n:03}", f"S{n:03}", planned=(planned(0, 1 + n / 10),)) for n in range(100)]
    report = make(facts(timelines=tuple(lines)))
    shown = chosen(report.lines)
    assert [item.source_name for item in shown] == [f"S{n:03}" for n in range(100 - BUSIEST, 100)]
    assert "The busiest 60 of 100 sources" in as_html(report)
    assert "The busiest" not in as_html(EVENTFUL)


@given(
    since=st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - UTC
    lasts=st.integers(1, 20 * 366 * 86400),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Chatham"]),
)
@example(datetime(2026, 3, 29, tzinfo=UTC), 4 * 3600, "Europe/Berlin")  # the clock skips an hour
def test_an_axis_has_few_ticks_in_order_and_within(since: datetime, lasts: int, zone: str) -> None:
    until = since + timedelta(seconds=lasts)
    ticks = axis_ticks(since, until, zone)
    instants = [tick.at for tick in ticks]
    assert len(ticks) <= 11
    assert instants == sorted(set(instants))
    assert all(since <= instant < until for instant in instants)
    assert all(tick.clock or tick.day for tick in ticks)


def test_ticks_are_round_by_the_clock_of_the_zone() -> None:
    ticks = axis_ticks(SINCE, UNTIL, "Europe/Berlin")
    assert [(tick.clock, tick.day) for tick in ticks] == [
        *(("03:00", "Sun 22 Nov"), ("06:00", ""), ("09:00", ""), ("12:00", ""), ("15:00", ""), ("18:00", "")),
        *(("21:00", ""), ("00:00", "Mon 23 Nov")),
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (45, "45 s"), (61, "1 m 1 s"), (3661, "1 h 1 m"), (90061, "1 d 1 h"), (864000, "10 d")],
)
def test_durations_have_their_two_largest_units(seconds: int, text: str) -> None:
    assert lasting(timedelta(seconds=seconds)) == text
