"""Admission: requests x guard → the IPs to bring up, and the reasons against the others. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from extip.guard.policy.rules import Verdicts
from extip.net.interfaces import IPAddress, IPInterface
from extip.services.policy.refusal import Reason, Refusal
from extip.services.policy.requests import Rejection, Requests, cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The admission result of every requested IP."""

    wanted: frozenset[IPInterface]
    rejected: frozenset[Rejection]
    doubtful: frozenset[Rejection] = frozenset()
    """Admitted IPs whose owners get a warning."""
    probed: frozenset[IPInterface] = frozenset()
    """Not decided yet: the probe for them is running."""
    waiting: frozenset[IPInterface] = frozenset()
    """Not decided yet: the probe needs carrier on the interface."""
    unasked: frozenset[IPInterface] = frozenset()
    """Not decided yet: the kernel does not send the frames of the probe."""

    lost_on_trial: frozenset[IPAddress] = frozenset()
    """Refused IPs that were new here and up for moments, until another station turned out to have
    them."""

    links: Mapping[IPInterface, str] = field(default_factory=dict)
    """The interface of each wanted IP, where there may be several; else empty."""

    @property
    def possible(self) -> int:
        """The number of IPs that are not refused: they come up now or later."""
        return len(self.wanted) + len(self.probed) + len(self.waiting) + len(self.unasked)


def combined(admissions: Sequence[Admission | None]) -> Admission | None:
    """Return the admissions of several interfaces as one; None while one is not known."""
    known = [one for one in admissions if one is not None]
    if len(known) < len(admissions) or not known:
        return None
    first, *more = known
    if not more:
        return first
    return replace(
        first,
        wanted=first.wanted.union(*(one.wanted for one in more)),
        rejected=first.rejected.union(*(one.rejected for one in more)),
        probed=first.probed.union(*(one.probed for one in more)),
        waiting=first.waiting.union(*(one.waiting for one in more)),
        unasked=first.unasked.union(*(one.unasked for one in more)),
        lost_on_trial=first.lost_on_trial.union(*(one.lost_on_trial for one in more)),
    )


def admit(requests: Requests, verdicts: Verdicts) -> Admission:
    """Admit every request, or refuse it with a reason."""
    wanted: set[IPInterface] = set()
    rejected = {
        Rejection(shown, owner, Refusal(Reason.MALFORMED, f"{shown!r} is not an IP address"))
        for text, owners in requests.malformed.items()
        for shown in (cut(text),)
        for owner in owners
    }
    rejected.update(requests.denied)
    for interface, owners in requests.wanted.items():
        refusal = verdicts.refuse(interface)
        if refusal is None:
            wanted.add(interface)
        else:
            rejected.update(Rejection(str(interface.ip), owner, refusal) for owner in owners)
    doubtful = (
        Rejection(str(interface.ip), owner, doubt)
        for interface, doubt in verdicts.doubts(wanted).items()
        for owner in requests.wanted[interface]
    )
    return Admission(
        wanted=frozenset(wanted), rejected=frozenset(rejected), doubtful=frozenset(doubtful)
    )
