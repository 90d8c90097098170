"""Reads addresses straight from the kernel, marks and lifetimes included, by pyroute2.

Debian 12's `ip` does not print IFA_PROTO, and what the program under test decodes is no witness.
pyroute2's own sockets are of no use here. The socket is opened in a host of the lab, and who asks
may be in an event loop.
"""

import ipaddress
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE
from pyroute2.netlink.rtnl import RTM_GETADDR, RTM_GETLINK
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.marshal import MarshalRtnl

IFA_F_SECONDARY = 0x01
IFA_F_NODAD = 0x02
IFA_F_TENTATIVE = 0x40
IFA_F_PERMANENT = 0x80

_FOREVER = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An address as the kernel has it. Lifetimes in seconds, None for ever; proto 0 is unmarked."""

    interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface
    flags: int
    scope: int
    proto: int
    label: str
    valid_s: int | None
    preferred_s: int | None

    @property
    def ip(self) -> str:
        return str(self.interface.ip)

    @property
    def permanent(self) -> bool:
        return bool(self.flags & IFA_F_PERMANENT)

    @property
    def secondary(self) -> bool:
        return bool(self.flags & IFA_F_SECONDARY)


def dump_addresses(netlink: socket.socket, interface: str) -> list[Address]:
    """All addresses of the named interface. The socket lives in the network to be read."""
    request = ifinfmsg()
    request["attrs"] = [("IFLA_IFNAME", interface)]
    link = next(_ask(netlink, request, RTM_GETLINK, refused=f"no interface {interface}"))
    return [
        _address(answer)
        for answer in _ask(
            netlink, ifaddrmsg(), RTM_GETADDR, NLM_F_DUMP, refused="address dump failed"
        )
        if answer["index"] == link["index"]
    ]


def _ask(
    netlink: socket.socket, request: Any, kind: int, flags: int = 0, *, refused: str
) -> Iterator[Any]:
    """Send a request and yield what the kernel answers. Raises OSError when it refuses."""
    request["header"].update(type=kind, flags=NLM_F_REQUEST | flags, pid=0, sequence_number=1)
    request.encode()
    netlink.sendall(request.data)
    marshal = MarshalRtnl()
    while True:
        for answer in marshal.parse(netlink.recv(1 << 16)):
            if answer["header"]["type"] == NLMSG_DONE:
                return
            if error := answer["header"]["error"]:
                raise OSError(error.code, refused)
            yield answer
            if not flags & NLM_F_DUMP:
                return


def _address(answer: Any) -> Address:
    lifetimes = answer.get("cacheinfo") or {"ifa_valid": _FOREVER, "ifa_preferred": _FOREVER}
    ip = answer.get("local") or answer.get("address")
    return Address(
        interface=ipaddress.ip_interface(f"{ip}/{answer['prefixlen']}"),
        flags=answer.get("flags"),
        scope=answer["scope"],
        proto=answer.get("proto") or 0,
        label=answer.get("label") or "",
        valid_s=None if lifetimes["ifa_valid"] == _FOREVER else lifetimes["ifa_valid"],
        preferred_s=None if lifetimes["ifa_preferred"] == _FOREVER else lifetimes["ifa_preferred"],
    )
