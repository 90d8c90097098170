"""Events on IpNodes that their neighbours call silent, from the scheduler that leads."""

import asyncio
from collections.abc import Mapping
from typing import Literal

from extip.api.core_v1 import ObjectReference
from extip.api.ipcontroller_v1 import IpNode
from extip.api.resources import IP_NODES
from extip.kube.events import EventRecorder


class SilenceEvents:
    """Tells people of suspicions; the task of `run` runs while this process leads."""

    def __init__(self, events: EventRecorder, records: Mapping[str, IpNode]) -> None:
        self._events = events
        self._records = records
        self._leads = False

    async def run(self) -> None:
        """Tell of suspicions until cancelled."""
        self._leads = True
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._leads = False

    def on_suspicion(self, node: str, withdrawn: bool) -> None:  # noqa: FBT001 - a handler
        """Record that a node was taken for dead, or that this was wrong."""
        record = self._records.get(node)
        if not self._leads or record is None:
            return
        kind: Literal["Normal", "Warning"] = "Normal" if withdrawn else "Warning"
        self._events.record(
            ObjectReference(
                api_version=IP_NODES.api_version,
                kind=IP_NODES.kind,
                name=node,
                uid=record.metadata.uid,
            ),
            type=kind,
            reason="SuspicionWithdrawn" if withdrawn else "NodeSilent",
            message="it lives: its heartbeats or its neighbours say so"
            if withdrawn
            else "its neighbours get no answer from it, and no heartbeat came since: its IPs move",
        )
