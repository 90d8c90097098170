"""How people change services, endpoints and the pool: each change of a subject undoes the last."""

from collections.abc import Callable
from contextlib import suppress

from tests.lab.api import ApiStatusError
from tests.soak.cluster import NAMESPACE, SoakCluster
from tests.soak.policy import plan


def _service(cluster: SoakCluster, ip: str, there: bool) -> None:  # noqa: FBT001
    name = f"churned-{ip.replace('.', '-')}"
    if there:
        cluster.lab.delete_service(name, namespace=NAMESPACE)
    else:
        cluster.lab.add_service(name, [ip], namespace=NAMESPACE)


def _balanced(cluster: SoakCluster, name: str, there: bool) -> None:  # noqa: FBT001
    if there:
        cluster.lab.delete_service(name, namespace=NAMESPACE)
    else:
        cluster.add_balanced(name)


def _endpoint(cluster: SoakCluster, node: str, there: bool) -> None:  # noqa: FBT001
    """Toggle: a pod is ready at first."""
    cluster.set_ready(node, ready=there)


def _pool(cluster: SoakCluster, last: str, there: bool) -> None:  # noqa: FBT001
    """Toggle: the pool is whole at first."""
    cluster.set_pool_end(last if there else plan.POOLED[-2])


def _replaced(cluster: SoakCluster, name: str, _there: bool) -> None:  # noqa: FBT001
    """Delete a service that stays and make it again at once, as `kubectl replace --force` does."""
    with suppress(ApiStatusError):  # an earlier attempt deleted it
        cluster.lab.delete_service(name, namespace=NAMESPACE)
    cluster.lab.add_service(name, plan.SERVICES[name], namespace=NAMESPACE)


def _shared(cluster: SoakCluster, ip: str, there: bool) -> None:  # noqa: FBT001
    """Let one more service have an IP, at another port."""
    if there:
        cluster.lab.delete_service("sharing", namespace=NAMESPACE)
    else:
        cluster.lab.add_service("sharing", [ip], namespace=NAMESPACE, port=81)


CHANGES: dict[str, Callable[[SoakCluster, str, bool], None]] = {
    "service": _service,
    "balanced": _balanced,
    "endpoint": _endpoint,
    "pool": _pool,
    "replaced": _replaced,
    "shared": _shared,
}
