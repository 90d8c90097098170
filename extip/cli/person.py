"""The flag of commands that a person types: where the cluster is, as kubectl finds it."""

import os
from collections.abc import Callable

import click


def person_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add it."""
    return click.option(
        "--kubeconfig",
        envvar="KUBECONFIG",
        default=_own_kubeconfig,
        show_default="$KUBECONFIG, else ~/.kube/config, else in-cluster",
        help="Kubeconfig file; empty: the pod's ServiceAccount.",
    )(command)


def _own_kubeconfig() -> str:
    path = os.path.expanduser("~/.kube/config")  # noqa: PTH111 - pathlib takes time to import
    return path if os.path.exists(path) else ""  # noqa: PTH110
