"""`extip migrate from`."""

import sys
from typing import Any

import click

from extip.cli.person import person_options
from extip.cli.types import click_type
from extip.kube.place import Place
from extip.migrate.order import OUTPUTS, PROGRAMS, Order
from extip.settings.flags import NETWORK


@click.command("from", context_settings={"show_default": True})
@click.argument("software", type=click.Choice(PROGRAMS))
@click.option(
    "--file",
    "-f",
    "files",
    multiple=True,
    show_default="the cluster",
    help="Read manifests from this file, and nothing from the cluster; - for standard input.",
)
@click.option(
    "--network",
    "networks",
    multiple=True,
    type=click_type(NETWORK),
    show_default="those of the nodes where a controller runs",
    help="Network of a segment with nodes; its addresses get its prefix length.",
)
@click.option("--output", "-o", default=OUTPUTS[0], type=click.Choice(OUTPUTS), help="How to tell.")
@person_options
def from_(*, place: Place, **order: Any) -> None:  # noqa: ANN401 - its fields
    """Print the objects that extip needs to go on where SOFTWARE stops; changes nothing.

    Pools and patches of services go to standard output, to be applied. A line for each thing that
    cannot be carried over, with a remedy, goes to standard error; then it exits with 1.
    """
    from extip.migrate import importing  # noqa: PLC0415
    from extip.supervisor import run_process  # noqa: PLC0415

    sys.exit(0 if run_process(importing.run(place, Order(**order))) else 1)
