"""The command line: flags become settings, settings run a mode; nothing else happens here.

Only click is imported at the top: `extip --help` must be quick, and each mode loads what it needs.
"""

import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

import click

from extip import __version__
from extip.cli.types import DURATION, LISTEN, NETWORK
from extip.errors import ExtipError, FatalError

CONTEXT = {"auto_envvar_prefix": "EXTIP", "help_option_names": ["-h", "--help"]}


@click.group(context_settings=CONTEXT)
@click.version_option(__version__, prog_name="extip")
def cli() -> None:
    """Bring the external IPs of Kubernetes services up on bare-metal nodes.

    Every flag can be given by the environment, too: EXTIP_<COMMAND>_<FLAG>, for example
    EXTIP_SIMPLE_IFACE=eth1.
    """


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
                show_default="two resyncs",
                help="The kernel removes the addresses this long after extip died or hung.",
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


def process_options(command: Callable[..., None]) -> Callable[..., None]:
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
                default="127.0.0.1:9188",
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


@cli.command(context_settings={"show_default": True})
@address_options
@click.option(
    "--namespace-selector",
    default="",
    metavar="LABELS",
    help="Only services in namespaces with these labels, for example 'edge=yes,tier!=test'.",
)
@click.option(
    "--service-selector", default="", metavar="LABELS", help="Only services with these labels."
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
    _run(mode.dry_run(chosen) if dry_run else mode.run(chosen))


def _run(main: Coroutine[None, None, None]) -> None:
    """Run a mode to its end; exit with the code of what ended it."""
    import asyncio  # noqa: PLC0415

    try:
        asyncio.run(main)
    except BaseExceptionGroup as group:
        _exit_with(group)


def _exit_with(group: BaseExceptionGroup[BaseException]) -> NoReturn:
    """Raise what a person must mend on its own; a defect of extip keeps its traceback."""
    expected, defects = group.split(ExtipError)
    if expected is None or defects is not None:
        raise group
    error: BaseException = expected
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    raise error


def main() -> None:
    """Run the `extip` command and exit; one line instead of a traceback for expected errors."""
    try:
        cli()
    except ExtipError as error:
        click.echo(f"extip: {error}", err=True)
        sys.exit(error.exit_code if isinstance(error, FatalError) else 1)
