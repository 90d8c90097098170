"""The wish of a person who calls `extip migrate from`."""

from dataclasses import dataclass

from extip.net.networks import IPNetwork

PROGRAMS = ("metallb", "kube-vip", "cilium", "externalipcontroller")
OUTPUTS = ("yaml", "json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The program whose objects are converted, and the form."""

    software: str
    """One of `PROGRAMS`."""
    files: tuple[str, ...] = ()
    """Empty for the cluster; ``-`` stands for standard input."""
    networks: tuple[IPNetwork, ...] = ()
    """Networks of segments that nodes are on."""
    output: str = OUTPUTS[0]
