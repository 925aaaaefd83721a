"""Protocols that are wrong on purpose, one change each; the programme must kill every one of them.

Each is a mistake that somebody has made somewhere, or that this programme found here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import pytest

from mmd import aftermath, amend, changes, effects, escrow, plan, posture, reconcile
from mmd.changes import Operation
from mmd.cli import recover
from mmd.effects import Effects, Look
from mmd.errors import Garbled, Missing, Unknown
from mmd.escrow import Escrow, Trust, seal, unseal
from mmd.isc import Priority
from mmd.plan import Action, Case, Held, Verb
from mmd.posture import ESCROW, MARKER, Fields, Observation, Posture, Snapshot
from mmd.reconcile import Reconciler
from mmd.store import holds
from mmd.store.holds import Holds
from mmd.store.journal import append
from mmd.windows import Window, wanted

Patch = pytest.MonkeyPatch


@dataclass(frozen=True, slots=True)
class Mutant:
    """A mistake: its name, the part of the programme that must find it, and how to make it."""

    name: str
    by: str
    make: Callable[[Patch], None]

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


MUTANTS: Final[list[Mutant]] = []


def mutant(by: str) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    """Keep a mutant; its name is the function's."""

    def keep(make: Callable[[Patch], None]) -> Callable[[Patch], None]:
        MUTANTS.append(Mutant(make.__name__.replace("_", " "), by, make))
        return make

    return keep


def decide(patch: Patch, wanted: bool, held: bool, seen: Posture, verb: Verb) -> None:
    """Change one cell of the table."""
    patch.setattr(plan, "DECISIONS", {**plan.DECISIONS, (wanted, held, seen): (verb, "a mistake")})


# --- snapshots and copies


@mutant("unknown keys")
def snapshot_after_the_schedules_are_gone(patch: Patch) -> None:
    enter = Effects.enter

    async def late(self: Effects, action: Action) -> None:
        source_id = action.source_id
        for kind in await self._isc.schedules(source_id, priority=Priority.ENTER):
            await self._isc.delete_schedule(source_id, kind, priority=Priority.ENTER)
        await enter(self, action)

    patch.setattr(Effects, "enter", late)


@mutant("unknown keys")
def a_second_snapshot_over_the_first(patch: Patch) -> None:
    def again(self: Effects, held: Held, case: Case, live: Observation) -> Held:
        snapshot = replace(held.snapshot, before=live.fields, after=live.fields)
        return self._sealed(replace(held, snapshot=snapshot, claims=case.claims, restored_at=None))

    patch.setattr(Effects, "_caught_up", again)


@mutant("others' sources")
def a_source_in_maintenance_is_snapshotted(patch: Patch) -> None:
    decide(patch, True, False, Posture.MAINTENANCE, Verb.ENTER)
    patch.setattr(Observation, "escrow", property(lambda _: None))
    patch.setattr(Observation, "marked", property(lambda _: False))


@mutant("unknown keys")
def nothing_is_kept_on_the_source(patch: Patch) -> None:
    async def nothing(self: Effects, held: Held, look: Look, until: datetime) -> None:
        pass

    patch.setattr(Effects, "_shelter", nothing)


@mutant("unknown keys")
def the_escrow_is_not_looked_for(patch: Patch) -> None:
    async def trusting(self: Effects, held: Held, look: Look, _until: datetime) -> None:
        operations = changes.shelter(look.observed, held.snapshot, held.text)
        if operations:
            await self._patch(held, "escrow", operations, Priority.ENTER)

    patch.setattr(Effects, "_shelter", trusting)


@mutant("unknown keys")
def the_escrow_comes_last(patch: Patch) -> None:
    drive = Effects._drive

    async def last(self: Effects, held: Held, look: Look) -> None:
        until = max(claim.closes_at for claim in held.claims)
        for kind in look.observed.schedules or {}:
            await self._delete(held, kind, look, until)
        await drive(self, held, look)

    patch.setattr(Effects, "_drive", last)


@mutant("late requests")
def the_marker_before_the_escrow(patch: Patch) -> None:
    shelter = Effects._shelter

    async def marked(self: Effects, held: Held, look: Look, until: datetime) -> None:
        marker = changes.Operation("add", f"/connectorAttributes/{MARKER}", True)
        await self._patch(held, "marker", [marker], Priority.ENTER)
        await shelter(self, held, look, until)

    patch.setattr(Effects, "_shelter", marked)


@mutant("tampered escrows")
def the_escrow_is_taken_off_first(patch: Patch) -> None:
    restore = Effects.restore

    async def first(self: Effects, action: Action) -> None:
        held = effects._held(action.case)
        if action.case.observed is not None and action.case.observed.escrow is not None:
            off = changes.Operation("remove", f"/connectorAttributes/{ESCROW}")
            await self._patch(held, "own keys off", [off], Priority.RESTORE)
        await restore(self, action)

    patch.setattr(Effects, "restore", first)


@mutant("crashes in hold")
def a_stripped_escrow_is_not_put_back(patch: Patch) -> None:
    drift = posture.drift

    def blind(observed: Observation, held: Snapshot, *, escrow: str) -> tuple[str, ...]:
        return tuple(name for name in drift(observed, held, escrow=escrow) if name != ESCROW)

    for module in (posture, plan, effects):
        patch.setattr(module, "drift", blind)


@mutant("others' sources")
def any_whole_escrow_is_believed(patch: Patch) -> None:
    def believing(value: Any, *, source_id: str, key: bytes) -> tuple[Trust, Escrow | None]:  # noqa: ANN401 - JSON
        trust, escrow = unseal(value, source_id=source_id, key=key)
        return (Trust.SIGNED if trust is Trust.UNSIGNED else trust), escrow

    from mmd import recovery  # noqa: PLC0415 - it holds the function under its own name

    for module in (reconcile, effects, recovery):
        patch.setattr(module, "unseal", believing)


@mutant("old backups")
def an_escrow_has_no_revisions(patch: Patch) -> None:
    def sealed(self: Effects, held: Held) -> Held:
        return replace(held, text=seal(Escrow(snapshot=held.snapshot, claims=held.claims), self._key))

    patch.setattr(Effects, "_sealed", sealed)


@mutant("old backups")
def an_older_database_wins_over_the_escrow(patch: Patch) -> None:
    never: Callable[..., bool] = lambda _escrow, held: held is None  # noqa: E731 - as short as the mistake
    for module in (plan, reconcile, effects):
        patch.setattr(module, "is_newer", never)


@mutant("late schedules")
def an_old_escrow_wins_over_the_later_entry_on_file(patch: Patch) -> None:
    patch.setattr(reconcile, "latest", lambda told, _known: told)


@mutant("unknown windows")
def an_older_snapshot_is_restored_over_a_newer_escrow(patch: Patch) -> None:
    patch.setattr(Effects, "_check_escrow", lambda *_: None)


@mutant("unknown windows")
def a_later_escrow_that_is_not_signed_is_overwritten(patch: Patch) -> None:
    check = Effects._check_escrow

    def lenient(self: Effects, held: Held, live: Observation) -> None:
        trust, _ = unseal(live.escrow, source_id=live.source_id, key=self._key)
        if trust is Trust.SIGNED:
            check(self, held, live)

    patch.setattr(Effects, "_check_escrow", lenient)


@mutant("another installation")
def the_entry_of_another_installation_is_taken_over(patch: Patch) -> None:
    patch.setattr(Reconciler, "_is_known", lambda *_: True)


@mutant("crashes in recall")
def a_row_that_is_not_there_is_changed_all_the_same(patch: Patch) -> None:
    def change(self: Holds, snapshot_id: str, values: dict[str, object], entry: Any) -> None:  # noqa: ANN401 - an entry
        with self._database.write() as connection:
            connection.execute(holds._CHANGE, {"which": snapshot_id, **values})
            append(connection, entry)

    patch.setattr(Holds, "_update", change)


# --- reading


@mutant("reads that never agree")
def one_read_instead_of_two(patch: Patch) -> None:
    async def once(self: Effects, case: Case, priority: Priority, **_: object) -> Look:
        return Look(await self._read(case.source_id, priority), self._monotonic())

    patch.setattr(Effects, "_look", once)


@mutant("late reads")
def no_fence_against_late_answers(patch: Patch) -> None:
    patch.setattr(Effects, "_stale", lambda *_: False)


@mutant("late schedules")
def schedules_are_believed_at_once(patch: Patch) -> None:
    look = Effects._look

    async def careless(self: Effects, case: Case, priority: Priority, **_: object) -> Look:
        return await look(self, case, priority, expected=None)

    patch.setattr(Effects, "_look", careless)


@mutant("odd answers")
def what_is_missing_in_an_answer_is_empty(patch: Patch) -> None:
    patch.setattr(Observation, "complete", property(lambda _: True))

    def fields(self: Observation) -> Fields:
        own = {key: value for key, value in (self.attributes or {}).items() if key != ESCROW}
        return Fields(self.features or (), own, dict(self.schedules or {}))

    patch.setattr(Observation, "fields", property(fields))


@mutant("crashes in enter")
def unknown_is_normal(patch: Patch) -> None:
    classify = posture.classify

    def hopeful(
        observed: Observation | None, held: Snapshot | None, *, escrow: str, restored: bool
    ) -> Posture:
        found = classify(observed, held, escrow=escrow, restored=restored)
        return Posture.NORMAL if found is Posture.UNKNOWN else found

    patch.setattr(plan, "classify", hopeful)


@mutant("odd answers")
def not_found_is_deleted(patch: Patch) -> None:
    one_by_one = Reconciler._one_by_one

    async def hasty(self: Reconciler, source_ids: list[str]) -> tuple[dict[str, Observation], int]:
        held = self._store.holds.held()
        for source_id in source_ids:
            try:
                await self._isc.source(source_id, priority=Priority.RESTORE)
            except Missing:
                if source_id in held:
                    entry = self._entry("released", held[source_id], {"reason": "deleted"})
                    self._store.holds.release(held[source_id].snapshot.id, entry)
        return await one_by_one(self, source_ids)

    patch.setattr(Reconciler, "_one_by_one", hasty)


@mutant("odd answers")
def an_empty_page_is_the_end_of_it(patch: Patch) -> None:
    pages = Reconciler._pages

    async def final(self: Reconciler, source_ids: list[str]) -> dict[str, Observation]:
        seen, held = await pages(self, source_ids), self._store.holds.held()
        for source_id in held.keys() & set(source_ids) - seen.keys():
            entry = self._entry("released", held[source_id], {"reason": "not listed"})
            self._store.holds.release(held[source_id].snapshot.id, entry)
        return seen

    patch.setattr(Reconciler, "_pages", final)


# --- others' work


@mutant("tampered escrows")
def features_are_kept_as_they_are(patch: Patch) -> None:
    patch.setattr(posture, "_merge_features", lambda _before, _during, live: live)


@mutant("the workflow's Enable")
def emptied_features_are_somebodys_choice(patch: Patch) -> None:
    def gullible(before: tuple[str, ...], during: tuple[str, ...], live: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in before if name in live or name not in during)

    patch.setattr(posture, "_merge_features", gullible)


@mutant("old backups")
def others_features_are_overwritten(patch: Patch) -> None:
    patch.setattr(posture, "_merge_features", lambda before, _during, _live: before)


@mutant("unknown keys")
def an_absent_flag_comes_back_as_the_workflow_sets_it(patch: Patch) -> None:
    merge = posture.merge

    def forum(*values: Any) -> Fields:  # noqa: ANN401 - merge's own
        found = merge(*values)
        return replace(found, attributes={posture.PROVISIONING_FLAG: True, **found.attributes})

    for module in (posture, effects):
        patch.setattr(module, "merge", forum)


@mutant("unknown keys")
def true_comes_back_where_a_text_was(patch: Patch) -> None:
    merge = posture.merge

    def typed(*values: Any) -> Fields:  # noqa: ANN401 - merge's own
        found = merge(*values)
        plain = {key: posture._plain(value) for key, value in found.attributes.items()}
        return replace(found, attributes=plain)

    for module in (posture, effects):
        patch.setattr(module, "merge", typed)


@mutant("old backups")
def schedules_made_meanwhile_are_not_captured(patch: Patch) -> None:
    def forgetful(self: Effects, held: Held, case: Case, live: Observation) -> Held:
        del live
        return self._sealed(replace(held, claims=case.claims, restored_at=None))

    patch.setattr(Effects, "_caught_up", forgetful)


@mutant("old backups")
def no_schedules_are_read_while_held(patch: Patch) -> None:
    patch.setattr(reconcile.Turns, "next", lambda *_: [])


@mutant("crashes in hold")
def schedules_are_not_read_again_after_a_failure(patch: Patch) -> None:
    class Sticky(dict[str, Any]):
        def pop(self, *_: Any) -> Any:  # noqa: ANN401 - dict's own
            return None

    turns = reconcile.Turns
    patch.setattr(reconcile, "Turns", lambda: turns(read_at=Sticky()))


@mutant("others' sources")
def whatever_an_escrow_says_is_taken(patch: Patch) -> None:
    patch.setattr(escrow, "storable", lambda *_: True)


# --- restoring


@mutant("ignored operations")
def schedules_follow_a_patch_that_nobody_looked_at(patch: Patch) -> None:
    async def hopeful(self: Effects, held: Held, live: Observation) -> None:
        operations = changes.undo(live, held.snapshot.after)
        if operations:
            await self._patch(held, "treatment undone", operations, Priority.RESTORE)

    patch.setattr(Effects, "_undo", hopeful)


@mutant("deaths on the way out")
def others_edits_are_decided_in_memory_alone(patch: Patch) -> None:
    def decided(_self: Effects, held: Held, live: Observation) -> Held:
        snapshot = replace(held.snapshot, after=effects._goal(held.snapshot, live))
        return replace(held, snapshot=snapshot, verified=False)

    patch.setattr(Effects, "_decided", decided)


@mutant("unseen changes")
def others_edits_are_judged_anew_at_each_step(patch: Patch) -> None:
    """Half-way back, an administrator's value beside ours can look like the forum's Disable."""
    patch.setattr(Effects, "_decided", lambda _self, held, _live: replace(held, verified=False))


@mutant("tampered escrows")
def schedules_before_features(patch: Patch) -> None:
    async def upside_down(self: Effects, action: Action) -> None:
        held = effects._held(action.case)
        look = await self._look(action.case, Priority.RESTORE)
        goal = effects._goal(held.snapshot, look.observed)
        missing = changes.missing_schedules(look.observed.schedules or {}, goal.schedules)
        for kind, cron in missing.items():
            await self._create(held, kind, cron)
        await restore(self, action)

    restore = Effects.restore
    patch.setattr(Effects, "restore", upside_down)


@mutant("unknown keys")
def existing_schedules_are_created_again(patch: Patch) -> None:
    patch.setattr(effects, "missing_schedules", lambda _live, goal: dict(goal))


@mutant("ignored calls")
def a_restoration_is_believed_unseen(patch: Patch) -> None:
    patch.setattr(Effects, "_verify", lambda *_: None)


@mutant("ignored calls")
def entered_is_believed_unseen(patch: Patch) -> None:
    patch.setattr(effects, "drift", lambda *_, **__: ())


@mutant("ignored operations")
def released_on_a_yes_to_the_last_request(patch: Patch) -> None:
    restored = Effects._restored

    async def believing(self: Effects, held: Held, goal: Fields, operations: Sequence[Operation]) -> None:
        del goal
        await self._patch(held, "own keys off", operations, Priority.RESTORE)

    def at_once(self: Effects, held: Held, goal: Fields, reason: str) -> None:
        restored(self, held, goal, reason)
        self._store.holds.release(held.snapshot.id, self._entry(held, "released", {}))

    patch.setattr(Effects, "_let_go", believing)
    patch.setattr(Effects, "_restored", at_once)


@mutant("unknown keys")
def prepared_means_untouched(patch: Patch) -> None:
    """reliability.md F4: held, never verified, and the flags look as before: so it is let go."""
    classify = posture.classify

    def partial(
        observed: Observation | None, held: Snapshot | None, *, escrow: str, restored: bool
    ) -> Posture:
        seen = observed is not None and observed.complete and held is not None and observed.escrow is None
        if seen and observed is not None and held is not None and not observed.marked:
            same = set(observed.features or ()) == set(held.before.features)
            return Posture.NORMAL if same else classify(observed, held, escrow=escrow, restored=restored)
        return classify(observed, held, escrow=escrow, restored=restored)

    patch.setattr(plan, "classify", partial)


# --- time, processes, and the rest


@mutant("crashes in restore")
def a_restoration_that_failed_is_given_up(patch: Patch) -> None:
    patch.setattr(reconcile.Trouble, "is_waiting", lambda *_: True)


@mutant("late requests")
def nobody_looks_again(patch: Patch) -> None:
    patch.setattr(Reconciler, "_rewatch", lambda *_: {})


@mutant("late requests")
def nobody_misses_a_schedule(patch: Patch) -> None:
    patch.setattr(Reconciler, "_done_late", lambda *_: False)


@mutant("edits on the way out")
def features_go_back_to_what_was_decided_whatever_is_there_now(patch: Patch) -> None:
    patch.setattr(effects, "_aim", lambda snapshot, _live: snapshot.after)


@mutant("deletions by others")
def a_schedule_that_was_seen_gone_is_owed_all_the_same(patch: Patch) -> None:
    patch.setattr(aftermath, "SEEN_GONE", ())


@mutant("quirk: refuses late")
def a_schedule_that_was_deleted_is_not_owed(patch: Patch) -> None:
    patch.setattr(aftermath, "is_owed", lambda *_: False)


@mutant("late requests")
def a_timeout_at_a_gateway_is_an_answer(patch: Patch) -> None:
    unanswered = aftermath._is_unanswered
    patch.setattr(
        aftermath, "_is_unanswered", lambda one, after: one.kind == "intent" and unanswered(one, after)
    )


@mutant("quirk: spoils its pages")
def a_page_that_fails_is_all_there_is(patch: Patch) -> None:
    patch.setattr(reconcile, "is_of_the_page", lambda _: False)


@mutant("quirk: with nulls")
def a_null_is_sent_for_ever(patch: Patch) -> None:
    patch.setattr(effects, "without_nulls", tuple)


@mutant("frozen")
def the_time_is_not_looked_at_again(patch: Patch) -> None:
    patch.setattr(Effects, "_check_time", lambda *_: None)


@mutant("wrong clocks")
def a_clock_far_ahead_is_taken_at_its_word(patch: Patch) -> None:
    gather = Reconciler.gather

    async def trusting(self: Reconciler, now: datetime, *, record: bool = True, claim: bool = True) -> Any:  # noqa: ANN401 - its own
        del claim
        return await gather(self, now, record=record)

    patch.setattr(Reconciler, "gather", trusting)


@mutant("wrong clocks")
def the_old_times_stay_beside_the_new_ones(patch: Patch) -> None:
    patch.setattr(amend, "_forgotten", lambda window, _now: window)


@mutant("wrong clocks")
def what_a_cancelled_window_has_on_file_opens(patch: Patch) -> None:
    def alive(window: Window) -> Window:
        return replace(window, cancelled_at=None, repeat=None) if window.cancelled_at else window

    def anyway(planned: Iterable[Window], now: datetime, *more: Any) -> Any:  # noqa: ANN401 - its own
        return wanted(map(alive, planned), now, *more)

    patch.setattr(amend, "wanted", anyway)


@mutant("crashes in enter")
def a_lost_reply_is_answered_by_the_same_request(patch: Patch) -> None:
    journaled = Effects._journaled

    async def stubborn(
        self: Effects,
        held: Held,
        body: dict[str, Any],
        send: Callable[[], Awaitable[Any]],
        **more: Any,  # noqa: ANN401 - its own
    ) -> Any:  # noqa: ANN401 - its own
        try:
            return await journaled(self, held, body, send, **more)
        except Unknown:
            return await journaled(self, held, body, send, **more)

    patch.setattr(Effects, "_journaled", stubborn)


@mutant("unknown keys")
def requests_are_not_announced(patch: Patch) -> None:
    write = Effects._write

    def only_outcomes(self: Effects, held: Held, kind: str, body: dict[str, Any], *more: Any) -> None:  # noqa: ANN401 - its own
        if kind != "intent":
            write(self, held, kind, body, *more)

    patch.setattr(Effects, "_write", only_outcomes)


@mutant("crashes in recovery")
def recovered_without_its_windows(patch: Patch) -> None:
    def bare(store: Any, found: Iterable[Any], *, now: datetime, actor: str) -> None:  # noqa: ANN401 - their own
        for item in found:
            rescue.take(store, item, now=now, actor=actor)

    import world  # noqa: PLC0415 - it holds the function under its own name

    from mmd.cli import rescue  # noqa: PLC0415 - as above

    patch.setattr(recover, "put_on_file", bare)
    patch.setattr(world, "put_on_file", bare)


@mutant("several sources")
def a_failing_source_stops_the_others(patch: Patch) -> None:
    async def one_after_the_other(
        self: Reconciler, actions: Iterable[Action], _patience: float | None
    ) -> tuple[Any, ...]:
        for action in actions:
            if action.verb in plan.WRITES:
                await self._do(action)
        return ()

    patch.setattr(Reconciler, "_apply", one_after_the_other)


@mutant("late requests")
def held_is_forgotten_at_the_release(patch: Patch) -> None:
    """The watch looks, and the snapshot to go back to is not found."""
    patch.setattr(Holds, "to_watch", lambda *_, **__: {})


@mutant("reads that never agree")
def reads_that_disagree_are_taken_in_the_end(patch: Patch) -> None:
    look = Effects._look

    async def tired(
        self: Effects, case: Case, priority: Priority, *, expected: Mapping[str, str] | None = None
    ) -> Look:
        try:
            return await look(self, case, priority, expected=expected)
        except Garbled:
            return Look(await self._read(case.source_id, priority), self._monotonic())

    patch.setattr(Effects, "_look", tired)


@mutant("late requests beside an older look")
def an_older_entry_is_as_good_as_the_newest(patch: Patch) -> None:
    def any_of(
        self: Reconciler, seen: Observation, released: Sequence[tuple[Held, datetime]], now: datetime
    ) -> Held | None:
        late = (
            item
            for item, at in released
            if aftermath.left_behind(seen, item) or self._done_late(seen, item, at, now)
        )
        return next(late, None)

    patch.setattr(Reconciler, "_left_by", any_of)


@mutant("late requests between two windows")
def only_the_newest_entry_is_looked_at(patch: Patch) -> None:
    left_by = Reconciler._left_by

    def newest(
        self: Reconciler, seen: Observation, released: Sequence[tuple[Held, datetime]], now: datetime
    ) -> Held | None:
        return left_by(self, seen, released[-1:], now)

    patch.setattr(Reconciler, "_left_by", newest)


@mutant("late requests between two windows")
def a_source_is_entered_again_without_a_look_at_what_was_late(patch: Patch) -> None:
    to_watch = Holds.to_watch
    patch.setattr(Holds, "to_watch", lambda self, now, **_: to_watch(self, now))
