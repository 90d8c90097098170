"""Watches the segment for other stations that announce, or answer for, an IP that is up here.

It follows the local addresses. `policy.defence` and `policy.trial` decide;
`Fencing` tells whether this node may have been replaced.

Guarantees: while the Lease is fresh, no frame takes away an IP whose trial is over. Each IP is
defended at most once in `DEFEND_INTERVAL_S`. While the Lease is stale, an IP is yielded within
milliseconds of the first frame by which another station speaks for it. Each IP is then asked for
every `ASK_S`, as far as `OwnerPolling` allows. The node's own interfaces are never another station.

It does not guarantee a verdict for each frame of a storm: `_PENDING` frames wait at most.

The owner tasks are `ConflictWatch.run` and `ConflictWatch.verify_conflicts`; the other methods may
be called from any task of the loop.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from random import Random

from extip import log
from extip.addresses.conflict.owner_polling import OwnerPolling
from extip.addresses.conflict.policy.defence import ANSWER_S, Conflicts, Reaction
from extip.addresses.conflict.policy.trial import FIRST_S, Trials
from extip.addresses.local_addresses import AddressListener
from extip.addresses.ports import ConflictWire, Fencing, LinkTable
from extip.addresses.stations import Rivals
from extip.clock import Clock
from extip.errors import ApiError, LinkError
from extip.metrics import Metrics
from extip.net.interfaces import IPAddress, Link
from extip.net.neighbour_events import FrameKind, NeighbourEvent
from extip.trigger import Trigger
from extip.workqueue import WorkQueue

VERIFICATIONS_PER_S = 20.0
"""Verifications of conflicts a second: each may cost a request to the API server."""

_PENDING = 4096
"""Maximum of frames that wait to be judged; the socket holds no more either."""

_OWN_S = 1.0
"""Maximum age, in seconds, of the known MACs when a station is taken for another one."""

_LOOK_S = 5.0
"""Seconds between two checks whether a conflict is over."""

_LISTEN_S = 1.2 * ANSWER_S
"""Seconds for which a node that is stale listens before it asks. Another one may have asked just
before, unheard: each of both would take the other for its successor, and make way."""


ConflictHandler = Callable[[Mapping[IPAddress, str], Collection[IPAddress]], None]
"""Takes all conflicts, each with the MAC of the other station, and the IPs of the new ones."""


class ConflictWatch(AddressListener):
    """Watches for other stations that have the IPs which are up."""

    def __init__(  # noqa: PLR0913 - a composition of parts
        self,
        fencing: Fencing,
        *,
        repeat: Callable[[IPAddress], None],
        links: LinkTable,
        clock: Clock,
        rng: Random,
        metrics: Metrics,
        rivals: Rivals | None = None,
    ) -> None:
        """Compose.

        Without `rivals` no IP is on trial, and every station may be a node of this cluster.
        """
        self._fencing = fencing
        self._repeat = repeat
        self._links = links
        self._handlers: list[ConflictHandler] = []
        self._clock = clock
        self._metrics = metrics
        self._log = log.get_logger("conflicts")
        self._wire: ConflictWire | None = None
        self._rivals = rivals
        self._cluster_macs: frozenset[bytes] = frozenset()
        self._conflicts = Conflicts(grace_s=fencing.grace_s)
        self._trials = Trials()
        self._lured: set[IPAddress] = set()
        """IPs on trial whose clients a former holder's answer has just drawn to itself."""
        self._link: Link | None = None
        self._own: frozenset[bytes] = frozenset()
        self._own_read_at = float("-inf")
        self._stale = False
        self._pending: deque[NeighbourEvent] = deque(maxlen=_PENDING)
        self._polling = OwnerPolling(self._ask, clock=clock, rng=rng)
        self._unverified: WorkQueue[IPAddress] = WorkQueue(rng=rng)
        self._claimants: dict[IPAddress, bytes] = {}
        self._counted = 0
        """Conflicts in the metric, which counts those on all interfaces."""
        self._triggered = Trigger()

    def add_handler(self, handler: ConflictHandler) -> None:
        """Have `handler` called when conflicts begin and end."""
        self._handlers.append(handler)

    def listen_on(self, wire: ConflictWire) -> None:
        """Listen on this segment; its events go to `on_neighbour_event`."""
        self._wire = wire

    def set_link(self, link: Link | None) -> None:
        """Take the interface that the IPs are on."""
        before = self._link
        if link and link.carrier and before and link.was_cut_since(before):
            self._conflicts.end_grace()
        self._link = link
        self._own_read_at = float("-inf")
        self._listen()

    def announce(self, ips: Iterable[IPAddress]) -> None:
        """Watch IPs that have just come up; their trial begins."""
        new = self._watch(ips)
        if self._rivals is not None and self._link is not None and self._link.announces:
            tried = self._trials.up(new, self._clock.monotonic())
            if tried and not self._stale:
                self._polling.begin(tried, after_s=FIRST_S)
                self._triggered.set()

    def hold(self, ips: Iterable[IPAddress]) -> None:
        """Watch IPs that were up before this process; they need no trial."""
        self._trials.found(self._watch(ips))

    def _watch(self, ips: Iterable[IPAddress]) -> Sequence[IPAddress]:
        """Watch the IPs; return those that were not watched yet."""
        known = self._conflicts.ips()
        new = tuple(ip for ip in ips if ip not in known)
        if new:
            self._conflicts.up(new, self._clock.monotonic())
            if self._stale:
                self._polling.begin(new)
                self._triggered.set()
            self._listen()
        return new

    def withdraw(self, ips: Iterable[IPAddress]) -> None:
        """Stop watching IPs that are not up any more."""
        gone = tuple(ips)
        ended = self._conflicts.conflicts().keys() & set(gone)
        self._conflicts.down(gone)
        self._trials.down(gone, self._clock.monotonic())
        self._listen()
        if ended:
            self._report()

    def on_neighbour_event(self, event: NeighbourEvent) -> None:
        """Take a station's event; call it from the event loop."""
        if event.mac not in self._own and _is_station(event.mac):
            self._pending.append(event)
            self._triggered.set()

    async def run(self) -> None:
        """Judge events, and ask for the IPs while the Lease is stale; until cancelled."""
        while True:
            self._triggered.clear()
            self._notice_staleness()
            await self._read_macs()
            self._end_trials()
            self._judge_events()
            self._make_way()
            self._calm()
            asked = self._conflicts.ips() if self._stale else self._trials.ips()
            wait_s = min(
                _LOOK_S,
                self._until_stale_s(),
                self._polling.send(asked, self._on_asked),
                self._polling.answers_in_s(),
            )
            await self._triggered.wait_at_most(wait_s)

    async def verify_conflicts(self) -> None:
        """Verify possible conflicts, one at a time; until cancelled."""
        while True:
            ip = await self._unverified.get()
            try:
                await self._verify(ip)
                self._claimants.pop(
                    ip, None
                )  # later events about it are answered by this verification
                await self._clock.sleep(1 / VERIFICATIONS_PER_S)
            finally:
                self._unverified.done(ip)

    def _listen(self) -> None:
        if self._wire is not None:
            self._wire.listen(self._link, self._conflicts.ips(), alert=self._stale)

    def _notice_staleness(self) -> None:
        """Notice that the Lease is stale, or fresh again."""
        stale = self._fencing.stale_in_s() <= 0
        if stale == self._stale:
            return
        self._stale = stale
        self._polling.end()
        if stale:
            self._polling.begin(sorted(self._conflicts.ips(), key=str), after_s=_LISTEN_S)
        else:
            self._polling.begin(sorted(self._trials.ips(), key=str))
        self._listen()

    def _until_stale_s(self) -> float:
        # A moment later than exact: the timer may be early by the clock's resolution.
        return _LOOK_S if self._stale else max(0.0, self._fencing.stale_in_s()) + 0.001

    async def _read_macs(self) -> None:
        """Read the MACs of this node and of the cluster, when a station may be one of them."""
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
        if self._rivals is not None:
            self._cluster_macs = self._rivals.cluster_macs()
        self._own_read_at = now

    def _judge_events(self) -> None:
        """Judge all events that wait."""
        leaving = self._fencing.leaving() if self._pending else ()
        now = self._clock.monotonic()
        yielded: dict[IPAddress, bytes] = {}
        while self._pending:
            event = self._pending.popleft()
            ip, mac = event.ip, event.mac
            if mac in self._own:
                continue
            match self._reaction(event, now, leaving=ip in leaving):
                case Reaction.YIELD:
                    yielded.setdefault(ip, mac)
                case Reaction.DEFEND:
                    self._defend(ip, now)
                case Reaction.VERIFY if ip in self._trials.ips() and not self._may_be_ours(mac):
                    self._defend(ip, now)  # the end of the trial reports it
                case Reaction.VERIFY if ip not in self._claimants:
                    self._claimants[ip] = mac
                    self._unverified.add_after(ip, self._fencing.settle_s)
                case Reaction.VERIFY | Reaction.WAIT | Reaction.IGNORE:
                    pass
        self._yield(yielded)

    def _reaction(self, event: NeighbourEvent, now: float, *, leaving: bool) -> Reaction:
        ours = self._may_be_ours(event.mac)
        if not (ours or self._stale or leaving):
            self._trials.on_neighbour_event(event, now)
        elif ours and event.kind is FrameKind.ANNOUNCEMENT and event.ip in self._trials.ips():
            self._lured.add(event.ip)
        return self._conflicts.on_neighbour_event(
            event, now, stale=self._stale, leaving=leaving, ours=ours
        )

    def _may_be_ours(self, mac: bytes) -> bool:
        """Whether a station may be a node of this cluster."""
        return self._rivals is None or mac in self._cluster_macs

    def _yield(self, ips: Mapping[IPAddress, bytes]) -> None:
        if not ips:
            return
        for ip, mac in ips.items():
            self._log.warning("address_yielded", address=str(ip), mac=mac.hex(":"))
        self._metrics.address_conflicts.labels(outcome="yielded").inc(len(ips))
        self._fencing.yield_ips(ips.keys())

    def _defend(self, ip: IPAddress, now: float) -> None:
        self._conflicts.defended(ip, now)
        self._repeat(ip)

    async def _verify(self, ip: IPAddress) -> None:
        """Defend an IP and report a conflict, unless the IP was moved in order or may have been."""
        mac = self._claimants.get(ip, b"")
        try:
            ours = await self._fencing.is_ours(ip)
        except ApiError as error:
            self._log.debug("conflict_unclear", address=str(ip), error=str(error))
            return
        now = self._clock.monotonic()
        if (
            not mac
            or not ours
            or self._fencing.stale_in_s() <= 0
            or ip not in self._conflicts.ips()
        ):
            return
        self._defend(ip, now)
        self._metrics.address_conflicts.labels(outcome="defended").inc()
        if self._conflicts.conflict(ip, mac, now):
            self._log.warning("address_conflict", address=str(ip), mac=mac.hex(":"))
            self._report({ip})

    def _calm(self) -> None:
        over = self._conflicts.calm(self._clock.monotonic())
        for ip in over:
            self._log.info("address_conflict_ended", address=str(ip))
        if over:
            self._report()

    def _report(self, began: Collection[IPAddress] = ()) -> None:
        found = {ip: mac.hex(":") for ip, mac in self._conflicts.conflicts().items()}
        self._metrics.addresses_in_conflict.inc(len(found) - self._counted)
        self._counted = len(found)
        for handler in self._handlers:
            handler(found, began)

    def _ask(self, ip: IPAddress) -> bool:
        return self._wire is not None and self._wire.ask(ip)

    def _on_asked(self, ip: IPAddress, now: float) -> None:
        self._conflicts.on_asked(ip, now)
        self._trials.on_asked(ip, now)

    def _make_way(self) -> None:
        """Leave IPs to the stations that answered for them."""
        now = self._clock.monotonic()
        own = b"" if self._link is None else self._link.mac
        yielded: dict[IPAddress, bytes] = {}
        ceased: dict[IPAddress, NeighbourEvent] = {}
        for ip in self._polling.answered():
            if self._stale:
                answerer = self._conflicts.must_yield(ip, now, own=own)
                if answerer:
                    yielded[ip] = answerer
            elif rival := self._trials.judge(ip, now, own=own):
                ceased[ip] = NeighbourEvent(ip, rival, FrameKind.ANNOUNCEMENT)
            elif ip in self._lured and ip.version == 6:  # noqa: PLR2004 - IPv6 answers go to all
                self._repeat(ip)
            self._lured.discard(ip)
        self._yield(yielded)
        self._cease(ceased)

    def _cease(self, ips: Mapping[IPAddress, NeighbourEvent]) -> None:
        """Leave IPs that have just come up to stations outside this cluster."""
        if not ips or self._rivals is None:
            return
        for ip, event in ips.items():
            self._log.warning("address_ceased", address=str(ip), mac=event.mac.hex(":"))
        self._metrics.address_conflicts.labels(outcome="ceased").inc(len(ips))
        self._rivals.cease(ips)

    def _end_trials(self) -> None:
        for ip, mac in self._trials.over(self._clock.monotonic()).items():
            self._claimants[ip] = mac
            self._unverified.add(ip)


def _is_station(mac: bytes) -> bool:
    """Return whether a frame can come from this MAC: neither a group address nor zero."""
    return any(mac) and not mac[0] & 1
