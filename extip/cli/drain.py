"""`extip drain`."""

import click

from extip.cli.person import completed, person_options
from extip.cli.types import click_type
from extip.kube.place import Place
from extip.settings.flags import DURATION, NAME


@click.command(context_settings={"show_default": True})
@click.argument("node", type=click_type(NAME), shell_complete=completed(ips=False))
@click.option("--undo", is_flag=True, help="Let the node hold IPs again.")
@click.option(
    "--wait",
    default="60s",
    type=click_type(DURATION),
    help="Wait so long for the IPs to move; 0s: not at all.",
)
@person_options
def drain(*, node: str, undo: bool, wait: float, place: Place) -> None:
    """Move all external IPs off NODE before it is worked on; claims mode.

    They move in order, without a gap. NODE stays empty until `extip drain --undo NODE`.
    """
    from extip.draining import command  # noqa: PLC0415
    from extip.supervisor import run_process  # noqa: PLC0415

    run_process(command.run(place, node, undo=undo, wait_s=wait))
