"""The names that `extip status` and `extip drain` know."""

from extip.api.resources import IP_CLAIMS, IP_NODES
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
