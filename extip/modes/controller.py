"""`extip controller`: brings the claims of its node up there, and says that the node is alive.

::

    run
    ├── definitions our kinds are served ─► holds back the informers and the registration
    ├── informer-ipclaims          claims of this node ──┐
    ├── informer-former-ipclaims   claims that left ─────┼─► inputs ──► addresses ──► interface
    ├── informer-nodes             node IPs ─────────────┘                │   └──► announcer
    ├── handover    addresses kept until the next holder is up            ├──► claim-status
    ├── trust       claims are read anew after silence ◄── heartbeat      └──► registration
    ├── heartbeat   renews the node's Lease
    ├── isolation   does anybody on the interface answer? ──► heartbeat, registration
    ├── monitor     netlink events ──► addresses
    ├── conflicts   other stations with our IPs ◄── wire-watch; ──► addresses, claim-status
    ├── prober      holds a new IP back until no other station has it
    ├── events      refusals, as Kubernetes Events on claims and services
    └── http        /metrics /livez /readyz
"""

import asyncio
import os
from collections.abc import Collection, Mapping
from functools import partial
from random import Random

from extip import __version__, log
from extip.api.names import heartbeat_lease
from extip.clock import Clock, LoopClock
from extip.health import HealthServer
from extip.heartbeat.publisher import Publisher
from extip.kube.client import ApiClient, connect
from extip.kube.events import EventRecorder
from extip.kube.lease_lock import LeaseLock
from extip.kube.reports import ClaimStatuses, NodeRecord
from extip.metrics import Metrics
from extip.modes.address_half import AddressHalf, open_address_half
from extip.modes.claim_inputs import ClaimInputs
from extip.modes.conflict_events import ConflictEvents
from extip.modes.definitions import DefinitionsGate
from extip.modes.heard_lease import HeardLease, RepeatedLease
from extip.modes.kinds import Kinds
from extip.modes.ownership import Ownership
from extip.modes.refusal_events import EventReporter
from extip.net.identity import place
from extip.net.neighbours import NeighbourSocket
from extip.net.routes import RouteTable
from extip.net.rtnetlink import AddressSocket
from extip.plan.desire import Desire
from extip.plan.isolation import round_s
from extip.plan.link import IPAddress
from extip.plan.node_claims import NodeClaims, of_another_mask, outcomes, with_conflicts
from extip.plan.requests import Masks
from extip.reconcile.addresses import AddressReconciler
from extip.reconcile.claim_status import CONCURRENCY, ClaimStatusWriter
from extip.reconcile.isolation import Interface, IsolationWatch
from extip.reconcile.node_registration import NodeRegistration
from extip.reconcile.refusals import RefusalLedger
from extip.settings import ControllerSettings
from extip.supervisor import Component, StopSignals, run_beside

_LOOK_S = 1.0
"""Between two looks at what the passes over the interface came to, for those that failed."""


async def run(settings: ControllerSettings) -> None:
    """Run until SIGTERM or SIGINT, then until others have the IPs; raises FatalError."""
    stop = StopSignals()
    clock, metrics, logger = LoopClock(), Metrics("controller"), log.get_logger("controller")
    logger.info(
        "started",
        version=__version__,
        node=settings.node,
        link=settings.address.iface,
        ttl_s=settings.address.address_ttl_s,
        pid=os.getpid(),
    )

    async with (
        stop.ending(connect(settings.kubeconfig, metrics=metrics)) as client,
        RouteTable(clock=clock) as links,
        AddressSocket(clock=clock) as table,
    ):
        controller = _Controller(settings, client, clock=clock, metrics=metrics)
        async with open_address_half(
            settings.address,
            inputs=controller.inputs.current,
            decided=controller.decided,
            hold=controller.ownership,
            told=controller.conflicts_changed,
            friends=controller.inputs.controller_macs,
            clock=clock,
            metrics=metrics,
        ) as half:
            registration = controller.registration(links, table)
            components = controller.components(half, registration)
            signal = await run_beside(components, partial(controller.until_left, stop))
            logger.info("stopping", signal=signal)
            await controller.end(half)


class _Controller:
    """The parts, what flows between them, and how it comes to its end."""

    def __init__(
        self,
        settings: ControllerSettings,
        client: ApiClient,
        *,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._client = client
        self._clock = clock
        self._metrics = metrics
        self._rng = rng = Random()  # noqa: S311 - jitter
        self._log = log.get_logger("controller")
        self._events = EventRecorder(client, clock=clock, metrics=metrics, instance=settings.node)
        self._ledger = RefusalLedger(EventReporter(self._events), metrics)
        self._kinds = Kinds(client, self._events, clock=clock, rng=rng, metrics=metrics)
        self._kinds.back = self._kind_back
        self.inputs = ClaimInputs(
            client,
            node=settings.node,
            iface=settings.address.iface,
            trust_s=settings.trust_s,
            handover_s=settings.drain_timeout_s,
            isolated=self._is_isolated,
            kinds=self._kinds,
            changed=self._trigger,
            clock=clock,
            metrics=metrics,
        )
        self._statuses = ClaimStatusWriter(
            self.inputs.claims.store,
            ClaimStatuses(client),
            node=settings.node,
            link=settings.address.iface,
            clock=clock,
            rng=rng,
        )
        self.inputs.claims.add_handler(self._statuses.look)
        lock = LeaseLock(client, name=heartbeat_lease(settings.node), namespace=settings.namespace)
        repeated = RepeatedLease(lock, repeated=self.inputs.doubt, clock=clock)
        self._publisher = Publisher(
            HeardLease(repeated, heard=self.inputs.heard, clock=clock),
            node=settings.node,
            namespace=settings.namespace,
            identity=place(settings.node),
            heartbeat_s=settings.heartbeat_s,
            lease_s=settings.lease_s if settings.on_api_loss == "release" else 0.0,
            unread=self._is_deaf,
            clock=clock,
            rng=rng,
            metrics=metrics,
        )
        self.ownership = Ownership(
            self.inputs,
            heartbeat_age_s=self._publisher.age_s,
            lease_s=settings.lease_s,
            ttl_s=settings.address.address_ttl_s,
            releases=settings.on_api_loss == "release",
            handover_s=settings.drain_timeout_s,
            changed=self._trigger,
        )
        self._conflict_events = ConflictEvents(
            self._events, owners=self.inputs.owners, node=settings.node
        )
        self._reconciler: AddressReconciler | None = None
        self._isolation: IsolationWatch | None = None
        self._registration: NodeRegistration | None = None
        self._desire: Desire | None = None
        self._conflicts: Mapping[IPAddress, str] = {}
        self._told: tuple[object, ...] | None = None
        self._warned_of_masks = False
        self._unread = ""
        self.inputs.ip_nodes.add_handler(self._record_changed)

    def registration(self, links: RouteTable, table: AddressSocket) -> NodeRegistration:
        """Compose what tells the cluster of this node."""
        self._registration = NodeRegistration(
            NodeRecord(self._client, name=self._settings.node),
            watched=self.inputs.record,
            node=self._settings.node,
            iface=self._settings.address.iface,
            version=__version__,
            claims=lambda: len(self.inputs.together().claims),
            node_ips=self.inputs.node_ips,
            isolated=self._is_isolated,
            held=self.inputs.held,
            links=links,
            addresses=table,
            resync_s=self._settings.address.resync_s,
            clock=self._clock,
            rng=self._rng,
        )
        return self._registration

    def components(self, half: AddressHalf, registration: NodeRegistration) -> list[Component]:
        """Return what has to run."""
        self._reconciler = half.reconciler
        gate = DefinitionsGate(self._client, clock=self._clock, rng=self._rng)
        held = [*self.inputs.components(), Component("registration", registration.run)]
        return [
            Component("definitions", gate.run_patiently),
            *map(gate.hold, held),
            *half.components,
            Component("isolation", self._watch_isolation(half.reconciler).run),
            Component("heartbeat", self._publisher.run),
            *(Component(f"claim-status-{n}", self._statuses.run) for n in range(CONCURRENCY)),
            Component("report", self._look),
            Component("events", self._events.run),
            *self._http(half.reconciler),
        ]

    def _watch_isolation(self, interface: Interface) -> IsolationWatch:
        """Compose what finds out whether the interface leads anywhere."""
        self._isolation = IsolationWatch(
            NeighbourSocket(),
            interface=interface,
            neighbours=self.inputs.neighbours,
            round_s=round_s(self._settings.heartbeat_s),
            changed=self._isolation_changed,
            clock=self._clock,
            metrics=self._metrics,
        )
        self._publisher.look_out(self._isolation)
        return self._isolation

    def _is_isolated(self) -> bool:
        return self._isolation is not None and self._isolation.isolated

    def _is_deaf(self) -> bool:
        return bool(self._unread)

    def _kind_back(self) -> None:
        self.inputs.wake()
        if self._registration is not None:
            self._registration.forget()

    def _record_changed(self, name: str) -> None:
        """Register anew when the record of this node is gone."""
        gone = name == self._settings.node and name not in self.inputs.ip_nodes.store
        if gone and self._registration is not None:
            self._registration.forget()

    def _isolation_changed(self) -> None:
        self._publisher.hurry()
        if self._registration is not None:
            self._registration.trigger()

    def decided(self, desire: Desire) -> None:
        """Hand on what a pass over the interface came to."""
        self._ledger.record(desire)
        self._desire = desire
        self._report()

    def conflicts_changed(
        self, conflicts: Mapping[IPAddress, str], began: Collection[IPAddress]
    ) -> None:
        """Tell of other stations that announce IPs which are up here."""
        self._conflicts = conflicts
        self._conflict_events.told(conflicts, began)
        self._report()

    async def until_left(self, stop: StopSignals) -> str:
        """Wait for a signal, and then until others have the IPs; return the signal's name.

        A second signal ends the wait, and so does `--drain-timeout`. Without a heartbeat lately
        nobody could be told, and nobody is waited for.
        """
        name = await stop.next()
        if self._settings.address.on_exit == "release" and self.inputs.trust.orderly():
            self._log.info("draining", signal=name)
            self._publisher.leave(f"stopped by {name}")
            impatience = Component("impatience", partial(self._impatience, stop))
            await run_beside([impatience], self._drain)
        return name

    async def end(self, half: AddressHalf) -> None:
        """Remove the addresses and give the Lease up; after the components were cancelled.

        With ``--on-api-loss release`` no two nodes ever have an IP. So nobody is told
        anything while addresses may be left: they end before the Lease does.
        """
        if self._settings.address.on_exit == "release":
            all_went = await half.release()
            if not all_went and self._settings.on_api_loss == "release":
                self._log.warning("heartbeat_kept", reason="addresses are left, until their TTL")
                return
            await self._publisher.release()
            await self._statuses.stop()

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(self._settings.drain_timeout_s):
                await self.inputs.wait_left()
        except TimeoutError:
            self._log.warning("drain_timed_out", reason="not every IP is up on another node")

    async def _impatience(self, stop: StopSignals) -> None:
        """Stop waiting at a second signal."""
        self._log.warning("drain_cut_short", signal=await stop.next())
        self.inputs.give_up()
        await asyncio.get_running_loop().create_future()

    async def _look(self) -> None:
        """Report now and then as well: passes that failed hand nothing on."""
        while True:
            await self._clock.sleep(_LOOK_S)
            if (unread := self.inputs.unread()) != self._unread:
                self._unread = unread
                self._log.warning("claims_unread" if unread else "claims_read_again", error=unread)
                self._publisher.hurry()
            self._report()

    def _report(self) -> None:
        """Tell claims and node what differs; costs next to nothing when nothing does."""
        reconciler = self._reconciler
        if reconciler is None:
            return
        up, problem = reconciler.up, reconciler.problem()
        self.inputs.set_up(up)
        if self._registration is not None:
            self._registration.trigger()
        if self._desire is None:
            return
        claims = self.inputs.together()
        told = (claims, self._desire, up, problem, self._conflicts)
        if told != self._told:
            self._told = told
            self._warn_of_masks(claims)
            iface = self._settings.address.iface
            found = outcomes(claims, self._desire, up=up, iface=iface, problem=problem)
            self._statuses.decided(with_conflicts(found, claims, self._conflicts))

    def _warn_of_masks(self, claims: NodeClaims) -> None:
        """Say once that a prefix length is that of the claim, and not what this process was told.

        Schedulers write the claims, and a claim may be any node's next.
        """
        told = Masks(v4=self._settings.address.mask, v6=self._settings.address.mask_v6)
        other = None if self._warned_of_masks else of_another_mask(claims, told)
        if other is not None:
            self._warned_of_masks = True
            self._log.warning(
                "mask_ignored",
                claim=other.name,
                address=other.cidr,
                reason="an IP has the prefix length of its claim: give --mask to the schedulers",
            )

    def _trigger(self) -> None:
        if self._reconciler is not None:
            self._reconciler.trigger()

    def _http(self, reconciler: AddressReconciler) -> list[Component]:
        if self._settings.http is None:
            return []
        server = HealthServer(
            self._settings.http,
            live={"addresses": reconciler.stuck},
            ready={
                "caches": self.inputs.problem,
                "definitions": self._kinds.problem,
                "claims": self.inputs.unread,
                "heartbeat": self._silence,
                "addresses": reconciler.problem,
            },
            registry=self._metrics.registry,
        )
        return [Component("http", server.run)]

    def _silence(self) -> str:
        """Return for how long no heartbeat was taken; empty when that is not for long."""
        age_s = self._publisher.age_s()
        if age_s is None:
            return "no heartbeat yet"
        late = age_s > 3 * self._settings.heartbeat_s + 1.0
        return f"the last heartbeat was {age_s:.0f} s ago" if late else ""
