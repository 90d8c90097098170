"""`extip simple`."""

import click

from extip.cli.options import options
from extip.cli.running import run_mode
from extip.settings.simple import SimpleSettings


@click.command(context_settings={"show_default": True})
@options(SimpleSettings)
def simple(settings: SimpleSettings) -> None:
    """Bring every external IP up on this node; one such process per cluster."""
    from extip.modes import dry_run  # noqa: PLC0415
    from extip.modes import simple as mode  # noqa: PLC0415

    main = dry_run.run(settings) if settings.dry_run else mode.run(settings)
    run_mode(settings, main, logs_flags=not settings.dry_run)
