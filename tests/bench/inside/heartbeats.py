"""The heartbeats of many controllers: ``heartbeats KUBECONFIG COUNT HEARTBEAT_S``, until SIGTERM.

Each has a connection of its own, as it would have on a node of its own.
"""

import asyncio
import sys
from contextlib import AsyncExitStack
from random import Random

from extip import log
from extip.api.names import heartbeat_lease
from extip.clock import LoopClock
from extip.kube.client import connect
from extip.kube.lease_lock import LeaseLock
from extip.liveness.heartbeat import Publisher
from extip.metrics import Metrics

_NAMESPACE = "kube-system"


async def main(kubeconfig: str, count: int, heartbeat_s: float) -> None:
    log.configure("json", "info")
    metrics, clock = Metrics("bench"), LoopClock()
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        for number in range(count):
            name = f"simulated-{number:03}"
            client = await stack.enter_async_context(connect(kubeconfig, metrics=metrics))
            publisher = Publisher(
                LeaseLock(client, name=heartbeat_lease(name), namespace=_NAMESPACE),
                node=name,
                namespace=_NAMESPACE,
                identity=name,
                heartbeat_s=heartbeat_s,
                clock=clock,
                rng=Random(number),  # noqa: S311 - jitter
                metrics=metrics,
            )
            group.create_task(publisher.run())
            await asyncio.sleep(heartbeat_s / count)


asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
