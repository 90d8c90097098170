"""The same IP, wanted by services of several namespaces → who has it. Pure.

Services of one namespace share an IP. Across namespaces it is one's alone, or anybody who may
create services could put a port on the IP of others. Whoever has it keeps it while they ask for it;
when nobody has it, it goes to the service that was created first, then to that of the smallest uid.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from extip.plan.link import IPAddress, IPInterface
from extip.plan.refusal import Reason, Refusal
from extip.plan.requests import Owner, Rejection, Requests


def settle_contests(requests: Requests, having: Callable[[IPAddress], Collection[str]]) -> Requests:
    """Leave each IP to owners of one namespace; the others are denied it.

    `having` returns the namespaces that have an IP by now. Returns the very same object when
    nothing is contested; order and number of owners make no difference.
    """
    contested = {
        interface: owners
        for interface, owners in requests.wanted.items()
        if len(owners) > 1 and any(o.namespace != owners[0].namespace for o in owners)
    }
    if not contested:
        return requests
    wanted = dict(requests.wanted)
    denied = list(requests.denied)
    for interface, owners in contested.items():
        first = _first(owners, having(interface.ip))
        wanted[interface] = tuple(o for o in owners if o.namespace == first.namespace)
        refusal = _refusal(interface.ip, first.namespace)
        denied += (
            Rejection(str(interface.ip), o, refusal)
            for o in owners
            if o.namespace != first.namespace
        )
    return replace(requests, wanted=wanted, denied=tuple(denied))


def namespaces_of(wanted: Mapping[IPInterface, Iterable[Owner]]) -> dict[IPAddress, frozenset[str]]:
    """Return which namespaces have each IP, for the next contest."""
    return {
        interface.ip: frozenset(owner.namespace for owner in owners)
        for interface, owners in wanted.items()
    }


def _first(owners: Iterable[Owner], having: Collection[str]) -> Owner:
    def rank(owner: Owner) -> tuple[bool, str, str, Owner]:
        return owner.namespace not in having, owner.created, owner.uid, owner

    return min(owners, key=rank)


def _refusal(ip: IPAddress, namespace: str) -> Refusal:
    """Name the namespace alone: its services come and go, and each text is told anew."""
    return Refusal(
        Reason.OTHER_NAMESPACE,
        f"{ip} is that of namespace {namespace}, and only services of one namespace share an IP",
    )
