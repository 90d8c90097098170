"""What a service was allocated x what it says → what to write to it.

Only addresses that are claimed are written. While a new one is not claimed yet, or not up, the one
that it replaces stays.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from extip.api.core_v1 import LoadBalancerIngress
from extip.api.names import ALLOCATED_ANNOTATION
from extip.plan.demand import Demand
from extip.plan.link import IPAddress
from extip.plan.requests import Owner, parse_ip


@dataclass(frozen=True, slots=True, kw_only=True)
class SetIngress:
    """Write a service's `status.loadBalancer.ingress`."""

    owner: Owner
    version: str
    """The service's resourceVersion that this was decided over."""
    ingress: tuple[LoadBalancerIngress, ...]
    new: tuple[IPAddress, ...] = ()
    """What the service did not have before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetExternalIPs:
    """Write a service's `spec.externalIPs`, and which of them were allocated."""

    owner: Owner
    version: str
    external_ips: tuple[str, ...]
    allocated: tuple[IPAddress, ...]
    new: tuple[IPAddress, ...] = ()


Publication = SetIngress | SetExternalIPs


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What allocation found for one service."""

    held: Sequence[IPAddress]
    """Its addresses, in the order to show them."""
    claimed: Collection[IPAddress]
    """Those of them whose claims exist."""
    leaving: Collection[IPAddress]
    """Addresses that it had, that it still shows, and that are still claimed for it."""
    up: Collection[IPAddress] = ()
    """Those of all of them that some node has up."""
    withdrawn: Collection[IPAddress]
    """Addresses in its status that came from here, when its status is not ours to write."""

    @property
    def replaced(self) -> list[IPAddress]:
        """Addresses that are up, and stay until one of their family that is to replace them is.

        The new one may never come up: another station may have it.
        """
        arrived = {ip.version for ip in self.held if ip in self.up}
        coming = {ip.version for ip in self.held} - arrived
        return [ip for ip in self.leaving if ip in self.up and ip.version in coming]


def publish(demand: Demand, holding: Holding) -> Publication | None:
    """Return the next write to the service, or None when it says what it has.

    One at a time: each of them changes the version that the next depends on. First to where it is
    to be seen, then away from where it was.
    """
    if demand.to_status:
        return _ingress(demand, holding) or _external_ips(demand, holding)
    return _external_ips(demand, holding) or _ingress(demand, holding)


def publication_patch(publication: Publication) -> dict[str, object]:
    """Return the merge patch, of the status subresource for `SetIngress`.

    It fails with a conflict when the service has changed since.
    """
    metadata: dict[str, object] = {"resourceVersion": publication.version}
    if isinstance(publication, SetIngress):
        return {
            "metadata": metadata,
            "status": {"loadBalancer": {"ingress": publication.ingress or None}},
        }
    allocated = ",".join(str(ip) for ip in publication.allocated)
    return {
        "metadata": {**metadata, "annotations": {ALLOCATED_ANNOTATION: allocated or None}},
        "spec": {"externalIPs": publication.external_ips or None},
    }


def _external_ips(demand: Demand, holding: Holding) -> SetExternalIPs | None:
    shown = _shown(holding) if demand.to_external_ips else []
    new = [ip for ip in shown if ip not in demand.external]
    kept = [
        text
        for text in demand.external_ips
        if (ip := parse_ip(text)) not in demand.recorded or ip in shown
    ]
    allocated = [ip for ip in shown if ip in demand.recorded or ip in new]
    external_ips = (*kept, *(str(ip) for ip in new))
    if external_ips == demand.external_ips and set(allocated) == set(demand.recorded):
        return None
    return SetExternalIPs(
        owner=demand.owner,
        version=demand.version,
        external_ips=external_ips,
        allocated=tuple(allocated),
        new=tuple(new),
    )


def _ingress(demand: Demand, holding: Holding) -> SetIngress | None:
    if not demand.to_status:
        left = tuple(way for way in demand.ingress if parse_ip(way.ip) not in holding.withdrawn)
        if left == demand.ingress:
            return None
        return SetIngress(owner=demand.owner, version=demand.version, ingress=left)
    shown = _shown(holding)
    if len(shown) < 1 <= len(holding.held):
        return None  # nothing to show yet, and soon there is
    ingress = tuple(LoadBalancerIngress(ip=str(ip)) for ip in shown)
    if ingress == tuple(_plain(way) for way in demand.ingress):
        return None
    return SetIngress(
        owner=demand.owner,
        version=demand.version,
        ingress=ingress,
        new=tuple(ip for ip in shown if ip not in demand.given),
    )


def _shown(holding: Holding) -> list[IPAddress]:
    shown = [ip for ip in holding.held if ip in holding.claimed]
    staying = holding.leaving if len(shown) < len(holding.held) else holding.replaced
    return shown + [ip for ip in staying if ip not in shown]


def _plain(way: LoadBalancerIngress) -> LoadBalancerIngress:
    """Return it without what the server adds."""
    if way.ip_mode != "VIP":
        return way
    return LoadBalancerIngress(ip=way.ip, hostname=way.hostname)
