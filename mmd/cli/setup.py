"""`mmd init` and `mmd doctor`: from nothing to a daemon that can work, and whether it can."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mmd import config
from mmd.cli.app import config_option
from mmd.cli.output import Table, emit, format_option, progress, progress_done, say
from mmd.errors import ConfigError, Conflict, MmdError, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mmd.cli.app import App
    from mmd.cli.checks import Check

SECRET_FILE: Final = "client_secret"  # noqa: S105 - a file's name


# --- init --------------------------------------------------------------------------------------------------


@config_option
@click.command(name="init")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option(
    "--tenant",
    metavar="NAME",
    default="",
    help="acme for https://acme.identitynow.com; or where its API is, as https://…",
)
@click.option("--client-id", metavar="ID", default="", help="The id of the personal access token.")
@click.option("--yes", is_flag=True, help="Taken by every command that writes; nothing is asked here.")
@click.option("--dry-run", is_flag=True, help="Print the configuration, and write nothing.")
@click.pass_obj
def init(app: App, file: Path | None, tenant: str, client_id: str, *, yes: bool, dry_run: bool) -> None:
    """Write a commented configuration to FILE and create the database it names.

    FILE is $MMD_CONFIG, or mmd.toml in this folder, where it is not given. What is there already is never
    overwritten.
    """
    del yes
    path = _target(file or app.config_file)
    text = _filled(path, tenant, client_id)
    if dry_run:
        click.echo(text, nl=False)
        return
    _write(path, text)
    try:
        loaded = config.load(path)
        database = _make_database(loaded)
    except BaseException:
        path.unlink()  # else the next try would find it in its way
        raise
    for line in _next_steps(loaded, database):
        say(line)


def _target(named: Path | None) -> Path:
    return (named or Path(os.environ.get("MMD_CONFIG") or "mmd.toml")).expanduser().absolute()


def _filled(path: Path, tenant: str, client_id: str) -> str:
    """The example with what is known filled in; it makes sense, or it is not written."""
    text = config.example_text()
    key = "base_url" if "://" in tenant else "name"
    for name, value in ((key, tenant), ("client_id", client_id), ("client_secret_file", SECRET_FILE)):
        if value:
            line = f"\n{name} = {json.dumps(value, ensure_ascii=False)}\n"
            text = text.replace(f'\n{name} = ""\n', line, 1)
    try:
        config.parse(text, path, {})
    except ConfigError as error:
        hint = error.hint or "`mmd init --help` says what is wanted"
        raise ConfigError(error.message.partition(": ")[2], hint=hint) from None
    return text


def _write(path: Path, text: str) -> None:
    try:
        opened = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(opened, "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise Conflict(f"{path} exists already", hint="edit it, or name another: `mmd init FILE`") from None
    except FileNotFoundError:
        raise NotFound(f"there is no folder {path.parent}", hint=f"mkdir -p {path.parent}") from None
    except OSError as error:
        raise MmdError(
            f"{path} cannot be written: {error.strerror}", hint=f"look whose it is: ls -ld {path.parent}"
        ) from None


def _make_database(loaded: config.Config) -> str:
    """Make the database; say what became of it, for there may be one already."""
    from mmd.store import Store  # noqa: PLC0415 - SQLAlchemy takes a quarter of a second

    path = loaded.database.file
    there = path.exists()
    progress(f"creating {path} …")
    with Store.open(path, create=True) as store:
        if loaded.tenant.name or loaded.tenant.base_url:
            store.service.check_tenant(config.base_url(loaded))
    progress_done()
    return f"; {path} was there already, and is used" if there else f" and {path}"


def _next_steps(loaded: config.Config, database: str) -> list[str]:
    option = "" if _is_found(loaded.path) else f" --config {loaded.path}"
    secret = f"put the token's secret into {loaded.tenant.client_secret_file}, for your eyes only (chmod 600)"
    steps = [
        *([] if _has_secret(loaded) else [secret]),
        f"see what is missing: mmd{option} doctor",
        f'plan a window: mmd{option} schedule add SOURCE --start "sat 22:00" --for 2h --reason "patches"',
        f"have it kept: mmd{option} run, or systemctl enable --now mmd (docs/operations.md)",
    ]
    if not (loaded.tenant.name or loaded.tenant.base_url) or not loaded.tenant.client_id:
        steps.insert(0, f"name the tenant and the client id in {loaded.path}")
    numbered = [f"  {number}. {step}" for number, step in enumerate(steps, start=1)]
    return [f"wrote {loaded.path}{database}", "next:", *numbered]


def _has_secret(loaded: config.Config) -> bool:
    try:
        config.client_secret(loaded)
    except ConfigError:
        return False
    return True


def _is_found(path: Path) -> bool:
    """Whether mmd finds the file without being told."""
    try:
        return config.find(None, os.environ) == path
    except ConfigError:
        return False


# --- doctor ------------------------------------------------------------------------------------------------


@config_option
@click.command(name="doctor")
@format_option
@click.pass_context
def doctor(ctx: click.Context, form: str) -> None:
    """Try what will be needed, read-only, and say what is missing.

    Exits with 5 for credentials and rights, 6 where the tenant is not reached, 2 for the configuration, 1 for
    anything else that does not work; warnings do not count.
    """
    from mmd.cli.checks import Status, exit_code  # noqa: PLC0415 - only where they are made

    checks = asyncio.run(_examined(ctx.obj))
    emit(form, {"checks": [_as_data(check) for check in checks]}, _table(checks, form))
    found = {status: [check.name for check in checks if check.status is status] for status in Status}
    if names := found[Status.FAILED]:
        say(f"{len(names)} of {len(checks)} checks failed: {', '.join(names)}")
    elif names := found[Status.WARNING]:
        say(f"mmd can work; look at {', '.join(names)}")
    else:
        say("all is well")
    ctx.exit(exit_code(checks))


async def _examined(app: App) -> list[Check]:
    from mmd.cli.checks import examine  # noqa: PLC0415 - as above

    found = []
    progress("looking …")
    async for check in examine(app, _utcnow):
        progress(f"{check.name}: {check.status.value} …")
        found.append(check)
    progress_done()
    return found


def _utcnow() -> datetime:
    return datetime.now(tz=UTC)  # noqa: TID251 - this is the shell's clock; the checks take as long as ISC does


def _as_data(check: Check) -> Mapping[str, str]:
    return {"name": check.name, "status": check.status.value, "detail": check.detail, "hint": check.hint}


def _table(checks: Sequence[Check], form: str) -> Table:
    """People read the hint below the finding; a spreadsheet has it beside."""
    names = [check.name for check in checks]
    if form == "csv":
        rows = [(check.name, check.status.value, check.detail, check.hint) for check in checks]
        return Table(("CHECK", "STATUS", "DETAIL", "HINT"), rows, names)
    lines: list[tuple[str, ...]] = []
    for check in checks:
        lines.append((check.name, check.status.value, check.detail))
        lines += [("", "", f"hint: {check.hint}")] if check.hint else []
    return Table(("CHECK", "STATUS", "DETAIL"), lines, names)
