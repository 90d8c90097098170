"""Decides between this node and a station outside this cluster that has an IP, too.

An IP that has just come up may be such a one, since a takeover does not probe first. Two clusters
that share a segment and an IP may both take it over when its holder dies. So an IP is on trial for
`TRIAL_S` after it came up: this node asks for it, while it serves traffic already. This is the
conflict of RFC 5227 section 2.4. It ends by a rule that both nodes apply on their own:

- A node whose trial of the IP is over was there first, and keeps it (see `defence`).
- A node whose trial runs ceases to use the IP when the other station has the lower MAC. It also
  ceases when the other station is still there after `PATIENCE_S`: that station's trial is over, or
  it knows no such rule.

So of two nodes on trial the one with the lower MAC keeps the IP. The other one asks at least once
within `PATIENCE_S`, and makes way.

An answer to a question counts; where no question can be sent, an announcement counts. Forged frames
can end a trial, as they can keep a new IP from coming up. They cannot take an IP away after its
trial.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from math import inf

from extip.addresses.conflict.policy.defence import ANSWER_S, ASK_S, RIVAL_S
from extip.net.interfaces import IPAddress
from extip.net.neighbour_events import FrameKind, NeighbourEvent

TRIAL_S = 3.0
"""Longer than all announcements of an IP that comes up: its other holder had reason to speak."""

FIRST_S = 0.5
"""Seconds to the first question: a takeover of a thousand IPs has more urgent frames to send."""

PATIENCE_S = 1.5 * ASK_S
"""A rival that is still there after these seconds does not make way: one on trial would have."""

RETURN_S = 10.0
"""An IP past its trial that was away for at most these seconds gets no second trial. Somebody
removed it by hand, or the interface was down."""

_RIVALS = 8
"""Maximum of stations remembered for one IP: forged MACs gain nothing beyond it."""


@dataclass(slots=True)
class _Trial:
    up_at: float
    asked_at: float = -inf
    asking: bool = False
    """A question is under way."""
    answered: set[bytes] = field(default_factory=set)
    """MACs of the stations that answered it."""
    spoke: set[bytes] = field(default_factory=set)
    """MACs of the stations that announced the IP since the last question."""
    rivals: dict[bytes, float] = field(default_factory=dict)
    """MACs of the stations that had the IP in the last round, and since when."""
    opposed_at: float = -inf
    other: bytes = b""
    """MAC of the station that was heard last; empty for none."""


class Trials:
    """The IPs on trial; a plain value that takes the time, in seconds on any clock."""

    def __init__(self) -> None:
        self._trials: dict[IPAddress, _Trial] = {}
        self._proven: set[IPAddress] = set()
        self._left: dict[IPAddress, float] = {}

    def ips(self) -> AbstractSet[IPAddress]:
        """Return the IPs on trial, as they are at any time."""
        return self._trials.keys()

    def up(self, ips: Iterable[IPAddress], now: float) -> list[IPAddress]:
        """Record IPs that came up; return those whose trial begins."""
        self._left = {ip: at for ip, at in self._left.items() if now - at <= RETURN_S}
        found = []
        for ip in ips:
            if ip in self._left:
                self._proven.add(ip)
                del self._left[ip]
            else:
                self._trials[ip] = _Trial(up_at=now)
                found.append(ip)
        return found

    def found(self, ips: Iterable[IPAddress]) -> None:
        """Record IPs that were up before this process: their trial is over."""
        self._proven.update(ips)

    def down(self, ips: Iterable[IPAddress], now: float) -> None:
        """Record IPs that are not up any more."""
        for ip in ips:
            self._trials.pop(ip, None)
            if ip in self._proven:
                self._proven.remove(ip)
                self._left[ip] = now

    def on_asked(self, ip: IPAddress, now: float) -> None:
        """Record that this node asked the segment who else has an IP."""
        trial = self._trials.get(ip)
        if trial is not None:
            trial.asked_at, trial.asking = now, True
            trial.answered.clear()

    def on_neighbour_event(self, event: NeighbourEvent, now: float) -> None:
        """Record a frame of a station outside this cluster."""
        trial = self._trials.get(event.ip)
        if trial is None or event.kind is not FrameKind.ANNOUNCEMENT:
            return
        trial.opposed_at, trial.other = now, event.mac
        in_time = trial.asking and now - trial.asked_at <= ANSWER_S
        stations = trial.answered if in_time else trial.spoke
        if len(stations) < _RIVALS:
            stations.add(event.mac)

    def judge(self, ip: IPAddress, now: float, *, own: bytes) -> bytes:
        """End a round of questions; return the MAC that gets the IP, empty when it stays for now.

        Call it `ANSWER_S` after a question was due, sent or not. `own` is the MAC that the IP has
        here.
        """
        trial = self._trials.get(ip)
        if trial is None:
            return b""
        present = trial.answered if trial.asking else trial.spoke
        trial.rivals = {mac: trial.rivals.get(mac, now) for mac in present}
        trial.asking, trial.answered, trial.spoke = False, set(), set()
        for mac, since in sorted(trial.rivals.items()):
            if mac < own or now - since >= PATIENCE_S:
                del self._trials[ip]
                return mac
        return b""

    def over(self, now: float) -> Mapping[IPAddress, bytes]:
        """End the trials whose time is over; return the IPs that stayed against another station.

        Each comes with the MAC of that station. A trial goes on while another station was heard
        within `RIVAL_S`.
        """
        ended = {
            ip: trial.other
            for ip, trial in self._trials.items()
            if now - trial.up_at >= TRIAL_S and now - trial.opposed_at > RIVAL_S
        }
        for ip in ended:
            del self._trials[ip]
        self._proven.update(ended)
        return {ip: other for ip, other in ended.items() if other}
