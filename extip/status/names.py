"""The names that commands for people know."""

from extip.api.names import MIGRATED_ANNOTATION
from extip.api.resources import DETAILED_SERVICES, IP_CLAIMS, IP_NODES
from extip.cache.listwatch import MOST_RECENT
from extip.kube.client import connect
from extip.kube.place import Place
from extip.metrics import Metrics
from extip.status.policy.selection import plain_ip


async def read_names(place: Place, *, ips: bool) -> list[str]:
    """Return the names of nodes, then IPs and services if wanted. Raises ExtipError."""
    opened = connect(place.kubeconfig, context=place.context, metrics=Metrics("completion"))
    async with opened as client:
        nodes = (await client.list(IP_NODES, resource_version=MOST_RECENT)).items
        found = sorted(node.metadata.name for node in nodes)
        if ips:
            claims = (await client.list(IP_CLAIMS, resource_version=MOST_RECENT)).items
            found += sorted(plain_ip(claim.spec.cidr) for claim in claims)
            found += sorted({str(one) for c in claims for one in c.spec.services or ()})
    return found


async def read_services(place: Place) -> list[str]:
    """Return the services that have external IPs, or had some. Raises ExtipError."""
    opened = connect(place.kubeconfig, context=place.context, metrics=Metrics("completion"))
    async with opened as client:
        services = (await client.list(DETAILED_SERVICES, resource_version=MOST_RECENT)).items
    return sorted(
        one.metadata.key
        for one in services
        if one.spec.external_ips or MIGRATED_ANNOTATION in (one.metadata.annotations or {})
    )
