"""A controller's inputs from the API server: the claims that concern it, IpNodes and Nodes."""

import asyncio
from collections.abc import Callable
from functools import partial
from random import Random

from extip.addresses.observation import Inputs
from extip.api.core_v1 import Node
from extip.api.ipcontroller_v1 import IpClaim, IpNode
from extip.api.resources import IP_NODES, NODES
from extip.cache.informer import Informer
from extip.cache.vanished import Vanished
from extip.cache.waking import WakingClock
from extip.claims.policy.assignment import SETTLED_S
from extip.claims.policy.node_claims import HeldClaim, NodeClaims, bring_together, held_claim
from extip.clock import Clock
from extip.definitions.kinds import Kinds
from extip.definitions.orphans import Orphans
from extip.errors import ApiAccessError
from extip.fencing.cache_freshness import CacheFreshness, Reading
from extip.fencing.claim_reader import ClaimReader
from extip.guard.reserved_inputs import ReservedSources
from extip.handover.drain_wait import DrainWait
from extip.handover.keeper import Handover
from extip.handover.policy import version_of
from extip.handover.takeovers import Takeovers
from extip.informers.claim_watches import ClaimWatches
from extip.kube.client import ApiClient
from extip.metrics import Metrics
from extip.net.interfaces import IPAddress
from extip.net.link_selection import LinkSelection
from extip.nodes.policy.report import macs
from extip.services.policy.requests import Masks, Owner
from extip.supervisor import Component, both
from extip.uplink.neighbourhood import Neighbourhood

_SPREAD_S = 2.0
"""Seconds within which watches that may be dead are opened anew. They may all be alive, and all
nodes doubt them at once, when the API server was only slow. One that is heard meanwhile stays."""

_DEAF_S = 10.0
"""Seconds for which the watch of claims may fail while heartbeats are taken. Before that, the API
server may be about to come back as a whole."""

_LATE_S = 0.5
"""Seconds that a node whose Lease is stale may take to notice that its IP was given away."""

_FOLLOWERS = 4
"""Claims that left and are asked for at once."""


class ClaimInputs:
    """Informers, how far they can be believed, and the claims to act on.

    Only claims that concern this node are watched: its own, those that left it last, and those
    whose standby it is. So a node costs no more in a larger cluster. Kubernetes Nodes change with
    each status of a kubelet, and the scheduler looks at them before it makes a claim. So they are
    not watched before this node gets a claim that somebody made by hand.
    """

    def __init__(  # noqa: PLR0913 - a composition of parts and plain values
        self,
        client: ApiClient,
        *,
        node: str,
        links: LinkSelection,
        masks: Masks,
        cache_valid_s: float,
        cache_valid_at_most_s: float,
        handover_s: float,
        isolated: Callable[[IPAddress], bool],
        is_up: Callable[[IPAddress], bool],
        kinds: Kinds,
        on_change: Callable[[], None],
        clock: Clock,
        rng: Random,
        metrics: Metrics,
    ) -> None:
        """Compose; `on_change` is called when the inputs differ, durations are in seconds.

        `masks` are the prefix lengths that this process was told.
        `is_up` says whether an IP is on an interface, `isolated` whether nobody answers this node
        there any more.
        """
        self._rng = rng
        self._waking = waking = WakingClock(clock)
        self._node = node
        self._links = links
        self._masks = masks
        self._isolated = isolated
        self._is_up, self._tell = is_up, on_change
        self._orphans = Orphans(kinds.claims, clock=clock, rng=rng)
        self._to_take = Orphans(kinds.claims, patience_s=0.5, clock=clock, rng=rng)
        self._nodes: Informer[Node] = Informer(
            "nodes", client.lister_watcher(NODES), clock=waking, rng=rng, metrics=metrics
        )
        self.ip_nodes: Informer[IpNode] = Informer(
            "ipnodes",
            client.lister_watcher(IP_NODES),
            clock=waking,
            rng=rng,
            metrics=metrics,
            vanished=Vanished(kinds.nodes),
        )
        self.watches = ClaimWatches(
            client,
            node=node,
            records=self.ip_nodes.store,
            vanished=self._orphans.vanished,
            vanished_to_take=self._to_take.vanished,
            settled=self._is_settled,
            look=self._on_claim,
            read_anew=lambda: self.freshness.invalidate(),  # noqa: PLW0108 - made below
            clock=waking,
            rng=rng,
            metrics=metrics,
        )
        self.claims, self._former = self.watches.own, self.watches.former
        self._failed_over = self.watches.failed_over
        self.neighbourhood = Neighbourhood(node, self.ip_nodes)
        self._reserved = ReservedSources(
            client, self._nodes, self.ip_nodes, on_change=self._changed, clock=waking, rng=rng
        )
        self._reader = ClaimReader(
            client,
            self._orphans.vanished,
            node=node,
            scope=self.watches.scope,
            is_ours=self._failed_over.is_ours,
            limit_s=cache_valid_s,
            nodes=lambda: len(self.ip_nodes.store),
            on_lost=self._lost,
        )
        self.freshness: CacheFreshness = CacheFreshness(
            self.claims.store,
            read=self._read,
            limit_s=cache_valid_s,
            most_s=cache_valid_at_most_s,
            server_time_s=lambda: client.server_time_s,
            on_change=self._changed,
            clock=clock,
            rng=rng,
        )
        self._handover = Handover(
            node=node,
            watched=self._former.store.get,
            fetch=self._reader.get,
            timeout_s=handover_s,
            is_up=is_up,
            is_heard=self.freshness.is_heard,
            on_change=self._changed,
            clock=clock,
            rng=rng,
        )
        self.takeovers = Takeovers(
            node,
            self.ip_nodes.store,
            macs=lambda name: macs(n for n in (self.ip_nodes.store.get(name),) if n is not None),
            wait_s=cache_valid_s + _LATE_S,
            on_change=self._changed,
        )
        self._nodes_needed = asyncio.Event()
        self._unjudged: set[str] = set()
        """New claims made by hand that wait for Nodes; at the start everything waits for them."""
        self._begun = False
        self._mine: dict[str, tuple[HeldClaim, int]] = {}
        self._together: tuple[bool, NodeClaims] | None = None
        self._acted_on: frozenset[str] | None = None
        self.drain_wait = DrainWait(self._is_needed)
        self._back_at = 0.0
        self._heard_at = float("-inf")
        self._clock = clock
        self.claims.add_handler(self._on_claim)
        self.watches.to_take.add_handler(self._on_claim)
        self.ip_nodes.add_handler(self._failed_over.on_record)
        self._former.add_handler(self._on_former)
        self._former.add_handler(self._handover.on_claim)

    def current(self) -> Inputs | None:
        """Return the inputs; None while not all is known, or while it may be out of date.

        While the API server is away they are those of before, less what the watch took away.
        """
        if not all(source.has_synced for source in self._needed()):
            return None
        self._begun = True
        if not self.freshness.is_fresh() and (self._acted_on is None or self.freshness.stalled()):
            return None
        return Inputs(requests=self.together().requests, reserved=self._reserved.current())

    def node_ips(self) -> frozenset[IPAddress]:
        """Return the addresses of nodes, as far as known."""
        return self._reserved.current().nodes

    def together(self) -> NodeClaims:
        """Return the claims to act on; the very same object until something changes."""
        trusted = self.freshness.is_fresh()
        if self._together is None or self._together[0] != trusted:
            known = [c for c, _ in self._mine.values() if not self.freshness.is_outdated(c.name)]
            known = [claim for claim in known if claim.name not in self._unjudged]
            if trusted:
                self._acted_on = frozenset(claim.name for claim in known)
            else:
                known = [claim for claim in known if claim.name in (self._acted_on or ())]
            kept = self._handover.kept()
            self._together = trusted, bring_together(known, links=self._links, kept=kept)
        return self._together[1]

    def owners(self, ip: IPAddress) -> tuple[Owner, ...]:
        """Return the owners of an IP: its claim, and the services behind it."""
        wanted = self.together().requests.wanted
        return next((owners for interface, owners in wanted.items() if interface.ip == ip), ())

    def leaving(self) -> frozenset[IPAddress]:
        """Return the IPs that are kept for their next holder."""
        kept = self._handover.kept()
        return frozenset(c.interface.ip for c in kept if c.interface is not None)

    def held(self) -> tuple[str, ...]:
        """Return the IPs that stay though their claims went with their kind: CIDRs, in order."""
        orphans = self._orphans.vanished.orphans
        return tuple(sorted(c.cidr for c, _ in self._mine.values() if c.name in orphans))

    async def is_ours(self, ip: IPAddress) -> bool:
        """Return whether the API server says now that an IP is this node's.

        A claim that turns out to have left is not acted on any more. Raises ApiError.
        """
        held = [c for c, _ in self._mine.values() if c.interface and c.interface.ip == ip]
        for claim in held:
            if not claim.refused and await self._reader.is_still_ours(claim.name):
                return True
        return False

    async def _read(self) -> Reading:
        """Read the claims anew, after an IpNode that may have named some of them meanwhile."""
        changed, reading = await both(self.watches.confirm, self._reader.read)
        return await self._reader.read() if changed else reading

    def _lost(self, name: str, version: int) -> None:
        self.freshness.mark_lost(name, version=version)
        self._failed_over.elsewhere(name)

    def on_heartbeat(self, sent_at: float) -> None:
        """Note that the API server took a heartbeat sent at that time (the clock's timeline)."""
        self._heard_at = sent_at
        if self.freshness.on_heartbeat(sent_at):
            self._back_at = sent_at
            self._waking.wake()  # it is back: the caches need not wait out their backoff

    def wake(self) -> None:
        """Try at once what failed: a kind that was missing is back."""
        self._waking.wake()

    def unread(self) -> str:
        """Return why this node does not hear of its claims; empty while it does.

        A refusal counts at once. Other trouble counts after `_DEAF_S`, and only while heartbeats
        are taken: else the API server as a whole is away.
        """
        if self.claims.trouble is None:
            return ""
        error, since = self.claims.trouble
        now = self._clock.monotonic()
        alone = now - self._heard_at <= self.freshness.limit_s
        late = alone and now - max(since, self._back_at) > _DEAF_S
        deaf = late or isinstance(error, ApiAccessError)
        return f"claims cannot be read: {error}" if deaf else ""

    def doubt(self, since_s: float) -> None:
        """Open watches anew, soon, that have been silent since that time: they may be dead."""
        loop = asyncio.get_running_loop()
        for informer in self._informers():
            loop.call_later(_SPREAD_S * self._rng.random(), informer.doubt, since_s)

    def _is_needed(self) -> bool:
        return bool(self._handover.kept()) or any(
            claim.interface is not None and self._is_up(claim.interface.ip)
            for claim in self.together().claims
        )

    def components(self) -> list[Component]:
        """Return what has to run."""
        return [
            *(Component(i.name, i.run) for i in self._informers() if i is not self._nodes),
            Component(self._nodes.name, self._run_nodes),
            *self._reserved.components(),
            *(Component(f"handover-{n}", self._handover.run) for n in range(_FOLLOWERS)),
            Component("cache-freshness", self._run_freshness),
            Component("stalls", self.freshness.detect_stalls),
            Component("first-sync", self._announce_first_sync),
            Component("orphans", partial(self._orphans.adopt, self._node, self._reader.get)),
            Component("standby-orphans", self._to_take.expire),
        ]

    def _informers(
        self,
    ) -> tuple[Informer[IpClaim] | Informer[Node] | Informer[IpNode], ...]:
        return self.claims, self._former, self.watches.to_take, self._nodes, self.ip_nodes

    def record(self) -> IpNode | None:
        """Return this node's IpNode as far as known."""
        return self.ip_nodes.store.get(self._node)

    def controller_macs(self) -> frozenset[bytes]:
        """Return the MACs of all nodes that have a controller, as far as known."""
        return macs(self.ip_nodes.store.values())

    def problem(self) -> str:
        """Return which caches have never been filled; empty when all have (a readiness check)."""
        nodes = (self._nodes,) if self._nodes_needed.is_set() else ()
        missing = [i.name for i in (self.claims, *nodes, self.ip_nodes) if not i.has_synced]
        missing += [self._reserved.problem()] if self._reserved.problem() else []
        return f"not synced yet: {', '.join(missing)}" if missing else ""

    async def _announce_first_sync(self) -> None:
        """Call `on_change` when all inputs are known: with no claim at all, no key ever does."""
        for source in self._needed():
            await source.wait_synced()
        self._changed()
        await self._nodes_needed.wait()
        await self._nodes.wait_synced()
        self._unjudged.clear()
        self._changed()
        await asyncio.get_running_loop().create_future()

    def _needed(
        self,
    ) -> tuple[Informer[IpClaim] | Informer[Node] | Informer[IpNode] | ReservedSources, ...]:
        """Return what must be known before anything is brought up."""
        nodes = (self._nodes,) if self._nodes_needed.is_set() and not self._begun else ()
        return self.claims, self.ip_nodes, self._reserved, *nodes

    def _on_claim(self, name: str) -> None:
        """Take a claim that came, changed or left; ask for a pass when that matters here."""
        claim = self.watches.claim(name)
        before = self._mine.pop(name, None)
        was_lost = self.freshness.caught_up(name)
        if claim is not None:
            self._mine[name] = held, _ = held_claim(claim, self._masks), version_of(claim)
            if not claim.managed:  # no scheduler has compared it with the IPs of Nodes
                self._nodes_needed.set()
                # What was up elsewhere was judged there, and its clients do not wait for a list.
                known = held.established or self._nodes.has_synced
                if before is None and self._begun and not known:
                    self._unjudged.add(name)
            if before is None:
                self.takeovers.begin(held)
            self._handover.cancel(name)
            if before is not None and before[0] == self._mine[name][0] and not was_lost:
                return  # its status, or something else that does not matter here
        elif before is None:
            return
        else:
            self._unjudged.discard(name)
            self.takeovers.end(name)
            if not was_lost and not self._failed_over.is_lost(name):
                self._claim_left(*before)
        self._changed()

    def _on_former(self, name: str) -> None:
        """Take news of a claim that left: it is another node's, and has not vanished with its kind.

        It may also be this node's again: a restored etcd knows nothing of its move.
        """
        claim = self.claims.store.get(name)
        if name not in self._mine:
            self._on_claim(name)
        elif claim is not None and self.watches.is_elsewhere(claim):
            self._orphans.vanished.left(name)

    def _is_settled(self) -> bool:
        """Whether this node has been in contact for so long that its watches are up to date."""
        now = self._clock.monotonic()
        return self.freshness.in_contact() and now - self._back_at >= SETTLED_S

    def _claim_left(self, claim: HeldClaim, version: int) -> None:
        """Keep its address for the next holder, if it was moved while this node is known to live.

        Otherwise others went on without this node, and it must make way at once. On an isolated
        interface nobody hears the address, so there is no gap to avoid.
        """
        if claim.interface is None or not self._is_up(claim.interface.ip):
            return
        if self.freshness.in_contact() and not self._isolated(claim.interface.ip):
            self._handover.begin(claim, version=version)

    def _changed(self) -> None:
        self._together = None
        self.drain_wait.trigger()
        self._tell()

    async def _run_nodes(self) -> None:
        await self._nodes_needed.wait()
        await self._nodes.run()

    async def _run_freshness(self) -> None:
        await self.claims.wait_synced()  # what was listed first is looked at, too
        await self.freshness.run()
