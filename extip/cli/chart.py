"""`extip chart`."""

from pathlib import Path

import click

from extip.cli.manifests import kubernetes_option


@click.command(context_settings={"show_default": True})
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@kubernetes_option
def chart(*, folder: Path, kubernetes: int) -> None:
    """Write a Helm chart of claims mode into a new FOLDER.

    Its values.yaml says what can be set. `helm package FOLDER` packs it.
    """
    from extip.manifests.chart import write_chart  # noqa: PLC0415

    write_chart(folder, kubernetes)
