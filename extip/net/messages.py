"""Messages of rtnetlink(7) as pyroute2 declares them, and no more of pyroute2 than that.

``import pyroute2`` brings the whole library along (its database, its firewall, its DHCP client), at
11 MB and 0.15 s of processor time. The message classes take 1.3 MB and 0.04 s. So the package is
entered into ``sys.modules`` without a run of its ``__init__``, and its modules are imported from
there. In this process ``from pyroute2.iproute import IPRoute`` still works. ``from pyroute2 import
IPRoute`` fails.

Requests and answers go through `extip.net.netlink`, as those about addresses do, and not through
pyroute2's sockets. Those keep what a cancelled request leaves behind, end for good when the kernel
drops a notice, and need 0.7 ms for a look-up.
"""

import struct
import sys
from importlib.util import find_spec, module_from_spec
from typing import Any

from extip.net import nlmsg

if "pyroute2" not in sys.modules and (_found := find_spec("pyroute2")) is not None:
    sys.modules["pyroute2"] = module_from_spec(_found)

from pyroute2.netlink import nla
from pyroute2.netlink import nlmsg as message_base
from pyroute2.netlink.exceptions import NetlinkDecodeError
from pyroute2.netlink.rtnl.ifinfmsg import ifinfbase
from pyroute2.netlink.rtnl.rtmsg import rtmsg

ODD = (NetlinkDecodeError, struct.error, AttributeError, KeyError, TypeError, ValueError)
"""Raised over messages that make no sense: by pyroute2, or because it left a part undecoded."""

RouteMessage = rtmsg


class LinkMessage(ifinfbase, message_base):  # type: ignore[misc] # pyroute2 is untyped
    """An interface; names and MACs as bytes, since kernels take names that are no UTF-8.

    It declares the attributes that are of interest here alone: each of the others, some 30, would
    take 5 µs. ``IFLA_INET_CONF`` is an array when it is read and attributes when it is written;
    pyroute2 knows the former, in five times the time.
    """

    nla_map = (
        (1, "IFLA_ADDRESS", "cdata"),
        (3, "IFLA_IFNAME", "cdata"),
        (4, "IFLA_MTU", "uint32"),
        (26, "IFLA_AF_SPEC", "families", nlmsg.NLA_F_NESTED),
        (29, "IFLA_EXT_MASK", "uint32"),
        (48, "IFLA_CARRIER_DOWN_COUNT", "uint32"),
        (53, "IFLA_ALT_IFNAME", "cdata"),
    )

    class families(nla):  # type: ignore[misc]  # noqa: N801, D106
        nla_map = ((2, "AF_INET", "inet", nlmsg.NLA_F_NESTED),)

        class inet(nla):  # type: ignore[misc]  # noqa: N801, D106
            nla_map = ((1, "IFLA_INET_CONF", "cdata", nlmsg.NLA_F_NESTED),)


class NexthopMessage(message_base):  # type: ignore[misc]
    """A next hop object (``linux/nexthop.h``, Linux 5.3), which pyroute2 0.9 does not know."""

    prefix = "NHA_"
    fields = (("family", "B"), ("scope", "B"), ("protocol", "B"), ("resvd", "B"), ("flags", "I"))
    nla_map = ((6, "NHA_GATEWAY", "target"),)


def encode(message: Any, kind: int, flags: int, **fields: int) -> bytes:  # noqa: ANN401
    """Return a request, with the attributes that the message has; its sequence number is 0."""
    message.update(fields)
    message["header"].update(type=kind, flags=nlmsg.NLM_F_REQUEST | flags, pid=0)
    message["header"]["sequence_number"] = 0
    message.encode()
    return bytes(message.data)
