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


_Completer = Callable[[click.Context, click.Parameter, str], list[str]]


def completed(*, ips: bool) -> _Completer:
    """Return what completes an argument: names of nodes, and IPs and services if wanted."""

    def complete(ctx: click.Context, _: click.Parameter, begin: str) -> list[str]:
        from extip.cli.completion import complete_names  # noqa: PLC0415

        return complete_names(_place(ctx), begin, ips=ips)

    return complete


def completed_services() -> _Completer:
    """Return what completes an argument: names of services that have external IPs, or had some."""

    def complete(ctx: click.Context, _: click.Parameter, begin: str) -> list[str]:
        from extip.cli.completion import complete_services  # noqa: PLC0415

        return complete_services(_place(ctx), begin)

    return complete


def _place(ctx: click.Context) -> Place:
    """Return the cluster that the words so far, or the environment, name."""
    given = ctx.params.get("kubeconfig") or os.environ.get("KUBECONFIG")
    return Place(given or _own_kubeconfig(), ctx.params.get("context") or "")


def _own_kubeconfig() -> str:
    path = os.path.expanduser("~/.kube/config")  # noqa: PTH111 - pathlib takes time to import
    return path if os.path.exists(path) else ""  # noqa: PTH110
