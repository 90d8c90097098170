"""Services → the interfaces that they want their IPs on. Pure."""

from collections.abc import Iterable, Mapping

from extip.api.core_v1 import DetailedService, Service
from extip.net.interfaces import IPAddress, IPInterface
from extip.net.link_selection import is_link_name
from extip.services.policy.requests import Owner

LinkWish = tuple[str, str]
"""A service, ``namespace/name``, and the name of an interface."""


def wished_link(service: Service | DetailedService) -> LinkWish | None:
    """Return the wish of a service; None for a service without one, or with no possible name."""
    name = service.link.strip()
    key = f"{service.metadata.namespace}/{service.metadata.name}"
    return (key, name) if is_link_name(name) else None


def first_wish(owners: Iterable[Owner], wishes: Mapping[str, str]) -> str:
    """Return the wish of the first service that has one; empty for none."""
    return next((wish for owner in owners if (wish := wishes.get(str(owner)))), "")


def wishes_by_ip(
    wanted: Mapping[IPInterface, Iterable[Owner]], wishes: Mapping[str, str]
) -> dict[IPAddress, str]:
    """Return the interface of each IP of which a service names one."""
    if not wishes:
        return {}
    found = {interface.ip: first_wish(owners, wishes) for interface, owners in wanted.items()}
    return {ip: link for ip, link in found.items() if link}
