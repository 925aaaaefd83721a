"""`mmd simulate` and `mmd demo`: a tenant to practise on, and a first look at all of it."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import click

from mmd.cli.output import say
from mmd.errors import Conflict, Refused

if TYPE_CHECKING:
    from mmd.readers import Rate
    from mmd.simulator import Simulator


def _rate(_ctx: click.Context, _parameter: click.Parameter, text: str | None) -> Rate | None:
    from mmd import readers  # noqa: PLC0415 - only where it is given

    try:
        return None if text is None else readers.rate(text)
    except Refused as refusal:
        raise click.BadParameter(refusal.message) from None


@click.command(name="simulate")
@click.option(
    "--port",
    metavar="N",
    type=click.IntRange(0, 65535),
    default=0,
    help="Where to listen; else any free port.",
)
@click.option("--sources", metavar="N", type=click.IntRange(0, 50_000), default=12, help="How many; else 12.")
@click.option(
    "--latency", metavar="S", type=click.FloatRange(0, 60), default=0.0, help="Seconds to each answer."
)
@click.option("--rate", metavar="N/D", callback=_rate, help="The tenant's limit; else ISC's own, 100/10s.")
def simulate(port: int, sources: int, latency: float, rate: Rate | None) -> None:
    """Run the simulated tenant alone, to practise on, until Ctrl-C.

    Its base URL is printed alone on stdout; how to point mmd at it, on stderr. Nothing of it is kept.
    """
    from mmd.simulator import Switches, serve  # noqa: PLC0415 - only where it is run

    changes: dict[str, Any] = {"rate": (rate.requests, rate.per.total_seconds())} if rate else {}
    try:
        serve(port, sources, Switches(latency=latency, **changes), announce=_announce)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise  # of what is printed
        taken = f"port {port} of this machine cannot be listened on: {error.strerror}"
        raise Conflict(taken, hint="leave --port out, and any free one is taken") from None


def _announce(simulator: Simulator) -> None:
    click.echo(simulator.base_url)  # click flushes: whoever started this waits for the line
    for line in (
        f"a simulated tenant of {len(simulator.tenant.sources)} sources; to practise, in another terminal:",
        "",
        f"  export MMD_CONFIG=practice.toml MMD_TENANT__CLIENT_SECRET={simulator.client_secret}",
        f"  mmd init --tenant {simulator.base_url} --client-id {simulator.client_id}",
        "  mmd doctor",
        "  mmd run &",
        '  mmd start Salesforce --for 1m --reason "a first look"',
        "  mmd status",
        "",
        "Ctrl-C ends it.",
    ):
        say(line)


@click.command(name="demo")
def demo() -> None:
    """Show the whole of it on a simulated tenant: a window from start to proven restore, in half a minute."""
    from mmd.cli.screen import Screen  # noqa: PLC0415 - only where it is shown
    from mmd.cli.story import tell  # noqa: PLC0415 - as above

    tell(Screen())
