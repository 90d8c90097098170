"""Requests x surroundings → which addresses to bring up, and why not the others."""

from dataclasses import dataclass

from extip.plan.guard import Guard, Reason, Refusal, Surroundings
from extip.plan.link import IPInterface
from extip.plan.requests import Owner, Requests


@dataclass(frozen=True, slots=True)
class Rejection:
    """One owner does not get one IP."""

    text: str
    """The IP, or what was written in its place."""
    owner: Owner
    refusal: Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Desire:
    """The outcome for every IP that somebody asks for."""

    wanted: frozenset[IPInterface]
    rejected: frozenset[Rejection]


def decide(requests: Requests, *, guard: Guard, around: Surroundings) -> Desire:
    """Judge every request; each one is either wanted or refused with a reason."""
    wanted: set[IPInterface] = set()
    rejected = {
        Rejection(text, owner, Refusal(Reason.MALFORMED, f"{text!r} is not an IP address"))
        for text, owners in requests.malformed.items()
        for owner in owners
    }
    for interface, owners in requests.wanted.items():
        refusal = guard.refuse(interface, around)
        if refusal is None:
            wanted.add(interface)
        else:
            rejected.update(Rejection(str(interface.ip), owner, refusal) for owner in owners)
    return Desire(wanted=frozenset(wanted), rejected=frozenset(rejected))
