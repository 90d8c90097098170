"""Simple mode withholds the IPs of services with local traffic that have no endpoint on its node.

kube-proxy would drop their traffic. An IP that several services share is withheld when none of them
can be served. An IP that is up stays for some seconds, so that it does not blink while a pod is
replaced.
"""

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from math import inf

from extip import log
from extip.api.core_v1 import Node
from extip.clock import Clock
from extip.endpoints.policy.unserved import own_node, unserved, without_endpoint
from extip.guard.policy.admission import Admission
from extip.kube.events import EventRecorder
from extip.net.interfaces import IPAddress, IPInterface
from extip.services.policy.references import reference_to
from extip.services.policy.requests import Owner, Requests

_PATIENCE_S = 5.0
"""Seconds without an endpoint before the report: endpoints of a new service take a moment. An IP
that had an endpoint stays up for as long."""

_Unserved = tuple[Requests, Mapping[str, frozenset[str]], str, frozenset[IPInterface]]
"""Requests, endpoints and node, and the IPs that cannot be served then."""


class LocalTraffic:
    """Compares IPs and endpoints at each pass over the interface."""

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
        self._unserved: _Unserved = Requests(), {}, "", frozenset()
        self._left_at: dict[IPInterface, float] = {}
        """The times at which IPs that are up had an endpoint last."""
        self._result: tuple[Requests, AbstractSet[IPInterface], Requests] | None = None
        self._withheld: AbstractSet[IPInterface] = frozenset()

    def serve(self, requests: Requests) -> Requests:
        """Return the requests without the IPs that cannot be served here.

        The same object is returned while nothing changes. While the node or the endpoints are not
        known, nothing is withheld.
        """
        endpoints = self._endpoints()
        node = self._node(endpoints)
        found = self._find_unserved(requests, endpoints, node) if node else frozenset()
        now = self._clock.monotonic()
        left_at = self._left_at
        self._left_at = {
            interface: left_at[interface] if interface in found else now
            for interface in (requests.wanted if endpoints else ())
            if interface not in found or interface in left_at
        }
        self._withheld = {i for i in found if now - self._left_at.get(i, -inf) >= _PATIENCE_S}
        if not self._withheld:
            return requests
        last = self._result
        if last is None or last[0] is not requests or last[1] != self._withheld:
            wanted = {i: who for i, who in requests.wanted.items() if i not in self._withheld}
            last = self._result = requests, self._withheld, replace(requests, wanted=wanted)
        return last[2]

    def _find_unserved(
        self, requests: Requests, endpoints: Mapping[str, frozenset[str]], node: str
    ) -> frozenset[IPInterface]:
        known = self._unserved
        if known[0] is not requests or known[1] is not endpoints or known[2] != node:
            found = unserved(node, endpoints, requests.wanted)
            known = self._unserved = requests, endpoints, node, found
        return known[3]

    def _node(self, endpoints: Mapping[str, frozenset[str]]) -> str:
        """Return the name of this machine's Node; empty when no service needs it, or for none."""
        node = own_node(self._nodes(), self._own(), self._hostname) if endpoints else ""
        if endpoints and not node and not self._lost:
            reason = "no Node object lists an address of this machine, or has its name"
            self._log.warning("own_node_unknown", reason=reason)
        self._lost = bool(endpoints) and not node
        return node

    def on_admission(self, admission: Admission) -> None:
        """Report each such service once; without local traffic policy it costs nothing."""
        endpoints = self._endpoints()
        if not endpoints and not self._since:
            return
        node = self._node(endpoints)
        concerned = admission.wanted | self._withheld
        found = without_endpoint(node, endpoints, self._wanted(), concerned) if node else {}
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
        down = {interface.ip for interface in self._withheld}
        where = "not up" if down.issuperset(ips) else "no answer"
        self._log.warning("no_local_endpoint", service=str(owner), addresses=texts, node=node)
        self._events.record(
            reference_to(owner),
            type="Warning",
            reason="NoLocalEndpoint",
            message=f"{', '.join(texts)}: {where}, since node {node} has no ready endpoint of this "
            "service, and its externalTrafficPolicy is Local",
        )
