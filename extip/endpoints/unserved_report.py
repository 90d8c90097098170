"""Simple mode reports services with local traffic policy that have no endpoint on its node.

Their IPs are up all the same, since no other node could have them.
"""

from collections.abc import Callable, Iterable, Mapping

from extip import log
from extip.api.core_v1 import Node
from extip.clock import Clock
from extip.endpoints.policy.unserved import own_node, without_endpoint
from extip.guard.policy.admission import Admission
from extip.kube.events import EventRecorder
from extip.net.interfaces import IPAddress, IPInterface
from extip.services.policy.references import reference_to
from extip.services.policy.requests import Owner

_PATIENCE_S = 5.0
"""Seconds without an endpoint before the report: endpoints of a new service take a moment."""


class LocalTraffic:
    """Compares IPs and endpoints after each pass over the interface."""

    def __init__(  # noqa: PLR0913 - a composition of parts and plain values
        self,
        events: EventRecorder,
        *,
        endpoints: Callable[[], Mapping[str, frozenset[str]]],
        wanted: Callable[[], Mapping[IPInterface, tuple[Owner, ...]]],
        nodes: Callable[[], Iterable[Node]],
        own: Callable[[], frozenset[IPAddress]],
        hostname: str,
        clock: Clock,
    ) -> None:
        """Compose; `endpoints` is `EndpointSources.current`, the others are this node's."""
        self._events = events
        self._endpoints = endpoints
        self._wanted = wanted
        self._nodes = nodes
        self._own = own
        self._hostname = hostname
        self._clock = clock
        self._since: dict[Owner, float] = {}
        self._told: set[Owner] = set()
        self._log = log.get_logger("local-traffic")
        self._lost = False

    def on_admission(self, admission: Admission) -> None:
        """Report each such service once; without local traffic policy it costs nothing."""
        endpoints = self._endpoints()
        if not endpoints and not self._since:
            return
        node = own_node(self._nodes(), self._own(), self._hostname) if endpoints else ""
        if endpoints and not node and not self._lost:
            reason = "no Node object lists an address of this machine, or has its name"
            self._log.warning("own_node_unknown", reason=reason)
        self._lost = bool(endpoints) and not node
        found = without_endpoint(node, endpoints, self._wanted(), admission.wanted) if node else {}
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
