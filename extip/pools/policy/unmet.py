"""A request that is not met: the reasons, and a sentence about missing and kept addresses. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from extip.net.interfaces import IPAddress
from extip.pools.policy.address_request import AddressRequest
from extip.pools.policy.pools import Pool, Pools
from extip.pools.policy.port_sharing import Asker
from extip.pools.policy.set_aside import Aside
from extip.services.policy.requests import cut


@dataclass(frozen=True, slots=True)
class Found:
    """The addresses of a family that a service may have, and the reasons against others."""

    ips: list[IPAddress] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)
    all_in_use: bool = False
    """Whether pools serve it, and have no free address of the family now."""

    @property
    def is_partial(self) -> bool:
        """Whether pools have some of the addresses, and no free ones beyond."""
        return self.all_in_use and bool(self.ips)


def explain(asker: Asker, lacking: Mapping[int, list[str]], kept: Sequence[IPAddress]) -> str:
    """Return a sentence about missing and kept addresses; empty when the request is met.

    With two families of which one is enough, one address meets the request.
    """
    request = asker.request
    needed = request.every_family or not asker.held
    found = [*request.unclear]
    for version, reasons in lacking.items():
        if needed or of_version((*request.requested, *kept), version) or request.count > 1:
            found += reasons
    if found and request.together and not asker.held:
        found.append(
            "it gets no address until it can have one of each IP family (RequireDualStack)"
        )
    if found and kept:
        found.append(f"it keeps {', '.join(map(str, kept))} until then")
    return "; ".join(dict.fromkeys(found, 0))


def why_none(
    request: AddressRequest, version: int, serving: Sequence[Pool], pools: Pools, aside: Aside
) -> Iterator[str]:
    """Yield the reasons for which the pools that serve a service have no address for it."""
    known = [name for name in request.pools if name in pools.by_name]
    for name in request.pools:
        if name not in known:
            yield f"there is no pool {cut(name)}"
    if serving:
        names = ", ".join(pool.name for pool in serving)
        count = sum(pools.of(ip) in serving for ip in of_version(aside.avoided, version))
        others = f"; other stations have {count} that are set aside" if count else ""
        yield f"no IPv{version} address is free in pool {names}{others}"
    elif closed := [name for name in known if not pools.by_name[name].is_open]:
        yield f"pool {', '.join(closed)} gives no new addresses"
    elif known:
        yield f"no pool of IPv{version} addresses among {', '.join(known)} serves it"
    elif not request.pools:
        yield f"no pool of IPv{version} addresses serves it"


def of_version(ips: Iterable[IPAddress], version: int) -> list[IPAddress]:
    """Return the addresses of an IP version."""
    return [ip for ip in ips if ip.version == version]
