"""Whether a cluster at rest is as its services ask, no more and no less."""

from collections import Counter
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service and the IPs that it shows."""

    name: str
    uid: str
    ips: tuple[str, ...]


def by_ip(services: Iterable[Service]) -> dict[str, set[str]]:
    """Return the names of the services of each IP."""
    found: dict[str, set[str]] = {}
    for service in services:
        for ip in service.ips:
            found.setdefault(ip, set()).add(service.name)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """IPs as services, claims, pools and interfaces have them."""

    wanted: Mapping[str, AbstractSet[str]]
    """By IP: the services that have it."""
    waiting: AbstractSet[str] = frozenset()
    """Services that ask for an address of a pool and have none."""
    claimed: Mapping[str, str]
    """By IP: the node of its claim."""
    up: Mapping[str, AbstractSet[str]]
    """By IP: the nodes that have it on their interface."""
    allocated: AbstractSet[str] = frozenset()
    """IPs that the pool says it has given."""
    pool: AbstractSet[str] = frozenset()
    """All addresses of the pool."""
    nodes: AbstractSet[str] = frozenset()
    """All nodes; each may have any IP."""
    shared: AbstractSet[str] = field(default_factory=frozenset)
    """IPs that several services may have."""


def unsettled(state: State) -> list[str]:
    """Return what is lost, leaked or double; nothing in a cluster at rest."""
    found = [f"{service} waits for an address" for service in sorted(state.waiting)]
    for ip in sorted(state.wanted):
        if ip not in state.claimed:
            found.append(f"{ip} is lost: {_names(state.wanted[ip])} has it, and there is no claim")
        elif not state.up.get(ip):
            found.append(f"{ip} is lost: claimed for {state.claimed[ip]}, up nowhere")
    found += [f"claim of {ip} leaked: no service has it" for ip in _beyond(state, state.claimed)]
    for ip, nodes in sorted(state.up.items()):
        if ip not in state.claimed:
            found.append(f"address {ip} leaked: up on {_names(nodes)}, and there is no claim")
        elif nodes != {state.claimed[ip]}:
            found.append(f"{ip} is claimed for {state.claimed[ip]} and up on {_names(nodes)}")
    given = {ip for ip in state.wanted if ip in state.pool}
    found += [f"pool: {ip} is given to nobody" for ip in sorted(state.allocated - given)]
    found += [f"pool: {ip} is not told as given" for ip in sorted(given - state.allocated)]
    found += _uneven(state)
    return found + twice(state.wanted, state.shared)


def _uneven(state: State) -> list[str]:
    has = Counter(state.claimed.values())
    counts = {node: has[node] for node in sorted(state.nodes)}
    if not counts or max(counts.values()) - min(counts.values()) <= 1:
        return []
    return ["uneven: " + ", ".join(f"{node} has {count}" for node, count in counts.items())]


def twice(
    wanted: Mapping[str, AbstractSet[str]], shared: AbstractSet[str] = frozenset()
) -> list[str]:
    """Return the IPs that several services have and may not share."""
    return [
        f"{ip} is given twice: to {_names(services)}"
        for ip, services in sorted(wanted.items())
        if len(services) > 1 and ip not in shared
    ]


def _beyond(state: State, ips: Mapping[str, object]) -> list[str]:
    return sorted(set(ips) - set(state.wanted))


def _names(names: AbstractSet[str]) -> str:
    return ", ".join(sorted(names))
