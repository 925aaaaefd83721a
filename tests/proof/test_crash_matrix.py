"""One fault at every seam of entering, holding, restoring, recovering and migrating: nothing is lost."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from matrix import PHASES, Phase, crashes
from scale import ALL
from shapes import SHAPES, Shape
from world import Died

from mmd.store import HEAD, revision_of, upgrade_file
from mmd.store.database import migrate

pytestmark = pytest.mark.slow
# How many of the losses and times a shape sees at each seam, in turn: the first ones more.
TURNS = {3: 4, 16: 2, len(SHAPES): 1}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.name)
def test_one_fault_at_every_seam(phase: Phase, shape: Shape, tally: Callable[[str, int], None]) -> None:
    turns = next(turns for last, turns in TURNS.items() if shape.number <= last)
    tally("T1 crash matrix", crashes(phase, shape, turns=None if ALL else turns))


@contextmanager
def dying_at(statement: int) -> Iterator[list[int]]:
    """Every engine dies before the statement of this number."""
    seen = [0]

    def before(*_: Any) -> None:  # noqa: ANN401 - SQLAlchemy's signature, of which nothing is needed
        seen[0] += 1
        if seen[0] == statement:
            raise Died("migration")

    sa.event.listen(sa.Engine, "before_cursor_execute", before)
    try:
        yield seen
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", before)


def test_a_migration_that_dies_at_any_statement_left_the_old_schema(
    tmp_path: Path, tally: Callable[[str, int], None]
) -> None:
    runs = 0
    for statement in count(1):
        path = tmp_path / f"{statement}.db"
        path.touch(mode=0o600)
        with dying_at(statement) as seen:
            try:
                migrate(path)
            except Died:
                runs += 1
        with closing(sqlite3.connect(path)) as connection:
            tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if seen[0] < statement:
            assert revision_of(path) == HEAD
            break
        assert tables == 0, f"half a schema after statement {statement}"
        migrate(path)
        assert revision_of(path) == HEAD
        assert upgrade_file(path) is None
    assert runs > 20
    tally("T1 crash matrix", runs)
