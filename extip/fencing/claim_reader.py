"""Reads the claims of a node from the API server itself, not from a cache.

Guarantee: a missing claim counts as deleted only while its kind is served. It owns no task.
"""

import asyncio
from collections.abc import Callable, Collection

from extip.api.ipcontroller_v1 import IpClaim
from extip.api.meta_v1 import parse_version
from extip.api.resources import IP_CLAIMS
from extip.cache.listwatch import MOST_RECENT
from extip.cache.vanished import Vanished
from extip.errors import ApiError, ApiUnavailableError, NotFoundError
from extip.fencing.cache_freshness import Reading
from extip.handover.policy import version_of
from extip.kube.client import ApiClient, Scope
from extip.supervisor import for_each

_FEW, _FEW_EACH, _MOST = 64, 2, 512
"""Maximum of claims that are read one by one: 64, two more for each node, but no more than 512. A
list costs an API server as much as all claims of the cluster, however few are this node's."""

_AT_ONCE = 8
"""Claims that are read at once."""

_EACH_S = 0.5
"""Bound on reading claims one by one, in seconds. An API server that takes longer is asked for a
list: a reading counts from its start, so one that takes too long is old when it ends."""

_ASK_S = 1.0
"""Bound on asking for one claim, in seconds."""


class ClaimReader:
    """Reads for one node, beside the cache of its claims."""

    def __init__(  # noqa: PLR0913 - a composition of parts and plain values
        self,
        client: ApiClient,
        vanished: Vanished[IpClaim],
        *,
        node: str,
        scope: Scope,
        is_ours: Callable[[IpClaim], bool],
        limit_s: float,
        nodes: Callable[[], int] = lambda: 0,
        on_lost: Callable[[str, int], None],
    ) -> None:
        """Compose; a reading is of use for `limit_s`; `nodes` counts those of the cluster.

        `is_ours` tells whether a claim is this node's: a dead node's claim may be, too.
        `on_lost` gets a claim that is not this node's any more, and as of which version.
        """
        self._client = client
        self._store = vanished.store
        self._vanished = vanished
        self._node = node
        self._scope = scope
        self._is_ours = is_ours
        self._each_s = min(limit_s / 4, _EACH_S)
        self._nodes = nodes
        self._on_lost = on_lost

    async def is_still_ours(self, name: str) -> bool:
        """Return the result of `check` within `_ASK_S`. Raises ApiError."""
        try:
            async with asyncio.timeout(_ASK_S):
                return await self.check(name)
        except TimeoutError:
            raise ApiUnavailableError(f"no answer within {_ASK_S} s") from None

    async def check(self, name: str) -> bool:
        """Return whether a claim is this node's now; report one that is not to `on_lost`."""
        if name in self._vanished.orphans:
            return True  # until the fate of its kind is known
        cached = self._store.get(name)  # the watch may have a later claim of that name soon
        try:
            claim = await self.get(name)
        except NotFoundError:
            self._on_lost(name, 0 if cached is None else version_of(cached))
            return False
        if self._is_ours(claim):
            return True
        if claim.spec.node_name != self._node:  # else its IpNode alone says so
            self._on_lost(name, version_of(claim))
        return False

    async def read(self) -> Reading:
        """Read this node's claims: a few one by one, many or late ones by a list.

        For a list, API servers before 1.31 at least read all claims, and filter by labels only
        then.
        """
        names = tuple(self._store)
        few = min(_FEW + _FEW_EACH * self._nodes(), _MOST)
        if len(names) > few or not await self._check_each(names):
            return await self._read_all()
        return Reading(names=frozenset(self._store), version=0)

    async def _check_each(self, names: Collection[str]) -> bool:
        """Check claims one by one; return whether all were read in time.

        Raises ApiUnavailableError.
        """
        failures: list[ApiError] = []
        in_time = True

        async def check(name: str) -> None:
            try:
                await self.check(name)
            except ApiError as error:
                failures.append(error)

        try:
            async with asyncio.timeout(self._each_s):
                await for_each(names, check, limit=_AT_ONCE)
        except TimeoutError:
            in_time = False
        for error in failures:
            if isinstance(error, ApiUnavailableError):
                raise error  # a list would fail, too
        return in_time and not failures

    async def _read_all(self) -> Reading:
        page = await self._client.list(IP_CLAIMS, self._scope, resource_version=MOST_RECENT)
        names = {c.metadata.name for c in page.items if c.spec.node_name == self._node}
        # A claim that does not decode stays as it was known last.
        names.update(unreadable.key for unreadable in page.unreadable)
        names.update(self._vanished.orphans)
        if not names.issuperset(self._store):
            await self._ensure_kind()
        version = parse_version(page.resource_version)
        if not version or "" in names:
            raise ApiUnavailableError("the list of claims cannot be understood")
        return Reading(names=frozenset(names), version=version)

    async def get(self, name: str) -> IpClaim:
        """Return a claim as it is now. Raises NotFoundError only while its kind is served."""
        try:
            return await self._client.get(IP_CLAIMS, name=name)
        except NotFoundError as error:
            await self._ensure_kind(error)
            raise

    async def _ensure_kind(self, missing: ApiError | None = None) -> None:
        """Raise ApiUnavailableError when claims are missing because their kind is."""
        if not await self._vanished.stands():
            raise ApiUnavailableError("the definition of IpClaim is missing") from missing
