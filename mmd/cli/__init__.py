"""The command line. Each command parses, calls one function, and prints: data on stdout, all else on stderr.

Commands are imported only when they are called, because `mmd --help` and completion must answer at once.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
from typing import TYPE_CHECKING, Final

import click

from mmd import __version__
from mmd.errors import MmdError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

# Command: (module, what help says). The attribute is the command's name with underscores.
COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "demo": ("mmd.cli.practice", "Show all of it on a simulated tenant, in half a minute."),
    "simulate": ("mmd.cli.practice", "Run the simulated tenant alone, to practise on."),
    "init": ("mmd.cli.setup", "Write a commented configuration and create the database."),
    "doctor": ("mmd.cli.setup", "Try what will be needed, read-only, and say what is missing."),
    "run": ("mmd.cli.service", "Run the daemon in the foreground."),
    "schedule": ("mmd.cli.schedule", "Plan windows: add, list, show, next, extend, end, cancel, …"),
    "start": ("mmd.cli.schedule", "Open a window now."),
    "status": ("mmd.cli.status", "What is in maintenance, what is next, what is wrong."),
    "sources": ("mmd.cli.sources", "The tenant's sources: in maintenance, normal, or half-way."),
    "plan": ("mmd.cli.service", "What the daemon would do next, and why; changes nothing."),
    "reconcile": ("mmd.cli.service", "Do once, now, what the daemon would do."),
    "zombies": ("mmd.cli.zombies", "Sources in maintenance that no window accounts for."),
    "adopt": ("mmd.cli.rescue", "Make a window of a source that someone else left in maintenance."),
    "restore": ("mmd.cli.rescue", "Bring one source back now."),
    "recover": ("mmd.cli.recover", "The database is lost: rebuild it from what is on the sources."),
    "was": ("mmd.cli.history", "Whether a source was in maintenance at a time, with evidence."),
    "history": ("mmd.cli.history", "What happened: who planned what, what was sent, found and told."),
    "report": ("mmd.cli.report", "What is in maintenance, and what was; for auditors."),
    "alerts": ("mmd.cli.alerts", "What people are alerted to, and whether messages get through."),
    "db": ("mmd.cli.database", "The database: upgrade, backup, check."),
    "completion": ("mmd.cli.completion", "Print the completion script for a shell."),
}
DEBUG: Final = "MMD_DEBUG"
_UNWRITABLE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


class Lazy(click.Group):
    """A group whose commands are imported when they are called, not when they are listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of a first acquaintance."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, importing none."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, and for a wrong word name the nearest."""
        word = args[0] if args else ""
        if word and not word.startswith("-") and word not in COMMANDS:
            import difflib  # noqa: PLC0415 - only for a mistake

            near = difflib.get_close_matches(word, COMMANDS, n=1)
            hint = f"did you mean `mmd {near[0]}`?" if near else "`mmd --help` lists the commands"
            raise click.UsageError(f"there is no command {word!r}\nhint: {hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", message="mmd %(version)s")
@click.option(
    "--config", metavar="FILE", help="The configuration file (else $MMD_CONFIG, ./mmd.toml, ~/.config, /etc)."
)
@click.pass_context
def cli(ctx: click.Context, config: str | None) -> None:
    """Maintenance windows for sources of SailPoint Identity Security Cloud.

    You plan a window. When it opens, the daemon takes its sources into maintenance; when it closes, it puts
    back exactly what it found. `mmd demo` shows it, and needs nothing.
    """
    from mmd.cli.app import App  # noqa: PLC0415 - after --help has had its chance

    ctx.obj = App(config)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with the code that the contract gives the outcome."""
    _open_streams()
    stdout = sys.stdout
    try:
        code = cli.main(args=arguments, prog_name="mmd", standalone_mode=False)
    except Exception as error:  # noqa: BLE001 - no traceback ever reaches a user
        code = _told(error)
    except KeyboardInterrupt:
        code = 130
    except SystemExit as left:  # click has answered a shell, or wraps stdout as its reader has gone away
        code = left.code if sys.stdout is stdout else 0
    _leave(code if isinstance(code, int) else 0)


def _open_streams() -> None:
    """Let nothing go where a standard stream is closed; else the next file, the database, gets its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8"))


def _told(error: Exception) -> int:
    """Say what went wrong, in one sentence and a hint; return the exit code."""
    if os.environ.get(DEBUG):
        import traceback  # noqa: PLC0415 - only on request

        traceback.print_exc()
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.exceptions.Abort):
        return 130
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return error.exit_code
    message, hint, code = _sentence(error)
    from mmd.text import printable  # noqa: PLC0415 - only for a mistake

    if message:
        lines = [f"error: {printable(message)}", *([f"hint: {printable(hint)}"] if hint else [])]
        with contextlib.suppress(OSError):  # a stderr that is full, or that nobody reads
            click.echo("\n".join(lines), err=True)
    return code


def _sentence(error: Exception) -> tuple[str, str, int]:
    if isinstance(error, MmdError):
        return error.message, error.hint, error.exit_code
    if isinstance(error, click.UsageError):
        message, _, hint = error.format_message().partition("\nhint: ")
        message = " ".join(message.split())  # click lists choices a line each
        path = error.ctx.command_path if error.ctx else "mmd"
        return message, hint or f"`{path} --help` shows how it is used", 2
    if isinstance(error, click.ClickException):
        return error.format_message(), "", 2
    if isinstance(error, OSError) and error.errno in _UNWRITABLE and error.filename is None:
        return f"the output cannot be written: {error.strerror}", "is there room where it goes to?", 1
    return (
        f"unexpected {type(error).__name__}: {error}",
        f"this is a defect; {DEBUG}=1 shows where, please report it",
        1,
    )


def _leave(code: int) -> None:
    """Flush, then exit; a reader that has gone away is no reason for a message, a full disk is."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _silence(sys.stdout)
    except OSError as error:
        code = code or _told(error)
        _silence(sys.stdout)
    try:
        sys.stderr.flush()
    except OSError:
        _silence(sys.stderr)
    sys.exit(code)


def _silence(stream: TextIO) -> None:
    """Let what is left go nowhere, or Python would try again and leave with a code of its own."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
