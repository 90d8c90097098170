"""Keeps the removal of one address from removing others with it.

The first address of an IPv4 subnet on an interface is the primary one. By default the kernel drops
the others with it, also when its lifetime ends after a kill -9. So extip has the kernel promote
them (``promote_secondaries``) before it changes anything. Where the kernel refuses, such an address
is neither deleted nor moved.

It owns no task: the reconciler calls it in each pass.
"""

from collections.abc import Sequence

from extip import log
from extip.addresses.apply_results import has_subnet
from extip.addresses.ports import LinkTable
from extip.errors import LinkError
from extip.net.interfaces import Change, Link, Operation


class SecondariesGuard:
    """Has secondary addresses promoted on every interface where it matters."""

    def __init__(self, links: LinkTable, *, link: str) -> None:
        """`link` is the interface that log lines name when they name no other."""
        self._links = links
        self._log = log.get_logger("addresses").bind(link=link)
        self._refused: set[int] = set()
        """Interfaces of which it was said, until that is mended."""

    async def protect(
        self, changes: Sequence[Change], *, known: Sequence[Link] = ()
    ) -> Sequence[Change]:
        """Return the changes that remove no address but our own.

        `known` are interfaces as they were read just now. Raises LinkError.
        """
        indexes = {change.link_index for change in changes if has_subnet(change)}
        if indexes <= {link.index for link in known if link.promotes_secondaries}:
            self._refused -= indexes
            return changes
        refused = set()
        for link in await self._links.links():
            if link.index in indexes and not await self._promotes(link):
                refused.add(link.index)
        return [
            change
            for change in changes
            if change.link_index not in refused
            or change.operation not in (Operation.DELETE, Operation.MOVE)
            or not has_subnet(change)
        ]

    async def _promotes(self, link: Link) -> bool:
        """Have an interface promote secondaries; return whether it does from now on."""
        if not link.promotes_secondaries:
            try:
                await self._links.promote_secondaries(link)
            except LinkError as error:
                if link.index not in self._refused:
                    self._refused.add(link.index)
                    self._log.warning("secondaries_not_promoted", link=link.name, error=str(error))
                return False
            self._log.info("secondaries_promoted", link=link.name)
        self._refused.discard(link.index)
        return True
