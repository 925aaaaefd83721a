"""`mmd completion`: the script a shell needs, and what it is offered besides commands and options."""

from __future__ import annotations

import os
import re
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import click
from click.shell_completion import BashComplete, CompletionItem, FishComplete, ShellComplete, ZshComplete

from mmd.text import fitted, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from mmd.cli.app import App
    from mmd.store import Store

SHELLS: Final[Mapping[str, type[ShellComplete]]] = {
    "bash": BashComplete,
    "zsh": ZshComplete,
    "fish": FishComplete,
}
VARIABLE: Final = "_MMD_COMPLETE"  # click's name for it, after the program's
PAST_WINDOWS: Final = timedelta(days=31)  # how long a window that is over is still offered
_HELP: Final = """Print the completion script for SHELL. To have it in every new shell:

\b
bash   mmd completion bash > ~/.local/share/bash-completion/completions/mmd
zsh    mmd completion zsh > "${fpath[1]}/_mmd"
fish   mmd completion fish > ~/.config/fish/completions/mmd.fish
"""
_ABOUT_COLUMNS: Final = 40


@click.command(name="completion", help=_HELP)
@click.argument("shell", type=click.Choice(list(SHELLS)))
def completion(shell: str) -> None:
    """Print the script. It calls `mmd` for each completion, and so outlives upgrades."""
    from mmd.cli import cli  # noqa: PLC0415 - it imports this module

    maker = SHELLS[shell](cli, {}, "mmd", VARIABLE)
    # Not maker.source(): that asks this machine's bash for its version, and complains where there is none.
    click.echo(maker.source_template % maker.source_vars())


def complete_source(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the sources that the database knows, by name; by id what the name does not say."""
    return _offered(ctx, incomplete, _sources)


def complete_window(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the ids of windows that are not over, or not for long."""
    return _offered(ctx, incomplete, _windows)


def _offered(
    ctx: click.Context, incomplete: str, read: Callable[[App, Store], Iterable[tuple[str, str]]]
) -> list[CompletionItem]:
    """What is on file and begins with what was typed; nothing where anything is wrong."""
    try:
        from mmd.cli.app import App  # noqa: PLC0415 - only where something is completed

        app = ctx.obj if isinstance(ctx.obj, App) else App(ctx.find_root().params.get("config"))
        with app.store() as store:
            return [
                CompletionItem(_as_typed(word), help=fitted(printable(about), _ABOUT_COLUMNS).rstrip())
                for word, about in read(app, store)
                if word.lower().startswith(incomplete.lower()) and word == printable(word)
            ]
    except Exception:  # noqa: BLE001 - a message here would land in the middle of somebody's command line
        return []


def _sources(app: App, store: Store) -> Iterator[tuple[str, str]]:
    recent = store.plans.current(app.now, since=PAST_WINDOWS)
    planned = {source.id: source.name for window in recent for source in window.sources}
    known = planned | {seen.source_id: seen.name for seen in store.sightings.all().values()}
    times = Counter(known.values())
    for source_id, name in sorted(known.items(), key=lambda pair: pair[1].lower()):
        clear = times[name] == 1 and name == printable(name)
        yield (name, source_id) if clear else (source_id, name)


def _windows(app: App, store: Store) -> Iterator[tuple[str, str]]:
    for window in store.plans.current(app.now, since=PAST_WINDOWS):
        yield window.id, window.reason or ", ".join(source.name for source in window.sources)


def _as_typed(word: str) -> str:
    """The word as the shell wants it: zsh and fish quote it themselves, bash takes it as it is.

    The backslashes are doubled because the `read` in click's script for bash takes half of them away.
    """
    if os.environ.get(VARIABLE) != "bash_complete":
        return word
    return re.sub(r"([^\w@%+=:,./-])", r"\\\\\1", word)
