"""Installs the definitions of extip's kinds, and waits until the API server serves them.

A list of objects tells whether a kind is served. Controllers and schedulers may list objects, while
a read of definitions needs another permission.
"""

import asyncio
from collections.abc import Iterable
from random import Random
from typing import cast

import msgspec

from extip import log
from extip.api.apiextensions_v1 import CustomResourceDefinition
from extip.api.meta_v1 import KubernetesObject
from extip.api.resources import (
    CUSTOM_RESOURCE_DEFINITIONS,
    IP_CLAIM_POOLS,
    IP_CLAIMS,
    IP_NODES,
    Resource,
)
from extip.backoff import Backoff
from extip.clock import Clock
from extip.errors import (
    ApiAccessError,
    ApiError,
    ApiUnavailableError,
    ConflictError,
    FatalError,
    NotFoundError,
)
from extip.kube.client import ApiClient, Scope

AnyKind = Resource[KubernetesObject]

_KINDS = cast("tuple[AnyKind, ...]", (IP_CLAIMS, IP_NODES, IP_CLAIM_POOLS))  # only ever listed

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""Annotation with the text that `kubectl apply` wrote last: without it kubectl warns, and never
removes a field."""

_SERVED_S = 30.0
"""Seconds within which a new definition must be served; a second is usual."""

_CONFLICTS = 5
"""Writes of one definition until a conflict is an error."""

_POLL = Backoff(initial_s=0.1, cap_s=2.0)
_RETRY = Backoff(initial_s=0.8, cap_s=30.0)

ADVICE = (
    "run `extip crds --apply` as an administrator "
    "(or `kubectl apply --validate=false -f manifests/claims/crds.yaml`)"
)
"""kubectl refuses x-kubernetes-validations on servers before 1.25; those servers drop them."""


_RBAC = (
    "grant this account what manifests/claims/rbac-*.yaml has, or use another one (--kubeconfig)"
)


async def is_served(client: ApiClient, kind: AnyKind) -> bool:
    """Return whether objects of the kind can be read. Raises ApiError."""
    try:
        await client.list(kind, Scope(), limit=1)
    except NotFoundError:
        return False
    return True


class Definitions:
    """Creates and updates the definitions of extip's kinds."""

    def __init__(self, client: ApiClient, *, clock: Clock, rng: Random) -> None:
        self._client = client
        self._clock = clock
        self._rng = rng
        self._log = log.get_logger("crds")

    async def ensure(self) -> None:
        """Create missing definitions; return when all kinds are served.

        An existing definition stays. It tries again while the API server does not answer. Raises
        FatalError with advice when this process may not create them.
        """
        failures = 0
        while True:
            try:
                missing = [kind for kind in _KINDS if not await is_served(self._client, kind)]
                await self._create(missing)
                await self._wait_served(missing)
            except ApiUnavailableError as error:
                failures += 1
                delay_s = _RETRY.delay_s(failures, self._rng.random())
                report = self._log.warning if failures == 1 else self._log.debug
                report("definitions_unknown", error=str(error), delay_s=round(delay_s, 2))
                await self._clock.sleep(delay_s)
            except ApiAccessError as error:
                raise FatalError(f"cannot use the kinds of extip: {error}; {_RBAC}") from error
            except ApiError as error:
                raise FatalError(f"cannot use the kinds of extip: {error}; {ADVICE}") from error
            else:
                return

    async def apply(self) -> list[tuple[str, str]]:
        """Create or update every definition; return the name and outcome of each.

        Raises ApiError; raises FatalError when they are not served in time.
        """
        outcomes = [await self._apply(definition) for definition in wanted_definitions()]
        await self._wait_served(_KINDS)
        return outcomes

    async def _apply(self, wanted: CustomResourceDefinition) -> tuple[str, str]:
        """Write one; the API server itself writes to a new one for a moment, too."""
        for tries in range(1, _CONFLICTS):
            try:
                return await self._write(wanted)
            except ConflictError:
                await self._clock.sleep(_POLL.delay_s(tries, self._rng.random()))
        return await self._write(wanted)

    async def _write(self, wanted: CustomResourceDefinition) -> tuple[str, str]:
        name = wanted.metadata.name
        try:
            found = await self._client.get(CUSTOM_RESOURCE_DEFINITIONS, name=name)
        except NotFoundError:
            await self._client.create(CUSTOM_RESOURCE_DEFINITIONS, wanted)
            return name, "created"
        annotations = {**(found.metadata.annotations or {}), **(wanted.metadata.annotations or {})}
        metadata = msgspec.structs.replace(found.metadata, annotations=annotations)
        body = msgspec.structs.replace(found, metadata=metadata, spec=wanted.spec)
        written = await self._client.replace(CUSTOM_RESOURCE_DEFINITIONS, body)
        changed = written.metadata.generation != found.metadata.generation
        return name, "updated" if changed else "unchanged"

    async def _create(self, missing: Iterable[AnyKind]) -> None:
        names = {f"{kind.plural}.{kind.group}" for kind in missing}
        for definition in wanted_definitions() if names else ():
            name = definition.metadata.name
            if name not in names:
                continue
            try:
                await self._client.create(CUSTOM_RESOURCE_DEFINITIONS, definition)
            except ConflictError:
                continue  # another process was quicker
            except ApiAccessError as error:
                raise FatalError(
                    f"the CustomResourceDefinition {name} is missing and may not be created from "
                    f"here: {ADVICE}"
                ) from error
            self._log.info("definition_created", definition=name)

    async def _wait_served(self, kinds: Iterable[AnyKind]) -> None:
        try:
            async with asyncio.timeout(_SERVED_S):
                for kind in kinds:
                    await self._wait_for(kind)
        except TimeoutError:
            raise FatalError(
                f"the API server does not serve the kinds of extip {_SERVED_S:.0f} s after they "
                "were defined: look at `kubectl get crd -o yaml` for conditions that are not True"
            ) from None

    async def _wait_for(self, kind: AnyKind) -> None:
        tries = 0
        while True:
            try:
                if await is_served(self._client, kind):
                    return
            except ApiUnavailableError:
                pass  # the server answers 429 or 503 while it sets a definition up
            tries += 1
            await self._clock.sleep(_POLL.delay_s(tries, self._rng.random()))


def wanted_definitions() -> list[CustomResourceDefinition]:
    """Return the definitions as objects, as `kubectl apply` would have written them."""
    from extip.definitions.documents import definitions  # noqa: PLC0415 - seldom needed

    return [_applied(msgspec.json.encode(document)) for document in definitions()]


def _applied(text: bytes) -> CustomResourceDefinition:
    """Return the object with the note that kubectl keeps of its text."""
    made = msgspec.json.decode(text, type=CustomResourceDefinition)
    annotations = {LAST_APPLIED: text.decode()}
    metadata = msgspec.structs.replace(made.metadata, annotations=annotations)
    return msgspec.structs.replace(made, metadata=metadata)
