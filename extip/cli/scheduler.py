"""`extip scheduler`."""

import click

from extip.cli.options import options
from extip.cli.running import run_mode
from extip.settings.scheduler import SchedulerSettings


@click.command(context_settings={"show_default": True})
@options(SchedulerSettings)
def scheduler(settings: SchedulerSettings) -> None:
    """Distribute external IPs over the controllers that are alive; several elect a leader."""
    from extip.modes import scheduler as mode  # noqa: PLC0415

    run_mode(settings, mode.run(settings))
