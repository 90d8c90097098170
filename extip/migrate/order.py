"""The wish of a person who calls `extip migrate from`."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

PROGRAMS = ("metallb", "kube-vip", "cilium", "externalipcontroller")
OUTPUTS = ("yaml", "json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The program whose objects are converted, and the form."""

    software: str
    """One of `PROGRAMS`."""
    files: tuple[str, ...] = ()
    """Empty for the cluster; ``-`` stands for standard input."""
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks of segments that nodes are on."""
    output: str = OUTPUTS[0]
