"""Flags that several commands share, declared once."""

import os
from collections.abc import Callable

import click

from extip.cli.types import DURATION, GRANT, LISTEN, NETWORK


class OptionThatMayBeEmpty(click.Option):
    """An option whose environment variable may be empty; click takes that for unset."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """Return the text of the variable, named after command and flag; None when unset."""
        return os.environ.get(f"{ctx.auto_envvar_prefix}_{self.name.upper()}")


def address_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the flags of every mode that puts addresses on an interface."""
    for option in reversed(
        [
            click.option("--iface", default="eth0", help="Interface that IP addresses are put on."),
            click.option(
                "--mask", default=32, type=click.IntRange(1, 32), help="Prefix length of IPv4 IPs."
            ),
            click.option(
                "--mask-v6",
                default=128,
                type=click.IntRange(1, 128),
                help="Prefix length of IPv6 IPs.",
            ),
            click.option(
                "--resync",
                default="20s",
                type=DURATION,
                help="How often the state of all IPs is compared anew.",
            ),
            click.option(
                "--address-ttl",
                type=DURATION,
                show_default="two resyncs; of a controller: three heartbeats",
                help="The kernel removes the addresses this long after extip died or hung.",
            ),
            click.option(
                "--probe",
                default="200ms",
                type=DURATION,
                help="A new IP comes up when no other station said for so long that it has it; "
                "0s: ask nobody.",
            ),
            click.option(
                "--on-exit",
                default="release",
                type=click.Choice(["release", "keep"]),
                help="On an orderly stop: remove the addresses, or leave them to their TTL.",
            ),
            click.option(
                "--allow-cidr",
                "allow_cidr",
                multiple=True,
                type=NETWORK,
                help="Bring up only external IPs inside this network. Repeatable.",
            ),
        ]
    ):
        command = option(command)
    return command


def allow_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add the flag of every mode that reads what services ask for."""
    return click.option(
        "--allow",
        multiple=True,
        type=GRANT,
        metavar="ns/NAMESPACE=NETWORK",
        help="Services of this namespace may ask for IPs inside this network as well as inside "
        "those of --allow-cidr, for example ns/web=10.1.0.0/24. Repeatable.",
    )(command)


NODE_HTTP = "127.0.0.1:9188"
"""Default of what runs on a node's network."""

SCHEDULER_HTTP = "127.0.0.1:9190"
"""Default of a scheduler, which may run on the network of the same node."""


def process_options(command: Callable[..., None], *, http: str = NODE_HTTP) -> Callable[..., None]:
    """Add the flags that every mode has."""
    for option in reversed(
        [
            click.option(
                "--kubeconfig",
                default="",
                show_default="in-cluster",
                help="Kubeconfig file; empty: the pod's ServiceAccount.",
            ),
            click.option(
                "--http",
                cls=OptionThatMayBeEmpty,
                default=http,
                type=LISTEN,
                help="Where /metrics, /livez and /readyz are served; empty: nowhere.",
            ),
            click.option(
                "--log-format",
                default="console",
                type=click.Choice(["console", "json"]),
                help="How log events are written.",
            ),
            click.option(
                "--log-level",
                default="info",
                type=click.Choice(["debug", "info", "warning", "error"]),
                help="Least severe events that are written.",
            ),
        ]
    ):
        command = option(command)
    return command
