"""IPs of which no service has a ready endpoint, on whichever node. Pure."""

from collections.abc import Iterable, Mapping

from extip.net.interfaces import IPInterface
from extip.services.policy.requests import Owner


def unanswered(
    wanted: Mapping[IPInterface, Iterable[Owner]], unready: Mapping[str, bool]
) -> dict[IPInterface, bool]:
    """Return these IPs, and whether that has lasted for all of their services.

    `unready` has the services without a ready endpoint, by ``namespace/name``, and the same of each
    (see `Readiness.unready`).
    """
    found: dict[IPInterface, bool] = {}
    if not unready:
        return found
    for interface, owners in wanted.items():
        lasted = [unready.get(str(owner)) for owner in owners]
        if lasted and None not in lasted:
            found[interface] = all(lasted)
    return found
