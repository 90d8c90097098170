"""`extip crds`."""

import click

from extip.cli.person import person_options
from extip.kube.place import Place


@click.command(context_settings={"show_default": True})
@click.option(
    "--apply",
    "apply_",
    is_flag=True,
    help="Create or update them in the cluster instead of printing them.",
)
@person_options
def crds(*, apply_: bool, place: Place) -> None:
    """Print the CustomResourceDefinitions of extip, or apply them."""
    from extip.definitions import command  # noqa: PLC0415
    from extip.supervisor import run_process  # noqa: PLC0415

    if apply_:
        run_process(command.apply(place))
    else:
        command.show()
