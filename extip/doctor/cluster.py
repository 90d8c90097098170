"""Gathers the facts of the cluster; what may not be read is left out, and told."""

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from extip.api.apiextensions_v1 import CustomResourceDefinition
from extip.api.authorization_v1 import (
    AccessReviewSpec,
    ResourceAttributes,
    SelfSubjectAccessReview,
)
from extip.api.coordination_v1 import Lease
from extip.api.ipcontroller_v1 import IpNode
from extip.api.meta_v1 import KubernetesObject
from extip.api.names import HEARTBEAT_SELECTOR, INSTANCE_LABEL
from extip.api.resources import (
    ACCESS_REVIEWS,
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    DETAILED_SERVICES,
    IP_NODES,
    LEASES,
    NODES,
    Resource,
)
from extip.cache.listwatch import MOST_RECENT
from extip.clock import Clock
from extip.definitions.install import wanted_definitions
from extip.doctor.daemons import daemon_of
from extip.doctor.policy.facts import ClusterFacts
from extip.doctor.policy.permissions import Permission, needed
from extip.errors import ApiAccessError, NotFoundError
from extip.kube.client import ApiClient, Scope
from extip.settings.process import own_namespace
from extip.settings.scheduler import SchedulerSettings

T = TypeVar("T", bound=KubernetesObject)

_PROXY = "kube-proxy"
_SYSTEM = "kube-system"


async def read_cluster(client: ApiClient, role: str, *, clock: Clock) -> ClusterFacts:
    """Read all that cluster checks look at. Raises ApiError but for what may not be read."""
    reader = _Reader(client)
    denied = [str(one) for one in needed(role) if not await _may(client, one, own_namespace())]
    kinds = await reader.list(CUSTOM_RESOURCE_DEFINITIONS, "definitions")
    readable = not reader.unread
    workloads = (
        *await reader.list(DAEMON_SETS, "other software, flags of controllers"),
        *await reader.list(DEPLOYMENTS, "other software, flags of schedulers"),
    )
    ip_nodes = await reader.list(IP_NODES, "controllers")
    daemons = {one: daemon for one in workloads if (daemon := daemon_of(one)) is not None}
    return ClusterFacts(
        now=clock.utcnow(),
        version=await client.server_version(),
        role=role,
        denied=tuple(denied),
        kinds=frozenset(kind.metadata.name for kind in kinds) if readable else None,
        outdated={name: lacking for name, lacking in _outdated(kinds) if lacking},
        nodes=frozenset(node.metadata.name for node in await reader.list(NODES, "node names")),
        ip_nodes=ip_nodes,
        beats=await reader.list(LEASES, "heartbeats", Scope(label_selector=HEARTBEAT_SELECTOR)),
        elections=await reader.elections(ip_nodes),
        services=await reader.list(DETAILED_SERVICES, "services with externalIPs"),
        daemons=tuple(daemons.values()),
        others=frozenset(
            mark for one in workloads if one not in daemons for mark in one.names_and_images
        ),
        proxy=await reader.proxy(),
        unread=tuple(reader.unread),
    )


class _Reader:
    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self.unread: list[str] = []

    async def list(
        self, resource: Resource[T], about: str, scope: Scope | None = None
    ) -> tuple[T, ...]:
        """Return all objects; none where they may not be read, or are not known."""
        try:
            page = await self._client.list(resource, scope or Scope(), resource_version=MOST_RECENT)
        except NotFoundError:  # its definition is missing: that is found elsewhere
            return ()
        except ApiAccessError as error:
            self.unread.append(f"{about}: {error}")
            return ()
        return page.items

    async def elections(self, ip_nodes: Sequence[IpNode]) -> dict[str, tuple[Lease, ...]]:
        """Return the Leases of schedulers, of each instance that has controllers."""
        instances = {(one.metadata.labels or {}).get(INSTANCE_LABEL, "") for one in ip_nodes}
        names = sorted(SchedulerSettings(instance=one).lease_name for one in instances)
        before = len(self.unread)
        found = {
            name: await self.list(
                LEASES, "who leads", Scope(field_selector=f"metadata.name={name}")
            )
            for name in names
        }
        return found if len(self.unread) == before else {}

    async def proxy(self) -> str:
        """Return the configuration of kube-proxy; empty where there is none."""
        try:
            found = await self._client.get(CONFIG_MAPS, name=_PROXY, namespace=_SYSTEM)
        except NotFoundError:
            return ""
        except ApiAccessError as error:
            self.unread.append(f"kube-proxy's mode: {error}")
            return ""
        return (found.data or {}).get("config.conf", "")


async def _may(client: ApiClient, one: Permission, own: str) -> bool:
    """Whether this account has the permission. Raises ApiError."""
    resource, _, subresource = one.resource.partition("/")
    attributes = ResourceAttributes(
        namespace=own if one.namespace == "." else one.namespace,
        verb=one.verb,
        group=one.group,
        resource=resource,
        subresource=subresource,
        name=one.name,
    )
    review = SelfSubjectAccessReview(spec=AccessReviewSpec(resource_attributes=attributes))
    return (await client.create(ACCESS_REVIEWS, review)).status.allowed


def _outdated(
    kinds: Sequence[CustomResourceDefinition],
) -> list[tuple[str, tuple[str, ...]]]:
    """Return what each definition lacks: fields of its schema, by their paths."""
    there, ours = (
        {kind.metadata.name: _paths(msgspec.json.decode(kind.spec)) for kind in all_of_them}
        for all_of_them in (kinds, wanted_definitions())
    )
    return [
        (name, tuple(sorted(ours[name] - there[name])))
        for name in sorted(ours.keys() & there.keys())
    ]


def _paths(schema: object, path: str = "") -> set[str]:
    """Return the paths of all properties in the schemas of a definition."""
    found: set[str] = set()
    if isinstance(schema, list):
        found.update(*(_paths(child, path) for child in schema))
    if isinstance(schema, dict):
        for key, child in schema.items():
            if key == "properties" and isinstance(child, dict):
                found.update(path + name for name in child)
                found.update(*(_paths(child[name], f"{path}{name}.") for name in child))
            else:
                found |= _paths(child, path)
    return found
