"""`extip controller`."""

from typing import Any

import click

from extip.cli.options import address_options, process_options
from extip.cli.running import run_mode
from extip.cli.types import DURATION, NAMESPACE


@click.command(context_settings={"show_default": True})
@address_options
@click.option("--hb", default="2s", type=DURATION, help="How often heartbeats are sent.")
@click.option(
    "--hostname",
    default="",
    show_default="the operating system's",
    help="Name of this node; dots are allowed. Two live controllers cannot have the same.",
)
@click.option(
    "--drain-timeout",
    default="5s",
    type=DURATION,
    help="When an IP moves or the controller stops, keep it so long for its next holder.",
)
@click.option(
    "--on-api-loss",
    default="hold",
    type=click.Choice(["hold", "release"]),
    help="While the API server does not answer: keep the IPs and make way for a node that announces"
    " them, or leave them to their TTL.",
)
@click.option(
    "--namespace",
    default="",
    type=NAMESPACE,
    show_default="the pod's, else kube-system",
    help="Where its heartbeat Lease is.",
)
@process_options
def controller(*, log_format: Any, log_level: Any, **flags: Any) -> None:  # noqa: ANN401
    """Bring the IPs up that the scheduler gives to this node; one such process per node.

    Each IP has the prefix length that its claim says; --mask is for the scheduler's claims.
    """
    from extip import log, settings  # noqa: PLC0415
    from extip.modes import controller as mode  # noqa: PLC0415

    log.configure(log_format, log_level)
    run_mode(mode.run(settings.controller_settings(**flags)))
