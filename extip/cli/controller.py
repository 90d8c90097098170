"""`extip controller`."""

import click

from extip.cli.options import options
from extip.cli.running import run_mode
from extip.settings.controller import ControllerSettings


@click.command(context_settings={"show_default": True})
@options(ControllerSettings)
def controller(settings: ControllerSettings) -> None:
    """Bring the IPs up that the scheduler gives to this node; one such process per node.

    A prefix length that the scheduler, a pool or a claim was told counts more than --mask here.
    """
    from extip.modes import controller as mode  # noqa: PLC0415

    run_mode(settings, mode.run(settings))
