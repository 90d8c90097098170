"""The ports of the services that share an IP, as its claim records them. Pure."""

from collections.abc import Sequence

from extip.api.ipcontroller_v1 import IpClaim
from extip.api.names import PORTS_ANNOTATION
from extip.services.policy.requests import Owner

_MAX_PORTS_TEXT = 1 << 16
_PORT_DIGITS = 5
"""Characters. All annotations of an object together may have four times as many."""


def recorded_ports(claim: IpClaim) -> dict[tuple[str, int], tuple[str, ...]]:
    """Return the recorded services, ``namespace/name``, that have each port of a shared IP.

    It is one, or several where people wrote the IP into services with the same port.
    """
    found: dict[tuple[str, int], tuple[str, ...]] = {}
    namespaces = {service.namespace for service in claim.spec.services or ()}
    for entry in ports_text(claim).split():
        port, _, service = entry.partition("=")
        number, _, protocol = port.partition("/")
        if service and number.isascii() and number.isdecimal() and len(number) <= _PORT_DIGITS:
            owner = service if "/" in service else f"{min(namespaces, default='')}/{service}"
            key = protocol, int(number)
            found[key] = (*found.get(key, ()), owner)
    return found


def written_ports(owners: Sequence[Owner]) -> str:
    """Return the ports of each owner; empty when they are too many for an annotation."""
    one_namespace = len({owner.namespace for owner in owners}) == 1
    each = sorted(
        (number, protocol, owner.name if one_namespace else str(owner))
        for owner in owners
        for protocol, number in owner.ports
    )
    text = " ".join(f"{number}/{protocol}={name}" for number, protocol, name in each)
    return text if len(owners) > 1 and len(text) <= _MAX_PORTS_TEXT else ""


def ports_text(claim: IpClaim) -> str:
    """Return the ports of the services that share the claim's IP, as it records them."""
    return (claim.metadata.annotations or {}).get(PORTS_ANNOTATION, "")
