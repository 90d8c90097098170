"""The Kubernetes objects that tests need again and again."""

from collections.abc import Mapping, Sequence
from typing import Any

BACKEND_PORT = 8080
"""Where each node's HTTP backend listens, which answers with the node's name."""


def backend_pod(node: str, *, on_host: bool) -> dict[str, Any]:
    """Describe a pod bound to a node that stands for the node's HTTP backend.

    On the host network it stands for the backend at the node's own addresses.
    """
    container = {
        "name": "http",
        "image": "lab/backend",
        "ports": [{"containerPort": BACKEND_PORT}],
    }
    return {
        "metadata": {"name": f"backend-{node}", "labels": {"app": "backend", "node": node}},
        "spec": {
            "nodeName": node,
            "hostNetwork": on_host,
            "automountServiceAccountToken": False,
            "containers": [container],
        },
    }


def service(
    name: str,
    external_ips: Sequence[str],
    *,
    port: int,
    spec: Mapping[str, Any],
    metadata: Mapping[str, Any],
) -> dict[str, Any]:
    """Describe a dual-stack service for the backends; `spec` and `metadata` go over it."""
    return {
        "metadata": {"name": name, **metadata},
        "spec": {
            "selector": {"app": "backend"},
            "ipFamilyPolicy": "PreferDualStack",
            "ports": [{"name": "http", "port": port, "targetPort": BACKEND_PORT}],
            "externalIPs": list(external_ips),
            **spec,
        },
    }
