"""Keeps the removal of one address from taking others down with it.

An address that comes first to an IPv4 subnet is the primary one; by default the kernel drops the
others with it, also when its lifetime ends after a kill -9. So the kernel is told to promote them
(``promote_secondaries``), before anything else; where it refuses, such an address stays.
"""

from collections.abc import Sequence

from extip import log
from extip.errors import LinkError
from extip.plan.link import Change, Link, Operation
from extip.reconcile.change_results import has_subnet
from extip.reconcile.ports import LinkTable


class SecondariesGuard:
    """Has secondary addresses promoted on every interface where it matters."""

    def __init__(self, links: LinkTable, *, link: str) -> None:
        """`link` is the interface that log lines are about, if they name no other."""
        self._links = links
        self._log = log.get_logger("addresses").bind(link=link)
        self._refused: set[int] = set()
        """Interfaces of which it was said, until that is mended."""

    async def protect(
        self, changes: Sequence[Change], *, known: Link | None = None
    ) -> Sequence[Change]:
        """Return the changes that take no address of others down when one of ours goes.

        `known` is an interface as it was read just now. Raises LinkError.
        """
        indexes = {change.link_index for change in changes if has_subnet(change)}
        if not indexes or (
            known is not None and known.promotes_secondaries and indexes == {known.index}
        ):
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
