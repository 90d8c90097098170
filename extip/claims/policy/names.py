"""The names of claims. Pure."""

from extip.net.interfaces import IPInterface, prefix_length

_IPV6_PARTS = 8
_GROUP_BITS = 16


def claim_name(interface: IPInterface) -> str:
    """Return the name of the claim of an IP: ``10-10-0-2-24``, ``fd00-0-0-0-0-0-0-1-128``.

    An IPv6 name has all eight groups, each without leading zeros. Names must be unique, and may not
    contain the colons of the short form.
    """
    ip = interface.ip
    text = str(ip).replace(".", "-") if ip.version == 4 else _groups(int(ip))  # noqa: PLR2004
    return f"{text}-{prefix_length(interface)}"


def _groups(value: int) -> str:
    last = (_IPV6_PARTS - 1) * _GROUP_BITS
    return "-".join(f"{value >> shift & 0xFFFF:x}" for shift in range(last, -1, -_GROUP_BITS))
