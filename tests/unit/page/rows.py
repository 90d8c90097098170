"""Objects and caches of the page's tests."""

import msgspec

from extip.api.coordination_v1 import Lease
from extip.api.ipcontroller_v1 import IpClaim, IpClaimPool, IpNode
from extip.api.names import (
    MANAGED_BY,
    MANAGED_BY_LABEL,
    PREVIOUS_NODE_LABEL,
    heartbeat_lease,
)
from extip.page.feed import Feed, Sources

SPACE = "extip-system"
AT, LATER = "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"


def claim(ip, node, *, before="", up=True, why="", since=AT):
    """Return the claim of an IP that its node has up, or has not told of yet."""
    labels = {MANAGED_BY_LABEL: MANAGED_BY} | ({PREVIOUS_NODE_LABEL: before} if before else {})
    conditions = [
        {"type": "Assigned", "status": "True", "message": f"to {node}; {why}" if why else ""},
        {"type": "Up", "status": "True" if up else "False"},
    ]
    found = {
        "metadata": {"name": ip, "labels": labels, "generation": 1},
        "spec": {
            "cidr": f"{ip}/32",
            "nodeName": node,
            "services": [{"namespace": "shop", "name": "web", "uid": "u"}],
        },
        "status": {
            "holder": node if up else before,
            "since": since,
            "link": "eth0",
            "conditions": conditions if up else conditions[:1],
        },
    }
    return msgspec.convert(found, IpClaim)


def node(name, ready="True", why=""):
    """Return an IpNode with the verdict of a scheduler."""
    verdict = {"type": "Ready", "status": ready, "reason": "Alive", "message": why}
    found = {"metadata": {"name": name}, "status": {"conditions": [verdict]}}
    return msgspec.convert(found, IpNode)


def lease(name, renewed=AT):
    """Return the heartbeat of a node."""
    found = {
        "metadata": {"name": heartbeat_lease(name), "namespace": SPACE},
        "spec": {"holderIdentity": f"{name}_1", "renewTime": renewed},
    }
    return msgspec.convert(found, Lease)


def pool(name, free):
    """Return a pool of ten addresses."""
    found = {
        "metadata": {"name": name},
        "spec": {"cidr": "10.0.0.0/28"},
        "status": {
            "size": 10,
            "free": free,
            "conditions": [{"type": "Exhausted", "status": "False", "reason": "Free"}],
        },
    }
    return msgspec.convert(found, IpClaimPool)


class Cluster:
    """Caches that a test changes, and the feed that follows them."""

    def __init__(self, clock, *, synced=None):
        self.leader = "n1_a"
        self.claims: dict[str, IpClaim] = {}
        self.nodes: dict[str, IpNode] = {}
        self.leases: dict[str, Lease] = {}
        self.pools: dict[str, IpClaimPool] = {}
        self.feed = Feed(
            Sources(
                claims=self.claims,
                nodes=self.nodes,
                leases=self.leases,
                pools=self.pools,
                namespace=SPACE,
                synced=synced or self._synced,
                leader=lambda: self.leader,
            ),
            clock=clock,
        )

    async def _synced(self):
        pass

    def put(self, made):
        """Let a claim, node, heartbeat or pool appear or change."""
        name = made.metadata.name
        if isinstance(made, Lease):
            self.leases[f"{SPACE}/{name}"] = made
            self.feed.on_lease(f"{SPACE}/{name}")
        else:
            cache, handler = self._of(type(made))
            cache[name] = made
            handler(name)

    def drop(self, kind, name):
        """Let an object go."""
        cache, handler = self._of(kind)
        del cache[name]
        handler(name)

    def _of(self, kind):
        return {
            IpClaim: (self.claims, self.feed.on_claim),
            IpNode: (self.nodes, self.feed.on_node),
            IpClaimPool: (self.pools, self.feed.on_pool),
        }[kind]
