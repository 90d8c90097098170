"""Holds a new IP back until it is known that no other station has it: `Prober`.

It stands between the plan of a pass and its changes. New IPs are asked for, all at once, while
everything else goes on: takeovers, refreshes, deletes. When the wait of some is over another pass
is asked for, which lets them through. What others have is told as a refusal, and asked for again
after a while.

Not probed are IPs that are ours already: on this node (adopted, or with another prefix length), up
until a moment ago (removed by hand), or up on another node before (taken over). Where neighbours
resolve no addresses (`lo`) there is nobody to ask. Without carrier a new IP waits for it: nobody
could reach it, and it might be somebody's when the cable is back.

An IP that turns out to be another station's after it came up is removed (`cease`), and is from then
on one that is new, whoever had it before.

While nothing is probed no frame is heard and no timer runs.

The owner task is `Prober.run`; the other methods may be called from any task of the same loop.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from random import Random

from extip import log
from extip.clock import Clock
from extip.errors import ExtipError
from extip.metrics import Metrics
from extip.plan.announcement import TokenBucket
from extip.plan.desire import Desire
from extip.plan.link import IPAddress, Link, Operation
from extip.plan.newcomers import Newcomers
from extip.plan.probing import Probes, expel, withhold
from extip.plan.sighting import Sighting
from extip.reconcile.observe import View
from extip.reconcile.ports import ProbeWire

_FRAMES_PER_TURN = 64
"""Frames sent before other tasks get their turn: about a millisecond."""

_PASS_S = 0.02
"""Least time between two passes that are asked for: many IPs are through in one pass."""

_TICK_S = 0.001
"""A timer may fire a moment early; nothing is looked at again sooner than this."""

_FRIENDS_S = 1.0
"""Bound on finding out whose a MAC is."""

_KNOWN_S = 1.0
"""How long what was found out counts."""


class Prober:
    """What is asked of the segment, and what follows from the answers."""

    def __init__(  # noqa: PLR0913 - a composition of ports and plain values
        self,
        wire: ProbeWire,
        *,
        window_s: float,
        ttl_s: int,
        friends: Callable[[], Awaitable[frozenset[bytes]]],
        settled: Callable[[], None],
        clock: Clock,
        rng: Random,
        metrics: Metrics,
    ) -> None:
        """Compose.

        `window_s` is the wait for answers, 0 for none; `ttl_s` is the lifetime of addresses.
        `friends` finds out the MACs of stations that do not stand in the way, and may raise
        ExtipError; `settled` is called when a pass would come to another result.
        """
        self._wire = wire
        self._window_s = window_s
        self._find_friends = friends
        self._settled = settled
        self._clock = clock
        self._rng = rng
        self._metrics = metrics
        self._log = log.get_logger("prober")
        self._probes = Probes(window_s=window_s)
        self._bucket = TokenBucket()
        self._friends: frozenset[bytes] = frozenset()
        self._friends_at = float("-inf")
        self._link: Link | None = None
        self._newcomers = Newcomers(ttl_s=ttl_s)
        self._ceased: dict[IPAddress, Sighting] = {}
        self._asked_at = float("-inf")
        self._through = False
        """Some IPs may come up, and no pass was asked for yet."""
        self._waiting = False
        self._refused = False
        self._woken = asyncio.Event()

    def cease(self, ips: Mapping[IPAddress, Sighting]) -> None:
        """Have IPs removed that other stations have; they are as new from now on."""
        self._ceased.update(ips)
        self._settled()

    def admit(self, view: View, *, up: frozenset[IPAddress]) -> View:
        """Return the view without the additions that have to wait, and without what is to go.

        `up` are the external IPs that were on the interface after the last pass. Raises
        PermissionDeniedError.
        """
        now = self._clock.monotonic()
        view = self._expel(view, now)
        adds = {
            change.interface: change.interface.ip
            for change in view.plan.changes
            if change.operation is Operation.ADD
        }
        missing = frozenset(adds.values())
        self._newcomers.look(missing, up, now)
        if view.desire is None:
            return view  # nobody knows what is wanted: what is being found out stays of use
        silent = self._window_s == 0 or not view.link.announces
        new = frozenset() if silent else self._new(view, view.desire, missing)
        if not new:
            self._rest()
            return view
        if view.link.carrier:
            in_order = [ip for ip in adds.values() if ip in new]
            self._ask(view.link, [*in_order, *(new - missing)], now)
        else:
            self._probes.want(new, now)
            self._probes.begin_anew(now)
            self._stop()
        unasked = self._probes.refused()
        self._tell_refused(refused=bool(unasked), count=len(unasked), link=view.link)
        self._tell_waiting(waiting=not view.link.carrier, count=len(new))
        still = new - self._probes.clear()
        for ip in self._ceased.keys() & (new - still):
            del self._ceased[ip]
        self._newcomers.let_through(new - still, now)
        self._probes.want([ip for ip in self._probes.ips if ip in still], now)
        if not self._probes.listening:
            self._wire.pause()
        held = frozenset(interface for interface, ip in adds.items() if ip in still)
        return replace(
            view,
            desire=withhold(
                view.desire,
                held,
                owners=view.requests.wanted,
                taken=self._probes.taken(),
                unasked=unasked,
                carrier=view.link.carrier,
            ),
            plan=replace(
                view.plan,
                changes=tuple(
                    change
                    for change in view.plan.changes
                    if change.operation is not Operation.ADD or change.interface not in held
                ),
            ),
        )

    def _expel(self, view: View, now: float) -> View:
        """Have what is another station's removed; what nobody wants any more is forgotten."""
        if not self._ceased or view.desire is None:
            return view
        wanted = {interface.ip for interface in view.desire.wanted}
        self._ceased = {ip: by for ip, by in self._ceased.items() if ip in wanted}
        self._probes.taken_before(self._ceased.values(), now, chance=self._rng.random)
        return replace(
            view, plan=expel(view.plan, view.observed, self._ceased.keys(), view.desire.wanted)
        )

    def rest(self) -> None:
        """Forget everything: there is no interface, and sockets of one that is gone are dead."""
        self._rest()
        self._wire.close()

    def _rest(self) -> None:
        """Forget everything: there is nothing to find out now."""
        self._probes.want((), self._clock.monotonic())
        self._waiting = self._refused = False
        self._stop()

    async def run(self) -> None:
        """Ask, listen and judge while there is something to find out; until cancelled."""
        try:
            while True:
                self._woken.clear()
                wait_s = await self._turn()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._woken.wait()
        finally:
            self._wire.close()

    def _new(
        self, view: View, desire: Desire, missing: frozenset[IPAddress]
    ) -> frozenset[IPAddress]:
        """Return those of the missing IPs that nobody of us has, or had a moment ago.

        Also those that are wanted as before, and cannot be added just now: what is known of them
        stays.
        """
        asked = self._probes.ips
        if asked:
            wanted = frozenset(interface.ip for interface in desire.wanted)
            missing |= wanted.intersection(asked) - view.plan.up
        if not missing:
            return missing
        here = frozenset(a.interface.ip for a in view.observed if a.ours)
        known = here | view.requests.established
        return (self._newcomers.among(missing) - known) | (self._ceased.keys() & missing)

    def _ask(self, link: Link, new: Iterable[IPAddress], now: float) -> None:
        """Begin to ask for what is new, now; end the waits that are over."""
        self._use(link, now)
        self._read()
        self._end_waits(now)
        self._through = False  # the pass that is being made takes all of them
        self._probes.want(new, now)
        due = self._probes.due(now)[:_FRAMES_PER_TURN]
        if due:
            self._wire.open(link, self._heard)
            self._send(due)
            self._woken.set()

    async def _turn(self) -> float | None:
        """Do what is to be done now; return the seconds until the next, None for never."""
        link = self._link
        if link is None:
            return None
        if self._probes.due(self._clock.monotonic()):
            self._wire.open(link, self._heard)
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
        # A frame that is due and not sent waits for its turn at the pace of all.
        due_s = max(due - now, self._bucket.wait_s() if due <= now else 0.0, _TICK_S)
        return due_s if wait_s is None else min(due_s, wait_s)

    async def _judge(self) -> None:
        """Find out whether those who spoke up are ours, and go by that."""
        if not self._probes.suspects():
            return
        now = self._clock.monotonic()
        if now - self._friends_at > _KNOWN_S:
            try:
                async with asyncio.timeout(_FRIENDS_S):
                    self._friends = await self._find_friends()
                self._friends_at = self._clock.monotonic()
            except (ExtipError, TimeoutError) as error:
                self._log.debug("owners_of_macs_unknown", error=str(error) or "timed out")
        news = self._probes.judge(self._friends, self._clock.monotonic(), chance=self._rng.random)
        if self._probes.clear():
            self._through = True  # of those, some had only a friend in their way
        if news:
            self._metrics.probes.labels(result="in_use").inc(len(news))
            self._settled()

    async def _send_due(self) -> None:
        while due := self._probes.due(self._clock.monotonic()):
            if not self._send(due[:_FRAMES_PER_TURN]):
                return
            await self._clock.sleep(0)  # a pass may send meanwhile, so look anew

    def _send(self, ips: Iterable[IPAddress]) -> bool:
        """Send one frame for each; False when the pace of all does not allow more now."""
        now = self._clock.monotonic()
        for ip in ips:
            if not self._bucket.take(now):
                return False
            if self._wire.probe(ip):
                self._probes.sent(ip, now)
            elif self._probes.not_sent(ip, now):
                self._settled()
        return True

    def _end_waits(self, now: float) -> None:
        count = self._probes.settle(now)
        if count:
            self._metrics.probes.labels(result="clear").inc(count)
            self._through = True

    def _ask_for_pass(self, now: float) -> float | None:
        """Ask for a pass when some IPs may come up; return the seconds until then, if not now."""
        if not self._through:
            return None
        early_s = self._asked_at + _PASS_S - now
        if early_s > 0:
            return early_s
        self._through, self._asked_at = False, now
        self._settled()
        return None

    def _use(self, link: Link, now: float) -> None:
        """Ask there; what was heard on another interface, or with another MAC, does not count."""
        before, self._link = self._link, link
        if before is None:
            self._woken.set()
        elif (before.index, before.mac) != (link.index, link.mac):
            self._probes.begin_anew(now)

    def _stop(self) -> None:
        self._link, self._through = None, False
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

    def _heard(self) -> None:
        """Take what has arrived (a handler of the wire)."""
        if self._read():
            self._woken.set()

    def _read(self) -> bool:
        """Take what has arrived; return whether somebody has to be judged."""
        sightings, complete = self._wire.read()
        if not complete:
            self._probes.begin_anew(self._clock.monotonic())
        suspicious = [sighting for sighting in sightings if self._probes.heard(sighting)]
        return bool(suspicious)
