"""Reads what `extip migrate services` looks at, and finds the services that a person names."""

from collections.abc import Sequence
from typing import TypeVar

from extip.api.meta_v1 import KubernetesObject
from extip.api.names import MIGRATED_ANNOTATION, SIMPLE_LEASE
from extip.api.resources import (
    IP_CLAIM_POOLS,
    IP_CLAIMS,
    LABELLED_NAMESPACES,
    LEASES,
    WHOLE_SERVICES,
    Resource,
)
from extip.api.whole_service import WholeService
from extip.cache.listwatch import MOST_RECENT
from extip.definitions.absent import UNKNOWN, deleted
from extip.errors import ApiAccessError, FatalError, NotFoundError, UnansweredError
from extip.kube.client import ApiClient, Scope
from extip.kube.instance import Instance
from extip.migrate.policy.plan import Cluster

T = TypeVar("T", bound=KubernetesObject)

_NOBODY = (
    "nobody seems to give addresses: no scheduler has made claims for it, and no "
    "`extip simple --load-balancers` holds the Lease {lease}"
)


async def read_cluster(client: ApiClient, *, instance: str) -> Cluster:
    """Read all. Simple mode makes no claims, and needs the definition of pools alone.

    Raises UnansweredError where that is missing, and ApiError.
    """
    claims, pools = await _known(client, IP_CLAIMS), await _known(client, IP_CLAIM_POOLS)
    if pools is None:
        raise UnansweredError(UNKNOWN if claims is None else deleted(IP_CLAIM_POOLS.plural))
    namespaces = (await client.list(LABELLED_NAMESPACES, resource_version=MOST_RECENT)).items
    return Cluster(
        services=(await client.list(WHOLE_SERVICES)).items,
        claims=claims or (),
        pools=pools,
        namespaces={one.metadata.name: one.metadata.labels or {} for one in namespaces},
        version=await client.server_version(),
        nobody_gives=await _nobody_gives(client, instance),
    )


def chosen_services(
    services: Sequence[WholeService], words: Sequence[str], namespace: str, *, undo: bool
) -> list[WholeService]:
    """Return the services that are named; without words all to migrate, or to `undo`.

    A word is a name, or namespace and name. Raises FatalError for one that fits none, or several.
    """
    known = [one for one in services if namespace in ("", one.metadata.namespace)]
    if not words:
        found = [one for one in known if _was_migrated(one) or (one.spec.external_ips and not undo)]
        return sorted(found, key=_key)
    chosen: dict[str, WholeService] = {}
    for word in words:
        fitting = [one for one in known if word in (one.metadata.key, one.metadata.name)]
        if not fitting:
            raise FatalError(f"there is no service {word!r}")
        if len(fitting) > 1:
            names = ", ".join(sorted(one.metadata.key for one in fitting))
            raise FatalError(f"{word!r} is the name of several services: {names}")
        chosen[fitting[0].metadata.key] = fitting[0]
    return list(chosen.values())


async def _known(client: ApiClient, resource: Resource[T]) -> tuple[T, ...] | None:
    """Return all objects of a kind; None where its definition is missing."""
    try:
        return (await client.list(resource, resource_version=MOST_RECENT)).items
    except NotFoundError:
        return None


async def _nobody_gives(client: ApiClient, instance: str) -> str:
    name = Instance(instance).lease(SIMPLE_LEASE)
    scope = Scope(field_selector=f"metadata.name={name}")
    try:
        leases = (await client.list(LEASES, scope, resource_version=MOST_RECENT)).items
    except ApiAccessError:
        return ""  # then the wait tells
    return "" if any(lease.holder for lease in leases) else _NOBODY.format(lease=name)


def _was_migrated(service: WholeService) -> bool:
    return MIGRATED_ANNOTATION in (service.metadata.annotations or {})


def _key(service: WholeService) -> str:
    return service.metadata.key
