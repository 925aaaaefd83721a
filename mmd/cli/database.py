"""`mmd db`: upgrade, back up and check the database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmd.cli.app import Group, config_option, no_database
from mmd.cli.output import Table, emit, format_option, progress, progress_done, say
from mmd.lock import COMMAND, only_one

if TYPE_CHECKING:
    from mmd.cli.app import App
    from mmd.store import Store


@config_option
@click.group(name="db", cls=Group)
def db() -> None:
    """Look after the database. It knows how to put every source back: keep a backup elsewhere."""


@config_option
@db.command(name="upgrade")
@click.option("--yes", is_flag=True, help="Taken by every command that writes; nothing is asked here.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.pass_obj
def upgrade(app: App, *, yes: bool, dry_run: bool) -> None:
    """Bring an older database up to date, after backing it up beside itself."""
    from mmd.store import (  # noqa: PLC0415 - SQLAlchemy takes a quarter of a second
        HEAD,
        refuse_newer,
        revision_of,
        upgrade_file,
    )

    del yes
    path = existing(app)
    revision = revision_of(path)
    if revision == HEAD:
        say(f"{path} is up to date (schema {revision}); nothing to do")
        return
    refuse_newer(path, revision)
    if dry_run:
        say(f"{path} would be backed up and brought from schema {revision} to {HEAD}")
        return
    with only_one(path, COMMAND):
        saved = upgrade_file(path)
    say(f"{path} is up to date (schema {revision_of(path)}); the old one is kept as {saved}")


@config_option
@db.command(name="backup")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Taken by every command that writes; nothing is asked here.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.pass_obj
def backup(app: App, file: Path, *, yes: bool, dry_run: bool) -> None:
    """Copy the database to FILE, which must not exist, while the daemon goes on; then check the copy."""
    from mmd import store  # noqa: PLC0415 - as above

    del yes
    path = existing(app)
    store.must_be_new(file)
    if dry_run:
        say(f"{path} would be copied to {file}")
        return
    progress(f"copying {path} …")
    store.backup(path, file)
    progress("checking the copy …")
    problems = store.check(file)
    progress_done()
    if problems:
        raise store.Damaged(
            f"the copy {file} is not sound: {problems[0]}", hint="`mmd db check` looks at the original"
        )
    rows = sum(store.rows(file).values())
    say(f"{file} is a sound copy of {path}: {rows} rows, {_size(file)}")


@config_option
@db.command(name="check")
@format_option
@click.pass_obj
def check(app: App, form: str) -> None:
    """Check the file, every snapshot in it, and the journal's chain; exit 1 if anything is wrong."""
    from mmd import store  # noqa: PLC0415 - as above

    path = existing(app)
    progress(f"checking {path} …")
    with app.store() as opened:
        problems = store.check(path) or [*opened.holds.damaged(), *_chain(opened)]
    counts = {} if problems else store.rows(path)
    progress_done()
    table = Table(("PROBLEM",), [(problem,) for problem in problems], problems)
    emit(form, {"path": str(path), "sound": not problems, "problems": problems, "rows": counts}, table)
    if problems:
        raise store.Damaged(
            f"the database {path} is damaged",
            hint="restore a backup (docs/operations.md), or move it away and run `mmd recover`",
        )
    parts = f"{counts['window']} windows, {counts['snapshot']} snapshots, {counts['journal']} journal entries"
    say(f"{path} is sound: {parts}, {_size(path)}")


def existing(app: App) -> Path:
    """Return the path of the database, which must be there.

    Raises:
        NotFound: it is not.
    """
    path = app.config.database.file
    if not path.exists():
        raise no_database(path)
    return path


def _chain(opened: Store) -> list[str]:
    problem = opened.journal.verify().problem
    return [problem] if problem else []


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1024:.0f} KiB"
