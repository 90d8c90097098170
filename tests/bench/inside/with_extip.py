"""extip's cache of services: ``with_extip list|watch KUBECONFIG COUNT``."""

import asyncio
import sys
from random import Random

from extip import log
from extip.api.core_v1 import Service
from extip.api.resources import NAMESPACES, SERVICES
from extip.cache.informer import Informer
from extip.clock import LoopClock
from extip.kube.client import connect
from extip.metrics import Metrics
from extip.supervisor import Component, run_beside
from tests.bench.inside.stopwatch import Stopwatch, report


async def main(what: str, kubeconfig: str, count: int) -> None:
    """Fill the cache by one list, or by a watch after a list of nothing."""
    log.configure("json", "info")
    metrics = Metrics("bench")
    async with connect(kubeconfig, metrics=metrics) as client:
        await client.get(NAMESPACES, name="default")
        informer: Informer[Service] = Informer(
            "services",
            client.lister_watcher(SERVICES),
            clock=LoopClock(),
            rng=Random(1),  # noqa: S311 - jitter
            metrics=metrics,
        )
        seen, complete = 0, asyncio.Event()

        def changed(_key: str) -> None:
            nonlocal seen
            seen += 1
            if seen == count:
                complete.set()

        informer.add_handler(changed)

        async def measure() -> dict[str, float]:
            stopwatch = Stopwatch()
            await informer.wait_synced()
            if what == "watch":
                stopwatch = Stopwatch()
            await complete.wait()
            return stopwatch.lap(len(informer.store))

        report(await run_beside([Component("informer", informer.run)], measure))


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
