"""Tells whether the definition of one kind exists; it is read only when there is a reason.

A deleted definition has a deletion timestamp before its first object vanishes. So a read of the
definition that begins after an object has vanished tells for certain whether the kind is ending.
RBAC: get on the definition. Without it only a kind that is not served any more is noticed.
"""

import asyncio
from collections.abc import Callable
from random import Random

from extip import log
from extip.api.resources import CUSTOM_RESOURCE_DEFINITIONS
from extip.backoff import Backoff
from extip.clock import Clock
from extip.definitions.install import ADVICE, AnyKind, is_served
from extip.errors import ApiAccessError, ApiError, NotFoundError
from extip.kube.client import ApiClient

_BOUND_S = 3.0
"""Seconds for one read."""

_RETRY = Backoff(initial_s=0.1, cap_s=2.0)
"""The delay between reads while the server does not answer."""

_POLL = Backoff(initial_s=1.5, cap_s=1.5)
"""The delay between reads while the definition is missing, short for the person who mends that. It
has jitter, since all controllers wait for the definition."""

_UNSEEN = "unseen"
"""The uid of a definition that this process may not read."""


class KindWatch:
    """Implements `extip.cache.vanished.Definition`."""

    def __init__(
        self,
        client: ApiClient,
        kind: AnyKind,
        *,
        on_change: Callable[["KindWatch"], None],
        clock: Clock,
        rng: Random,
    ) -> None:
        """Compose; `on_change` is called when the definition is missing, and when it is back."""
        self._client = client
        self._kind = kind
        self._on_change = on_change
        self._clock = clock
        self._rng = rng
        self._log = log.get_logger("kinds")
        self._unreadable_said = False
        self._read_uid = ""
        self._told = ""
        self.plural = kind.plural
        self.name = f"{kind.plural}.{kind.group}"
        """The name of the definition."""
        self.missing = ""
        """The reason for which no object of the kind can exist; empty while objects can."""

    async def uid(self) -> str:
        """Return the uid of the definition; empty for none, or for one that is being deleted."""
        failures = 0
        while (found := await self._ask()) is None:
            failures += 1
            await self._clock.sleep(_RETRY.delay_s(failures, self._rng.random()))
        uid, missing = found
        if missing:
            self._told = self._read_uid = ""
        if missing != self.missing:
            self.missing = missing
            self._on_change(self)
        return uid

    async def wait_back(self) -> str:
        """Wait until a definition exists and its kind is served; return its uid."""
        while not (uid := await self.uid()):
            await self._clock.sleep(_POLL.delay_s(1, self._rng.random()))
        return uid

    async def _ask(self) -> tuple[str, str] | None:
        """Read once; return None when the server does not answer."""
        try:
            async with asyncio.timeout(_BOUND_S):
                return await self._look()
        except (ApiError, TimeoutError) as error:
            text = str(error) or f"no answer within {_BOUND_S:.0f} s"
            self._log.debug("definition_not_read", definition=self.name, error=text)
            return None

    async def _look(self) -> tuple[str, str]:
        """Return the uid of the definition, or the reason against it. Raises ApiError."""
        try:
            found = await self._client.get(CUSTOM_RESOURCE_DEFINITIONS, name=self.name)
        except NotFoundError:
            return "", f"the definition {self.name} was deleted; {ADVICE}"
        except ApiAccessError as error:
            if not self._unreadable_said:
                self._unreadable_said = True
                reason = "if it is deleted, that looks as if somebody had deleted every object"
                self._log.warning("definition_unreadable", reason=reason, error=str(error))
            if await is_served(self._client, self._kind):
                self._told = self._told or _UNSEEN
                return self._told, ""
            return "", f"the API server does not serve {self.name}; {ADVICE}"
        if found.metadata.deletion_timestamp:
            return "", f"the definition {self.name} is being deleted; then {ADVICE}"
        if self.missing and not (found.established and await is_served(self._client, self._kind)):
            return "", f"the definition {self.name} is not served yet"
        return self._known_as(found.metadata.uid), ""

    def _known_as(self, uid: str) -> str:
        """Return the uid; it stays the same when the right to read the definition comes or goes."""
        if not self._told or self._read_uid not in ("", uid):
            self._told = uid
        self._read_uid = uid
        return self._told
