"""`extip simple`."""

from typing import Any

import click

from extip.cli.options import address_options, allow_option, process_options
from extip.cli.running import run_mode
from extip.cli.types import SELECTOR


@click.command(context_settings={"show_default": True})
@address_options
@allow_option
@click.option(
    "--namespace-selector",
    default="",
    type=SELECTOR,
    metavar="LABELS",
    help="Only services in namespaces with these labels, for example 'edge=yes,tier!=test'.",
)
@click.option(
    "--service-selector",
    default="",
    type=SELECTOR,
    metavar="LABELS",
    help="Only services with these labels.",
)
@click.option(
    "--dry-run", is_flag=True, help="Print what would be added and removed; change nothing."
)
@process_options
def simple(*, dry_run: bool, log_format: Any, log_level: Any, **flags: Any) -> None:  # noqa: ANN401
    """Bring every external IP up on this node; one such process per cluster."""
    from extip import log, settings  # noqa: PLC0415
    from extip.modes import simple as mode  # noqa: PLC0415

    log.configure(log_format, log_level)
    chosen = settings.simple_settings(**flags)
    run_mode(mode.dry_run(chosen) if dry_run else mode.run(chosen))
