"""Interfaces: a look-up takes some 0.1 ms, so each pass can afford one."""

import errno

from extip.errors import LinkNotFoundError, NetlinkError
from extip.net import iflink
from extip.net.interfaces import Link
from extip.net.netlink import NetlinkSocket, Reply, nothing, raise_if_not_permitted

_NO_SUCH_NAME = {errno.ENODEV, errno.EINVAL, errno.ERANGE}  # the latter: no name can look so


class LinkSocket(NetlinkSocket):
    """Reads interfaces of its network namespace; enter it to open it."""

    async def links(self) -> list[Link]:
        """Return all interfaces, by index. Raises `NetlinkError`."""
        return await self.table("dump interfaces", iflink.table_request, iflink.decode)

    async def link(self, name: str) -> Link:
        """Return the interface of that name (or alternative name).

        Raises `LinkNotFoundError` when there is none now, and `NetlinkError`.
        """
        first = self.reserve(1)
        reply = await self.call(
            f"get interface {name}",
            iflink.link_request(first, name),
            range(first, first + 1),
            iflink.decode,
        )
        failure = reply.errors.get(first, 0)
        if failure and failure not in _NO_SUCH_NAME:
            raise NetlinkError(failure, f"get interface {name}")
        if not reply.items:
            raise LinkNotFoundError(f"there is no interface {name!r}")
        return reply.items[0]

    async def promote_secondaries(self, link: Link) -> None:
        """Make the kernel keep secondary IPv4 addresses when their primary one is deleted.

        Raises `PermissionDeniedError`, `LinkNotFoundError` and `NetlinkError`.
        """
        first = self.reserve(1)
        reply: Reply[None] = await self.call(
            f"set promote_secondaries on {link.name}",
            iflink.promote_secondaries_request(first, link.index),
            range(first, first + 1),
            nothing,
        )
        raise_if_not_permitted(reply.errors)
        failure = reply.errors.get(first, 0)
        if failure == errno.ENODEV:
            raise LinkNotFoundError(f"interface {link.name} is gone")
        if failure:
            raise NetlinkError(failure, f"set promote_secondaries on {link.name}")
