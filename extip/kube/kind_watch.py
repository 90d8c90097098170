"""Whether one of our kinds is there, looked up only when there is reason to.

A definition that is deleted has a deletion timestamp before the first of its objects goes. So a
read of it that begins after an object has vanished tells for certain whether the kind is ending.
RBAC: get on the definition. Without it only a kind that is not served any more is noticed.
"""

import asyncio
from collections.abc import Callable
from random import Random

from extip import log
from extip.api.resources import CUSTOM_RESOURCE_DEFINITIONS
from extip.clock import Clock
from extip.errors import ApiAccessError, ApiError, NotFoundError
from extip.kube.client import ApiClient
from extip.kube.crds import ADVICE, AnyKind, is_served
from extip.plan.backoff import Backoff

_BOUND_S = 3.0
"""On one read."""

_RETRY = Backoff(initial_s=0.1, cap_s=2.0)
"""While the server does not answer."""

_POLL = Backoff(initial_s=1.5, cap_s=1.5)
"""While the kind is not there: whoever mends that should see it at once. With jitter, since all
controllers wait for it."""

_UNSEEN = "unseen"
"""Stands for the definition where it may not be read."""


class KindWatch:
    """Implements `extip.cache.vanished.Kind`."""

    def __init__(
        self,
        client: ApiClient,
        kind: AnyKind,
        *,
        changed: Callable[["KindWatch"], None],
        clock: Clock,
        rng: Random,
    ) -> None:
        """Compose; `changed` is called when the kind is found to have gone, and when it is back."""
        self._client = client
        self._kind = kind
        self._changed = changed
        self._clock = clock
        self._rng = rng
        self._log = log.get_logger("kinds")
        self._unreadable_said = False
        self._read_uid = ""
        self._told = ""
        self.plural = kind.plural
        self.name = f"{kind.plural}.{kind.group}"
        """Of the definition."""
        self.missing = ""
        """Why there can be no object of the kind; empty while there can, as far as known."""

    async def uid(self) -> str:
        """Return which definition stands now; empty while there is none, or it is being deleted."""
        failures = 0
        while (found := await self._ask()) is None:
            failures += 1
            await self._clock.sleep(_RETRY.delay_s(failures, self._rng.random()))
        uid, missing = found
        if missing:
            self._told = self._read_uid = ""
        if missing != self.missing:
            self.missing = missing
            self._changed(self)
        return uid

    async def wait_back(self) -> str:
        """Wait until a definition stands, and its kind is served; return which."""
        while not (uid := await self.uid()):
            await self._clock.sleep(_POLL.delay_s(1, self._rng.random()))
        return uid

    async def _ask(self) -> tuple[str, str] | None:
        """Look once; None when nobody answered."""
        try:
            async with asyncio.timeout(_BOUND_S):
                return await self._look()
        except (ApiError, TimeoutError) as error:
            text = str(error) or f"no answer within {_BOUND_S:.0f} s"
            self._log.debug("definition_not_read", definition=self.name, error=text)
            return None

    async def _look(self) -> tuple[str, str]:
        """Return the uid of the definition, or else what is wrong. Raises ApiError."""
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
        """Return what stands for it: the same when the right to read it comes or goes."""
        if not self._told or self._read_uid not in ("", uid):
            self._told = uid
        self._read_uid = uid
        return self._told
