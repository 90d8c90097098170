"""Watches the segment for stations that announce, or answer for, an IP that is up here.

It stands between the reconciler and the announcer, so that it knows what is up, and where. What to
do is decided by `extip.plan.conflict`; what the node's Lease is worth is told by a `Standing`.

Guarantees: while the Lease is fresh, no frame takes an IP away that is past its trial (see
`extip.plan.trial`), and each IP is defended at most once in `DEFEND_INTERVAL_S`. Once it is stale,
an IP is given up within milliseconds of the first frame by which another station speaks for it, and
each is asked for every `ASK_S`, or as often as `Questions` may. The node's own interfaces are never
another station.

The owner tasks are `ConflictWatch.run` and `ConflictWatch.settle`; the other methods may be called
from any task of the loop.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from random import Random
from typing import Protocol

from extip import log
from extip.clock import Clock
from extip.errors import ApiError, LinkError
from extip.metrics import Metrics
from extip.plan.conflict import Conflicts, Verdict
from extip.plan.link import IPAddress, Link
from extip.plan.sighting import Kind, Sighting
from extip.plan.trial import FIRST_S, Trials
from extip.reconcile.questions import Questions
from extip.workqueue import WorkQueue

DOUBTS_PER_S = 20.0
"""Conflicts looked into a second: each may cost a request to the API server."""

_PENDING = 4096
"""Frames that wait to be judged; the socket has no room for more either."""

_OWN_S = 1.0
"""How old knowledge of the MACs of this node and of others may be when a station is taken for
another one."""

_LOOK_S = 5.0
"""Between two looks whether a conflict is over."""


class Standing(Protocol):
    """What this node's claim to its IPs is worth now."""

    def stale_in_s(self) -> float:
        """Return the seconds until the IPs may be another node's; 0 or less when they may be."""

    grace_s: float
    """How long the former holder of an IP may go on after it came up here."""
    settle_s: float
    """How long news of a planned move may take to get here."""

    def leaving(self) -> Collection[IPAddress]:
        """Return the IPs that are being handed over to another node."""

    async def is_ours(self, ip: IPAddress) -> bool:
        """Return whether an IP is still this node's. Raises ApiError when nobody can tell."""

    def give_up(self, ips: Collection[IPAddress]) -> None:
        """Have the IPs removed, until the API server says anew that they are this node's."""


class Wire(Protocol):
    """The segment."""

    def listen(self, link: Link | None, ips: Iterable[IPAddress], *, alert: bool) -> None:
        """Listen for other stations with these IPs; `alert`: also for those that ask for them."""

    def ask(self, ip: IPAddress) -> bool:
        """Ask who else has an IP; return whether the question went out."""


class Links(Protocol):
    """The node's interfaces."""

    async def links(self) -> Sequence[Link]:
        """Return all of them; raises LinkError."""


class RepeatingAnnouncer(Protocol):
    """Tells the neighbours."""

    def set_link(self, link: Link | None) -> None:
        """Announce there from now on."""

    def announce(self, ips: Iterable[IPAddress]) -> None:
        """Start announcing."""

    def withdraw(self, ips: Iterable[IPAddress]) -> None:
        """Stop announcing; without effect on those that are not announced."""

    def repeat(self, ip: IPAddress) -> None:
        """Announce an IP once more, now; without effect on one that is not announced."""


class Rivalry(Protocol):
    """What there is to know, and to do, where an IP that has just come up may be somebody's."""

    def friends(self) -> frozenset[bytes]:
        """Return the MACs of the nodes of this cluster."""

    def cease(self, ips: Mapping[IPAddress, Sighting]) -> None:
        """Have the IPs removed that other stations have, until these do not have them any more."""


Told = Callable[[Mapping[IPAddress, str], Collection[IPAddress]], None]
"""Takes all conflicts, each with the other station's MAC, and which of them are new."""


class ConflictWatch:
    """Takes the place of the announcer towards the reconciler."""

    def __init__(  # noqa: PLR0913 - a composition of ports
        self,
        standing: Standing,
        *,
        announcer: RepeatingAnnouncer,
        links: Links,
        told: Told,
        clock: Clock,
        rng: Random,
        metrics: Metrics,
        rivalry: Rivalry | None = None,
    ) -> None:
        """Compose; `told` is called when conflicts begin and end.

        Without a `rivalry` no IP is on trial, and every station may be a node of this cluster.
        """
        self._standing = standing
        self._announcer = announcer
        self._links = links
        self._tell = told
        self._clock = clock
        self._metrics = metrics
        self._log = log.get_logger("conflicts")
        self._wire: Wire | None = None
        self._rivalry = rivalry
        self._friends: frozenset[bytes] = frozenset()
        self._book = Conflicts(grace_s=standing.grace_s)
        self._trials = Trials()
        self._link: Link | None = None
        self._own: frozenset[bytes] = frozenset()
        self._own_read_at = float("-inf")
        self._stale = False
        self._pending: deque[Sighting] = deque(maxlen=_PENDING)
        self._questions = Questions(self._ask, clock=clock, rng=rng)
        self._doubts: WorkQueue[IPAddress] = WorkQueue(rng=rng)
        self._doubted: dict[IPAddress, bytes] = {}
        self._woken = asyncio.Event()

    def listen_on(self, wire: Wire) -> None:
        """Take the segment, whose frames go to `heard`."""
        self._wire = wire

    # The announcer's face.

    def set_link(self, link: Link | None) -> None:
        """Take the interface that the IPs are on."""
        self._announcer.set_link(link)
        self._link = link
        self._own_read_at = float("-inf")
        self._listen()

    def announce(self, ips: Iterable[IPAddress]) -> None:
        """Announce IPs that have just come up, and watch for others that have them."""
        known = tuple(ips)
        self._announcer.announce(known)
        new = self._watch(known)
        if self._rivalry is not None and self._link is not None and self._link.announces:
            tried = self._trials.up(new, self._clock.monotonic())
            if tried and not self._stale:
                self._questions.begin(tried, after_s=FIRST_S)
                self._woken.set()

    def hold(self, ips: Iterable[IPAddress]) -> None:
        """Watch for others that have IPs which were up before; what is known of them stays."""
        self._trials.found(self._watch(ips))

    def _watch(self, ips: Iterable[IPAddress]) -> Sequence[IPAddress]:
        """Watch for others that have the IPs; return those that were not watched yet."""
        known = self._book.ips()
        new = tuple(ip for ip in ips if ip not in known)
        if new:
            self._book.up(new, self._clock.monotonic())
            if self._stale:
                self._questions.begin(new)
                self._woken.set()
            self._listen()
        return new

    def withdraw(self, ips: Iterable[IPAddress]) -> None:
        """Take note of IPs that are not up any more."""
        gone = tuple(ips)
        self._announcer.withdraw(gone)
        ended = self._book.conflicts().keys() & set(gone)
        self._book.down(gone)
        self._trials.down(gone, self._clock.monotonic())
        self._listen()
        if ended:
            self._report()

    def heard(self, sighting: Sighting) -> None:
        """Take what a station said; from the event loop, at any rate."""
        if sighting.mac not in self._own and _is_station(sighting.mac):
            self._pending.append(sighting)
            self._woken.set()

    async def run(self) -> None:
        """Judge what is heard, and ask while the Lease is stale; until cancelled."""
        while True:
            self._woken.clear()
            self._turn()
            await self._know_own_interfaces()
            self._end_trials()
            self._judge()
            self._make_way()
            self._calm()
            asked = self._book.ips() if self._stale else self._trials.ips()
            wait_s = min(
                _LOOK_S,
                self._until_stale_s(),
                self._questions.send(asked, self._asked),
                self._questions.answers_in_s(),
            )
            try:
                async with asyncio.timeout(wait_s):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def settle(self) -> None:
        """Look into what looks like a conflict, one at a time; until cancelled."""
        while True:
            ip = await self._doubts.get()
            try:
                await self._look_into(ip)
                self._doubted.pop(ip, None)  # what came in meanwhile is answered by the same word
                await self._clock.sleep(1 / DOUBTS_PER_S)
            finally:
                self._doubts.done(ip)

    def _listen(self) -> None:
        if self._wire is not None:
            self._wire.listen(self._link, self._book.ips(), alert=self._stale)

    def _turn(self) -> None:
        """Notice that the Lease is stale, or fresh again."""
        stale = self._standing.stale_in_s() <= 0
        if stale == self._stale:
            return
        self._stale = stale
        if stale:
            self._questions.begin(sorted(self._book.ips(), key=str))
        else:
            self._questions.end()
            self._questions.begin(sorted(self._trials.ips(), key=str))
        self._listen()

    def _until_stale_s(self) -> float:
        # A moment later than exact: the timer may be early by the clock's resolution.
        return _LOOK_S if self._stale else max(0.0, self._standing.stale_in_s()) + 0.001

    async def _know_own_interfaces(self) -> None:
        """Read the MACs of the node when a station is heard that may be one of them.

        And those of other nodes of the cluster.
        """
        if all(s.mac in self._own for s in self._pending):
            return
        now = self._clock.monotonic()
        if now - self._own_read_at < _OWN_S:
            return
        try:
            links = await self._links.links()
        except LinkError as error:
            self._log.warning("own_interfaces_not_read", error=str(error))
        else:
            self._own = frozenset(link.mac for link in links)
        if self._rivalry is not None:
            self._friends = self._rivalry.friends()
        self._own_read_at = now

    def _judge(self) -> None:
        """Decide about all that was heard."""
        leaving = self._standing.leaving() if self._pending else ()
        now = self._clock.monotonic()
        given_up: dict[IPAddress, bytes] = {}
        while self._pending:
            sighting = self._pending.popleft()
            ip, mac = sighting.ip, sighting.mac
            if mac in self._own:
                continue
            match self._verdict(sighting, now, leaving=ip in leaving):
                case Verdict.YIELD:
                    given_up.setdefault(ip, mac)
                case Verdict.DEFEND:
                    self._defend(ip, now)
                case Verdict.DOUBT if ip in self._trials.ips():
                    self._defend(ip, now)  # how it ends is told when it does
                case Verdict.DOUBT if ip not in self._doubted:
                    self._doubted[ip] = mac
                    self._doubts.add_after(ip, self._standing.settle_s)
                case Verdict.DOUBT | Verdict.WAIT | Verdict.IGNORE:
                    pass
        self._give_up(given_up)

    def _verdict(self, sighting: Sighting, now: float, *, leaving: bool) -> Verdict:
        ours = self._rivalry is None or sighting.mac in self._friends
        if not (ours or self._stale or leaving):
            self._trials.heard(sighting, now)
        return self._book.heard(sighting, now, stale=self._stale, leaving=leaving, ours=ours)

    def _give_up(self, ips: Mapping[IPAddress, bytes]) -> None:
        if not ips:
            return
        for ip, mac in ips.items():
            self._log.warning("address_yielded", address=str(ip), mac=mac.hex(":"))
        self._metrics.address_conflicts.labels(outcome="yielded").inc(len(ips))
        self._standing.give_up(ips.keys())

    def _defend(self, ip: IPAddress, now: float) -> None:
        self._book.defended(ip, now)
        self._announcer.repeat(ip)

    async def _look_into(self, ip: IPAddress) -> None:
        """Defend an IP and report a conflict, unless it was moved in order or may have been."""
        mac = self._doubted.get(ip, b"")
        try:
            ours = await self._standing.is_ours(ip)
        except ApiError as error:
            self._log.debug("conflict_unclear", address=str(ip), error=str(error))
            return
        now = self._clock.monotonic()
        if not mac or not ours or self._standing.stale_in_s() <= 0 or ip not in self._book.ips():
            return
        self._defend(ip, now)
        self._metrics.address_conflicts.labels(outcome="defended").inc()
        if self._book.conflict(ip, mac, now):
            self._log.warning("address_conflict", address=str(ip), mac=mac.hex(":"))
            self._report({ip})

    def _calm(self) -> None:
        over = self._book.calm(self._clock.monotonic())
        for ip in over:
            self._log.info("address_conflict_ended", address=str(ip))
        if over:
            self._report()

    def _report(self, began: Collection[IPAddress] = ()) -> None:
        found = {ip: mac.hex(":") for ip, mac in self._book.conflicts().items()}
        self._metrics.addresses_in_conflict.set(len(found))
        self._tell(found, began)

    def _ask(self, ip: IPAddress) -> bool:
        return self._wire is not None and self._wire.ask(ip)

    def _asked(self, ip: IPAddress, now: float) -> None:
        self._book.asked(ip, now)
        self._trials.asked(ip, now)

    def _make_way(self) -> None:
        """Leave the IPs to those that answered for them."""
        now = self._clock.monotonic()
        own = b"" if self._link is None else self._link.mac
        given_up: dict[IPAddress, bytes] = {}
        ceased: dict[IPAddress, Sighting] = {}
        for ip in self._questions.answered():
            if self._stale:
                answerer = self._book.must_yield(ip, now, own=own)
                if answerer:
                    given_up[ip] = answerer
            elif rival := self._trials.judge(ip, now, own=own):
                ceased[ip] = Sighting(ip, rival, Kind.CLAIM)
        self._give_up(given_up)
        self._cease(ceased)

    def _cease(self, ips: Mapping[IPAddress, Sighting]) -> None:
        """Leave IPs that have just come up to stations that are no node of this cluster."""
        if not ips or self._rivalry is None:
            return
        for ip, sighting in ips.items():
            self._log.warning("address_ceased", address=str(ip), mac=sighting.mac.hex(":"))
        self._metrics.address_conflicts.labels(outcome="ceased").inc(len(ips))
        self._rivalry.cease(ips)

    def _end_trials(self) -> None:
        for ip, mac in self._trials.over(self._clock.monotonic()).items():
            self._doubted[ip] = mac
            self._doubts.add(ip)


def _is_station(mac: bytes) -> bool:
    """Whether a frame can come from there: neither a group nor nothing."""
    return any(mac) and not mac[0] & 1
