"""Events that say where an IP has come up, on its services; from the scheduler that leads.

IPs that come up together are told together: one Event for each service, or one for each node when
they are of many services. So a mass move costs a few writes, and none of them delays a move.
"""

from collections.abc import Awaitable, Callable, Mapping

from extip.api.core_v1 import ObjectReference
from extip.api.ipcontroller_v1 import IpClaim, IpNode
from extip.api.resources import IP_NODES
from extip.kube.events import EventRecorder
from extip.services.arrival_events import record_arrivals
from extip.services.policy.arrivals import PATIENCE_S, QUIET_S, Arrival, place_of
from extip.trigger import Trigger


class ArrivalEvents:
    """Tells people of arrivals; the task of `run` runs while this process leads."""

    def __init__(
        self,
        events: EventRecorder,
        *,
        claims: Mapping[str, IpClaim],
        nodes: Mapping[str, IpNode],
        synced: Callable[[], Awaitable[object]],
    ) -> None:
        """Wait for `synced` first, which returns when `claims` is filled.

        What is up by then has not arrived.
        """
        self._events = events
        self._claims = claims
        self._nodes = nodes
        self._synced = synced
        self._leads = False
        self._places: dict[str, tuple[str, str]] = {}
        self._moves: dict[str, tuple[str, str]] = {}
        """The former node of a claim that is on its way, and the reason."""
        self._arrived: dict[str, None] = {}
        self._news = Trigger()

    def on_move(self, claim: IpClaim, why: str) -> None:
        """Note that a claim is about to leave its node; the last node that had it up counts."""
        name, node = claim.metadata.name, claim.spec.node_name
        if node and (place_of(claim) is not None or name not in self._moves):
            self._moves[name] = node, why

    def on_claim(self, name: str) -> None:
        """Look at a claim; an informer's handler."""
        claim = self._claims.get(name)
        place = None if claim is None else place_of(claim)
        if place is not None:
            if self._places.get(name) != place and self._leads:
                self._arrived[name] = None
                self._news.set()
            self._places[name] = place
        elif claim is None or not claim.status.holder:
            self._places.pop(name, None)
        if claim is None:
            self._moves.pop(name, None)

    async def run(self) -> None:
        """Tell of arrivals until cancelled."""
        await self._synced()
        self._leads = True
        try:
            while True:
                await self._news.wait_until_quiet(QUIET_S, at_most_s=PATIENCE_S)
                self._tell()
        finally:
            self._leads = False
            self._arrived.clear()
            self._moves.clear()

    def _tell(self) -> None:
        arrivals = [found for name in self._arrived if (found := self._arrival(name)) is not None]
        self._arrived.clear()
        record_arrivals(self._events, arrivals, self._node_reference)

    def _arrival(self, name: str) -> Arrival | None:
        """Return where a claim is; None when it has left again."""
        claim = self._claims.get(name)
        place = None if claim is None else place_of(claim)
        if claim is None or place is None:
            return None
        before, why = self._moves.pop(name, ("", ""))
        node, link = place
        return Arrival(
            ip=claim.spec.cidr.partition("/")[0],
            node=node,
            link=link,
            services=claim.spec.services or (),
            before=before if before != node else "",
            why=why,
        )

    def _node_reference(self, name: str) -> ObjectReference | None:
        node = self._nodes.get(name)
        if node is None:
            return None
        return ObjectReference(
            api_version=IP_NODES.api_version, kind=IP_NODES.kind, name=name, uid=node.metadata.uid
        )
