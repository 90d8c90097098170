"""Reports the loss and the return of a definition: log, Event, `/readyz`, metric."""

from collections.abc import Callable
from random import Random
from typing import cast

from extip import log
from extip.api.resources import (
    CUSTOM_RESOURCE_DEFINITIONS,
    IP_CLAIM_POOLS,
    IP_CLAIMS,
    IP_NODES,
)
from extip.clock import Clock
from extip.definitions.install import AnyKind
from extip.definitions.kind_watch import KindWatch
from extip.kube.client import ApiClient
from extip.kube.events import EventRecorder, ObjectReference
from extip.metrics import Metrics

_HELD = "what is up stays up, and nothing moves, until it is there again"


class Kinds:
    """One watch for each kind."""

    def __init__(
        self,
        client: ApiClient,
        events: EventRecorder,
        *,
        clock: Clock,
        rng: Random,
        metrics: Metrics,
    ) -> None:
        def watch(kind: AnyKind) -> KindWatch:
            return KindWatch(client, kind, on_change=self._changed, clock=clock, rng=rng)

        self.claims = watch(cast("AnyKind", IP_CLAIMS))
        self.nodes = watch(cast("AnyKind", IP_NODES))
        self.pools = watch(cast("AnyKind", IP_CLAIM_POOLS))
        self._handlers: list[Callable[[], None]] = []
        self._events = events
        self._missing = metrics.definitions_missing
        self._log = log.get_logger("kinds")

    def add_handler(self, handler: Callable[[], None]) -> None:
        """Have `handler` called when a definition is back."""
        self._handlers.append(handler)

    def problem(self) -> str:
        """Return the missing definitions; empty for none. It is a readiness check."""
        missing = [one.missing for one in (self.claims, self.nodes, self.pools) if one.missing]
        return "; ".join([*missing, _HELD]) if missing else ""

    def _changed(self, kind: KindWatch) -> None:
        self._missing.labels(kind.name).set(bool(kind.missing))
        if not kind.missing:
            self._log.info("definition_back", definition=kind.name)
            for handler in self._handlers:
                handler()
            return
        self._log.error("definition_missing", definition=kind.name, error=kind.missing)
        self._events.record(
            ObjectReference(
                api_version=CUSTOM_RESOURCE_DEFINITIONS.api_version,
                kind=CUSTOM_RESOURCE_DEFINITIONS.kind,
                name=kind.name,
            ),
            type="Warning",
            reason="DefinitionMissing",
            message=f"{kind.missing}; {_HELD}",
        )
