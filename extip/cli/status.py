"""`extip status`."""

import sys

import click

from extip.cli.person import person_options
from extip.cli.types import NAMESPACE


@click.command(context_settings={"show_default": True})
@click.argument("about", nargs=-1, metavar="[IP|NAMESPACE/SERVICE|NODE]...")
@click.option(
    "--output",
    "-o",
    default="table",
    type=click.Choice(["table", "json"]),
    help="For people, or for programs.",
)
@click.option(
    "--namespace",
    default="",
    type=NAMESPACE,
    show_default="all",
    help="Where the controllers' heartbeat Leases are looked for.",
)
@person_options
def status(*, about: tuple[str, ...], output: str, kubeconfig: str, namespace: str) -> None:
    """Tell where every external IP is, since when and why; claims mode.

    Exits with 0 when all that was asked for is up, and with 1 when something is not.
    """
    from extip.modes import status as mode  # noqa: PLC0415
    from extip.supervisor import run_process  # noqa: PLC0415

    all_up = run_process(mode.run(kubeconfig, namespace, about, as_json=output == "json"))
    sys.exit(0 if all_up else 1)
