"""IPs that no pool has → the IpClaimPools to make for them. Pure."""

from collections.abc import Collection, Iterable, Iterator
from ipaddress import ip_network
from itertools import count

from extip.api.ipcontroller_v1 import IpClaimPool, IpClaimPoolSpec
from extip.api.meta_v1 import FullObjectMeta
from extip.api.names import INSTANCE_LABEL
from extip.api.pool_parts import MAX_NETWORKS, IpClaimPoolNetwork
from extip.api.ranges import MAX_RANGES
from extip.net.interfaces import IPInterface, prefix_length
from extip.net.networks import IPNetwork

_NAME = "external-ips"


def missing_pools(
    missing: Iterable[IPInterface], taken: Collection[str], instance: str
) -> list[IpClaimPool]:
    """Return pools with exactly these IPs, which keep their prefix lengths there.

    Services that ask for any address get none of them. `taken` has the names of other pools;
    `instance` is the extip that gives the addresses.
    """
    networks = list(_networks(missing))
    labels = {INSTANCE_LABEL: instance} if instance else None
    names = (name for name in _names() if name not in taken)
    return [
        IpClaimPool(
            metadata=FullObjectMeta(name=next(names), labels=labels),
            spec=IpClaimPoolSpec(
                networks=tuple(networks[first : first + MAX_NETWORKS]), auto_assign=False
            ),
        )
        for first in range(0, len(networks), MAX_NETWORKS)
    ]


def _names() -> Iterator[str]:
    yield _NAME
    for number in count(2):
        yield f"{_NAME}-{number}"


def _networks(missing: Iterable[IPInterface]) -> Iterator[IpClaimPoolNetwork]:
    """Yield networks; IPs of one network are ranges of it."""
    grouped: dict[IPNetwork, set[int]] = {}
    for one in missing:
        grouped.setdefault(_network_of(one), set()).add(int(one.ip))
    for network, values in sorted(grouped.items(), key=_place):
        if network.num_addresses == 1:
            yield IpClaimPoolNetwork(cidr=str(network))
            continue
        spans = [(_text(network, first), _text(network, last)) for first, last in _spans(values)]
        for at in range(0, len(spans), MAX_RANGES):
            yield IpClaimPoolNetwork(cidr=str(network), ranges=tuple(spans[at : at + MAX_RANGES]))


def _network_of(one: IPInterface) -> IPNetwork:
    """Return the network of an IP; a pool never gives the first and the last address of one."""
    network = ip_network(f"{one.ip}/{prefix_length(one)}", strict=False)
    edges = network.network_address, network.broadcast_address
    return ip_network(str(one.ip)) if one.ip in edges else network


def _spans(values: Iterable[int]) -> list[tuple[int, int]]:
    """Return the first and last numbers of runs without a gap."""
    spans: list[tuple[int, int]] = []
    for value in sorted(values):
        if spans and spans[-1][1] == value - 1:
            spans[-1] = spans[-1][0], value
        else:
            spans.append((value, value))
    return spans


def _text(network: IPNetwork, value: int) -> str:
    return str(network[value - int(network.network_address)])


def _place(item: tuple[IPNetwork, set[int]]) -> tuple[int, int, int]:
    network = item[0]
    return network.version, int(network.network_address), network.prefixlen
