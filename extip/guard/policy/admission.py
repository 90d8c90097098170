"""Admission: requests x guard → the IPs to bring up, and the reasons against the others. Pure."""

from dataclasses import dataclass

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

    @property
    def possible(self) -> int:
        """The number of IPs that are not refused: they come up now or later."""
        return len(self.wanted) + len(self.probed) + len(self.waiting) + len(self.unasked)


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
