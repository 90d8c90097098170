"""Simple mode tells of services that want local endpoints and have none on its node.

Their IPs are up all the same: there is no other node to have them.
"""

from collections.abc import Callable, Iterable, Mapping
from socket import gethostname

from extip import log
from extip.api.core_v1 import Node
from extip.clock import Clock
from extip.kube.events import EventRecorder
from extip.modes.refusal_events import reference_to
from extip.plan.desire import Desire
from extip.plan.link import IPAddress, IPInterface
from extip.plan.local_traffic import own_node, without_endpoint
from extip.plan.requests import Owner

_PATIENCE_S = 5.0
"""How long endpoints may take, as those of a new service or during its update do."""


class LocalTraffic:
    """Looks after each pass over the interface."""

    def __init__(
        self,
        events: EventRecorder,
        *,
        endpoints: Callable[[], Mapping[str, frozenset[str]]],
        wanted: Callable[[], Mapping[IPInterface, tuple[Owner, ...]]],
        nodes: Callable[[], Iterable[Node]],
        own: Callable[[], frozenset[IPAddress]],
        clock: Clock,
    ) -> None:
        """`endpoints` as of `EndpointSources`; `own` are the addresses of this node."""
        self._events = events
        self._endpoints = endpoints
        self._wanted = wanted
        self._nodes = nodes
        self._own = own
        self._clock = clock
        self._since: dict[Owner, float] = {}
        self._told: set[Owner] = set()
        self._log = log.get_logger("local-traffic")
        self._lost = False

    def look(self, desire: Desire) -> None:
        """Tell what is new, once; costs nothing where no service wants local endpoints."""
        endpoints = self._endpoints()
        if not endpoints and not self._since:
            return
        node = own_node(self._nodes(), self._own(), gethostname().lower()) if endpoints else ""
        if endpoints and not node and not self._lost:
            reason = "no Node object lists an address of this machine, or has its name"
            self._log.warning("own_node_unknown", reason=reason)
        self._lost = bool(endpoints) and not node
        found = without_endpoint(node, endpoints, self._wanted(), desire.wanted) if node else {}
        now = self._clock.monotonic()
        self._since = {owner: self._since.get(owner, now) for owner in found}
        for owner in self._told - found.keys():
            self._log.info("local_endpoint_ready", service=str(owner))
        self._told &= found.keys()
        for owner, ips in found.items():
            if owner not in self._told and now - self._since[owner] >= _PATIENCE_S:
                self._told.add(owner)
                self._tell(owner, ips, node)

    def _tell(self, owner: Owner, ips: tuple[IPAddress, ...], node: str) -> None:
        texts = [str(ip) for ip in ips]
        self._log.warning("no_local_endpoint", service=str(owner), addresses=texts, node=node)
        self._events.record(
            reference_to(owner),
            type="Warning",
            reason="NoLocalEndpoint",
            message=f"{', '.join(texts)}: up on node {node}, which has no ready endpoint of this "
            "service; with externalTrafficPolicy Local its clients get no answer there",
        )
