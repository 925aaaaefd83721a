"""What a command needs of the world: configuration, store, ISC client, the time, and who is asking."""

from __future__ import annotations

import getpass
import os
import socket
import sys
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from mmd import __version__, config
from mmd.cli.output import say
from mmd.errors import NotFound, Refused
from mmd.pace import Pace
from mmd.text import printable

if TYPE_CHECKING:
    from mmd.isc import Isc
    from mmd.store import Store

AnyCommand = TypeVar("AnyCommand", bound=click.Command)


class Group(click.Group):
    """A group that lists its commands in the order in which they are defined, each with a whole sentence."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of a first acquaintance."""
        del ctx
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands; click would cut their sentences off."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, _sentence(one)) for name, one in self.commands.items()])


def _sentence(command: click.Command) -> str:
    """The first paragraph of a command's help, on one line."""
    return " ".join((command.help or "").partition("\n\n")[0].split())


class App:
    """One call of the command line. What is costly is made when it is first asked for."""

    def __init__(self, config_file: str | None) -> None:
        self.config_file = Path(config_file) if config_file else None

    @cached_property
    def config(self) -> config.Config:
        """The configuration."""
        return config.load(self.config_file)

    @cached_property
    def now(self) -> datetime:
        """The instant (UTC) at which the command was called: what is typed is read, and echoed, by it."""
        return self.clock()

    @staticmethod
    def clock() -> datetime:
        """Return the wall clock's instant (UTC): what is written counts from it, not from `now`."""
        return datetime.now(tz=UTC)  # noqa: TID251 - this is the shell's clock

    @property
    def zone(self) -> str:
        """The time zone for times without one."""
        return self.config.windows.timezone

    @property
    def pace(self) -> Pace:
        """The request budget and the lead."""
        rate, lead = self.config.tenant.rate, self.config.windows.lead
        return Pace(rate=rate.requests, period=rate.per, lead=None if lead == "auto" else lead)

    @property
    def actor(self) -> str:
        """Who is asking, and from where, for the journal."""
        try:
            user = os.environ.get("SUDO_USER") or getpass.getuser()
        except (KeyError, OSError):  # a container's user may have no name
            user = f"uid {os.getuid()}"
        return f"{user}@{socket.gethostname()}"

    @property
    def interactive(self) -> bool:
        """Whether a person can be asked."""
        return sys.stdin.isatty() and sys.stderr.isatty()

    def store(self, *, create: bool = False, upgrade: bool = False) -> Store:
        """Open the database; see `Store.open`."""
        from mmd.store import Store  # noqa: PLC0415 - SQLAlchemy takes a quarter of a second

        return Store.open(self.config.database.file, create=create, upgrade=upgrade)

    def nothing(self, store: Store, otherwise: str) -> str:
        """Return what no row means.

        Where there is no database, nothing is known, and it may have been lost: that is said at once,
        whatever the form of the answer.
        """
        if store.exists:
            return otherwise
        missing = no_database(self.config.database.file)
        say(f"{missing.message}: {missing.hint}")
        return ""

    def isc(self) -> Isc:
        """Return a client for the tenant, not yet connected.

        Raises:
            ConfigError: the tenant or the credentials are not configured.
        """
        from mmd.isc import Isc, Tenant  # noqa: PLC0415 - httpx takes a tenth of a second

        loaded = self.config
        tenant = Tenant(
            base_url=config.base_url(loaded),
            api_version=loaded.tenant.api_version,
            client_id=config.client_id(loaded),
            rate=loaded.tenant.rate.requests,
            period=loaded.tenant.rate.per.total_seconds(),
            user_agent=f"mmd/{__version__}",
        )
        config.client_secret(loaded)  # say now, not in mid-work, that there is none
        return Isc(tenant, lambda: config.client_secret(loaded).reveal())

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask before something that is not undone by a keystroke.

        Raises:
            Refused: nobody can be asked and `--yes` was not given, or the answer was no.
        """
        if yes:
            return
        if not self.interactive:
            raise Refused(f"not confirmed: {question}", hint="add --yes where nobody can be asked")
        if not click.confirm(printable(question), err=True):
            raise Refused("not confirmed; nothing was changed", hint="answer y, or add --yes, to go on")


def no_database(file: Path | None) -> NotFound:
    """What is wrong where a command needs a database that is not there."""
    hint = "the first window makes one; `mmd recover` rebuilds a lost one"
    return NotFound(f"there is no database at {file}", hint=hint)


def config_option(command: AnyCommand) -> AnyCommand:
    """Let a command take --config after its name as well as before."""

    def replace_app(ctx: click.Context, _parameter: click.Parameter, value: str | None) -> None:
        if value is not None:
            ctx.obj = App(value)

    option = click.Option(
        ["--config"], metavar="FILE", expose_value=False, callback=replace_app, is_eager=True, hidden=True
    )
    command.params.append(option)
    return command
