"""Requests x surroundings → which addresses to bring up, and why not the others."""

from dataclasses import dataclass

from extip.plan.guard import Verdicts
from extip.plan.link import IPInterface
from extip.plan.refusal import Reason, Refusal
from extip.plan.requests import Rejection, Requests, cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Desire:
    """The outcome for every IP that somebody asks for."""

    wanted: frozenset[IPInterface]
    rejected: frozenset[Rejection]
    doubtful: frozenset[Rejection] = frozenset()
    """Those that are wanted all the same, and whose owners ought to know what is odd."""
    probed: frozenset[IPInterface] = frozenset()
    """Neither yet: it is being found out whether another station has them."""
    waiting: frozenset[IPInterface] = frozenset()
    """Neither yet: that can be found out only when the interface has carrier."""
    unasked: frozenset[IPInterface] = frozenset()
    """Neither yet: the kernel sends none of the frames that would find it out."""

    @property
    def possible(self) -> int:
        """How many IPs may come up, now or later: all that are not refused."""
        return len(self.wanted) + len(self.probed) + len(self.waiting) + len(self.unasked)


def decide(requests: Requests, verdicts: Verdicts) -> Desire:
    """Judge every request; each one is either wanted or refused with a reason."""
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
    return Desire(
        wanted=frozenset(wanted), rejected=frozenset(rejected), doubtful=frozenset(doubtful)
    )
