"""Reads addresses straight from the kernel, marks and lifetimes included.

Debian 12's `ip` does not print IFA_PROTO, so this decodes RTM_NEWADDR itself (linux/if_addr.h).
"""

import ipaddress
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

IFA_F_SECONDARY = 0x01
IFA_F_NODAD = 0x02
IFA_F_TENTATIVE = 0x40
IFA_F_PERMANENT = 0x80

_RTM_GETADDR = 22
_RTM_NEWADDR = 20
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_REQUEST_DUMP = 0x1 | 0x300
_HEADER = struct.Struct("=IHHII")
_IFADDRMSG = struct.Struct("=BBBBi")
_ATTRIBUTE = struct.Struct("=HH")
_IFA_ADDRESS, _IFA_LOCAL, _IFA_LABEL, _IFA_CACHEINFO, _IFA_FLAGS, _IFA_PROTO = 1, 2, 3, 6, 8, 11
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
    index = _index_of(netlink, interface)
    netlink.sendall(
        _HEADER.pack(24, _RTM_GETADDR, _NLM_F_REQUEST_DUMP, 1, 0) + _IFADDRMSG.pack(0, 0, 0, 0, 0)
    )
    return [
        _decode(body)
        for kind, body in _messages(netlink)
        if kind == _RTM_NEWADDR and _IFADDRMSG.unpack_from(body)[4] == index
    ]


def _index_of(netlink: socket.socket, interface: str) -> int:
    """Ask RTM_GETLINK by name: `if_nametoindex` would look in the caller's own network."""
    name = interface.encode() + b"\0"
    attribute = _ATTRIBUTE.pack(4 + len(name), 3) + name + b"\0" * (-len(name) % 4)  # IFLA_IFNAME
    body = struct.pack("=BxHiII", 0, 0, 0, 0, 0) + attribute
    netlink.sendall(_HEADER.pack(16 + len(body), 18, 0x1, 1, 0) + body)  # RTM_GETLINK
    data = netlink.recv(1 << 16)
    _, kind, _, _, _ = _HEADER.unpack_from(data)
    if kind == _NLMSG_ERROR:
        errno = -struct.unpack_from("=i", data, 16)[0]
        raise OSError(errno, f"no interface {interface}")
    return int(struct.unpack_from("=i", data, 20)[0])


def _messages(netlink: socket.socket) -> Iterator[tuple[int, bytes]]:
    while True:
        data = netlink.recv(1 << 16)
        while data:
            length, kind, _, _, _ = _HEADER.unpack_from(data)
            if kind == _NLMSG_DONE:
                return
            if kind == _NLMSG_ERROR:
                raise OSError(-struct.unpack_from("=i", data, 16)[0], "address dump failed")
            yield kind, data[16:length]
            data = data[length + 3 & ~3 :]


def _decode(body: bytes) -> Address:
    _, prefix, flags, scope, _ = _IFADDRMSG.unpack_from(body)
    attributes = dict(_attributes(body[8:]))
    raw = attributes.get(_IFA_LOCAL) or attributes[_IFA_ADDRESS]
    preferred, valid = _FOREVER, _FOREVER
    if _IFA_CACHEINFO in attributes:
        preferred, valid = struct.unpack_from("=II", attributes[_IFA_CACHEINFO])
    if _IFA_FLAGS in attributes:
        flags = struct.unpack("=I", attributes[_IFA_FLAGS])[0]
    return Address(
        interface=ipaddress.ip_interface((raw, prefix)),
        flags=flags,
        scope=scope,
        proto=attributes.get(_IFA_PROTO, b"\0")[0],
        label=attributes.get(_IFA_LABEL, b"").rstrip(b"\0").decode(),
        valid_s=None if valid == _FOREVER else valid,
        preferred_s=None if preferred == _FOREVER else preferred,
    )


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        yield kind & 0x3FFF, data[4:length]
        data = data[length + 3 & ~3 :]
