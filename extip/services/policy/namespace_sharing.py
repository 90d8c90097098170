"""Services of several namespaces ask for the same IP → the namespace that has it. Pure.

Services of one namespace share an IP. Services of different namespaces do not, unless the pool of
the IP allows it: any user with the right to create services could put a port on the IP of another
namespace. The current owner keeps the IP while it asks for it. Without a current owner, the IP goes
to the service that was created first. Of services of the same second the one with the smallest uid
gets it.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from extip.net.interfaces import IPAddress, IPInterface
from extip.services.policy.refusal import Reason, Refusal
from extip.services.policy.requests import Owner, Rejection, Requests


def _alone(_ip: IPAddress) -> Collection[str]:
    return ()


def resolve_sharing(
    requests: Requests,
    current_owners: Callable[[IPAddress], Collection[str]],
    together: Callable[[IPAddress], Collection[str]] = _alone,
) -> Requests:
    """Give each IP to the owners of one namespace, and deny it to the others.

    `current_owners` returns the namespaces that have an IP now, `together` those that share it by
    permission. When no IP is contested, the same object is returned. The order and the number of
    owners make no difference.
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
        has = together(interface.ip) or {_first(owners, current_owners(interface.ip)).namespace}
        wanted[interface] = tuple(o for o in owners if o.namespace in has)
        refusal = _refusal(interface.ip, ", ".join(sorted(has)))
        denied += (
            Rejection(str(interface.ip), o, refusal) for o in owners if o.namespace not in has
        )
    if wanted == requests.wanted:
        return requests
    return replace(requests, wanted=wanted, denied=tuple(denied))


def namespaces_of(wanted: Mapping[IPInterface, Iterable[Owner]]) -> dict[IPAddress, frozenset[str]]:
    """Return the namespaces that have each IP: the current owners for the next call."""
    return {
        interface.ip: frozenset(owner.namespace for owner in owners)
        for interface, owners in wanted.items()
    }


def _first(owners: Iterable[Owner], current_owners: Collection[str]) -> Owner:
    def rank(owner: Owner) -> tuple[bool, str, str, Owner]:
        return owner.namespace not in current_owners, owner.created, owner.uid, owner

    return min(owners, key=rank)


def _refusal(ip: IPAddress, namespaces: str) -> Refusal:
    """Name the namespaces only. Its services come and go, and each new text is another Event."""
    return Refusal(
        Reason.OTHER_NAMESPACE,
        f"{ip} is that of namespace {namespaces}, and only services of one namespace share an IP",
    )
