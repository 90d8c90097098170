"""`extip scheduler`."""

from functools import partial
from typing import Any

import click

from extip.cli.options import SCHEDULER_HTTP, allow_option, process_options
from extip.cli.running import run_mode
from extip.cli.types import DURATION, NAME, NAMESPACE, NETWORK
from extip.plan.eligibility import OPTIONAL, Obstacle


@click.command(context_settings={"show_default": True})
@click.option(
    "--mask", default=32, type=click.IntRange(1, 32), help="Prefix length of IPv4 claims."
)
@click.option(
    "--mask-v6", default=128, type=click.IntRange(1, 128), help="Prefix length of IPv6 claims."
)
@click.option(
    "--nodefilter",
    default="fair",
    type=click.Choice(["fair", "first-alive"]),
    help="How claims are spread: evenly, or all on the first controller that is alive.",
)
@click.option(
    "--monitor",
    default="4s",
    type=DURATION,
    help="A controller whose last heartbeat is longer ago is dead; at least two heartbeats.",
)
@click.option(
    "--rebalance-after",
    default="60s",
    type=DURATION,
    help="Move claims to where --nodefilter wants them, to a node that has been alive for so long;"
    " 0s: never.",
)
@click.option(
    "--ignore-rule",
    multiple=True,
    type=click.Choice(sorted(rule.value for rule in OPTIONAL - {Obstacle.NO_SUBNET})),
    help="Give claims to a node in spite of this. Repeatable.",
)
@click.option(
    "--allow-cidr",
    multiple=True,
    type=NETWORK,
    help="Make claims only for external IPs inside this network. Repeatable.",
)
@allow_option
@click.option(
    "--lb-class",
    default="",
    show_default="those without a class",
    help="Give addresses to Services of type LoadBalancer with exactly this class.",
)
@click.option(
    "--namespace",
    default="",
    type=NAMESPACE,
    show_default="the pod's, else kube-system",
    help="Where the controllers' heartbeat Leases are.",
)
@click.option(
    "--leader-elect",
    is_flag=False,
    flag_value=True,
    default=False,
    type=bool,
    help="Elect a leader among several schedulers; also --leader-elect=true or =false. Without it,"
    " this one decides nothing while there is another.",
)
@click.option(
    "--leader-elect-lease-duration",
    default="15s",
    type=DURATION,
    help="Others may lead when the leader has been silent for so long.",
)
@click.option(
    "--leader-elect-renew-deadline",
    default="10s",
    type=DURATION,
    help="A leader that cannot renew for so long stops leading.",
)
@click.option(
    "--leader-elect-retry-period",
    default="2s",
    type=DURATION,
    help="Time between two tries to take or renew the lease.",
)
@click.option(
    "--leader-elect-resource-name",
    default="extip-scheduler",
    type=NAME,
    help="Name of the Lease.",
)
@click.option(
    "--leader-elect-resource-namespace",
    default="",
    type=NAMESPACE,
    show_default="that of --namespace",
    help="Namespace of the Lease.",
)
@partial(process_options, http=SCHEDULER_HTTP)
def scheduler(*, log_format: Any, log_level: Any, **flags: Any) -> None:  # noqa: ANN401
    """Distribute external IPs over the controllers that are alive; several elect a leader."""
    from extip import log, settings  # noqa: PLC0415
    from extip.modes import scheduler as mode  # noqa: PLC0415

    log.configure(log_format, log_level)
    run_mode(mode.run(settings.scheduler_settings(**flags)))
