"""What a controller tells the cluster of its node: an IpNode, and whether the node is isolated.

::

    isolation ◄──► neighbours on the interface
        └──► registration ──► IpNode
"""

from random import Random

from extip import __version__
from extip.clock import Clock
from extip.kube.client import ApiClient
from extip.kube.reports import NodeRecord
from extip.metrics import Metrics
from extip.modes.claim_inputs import ClaimInputs
from extip.net.routes import RouteTable
from extip.net.rtnetlink import AddressSocket
from extip.net.wire_watch import WireWatch
from extip.reconcile.isolation import IsolationWatch
from extip.reconcile.node_registration import NodeRegistration
from extip.settings import ControllerSettings
from extip.supervisor import Component


class NodeState:
    """The parts, and what has to run."""

    def __init__(  # noqa: PLR0913 - a composition of ports
        self,
        settings: ControllerSettings,
        client: ApiClient,
        inputs: ClaimInputs,
        links: RouteTable,
        table: AddressSocket,
        *,
        clock: Clock,
        rng: Random,
        metrics: Metrics,
    ) -> None:
        self._isolation = IsolationWatch(
            links,
            iface=settings.address.iface,
            neighbours=inputs.neighbours,
            round_s=settings.isolation_round_s,
            changed=self.trigger,
            clock=clock,
            metrics=metrics,
        )
        # Other kernels answer for neighbours' addresses nowhere: these are no external IPs.
        self._wire = WireWatch(
            self._isolation.heard, clock=clock, answered_by_all=lambda _iface: False
        )
        self._isolation.listen_on(self._wire)
        self._registration = NodeRegistration(
            NodeRecord(client, name=settings.node),
            node=settings.node,
            iface=settings.address.iface,
            version=__version__,
            claims=lambda: len(inputs.together().claims),
            node_ips=inputs.node_ips,
            isolated=lambda: self._isolation.isolated,
            links=links,
            addresses=table,
            resync_s=settings.address.resync_s,
            clock=clock,
            rng=rng,
        )

    def trigger(self) -> None:
        """Look at the node again soon; cheap when nothing has changed."""
        self._registration.trigger()

    def registration(self) -> Component:
        """Return what has to run once the API server knows our kinds."""
        return Component("registration", self._registration.run)

    def components(self) -> list[Component]:
        """Return what has to run."""
        return [
            Component("isolation", self._isolation.run),
            Component("isolation-wire", self._wire.run),
        ]
