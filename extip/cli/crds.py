"""`extip crds`."""

import click


@click.command(context_settings={"show_default": True})
@click.option(
    "--apply",
    "apply_",
    is_flag=True,
    help="Create or update them in the cluster instead of printing them.",
)
@click.option(
    "--kubeconfig",
    default="",
    show_default="in-cluster",
    help="Kubeconfig file for --apply; empty: the pod's ServiceAccount.",
)
def crds(*, apply_: bool, kubeconfig: str) -> None:
    """Print the CustomResourceDefinitions of extip, or apply them."""
    from extip.modes import crds as mode  # noqa: PLC0415
    from extip.supervisor import run_process  # noqa: PLC0415

    if apply_:
        run_process(mode.apply(kubeconfig))
    else:
        mode.show()
