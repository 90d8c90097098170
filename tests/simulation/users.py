"""Users of the simulated cluster, and what they want of it."""

from ipaddress import ip_address
from typing import Any

from extip.api.resources import ENDPOINT_SLICES, IP_CLAIM_POOLS, SERVICES
from extip.net.interfaces import IPAddress
from tests.fakes.cluster_api import ClusterApi
from tests.fakes.cluster_objects import Change
from tests.fakes.world import later, now_s

POOL = "10.88.2.0/28"
POOL_SIZE = 14
LOCAL = "local-1"
"""The service with local traffic policy."""


class Users:
    """They make and delete services; `wanted` has the IPs that services ask for, or were given."""

    def __init__(self, api: ClusterApi) -> None:
        self._api = api
        self.wanted: dict[IPAddress, float] = {}
        """Each since when."""
        self.gone: dict[IPAddress, float] = {}
        """IPs that nobody asks for any more, each since when."""
        self.waiting: dict[str, float] = {}
        """Services that have no address of the pool yet, each since when."""
        self.given: dict[IPAddress, set[str]] = {}
        """Addresses that services were given, with those services."""
        self.full_s = 0.0
        """When the pool had no address left, last."""
        self._changed = True
        api.on_change.append(self._on_change)
        api.on_restore.append(self._on_restore)

    def add_service(
        self, name: str, *ips: str, namespace: str = "default", local: bool = False
    ) -> None:
        if self._api.has(SERVICES, name, namespace=namespace):
            return
        spec: dict[str, Any] = {
            "externalIPs": list(ips),
            "ports": [{"port": 80, "protocol": "TCP"}],
            "clusterIP": "10.96.0.10",
        }
        if local:
            spec |= {"type": "LoadBalancer", "loadBalancerClass": "none"}
            spec["externalTrafficPolicy"] = "Local"
        self._api.create(SERVICES, name, namespace=namespace, spec=spec)

    def add_balancer(self, name: str) -> None:
        if self._api.has(SERVICES, name, namespace="default"):
            return
        ports = [{"port": 80, "protocol": "TCP"}]
        spec = {"type": "LoadBalancer", "ports": ports, "clusterIP": "10.96.0.11"}
        self._api.create(SERVICES, name, namespace="default", spec=spec)

    def remove_service(self, name: str, *, namespace: str = "default") -> None:
        if self._api.has(SERVICES, name, namespace=namespace):
            self._api.delete(SERVICES, name, namespace=namespace)

    def replace_service(self, name: str, *, after_s: float) -> None:
        known = self._api.collections[SERVICES.path()].get(("default", name))
        if known is not None:
            self.remove_service(name)
            later(after_s, self.add_service, name, *known["spec"]["externalIPs"])

    def add_pool(self) -> None:
        if not self._api.has(IP_CLAIM_POOLS, "pool"):
            self._api.create(IP_CLAIM_POOLS, "pool", spec={"cidr": POOL})

    def resize_pool(self, count: int | None) -> None:
        """Leave the pool so many addresses, or all."""
        if self._api.has(IP_CLAIM_POOLS, "pool"):
            first = ip_address(POOL.partition("/")[0]) + 1
            ranges = None if count is None else [[str(first), str(first + count - 1)]]
            self._api.patch(IP_CLAIM_POOLS, "pool", {"spec": {"ranges": ranges}})

    def place_endpoints(self, nodes: tuple[str, ...]) -> None:
        """Have the pods of the local service on these nodes."""
        endpoints = [{"addresses": ["10.244.0.9"], "nodeName": node} for node in nodes]
        labels = {"kubernetes.io/service-name": LOCAL}
        if self._api.has(ENDPOINT_SLICES, LOCAL, namespace="default"):
            patch = {"endpoints": endpoints}
            self._api.patch(ENDPOINT_SLICES, LOCAL, patch, namespace="default")
        else:
            self._api.create(
                ENDPOINT_SLICES,
                LOCAL,
                namespace="default",
                metadata={"labels": labels},
                endpoints=endpoints,
            )

    def endpoints(self) -> set[str]:
        """Return the nodes where the local service is served."""
        known = self._api.collections[ENDPOINT_SLICES.path()].get(("default", LOCAL), {})
        return {endpoint["nodeName"] for endpoint in known.get("endpoints", ())}

    def look(self) -> None:
        """Bring what is wanted up to date."""
        if len(self.given) >= POOL_SIZE:
            self.full_s = now_s()
        if not self._changed:
            return
        self._changed, now = False, now_s()
        wanted: dict[IPAddress, None] = {}  # sets have another order in each process
        self.given, waiting = {}, set()
        for service in self._api.all(SERVICES):
            name, spec = service["metadata"]["name"], service["spec"]
            ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress", ())
            given = [ip_address(one["ip"]) for one in ingress]
            wanted |= dict.fromkeys(given + [ip_address(ip) for ip in spec.get("externalIPs", ())])
            for ip in given:
                self.given.setdefault(ip, set()).add(name)
            if spec.get("type") == "LoadBalancer" and not given and "loadBalancerClass" not in spec:
                waiting.add(name)
        for ip in [ip for ip in self.wanted if ip not in wanted]:
            del self.wanted[ip]
            self.gone[ip] = now
        for ip in wanted:
            self.wanted.setdefault(ip, now)
            self.gone.pop(ip, None)
        self.waiting = {name: self.waiting.get(name, now) for name in waiting}

    def _on_change(self, change: Change) -> None:
        if change.collection == SERVICES.path():
            self._changed = True

    def _on_restore(self) -> None:
        self._changed = True
