"""`extip doctor`."""

import sys
from typing import Any

import click

from extip.cli.person import person_options
from extip.doctor.wish import ROLES, Wish
from extip.kube.place import Place


@click.command(context_settings={"show_default": True})
@click.option(
    "--iface",
    default="",
    show_default="this machine is no node",
    help="Look at this machine, too: a node that has external IPs on this interface.",
)
@click.option(
    "--hostname",
    default="",
    show_default="$NODE_NAME, as in a controller's pod, else the operating system's",
    help="The name of this node's controller.",
)
@click.option(
    "--role",
    default=ROLES[0],
    type=click.Choice(ROLES),
    help="Whose permissions this account should have.",
)
@click.option(
    "--output", "-o", default="text", type=click.Choice(["text", "json"]), help="How to tell."
)
@person_options
def doctor(*, place: Place, **wish: Any) -> None:  # noqa: ANN401 - its fields
    """Look for what keeps extip from working, or will; changes nothing.

    Each finding has what it means and what to do. Exits with 1 when one is an error.
    """
    from extip.doctor import command  # noqa: PLC0415
    from extip.supervisor import run_process  # noqa: PLC0415

    sys.exit(0 if run_process(command.run(place, Wish(**wish))) else 1)
