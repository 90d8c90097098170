"""`extip status`."""

import gc
import sys
from contextlib import suppress
from typing import Any

import click

from extip.cli.person import completed, person_options
from extip.cli.types import click_type
from extip.kube.place import Place
from extip.settings.flags import INSTANCE, NAMESPACE
from extip.status.question import OUTPUTS, SORTS, Question


@click.command(context_settings={"show_default": True})
@click.argument(
    "about",
    nargs=-1,
    metavar="[IP|SERVICE|NODE]...",
    shell_complete=completed(ips=True),
)
@click.option(
    "--output",
    "-o",
    default=OUTPUTS[0],
    type=click.Choice(OUTPUTS),
    help="For people, or for programs.",
)
@click.option(
    "--namespace",
    "-n",
    default="",
    type=click_type(NAMESPACE),
    show_default="all",
    help="Only the IPs of services in this namespace.",
)
@click.option("--sort", default=SORTS[0], type=click.Choice(SORTS), help="The order of IPs.")
@click.option("--watch", "-w", is_flag=True, help="Keep it up to date on the terminal.")
@click.option(
    "--lease-namespace",
    default="",
    type=click_type(NAMESPACE),
    show_default="all",
    help="Where Leases of controllers and schedulers are looked for.",
)
@click.option(
    "--instance",
    default=None,
    type=click_type(INSTANCE),
    show_default="all",
    help="Only what belongs to this instance of extip.",
)
@person_options
def status(*, watch: bool, place: Place, **question: Any) -> None:  # noqa: ANN401 - its fields
    """Tell where every external IP is, since when and why; claims mode.

    A SERVICE is NAMESPACE/NAME, or its NAME alone when one service only has it. One IP alone is
    explained. Exits with 0 when all that was asked for is up, and with 1 when something is not.
    """
    from extip.status import command  # noqa: PLC0415
    from extip.supervisor import run_process  # noqa: PLC0415

    asked = Question(**question)
    if watch:
        if not sys.stdout.isatty() or asked.output in ("json", "yaml"):
            raise click.UsageError("--watch is for tables on a terminal")
        with suppress(KeyboardInterrupt):  # its usual end
            run_process(command.watch(place, asked))
    else:
        gc.disable()  # it takes a fifth of the time for 10,000 IPs; the process ends right after
        sys.exit(0 if run_process(command.run(place, asked)) else 1)
