"""The store: one SQLite file, values in and values out.

`Store` is the door; each subject has its own module. Nothing here decides anything.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Self

from mmd.store.database import (
    HEAD,
    Damaged,
    Database,
    Unwritable,
    backup,
    check,
    check_mode,
    create_file,
    must_be_new,
    open_database,
    refuse_newer,
    revision_of,
    rows,
    upgrade_file,
)
from mmd.store.findings import Findings
from mmd.store.holds import BadSnapshot, Holds
from mmd.store.journal import Entry, Journal
from mmd.store.plans import Plans, new_id
from mmd.store.service import DaemonRow, Service
from mmd.store.sightings import Sighting, Sightings

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from mmd.store.alerts import Alerts
    from mmd.store.past import Past

__all__ = [
    "HEAD",
    "BadSnapshot",
    "DaemonRow",
    "Damaged",
    "Entry",
    "Sighting",
    "Store",
    "Unwritable",
    "backup",
    "check",
    "check_mode",
    "create_file",
    "must_be_new",
    "new_id",
    "refuse_newer",
    "revision_of",
    "rows",
    "upgrade_file",
]


class Store:
    """An open database, by subject. `file` is where it is, or would be if it existed."""

    def __init__(self, database: Database, file: Path | None = None) -> None:
        self.database = database
        self.file = file
        self.plans = Plans(database)
        self.holds = Holds(database)
        self.findings = Findings(database)
        self.journal = Journal(database)
        self.sightings = Sightings(database)
        self.service = Service(database)

    @cached_property
    def alerts(self) -> Alerts:
        """What people are to look at."""
        from mmd.store.alerts import Alerts  # noqa: PLC0415 - not for `mmd status`, which must answer at once

        return Alerts(self.database)

    @cached_property
    def past(self) -> Past:
        """What was."""
        from mmd.store.past import Past  # noqa: PLC0415 - as above

        return Past(self.database)

    @classmethod
    def open(cls, path: Path, *, create: bool = False, upgrade: bool = False) -> Store:
        """Open the file; see `open_database` for what is refused."""
        return cls(open_database(path, create=create, upgrade=upgrade), path)

    @property
    def exists(self) -> bool:
        """Whether there is a file; without one, everything read is empty."""
        return self.database.path is not None

    def close(self) -> None:
        """Close the file."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
