"""`extip migrate`."""

import os
import sys
from typing import Any

import click

from extip.cli.environment import unknown_variables
from extip.cli.migrate_from import from_
from extip.cli.person import completed_services, person_options
from extip.cli.types import click_type
from extip.kube.place import Place
from extip.settings.flags import DURATION, INSTANCE, NAMESPACE, TEXT


class _Subcommands(click.Group):
    """A group that tells which variables of the environment mean nothing to a subcommand."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand."""
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None and command is not None:
            full = f"{self.name}_{name}"
            others = [f"{self.name}_{other}" for other in self.commands]
            for one in unknown_variables(full, command.params, others, _own_variables(full)):
                click.echo(f"extip: {one}", err=True)
        return name, command, rest


def _own_variables(command: str) -> dict[str, str]:
    prefix = f"EXTIP_{command.upper()}_"
    return {name: value for name, value in os.environ.items() if name.startswith(prefix)}


@click.group(cls=_Subcommands)
def migrate() -> None:
    """Bring services to extip, or to load balancers, without an outage."""


migrate.add_command(from_)


@migrate.command(context_settings={"show_default": True})
@click.argument("service", nargs=-1, metavar="[SERVICE]...", shell_complete=completed_services())
@click.option("--all", "all_", is_flag=True, help="All services with external IPs.")
@click.option("--apply", "apply_", is_flag=True, help="Do it; without, it is only shown.")
@click.option("--undo", is_flag=True, help="The way back, by the note on each service.")
@click.option(
    "--managed",
    is_flag=True,
    help="Also services that another program manages and may change back.",
)
@click.option(
    "--wait",
    default="60s",
    type=click_type(DURATION),
    help="Wait so long for a service to have its IPs in its status.",
)
@click.option(
    "--lb-class",
    default="",
    type=click_type(TEXT),
    show_default="none",
    help="The class of load balancers that extip serves: its own --lb-class.",
)
@click.option(
    "--namespace",
    "-n",
    default="",
    type=click_type(NAMESPACE),
    show_default="all",
    help="Only services in this namespace.",
)
@click.option(
    "--instance",
    default="",
    type=click_type(INSTANCE),
    show_default="the one without a name",
    help="The instance of extip that serves the services.",
)
@click.option(
    "--output", "-o", default="text", type=click.Choice(["text", "json"]), help="How to tell."
)
@person_options
def services(
    *,
    service: tuple[str, ...],
    all_: bool,
    apply_: bool,
    wait: float,
    place: Place,
    **more: Any,  # noqa: ANN401 - fields of a wish and a question
) -> None:
    """Make services with external IPs load balancers with the same addresses.

    kube-proxy will stop to serve spec.externalIPs. A SERVICE is NAMESPACE/NAME, or its NAME alone
    when one service only has it. Without --apply it tells what would be done, what stands in the
    way, and which pools are missing. Interrupted, it goes on when it is run again. Exits with 1
    when something stands in the way.
    """
    from extip.migrate import command  # noqa: PLC0415
    from extip.migrate.policy.plan import Wish  # noqa: PLC0415
    from extip.supervisor import run_process  # noqa: PLC0415

    if bool(service) == all_:
        raise click.UsageError("name services, or say --all")
    wish = Wish(**{name: more.pop(name) for name in ("lb_class", "undo", "managed")})
    asked = command.Question(services=service, **more)
    if apply_:
        fine = run_process(command.apply(place, asked, wish, wait_s=wait))
    else:
        fine = run_process(command.show(place, asked, wish))
    sys.exit(0 if fine else 1)
