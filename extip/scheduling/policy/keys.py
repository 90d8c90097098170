"""The keys by which the scheduler decides: IPs. Pure."""

from typing import NamedTuple

from extip.api.ipcontroller_v1 import IpClaim
from extip.claims.policy.claims import parse_cidr
from extip.net.interfaces import IPAddress, IPInterface
from extip.services.policy.requests import Owner

Key = IPAddress | str
"""An IP. The key of a claim with a malformed `spec.cidr` is its name."""


class Wanted(NamedTuple):
    """The request for one IP."""

    interface: IPInterface
    owners: tuple[Owner, ...]
    pool: str = ""
    """The pool that the IP was allocated from."""


def key_of(claim: IpClaim) -> Key:
    """Return the key of a claim."""
    interface = parse_cidr(claim.spec.cidr)
    return claim.metadata.name if interface is None else interface.ip
