"""The flags of commands that a person types: where the cluster is, as kubectl finds it."""

import os
from collections.abc import Callable
from functools import wraps

import click

from extip.kube.place import Place


def person_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add them; the command gets a `Place` as `place`."""

    @wraps(command)
    def call(*, kubeconfig: str, context: str, **values: object) -> None:
        command(place=Place(kubeconfig, context), **values)

    decorated: Callable[..., None] = click.option(
        "--context",
        default="",
        show_default="the current one",
        help="Context of the kubeconfig.",
    )(call)
    return click.option(
        "--kubeconfig",
        envvar="KUBECONFIG",
        default=_own_kubeconfig,
        show_default="$KUBECONFIG, else ~/.kube/config, else in-cluster",
        help="Kubeconfig file, or several as in $KUBECONFIG; empty: the pod's ServiceAccount.",
    )(decorated)


def completed(*, ips: bool) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Return what completes an argument: names of nodes, and IPs and services if wanted."""

    def complete(ctx: click.Context, _: click.Parameter, begin: str) -> list[str]:
        from extip.cli.completion import complete_names  # noqa: PLC0415

        given = ctx.params.get("kubeconfig") or os.environ.get("KUBECONFIG")
        place = Place(given or _own_kubeconfig(), ctx.params.get("context") or "")
        return complete_names(place, begin, ips=ips)

    return complete


def _own_kubeconfig() -> str:
    path = os.path.expanduser("~/.kube/config")  # noqa: PTH111 - pathlib takes time to import
    return path if os.path.exists(path) else ""  # noqa: PTH110
