"""The meaning of the kernel's answers to address changes, for decisions and for people."""

import errno
import os
from collections.abc import Sequence

from extip.net.interfaces import Change, ChangeResult, IPAddress, Operation

_GONE = frozenset({errno.EADDRNOTAVAIL, errno.ENODEV})
"""Answers to a delete that mean there is nothing to delete any more."""


def without(changes: Sequence[Change], held: frozenset[IPAddress]) -> Sequence[Change]:
    """Return the changes without the additions of those IPs."""
    if not held:
        return changes
    return [c for c in changes if c.operation is not Operation.ADD or c.interface.ip not in held]


def is_done(result: ChangeResult) -> bool:
    """Return whether the wanted state holds: an address to delete may be gone already."""
    return not result.errno or (
        result.change.operation is Operation.DELETE and result.errno in _GONE
    )


def has_subnet(change: Change) -> bool:
    """Return whether other addresses may depend on this one: IPv4, and not a host route."""
    interface = change.interface
    return interface.version == 4 and interface.network.prefixlen < 32  # noqa: PLR2004


def explain(change: Change, number: int) -> str:
    """Return the reason why the kernel did not make a change."""
    if number == errno.EEXIST:
        return f"{change.interface.ip} was put there by somebody else meanwhile"
    if number in (errno.EACCES, errno.EOPNOTSUPP) and change.interface.version == 6:  # noqa: PLR2004
        return f"IPv6 is switched off on this interface (net.ipv6.conf), so no {change.interface}"
    name = errno.errorcode.get(number, str(number))
    text = f"{change.operation.value} {change.interface}: {name} ({os.strerror(number)})"
    if number == errno.EINVAL and change.interface.version == 6:  # noqa: PLR2004
        text += "; an interface with an MTU below 1280 has no IPv6"  # RFC 8200 section 5
    return text
