"""An interface of a node, in its IpNode."""

from typing import Annotated

from extip.api.meta_v1 import Wire
from extip.api.schema import ATOMIC, LONGEST_CIDR, LONGEST_LINK, says

TAKES_ANY, TAKES_SUBNETS = "Any", "Subnets"
"""The IPs that an interface may have."""


class NodeLink(Wire, frozen=True):
    """A network interface."""

    name: Annotated[str, says("Its name.", required=True, **LONGEST_LINK)] = ""
    mac: Annotated[str, says("Its hardware address.", maxLength=59)] = ""
    """Lower-case hexadecimal with colons; empty where there is none."""
    addresses: Annotated[
        tuple[Annotated[str, says("One address.", **LONGEST_CIDR)], ...] | None,
        says("Addresses of the node itself on it, in CIDR form.", **ATOMIC),
    ] = None
    up: Annotated[bool, says("Whether it is up and has carrier.")] = False
    takes: Annotated[
        str,
        says(
            "The IPs that it may have; where no interface says it, any on the first one.",
            enum=[TAKES_ANY, TAKES_SUBNETS],
        ),
    ] = ""
