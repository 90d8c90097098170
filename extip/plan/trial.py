"""An IP has just come up here, and a station that is no node of this cluster has it → who keeps it.

A takeover does not ask first whether the IP is free, and of two clusters that share a segment and
an IP both may take it over when its holder dies. So an IP is on trial for `TRIAL_S` after it came
up: others are asked for it, beside the traffic that it has already. It is the conflict of RFC 5227
section 2.4, and ends by a rule that both ends apply without a word to each other:

- Whoever is past its trial was there first, and stays (as `extip.plan.conflict` has it).
- One that is on trial ceases to use the IP when the other one has the lower MAC, and also when the
  other one is still there `PATIENCE_S` later: that one is past its trial, or knows no such rule.

So of two on trial the one with the lower MAC stays: the other one has asked at least once within
`PATIENCE_S`, and made way. What counts is an answer to a question; where the segment cannot be
asked, an announcement. Forged frames can end a trial, as they could keep a new IP from coming up;
they take nothing away from one that is past it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf

from extip.plan.conflict import ANSWER_S, ASK_S, RIVAL_S
from extip.plan.link import IPAddress
from extip.plan.sighting import Kind, Sighting

TRIAL_S = 3.0
"""Longer than all announcements of an IP that comes up: whoever has it had reason to speak."""

FIRST_S = 0.5
"""Until the first question: what takes over a thousand IPs has more urgent frames to send."""

PATIENCE_S = 1.5 * ASK_S
"""A rival that is still there after that does not make way: had it been on trial, it would have."""

RETURN_S = 10.0
"""One that is past its trial, and was away for no longer than that, is not tried again: somebody
removed it by hand, or the interface was down."""

_RIVALS = 8
"""Most stations that are remembered for one IP: whoever forges more gains nothing."""


@dataclass(slots=True)
class _Trial:
    up_at: float
    asked_at: float = -inf
    asked: bool = False
    """A question is under way."""
    answered: set[bytes] = field(default_factory=set)
    """Who answered the question."""
    spoke: set[bytes] = field(default_factory=set)
    """Who announced the IP since the last question."""
    rivals: dict[bytes, float] = field(default_factory=dict)
    """Who had the IP at the last round, and since when."""
    opposed_at: float = -inf
    other: bytes = b""
    """Whom it was heard from last; empty for nobody."""


class Trials:
    """The IPs on trial; a plain value that takes the time, in seconds on any clock."""

    def __init__(self) -> None:
        self._trials: dict[IPAddress, _Trial] = {}
        self._proven: set[IPAddress] = set()
        self._left: dict[IPAddress, float] = {}

    def ips(self) -> frozenset[IPAddress]:
        """Return the IPs on trial."""
        return frozenset(self._trials)

    def up(self, ips: Iterable[IPAddress], now: float) -> list[IPAddress]:
        """Note that IPs came up; return those that are on trial now."""
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
        """Note that IPs were up already: they are past their trial."""
        self._proven.update(ips)

    def down(self, ips: Iterable[IPAddress], now: float) -> None:
        """Note that IPs are not up any more."""
        for ip in ips:
            self._trials.pop(ip, None)
            if ip in self._proven:
                self._proven.remove(ip)
                self._left[ip] = now

    def asked(self, ip: IPAddress, now: float) -> None:
        """Note that the segment was asked who else has an IP."""
        trial = self._trials.get(ip)
        if trial is not None:
            trial.asked_at, trial.asked = now, True
            trial.answered.clear()

    def heard(self, sighting: Sighting, now: float) -> None:
        """Take what a station said that is no node of this cluster."""
        trial = self._trials.get(sighting.ip)
        if trial is None or sighting.kind is not Kind.CLAIM:
            return
        trial.opposed_at, trial.other = now, sighting.mac
        in_time = trial.asked and now - trial.asked_at <= ANSWER_S
        stations = trial.answered if in_time else trial.spoke
        if len(stations) < _RIVALS:
            stations.add(sighting.mac)

    def judge(self, ip: IPAddress, now: float, *, own: bytes) -> bytes:
        """End a round of questions; return who is to have the IP, empty when it stays for now.

        To be called `ANSWER_S` after a question was due, whether it could be sent or not. `own` is
        the MAC that the IP has here.
        """
        trial = self._trials.get(ip)
        if trial is None:
            return b""
        present = trial.answered if trial.asked else trial.spoke
        trial.rivals = {mac: trial.rivals.get(mac, now) for mac in present}
        trial.asked, trial.answered, trial.spoke = False, set(), set()
        for mac, since in sorted(trial.rivals.items()):
            if mac < own or now - since >= PATIENCE_S:
                del self._trials[ip]
                return mac
        return b""

    def over(self, now: float) -> Mapping[IPAddress, bytes]:
        """End the trials whose time is over; return the IPs that stayed against another station.

        With its MAC. A trial goes on for as long as another station was heard lately.
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
