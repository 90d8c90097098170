"""Reads the claims of a node from the API server itself, not from a cache.

What is not there counts as deleted only while its kind stands: without the definition nothing is.
"""

import asyncio
from collections.abc import Callable, Collection

from extip.api.ipcontroller_v1 import IpClaim
from extip.api.meta_v1 import parse_version
from extip.api.resources import IP_CLAIMS
from extip.cache.listwatch import MOST_RECENT
from extip.cache.vanished import Vanished
from extip.errors import ApiError, ApiUnavailableError, NotFoundError
from extip.kube.client import ApiClient, Scope
from extip.plan.handover import version_of
from extip.reconcile.trust import Reading
from extip.supervisor import for_each

_FEW = 64
_AT_ONCE = 8
"""Claims that are read one by one, and so many at once."""

_ASK_S = 1.0
"""Bound on asking for one claim."""


class ClaimReader:
    """Of one node, beside the cache of its claims."""

    def __init__(
        self,
        client: ApiClient,
        vanished: Vanished[IpClaim],
        *,
        node: str,
        scope: Scope,
        lost: Callable[[str, int], None],
    ) -> None:
        """`lost` is told of a claim that is not this node's any more, and as of which version."""
        self._client = client
        self._store = vanished.store
        self._vanished = vanished
        self._node = node
        self._scope = scope
        self._lost = lost

    async def is_still_ours(self, name: str) -> bool:
        """Return whether a claim is this node's now, as `look`, in time. Raises ApiError."""
        try:
            async with asyncio.timeout(_ASK_S):
                return await self.look(name)
        except TimeoutError:
            raise ApiUnavailableError(f"no answer within {_ASK_S} s") from None

    async def look(self, name: str) -> bool:
        """Return whether a claim is this node's now; from then on, one that is not has left."""
        if name in self._vanished.orphans:
            return True  # until it is known what becomes of it
        try:
            claim = await self.get(name)
        except NotFoundError:
            cached = self._store.get(name)
            self._lost(name, 0 if cached is None else version_of(cached))
            return False
        if claim.spec.node_name == self._node:
            return True
        self._lost(name, version_of(claim))
        return False

    async def read(self) -> Reading:
        """Read this node's claims: a few one by one, since the API server reads all for a list.

        On servers before 1.31, at least, which also filter by labels only after that.
        """
        names = tuple(self._store)
        if len(names) > _FEW or not await self._look_at_each(names):
            return await self._read_all()
        return Reading(names=frozenset(self._store), version=0)

    async def _look_at_each(self, names: Collection[str]) -> bool:
        """Look at claims one by one; return whether that worked for all of them."""
        failures: list[ApiError] = []

        async def look(name: str) -> None:
            try:
                await self.look(name)
            except ApiError as error:
                failures.append(error)

        await for_each(names, look, limit=_AT_ONCE)
        for error in failures:
            if isinstance(error, ApiUnavailableError):
                raise error  # a list is no better then
        return not failures

    async def _read_all(self) -> Reading:
        page = await self._client.list(IP_CLAIMS, self._scope, resource_version=MOST_RECENT)
        names = {c.metadata.name for c in page.items if c.spec.node_name == self._node}
        # One that does not decode stays as it was last known.
        names.update(unreadable.key for unreadable in page.unreadable)
        names.update(self._vanished.orphans)
        if not names.issuperset(self._store):
            await self._ensure_kind()
        version = parse_version(page.resource_version)
        if not version or "" in names:
            raise ApiUnavailableError("the list of claims cannot be understood")
        return Reading(names=frozenset(names), version=version)

    async def get(self, name: str) -> IpClaim:
        """Return a claim as it is now. Raises NotFoundError only while its kind stands."""
        try:
            return await self._client.get(IP_CLAIMS, name=name)
        except NotFoundError as error:
            await self._ensure_kind(error)
            raise

    async def _ensure_kind(self, missing: ApiError | None = None) -> None:
        """Raise ApiUnavailableError when claims are missing since their kind is."""
        if not await self._vanished.stands():
            raise ApiUnavailableError("the definition of IpClaim is missing") from missing
