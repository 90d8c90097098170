"""Holds a new IP back until it is known that no other station has it: `Prober`.

It filters the additions of a pass. New IPs are probed all at once, while takeovers, refreshes and
deletes go on. When some are found free it asks for another pass, which lets them through. An IP
that another station has is reported as a refusal, and probed again after a while.

Two kinds of IP are not new, and not probed: one that was up here until a moment ago or before this
process, and one that was up on another node (a takeover). A takeover from a node that may live is
probed, though briefly, and that node is in the way if it answers. Where neighbours resolve no
addresses (`lo`) there is nobody to ask. Without carrier a new IP waits for it. Nobody could reach
the IP, and another station may have it when the cable is back.

An IP that turns out to be another station's after it came up is removed (`cease`). From then on it
is a new IP, whoever had it before.

At rest it receives no frames and no timer runs.

The owner task is `Prober.run`; the other methods may be called from any task of the same loop.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from random import Random

from extip import log
from extip.addresses.observation import Observation
from extip.addresses.ports import ProbeWire
from extip.addresses.probe.policy.pass_pace import PassPace
from extip.addresses.probe.policy.probing import Probes, expel, filter_additions
from extip.addresses.probe.policy.recently_owned import RecentlyOwned
from extip.clock import Clock
from extip.errors import ExtipError
from extip.guard.policy.admission import Admission
from extip.metrics import Metrics
from extip.net.interfaces import IPAddress, IPInterface, Link, Operation
from extip.net.neighbour_events import NeighbourEvent
from extip.token_bucket import PROBES_PER_S, TokenBucket
from extip.trigger import Trigger

_FRAMES_PER_TURN = 64
"""Frames sent before other tasks get their turn: about a millisecond."""

_STILL_HELD = "its former holder was taken for dead, and still answers for it"

_TICK_S = 0.001
"""Least time between two turns: a timer may fire a moment early."""

_LOOKUP_S = 1.0
"""Bound on one lookup of the cluster's MACs."""

_NEW_S = 10.0
"""A new IP that another station turns out to have is no older than that: a trial takes 3 s, and
longer only while the other one speaks."""

_LOOKUP_VALID_S = 1.0
"""Seconds for which the result of a lookup counts."""


class Prober:
    """Probes the segment for new IPs, and filters the additions of each pass accordingly."""

    def __init__(  # noqa: PLR0913 - a composition of parts and plain values
        self,
        wire: ProbeWire,
        *,
        window_s: float,
        ttl_s: int,
        cluster_macs: Callable[[], Awaitable[frozenset[bytes]]],
        opponents: Callable[[], Mapping[IPAddress, frozenset[bytes]]] = dict,
        on_change: Callable[[], None],
        clock: Clock,
        rng: Random,
        metrics: Metrics,
    ) -> None:
        """Compose.

        `window_s` is the wait for answers, 0 for none; `ttl_s` is the lifetime of addresses.
        `cluster_macs` finds out the MACs of stations that do not stand in the way, and may raise
        ExtipError. `opponents` returns takeovers from nodes that may live, each with the MACs that
        stand in the way all the same. `on_change` is called when a pass would come to another
        result.
        """
        self._wire = wire
        self._window_s = window_s
        self._find_cluster_macs = cluster_macs
        self._opponents = opponents
        self._on_change = on_change
        self._clock = clock
        self._rng = rng
        self._metrics = metrics
        self._log = log.get_logger("prober")
        self._probes = Probes(window_s=window_s)
        self._bucket = TokenBucket(rate=PROBES_PER_S)
        self._cluster_macs: frozenset[bytes] = frozenset()
        self._cluster_macs_at = float("-inf")
        self._link: Link | None = None
        self._recently_owned = RecentlyOwned(ttl_s=ttl_s)
        self._ceased: dict[IPAddress, NeighbourEvent] = {}
        self._admitted: dict[IPAddress, float] = {}
        """New IPs, each with the time since when it may come up; not older than a trial."""
        self._lost_on_trial: frozenset[IPAddress] = frozenset()
        self._pace = PassPace()
        self._waiting = False
        self._refused = False
        self._triggered = Trigger()

    def cease(self, ips: Mapping[IPAddress, NeighbourEvent]) -> None:
        """Have IPs removed that other stations have; they are new from now on."""
        self._ceased.update(ips)
        self._lost_on_trial |= ips.keys() & self._recently_new(self._clock.monotonic()).keys()
        self._on_change()

    def admit(self, observation: Observation, *, up: frozenset[IPAddress]) -> Observation:
        """Return the observation without the additions that have to wait.

        IPs to `cease` are deleted in it. `up` are the external IPs that were on the interface
        after the last pass. Raises PermissionDeniedError.
        """
        now = self._clock.monotonic()
        observation = self._expel(observation, now)
        missing = frozenset(interface.ip for interface in _additions(observation))
        self._recently_owned.update(missing, up, now)
        if observation.admission is None:
            return observation  # the inputs are not known: running probes stay of use
        new = self._new(observation, observation.admission, missing)
        if not new:
            self._rest()
            return observation
        self._probe(observation, new, now)
        return self._hold_back(observation, observation.admission, self._let_through(new, now))

    def _probe(self, observation: Observation, new: frozenset[IPAddress], now: float) -> None:
        """Probe the new IPs; without carrier, have them wait for it."""
        link = observation.link
        if link.carrier:
            in_order = dict.fromkeys(i.ip for i in _additions(observation) if i.ip in new)
            self._ask(link, [*in_order, *(new - in_order.keys())], now)
        else:
            self._probes.want(new, now)
            self._probes.begin_anew(now)
            self._stop()
        refused = len(self._probes.refused())
        self._tell_refused(refused=refused > 0, count=refused, link=link)
        self._tell_waiting(waiting=not link.carrier, count=len(new))

    def _let_through(self, new: frozenset[IPAddress], now: float) -> frozenset[IPAddress]:
        """Let the IPs come up that nobody else has; return the new ones that still wait."""
        waiting = new - self._probes.clear()
        through = new - waiting
        for ip in self._ceased.keys() & through:
            del self._ceased[ip]
        self._recently_owned.mark_owned(through, now)
        if through:
            self._admitted = self._recently_new(now) | dict.fromkeys(through, now)
        self._probes.want([ip for ip in self._probes.ips if ip in waiting], now)
        if not self._probes.listening:
            self._wire.pause()
        return waiting

    def _hold_back(
        self, observation: Observation, admission: Admission, waiting: frozenset[IPAddress]
    ) -> Observation:
        """Return the observation without the additions of the waiting IPs."""
        held = frozenset(i for i in _additions(observation) if i.ip in waiting)
        admitted = filter_additions(
            replace(admission, lost_on_trial=self._lost_on_trial),
            held,
            owners=observation.requests.wanted,
            taken=self._probes.taken(),
            unasked=self._probes.refused(),
            carrier=observation.link.carrier,
        )
        changes = tuple(
            change
            for change in observation.plan.changes
            if change.operation is not Operation.ADD or change.interface not in held
        )
        plan = replace(observation.plan, changes=changes)
        return replace(observation, admission=admitted, plan=plan)

    def _expel(self, observation: Observation, now: float) -> Observation:
        """Have the IPs to cease deleted; forget those that nobody wants any more."""
        if not self._ceased or observation.admission is None:
            return observation
        wanted = {interface.ip for interface in observation.admission.wanted}
        self._ceased = {ip: by for ip, by in self._ceased.items() if ip in wanted}
        self._lost_on_trial &= self._ceased.keys()
        self._probes.taken_before(self._ceased.values(), now, chance=self._rng.random)
        return replace(
            observation,
            plan=expel(
                observation.plan,
                observation.observed,
                self._ceased.keys(),
                observation.admission.wanted,
            ),
        )

    def _recently_new(self, now: float) -> dict[IPAddress, float]:
        return {ip: at for ip, at in self._admitted.items() if now - at <= _NEW_S}

    def rest(self) -> None:
        """Forget everything and close the sockets: there is no interface."""
        self._rest()
        self._wire.close()

    def _rest(self) -> None:
        """Forget everything: no IP is new."""
        self._probes.want((), self._clock.monotonic())
        self._waiting = self._refused = False
        self._stop()

    async def run(self) -> None:
        """Probe, listen and judge while some IPs are new; until cancelled."""
        try:
            while True:
                self._triggered.clear()
                wait_s = await self._turn()
                await self._triggered.wait_at_most(wait_s)
        finally:
            self._wire.close()

    def _new(
        self, observation: Observation, admission: Admission, missing: frozenset[IPAddress]
    ) -> frozenset[IPAddress]:
        """Return the missing IPs that no node of this cluster has, or had a moment ago.

        Also return those that are wanted as before and cannot be added just now: their probes go
        on.
        """
        if not observation.link.announces:
            return frozenset()
        opposed = self._opponents()
        self._probes.oppose(opposed)
        asked = self._probes.ips
        if asked:
            wanted = frozenset(interface.ip for interface in admission.wanted)
            missing |= wanted.intersection(asked) - observation.plan.up
        if not missing:
            return missing
        several = bool(admission.links)  # then another interface is another segment
        here = frozenset(
            a.interface.ip
            for a in observation.observed
            if a.ours and not (several and a.link_index != observation.link.index)
        )
        known = here | observation.requests.established
        taken_over = opposed.keys() & missing - here
        if self._window_s == 0:
            return frozenset(taken_over)
        new = self._recently_owned.new_among(missing) - known
        return new | (self._ceased.keys() & missing) | taken_over

    def _ask(self, link: Link, new: Iterable[IPAddress], now: float) -> None:
        """Begin to probe the new IPs at once; end the waits that are over."""
        self._use(link, now)
        self._read()
        self._end_waits(now)
        self._pace.forget()  # the pass that runs lets all of them through
        self._probes.want(new, now)
        due = self._probes.due(now)[:_FRAMES_PER_TURN]
        if due:
            self._wire.open(link, self._on_arrival)
            self._send(due)
            self._triggered.set()

    async def _turn(self) -> float | None:
        """Do what is due; return the seconds until the next turn, None for never."""
        link = self._link
        if link is None:
            return None
        if self._probes.due(self._clock.monotonic()):
            self._wire.open(link, self._on_arrival)
        self._read()
        await self._judge()
        await self._send_due()
        now = self._clock.monotonic()
        self._end_waits(now)
        wait_s = self._ask_for_pass(now)
        if not self._probes.listening:
            self._wire.pause()
        due = self._probes.next_at()
        if due is None:
            return wait_s
        # A frame that is due and not sent waits for a token of the common bucket.
        due_s = max(due - now, self._bucket.wait_s() if due <= now else 0.0, _TICK_S)
        return due_s if wait_s is None else min(due_s, wait_s)

    async def _judge(self) -> None:
        """Look up whether the stations that spoke are nodes of this cluster, and judge them."""
        if not self._probes.suspects():
            return
        now = self._clock.monotonic()
        if now - self._cluster_macs_at > _LOOKUP_VALID_S:
            try:
                async with asyncio.timeout(_LOOKUP_S):
                    self._cluster_macs = await self._find_cluster_macs()
                self._cluster_macs_at = self._clock.monotonic()
            except (ExtipError, TimeoutError) as error:
                self._log.debug("owners_of_macs_unknown", error=str(error) or "timed out")
        news = self._probes.judge(
            self._cluster_macs, self._clock.monotonic(), chance=self._rng.random
        )
        if self._probes.clear():
            self._pace.found_free(self._clock.monotonic())  # only nodes of this cluster have them
        if news:
            self._metrics.probes.labels(result="in_use").inc(len(news))
            for ip in self._opponents().keys() & news:
                self._log.warning("takeover_waits", address=str(ip), reason=_STILL_HELD)
            self._on_change()

    async def _send_due(self) -> None:
        due = self._probes.due(self._clock.monotonic())
        for start in range(0, len(due), _FRAMES_PER_TURN):
            now = self._clock.monotonic()  # a pass may have sent some of the frames meanwhile
            some = due[start : start + _FRAMES_PER_TURN]
            if not self._send(ip for ip in some if self._probes.is_due(ip, now)):
                return
            await self._clock.sleep(0)

    def _send(self, ips: Iterable[IPAddress]) -> bool:
        """Send a frame for each IP; return False when the pace allows no more now."""
        now = self._clock.monotonic()
        for ip in ips:
            if not self._bucket.take(now):
                return False
            if self._wire.probe(ip):
                self._probes.sent(ip, now)
            elif self._probes.not_sent(ip, now):
                self._on_change()
        return True

    def _end_waits(self, now: float) -> None:
        count = self._probes.settle(now)
        if count:
            self._metrics.probes.labels(result="clear").inc(count)
            self._pace.found_free(now)

    def _ask_for_pass(self, now: float) -> float | None:
        """Ask for a pass when some IPs may come up; return the seconds until then, if not now."""
        due_s = self._pace.due_s(now, self._probes.count_asking)
        if due_s == 0:
            self._pace.asked(now)
            self._on_change()
            return None
        return due_s

    def _use(self, link: Link, now: float) -> None:
        """Probe on this interface; silence with another index or MAC, or without carrier, is none.

        The carrier may have come back since the look before.
        """
        before, self._link = self._link, link
        if before is None:
            self._triggered.set()
        elif (before.index, before.mac) != (link.index, link.mac) or link.was_cut_since(before):
            self._probes.begin_anew(now)

    def _stop(self) -> None:
        self._link = None
        self._pace.forget()
        self._wire.pause()

    def _tell_waiting(self, *, waiting: bool, count: int) -> None:
        if waiting != self._waiting:
            self._waiting = waiting
            if waiting:
                self._log.info("probes_wait_for_carrier", addresses=count)

    def _tell_refused(self, *, refused: bool, count: int, link: Link) -> None:
        if refused != self._refused:
            self._refused = refused
            if refused:
                self._log.warning("probes_not_sent", link=link.name, addresses=count)

    def _on_arrival(self) -> None:
        """Read the frames that arrived (a handler of the wire)."""
        if self._read():
            self._triggered.set()

    def _read(self) -> bool:
        """Read the frames that arrived; return whether a station has to be judged."""
        events, complete = self._wire.read()
        if not complete:
            self._probes.begin_anew(self._clock.monotonic())
        suspicious = [event for event in events if self._probes.on_neighbour_event(event)]
        return bool(suspicious)


def _additions(observation: Observation) -> list[IPInterface]:
    """Return the addresses to add, in the order of the plan."""
    return [c.interface for c in observation.plan.changes if c.operation is Operation.ADD]
