"""What an observation adds up to, and what a source should look like afterwards."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from samples import BEFORE, CRON, TEXT, seen, snapshot

from mmd.posture import (
    ACCOUNTS,
    ESCROW,
    GROUPS,
    HEALTH_FLAG,
    MARKER,
    PROVISIONING_FLAG,
    Fields,
    Observation,
    Posture,
    Treatment,
    alike,
    classify,
    drift,
    foreign_edits,
    merge,
    settled,
    treated,
)

if TYPE_CHECKING:
    from mmd.posture import Json


def test_full_treatment_empties_features_and_keeps_the_crons_as_the_forum_does() -> None:
    during = treated(BEFORE, Treatment.FULL)
    assert during.features == ()
    assert during.schedules == {}
    assert during.attributes == {
        PROVISIONING_FLAG: False,
        HEALTH_FLAG: True,
        MARKER: True,
        "accountaggregationschedule": CRON,
        "groupaggregationschedule": "0 0 6 * * ?",
    }


@pytest.mark.parametrize(
    ("treatment", "features"),
    [
        (Treatment.FULL, ()),
        (Treatment.NO_PROVISIONING, ("SEARCH",)),
        (Treatment.KEEP_FEATURES, ("PROVISIONING", "ENABLE", "SEARCH")),
    ],
)
def test_each_treatment_leaves_its_own_features(treatment: Treatment, features: tuple[str, ...]) -> None:
    assert treated(BEFORE, treatment).features == features


def test_a_leftover_cron_key_without_a_schedule_is_gone_in_maintenance() -> None:
    before = Fields((), {"groupaggregationschedule": "old", MARKER: False}, {})
    assert "groupaggregationschedule" not in treated(before, Treatment.FULL).attributes


def test_strength_orders_the_treatments() -> None:
    assert max(Treatment, key=lambda treatment: treatment.strength) is Treatment.FULL


def test_without_a_snapshot_only_marker_and_escrow_speak() -> None:
    odd = Fields((), {PROVISIONING_FLAG: False, HEALTH_FLAG: True})
    assert classify(seen(odd), None, escrow="", restored=False) is Posture.NORMAL
    marked = odd.with_attributes({MARKER: "TRUE"})
    assert classify(seen(marked), None, escrow="", restored=False) is Posture.MAINTENANCE
    assert classify(seen(odd, escrow="x"), None, escrow="", restored=False) is Posture.MIXED


def test_an_incomplete_observation_is_unknown_and_has_no_fields() -> None:
    partial = Observation(source_id="id1", name="AD", features=None, attributes={})
    assert classify(partial, snapshot(), escrow=TEXT, restored=True) is Posture.UNKNOWN
    assert classify(None, None, escrow="", restored=False) is Posture.UNKNOWN
    assert not partial.marked
    with pytest.raises(ValueError, match="incomplete"):
        _ = partial.fields
    headless = Observation(source_id="id1", name="AD", features=(), attributes=None)
    assert not headless.marked
    assert headless.escrow is None


def test_a_held_source_in_its_treatment_is_in_maintenance() -> None:
    held = snapshot()
    assert classify(seen(held.during, escrow=TEXT), held, escrow=TEXT, restored=False) is Posture.MAINTENANCE


def test_a_held_source_is_normal_only_once_it_was_verified_back() -> None:
    held, live = snapshot(), seen(BEFORE)
    assert classify(live, held, escrow=TEXT, restored=False) is Posture.MIXED
    assert classify(live, held, escrow=TEXT, restored=True) is Posture.NORMAL
    emptied = seen(replace(BEFORE, features=()))
    assert classify(emptied, held, escrow=TEXT, restored=True) is Posture.MIXED


def test_drift_names_each_field_that_differs() -> None:
    held = snapshot()
    live = replace(held.during, features=("SEARCH",), schedules={GROUPS: "x"})
    live = live.with_attributes({HEALTH_FLAG: False}, without=(MARKER,))
    assert drift(seen(live, escrow="other"), held, escrow=TEXT) == (
        HEALTH_FLAG,
        MARKER,
        "features",
        GROUPS,
        ESCROW,
    )


def test_features_do_not_drift_where_the_treatment_leaves_them() -> None:
    held = snapshot(treatment=Treatment.KEEP_FEATURES)
    live = replace(held.during, features=("OTHER",))
    assert drift(seen(live, escrow=TEXT), held, escrow=TEXT) == ()
    assert merge(held.after, held.during, live).features == ("OTHER",)


@pytest.mark.parametrize("treatment", Treatment)
def test_features_in_another_order_are_no_change(treatment: Treatment) -> None:
    during = treated(BEFORE, treatment)
    assert merge(BEFORE, during, replace(during, features=during.features[::-1])) == BEFORE


def test_merge_puts_back_everything_that_mmd_set() -> None:
    during = treated(BEFORE, Treatment.FULL)
    assert merge(BEFORE, during, during) == BEFORE


def test_merge_keeps_an_added_feature_and_does_not_lose_the_others() -> None:
    during = treated(BEFORE, Treatment.FULL)
    live = replace(during, features=("PROXY", "SEARCH"))
    goal = merge(BEFORE, during, live)
    assert goal.features == ("PROVISIONING", "ENABLE", "SEARCH", "PROXY")


def test_merge_keeps_a_removed_feature_removed_where_it_could_be_seen() -> None:
    before = replace(BEFORE, features=(*BEFORE.features, "PROXY"))
    during = treated(before, Treatment.NO_PROVISIONING)
    goal = merge(before, during, replace(during, features=("PROXY",)))
    assert goal.features == ("PROVISIONING", "ENABLE", "PROXY")


@pytest.mark.parametrize("treatment", Treatment)
def test_emptied_features_are_maintenance_whoever_emptied_them(treatment: Treatment) -> None:
    during = treated(BEFORE, treatment)
    assert merge(BEFORE, during, replace(during, features=())).features == BEFORE.features


def test_merge_keeps_somebody_elses_flag_and_cron() -> None:
    during = treated(BEFORE, Treatment.FULL)
    live = replace(during, schedules={ACCOUNTS: "0 30 5 * * ?"}).with_attributes({HEALTH_FLAG: "later"})
    goal = merge(BEFORE, during, live)
    assert goal.attributes[HEALTH_FLAG] == "later"
    assert goal.schedules == {ACCOUNTS: "0 30 5 * * ?", GROUPS: "0 0 6 * * ?"}


def test_merge_restores_type_and_absence() -> None:
    before = Fields((), {PROVISIONING_FLAG: "true", MARKER: False})
    during = treated(before, Treatment.FULL)
    goal = merge(before, during, during.with_attributes({PROVISIONING_FLAG: True}))
    assert goal.attributes == {PROVISIONING_FLAG: "true", MARKER: False}


def test_the_forums_disable_is_not_taken_for_an_admins_choice() -> None:
    before = Fields(("SEARCH",), {})
    during = treated(before, Treatment.FULL)
    live = during.with_attributes({PROVISIONING_FLAG: True, HEALTH_FLAG: False, MARKER: False})
    assert merge(before, during, live).attributes == {}


def test_settled_looks_at_schedules_only_where_they_were_read() -> None:
    held = snapshot()
    bare = replace(BEFORE, schedules={})
    assert settled(seen(bare, schedules=False), held)
    assert not settled(seen(bare), held)


def test_foreign_edits_are_told_in_words() -> None:
    after = Fields(("SEARCH", "PROXY"), {HEALTH_FLAG: True}, {ACCOUNTS: "new", GROUPS: "0 0 6 * * ?"})
    assert foreign_edits(replace(snapshot(), after=after)) == (
        "features: +PROXY -ENABLE -PROVISIONING",
        f"{PROVISIONING_FLAG}: true became absent",
        f"{HEALTH_FLAG}: absent became true",
        f'schedule {ACCOUNTS}: "{CRON}" became "new"',
    )
    assert foreign_edits(snapshot()) == ()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (True, "true", True),
        (True, " True ", True),
        (False, "false", True),
        (True, 1, False),
        ("a", "b", False),
    ],
)
def test_alike_knows_both_forms_of_a_boolean_and_no_more(one: Json, other: Json, same: bool) -> None:
    assert alike(one, other) is same
