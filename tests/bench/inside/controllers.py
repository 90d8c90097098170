"""Many controllers in one process: ``controllers KUBECONFIG COUNT``, until SIGTERM.

Each is the whole controller with a connection of its own to the real API server, over a kernel and
a segment in memory. Once a second it prints a line of JSON: what all of them together have asked,
received, used and brought up since the start.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import ip_address, ip_interface
from pathlib import Path
from random import Random

from extip import log
from extip.clock import LoopClock
from extip.kube.client import ApiClient, ReadLine
from extip.kube.config import open_endpoint
from extip.kube.transport import HttpTransport, Request
from extip.metrics import Metrics
from extip.modes import controller
from extip.settings.controller import ControllerSettings
from tests.bench.large_cluster import address, node_name
from tests.fakes.link import FakeNode
from tests.fakes.network import FakeNetwork
from tests.fakes.segment import FakeSegment

_START_S = 0.05
"""Between two controllers: as many as that do not start at one moment."""


class CountingTransport(HttpTransport):
    """Counts requests by verb and kind, and bytes received: in all, and by watches of a kind."""

    counts: Counter[str]

    @asynccontextmanager
    async def open(self, request: Request) -> AsyncIterator[ReadLine]:
        self.counts[str(request)] += 1
        received = f"received {request.what}"
        async with super().open(request) as readline:

            async def counted() -> bytes:
                line = await readline()
                self.counts["received"] += len(line)
                self.counts[received] += len(line)
                return line

            yield counted

    async def read(self, request: Request) -> bytearray:
        self.counts[f"{request.verb} {request.what.split()[0]}"] += 1
        body = await super().read(request)
        self.counts["received"] += len(body)
        return body


def network(name: str, number: int, clock: LoopClock) -> FakeNetwork:
    """Return a node's network. Each has a segment to itself, on which all its neighbours answer."""
    own, node, segment = address(number), FakeNode(clock), FakeSegment()
    node.add_link("eth0", mac=bytes([2, 0, 0, 0, number >> 8, number & 0xFF]))
    node.put("eth0", ip_interface(f"{own}/16"))
    segment.holders = Neighbours(own)
    return FakeNetwork(node, segment, hostname=name)


class Neighbours(dict):  # type: ignore[type-arg]
    """Every address of 10.99.0.0/16 but its own has a station."""

    def __init__(self, own: str) -> None:
        self._own = ip_address(own)

    def get(self, ip: object, default: object = None) -> object:
        number = int(ip) & 0xFFFF  # type: ignore[call-overload]
        is_other = ip != self._own and str(ip).startswith("10.99.")
        return bytes([2, 0, 0, 0, number >> 8, number & 0xFF]) if is_other else default


async def report(networks: list[FakeNetwork], counts: Counter[str]) -> None:
    while True:
        up = sum(a.ours for network in networks for a in network.node.observed())
        line = {
            "at": time.monotonic(),
            "up": up,
            "cpu_s": time.process_time(),
            "resident_mb": resident_mb(),
            **counts,
        }
        print(json.dumps(line), flush=True)
        await asyncio.sleep(1.0)


def resident_mb() -> float:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def main(kubeconfig: str, count: int) -> None:
    log.configure("json", "error")
    clock, counts, networks = LoopClock(), Counter[str](), list[FakeNetwork]()
    stop, running = asyncio.Event(), list[asyncio.Task[None]]()

    def crash() -> None:
        """End the last one that runs, as a crash of its node does."""
        running.pop().cancel()
        networks.pop()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, crash)
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        reporting = group.create_task(report(networks, counts))
        for number in range(1, count + 1):
            name, metrics = node_name(number), Metrics("controller")
            endpoint = await stack.enter_async_context(open_endpoint(kubeconfig, clock=clock))
            transport = CountingTransport(endpoint, metrics)
            transport.counts = counts
            networks.append(network(name, number, clock))
            process = controller.assemble(
                ControllerSettings(node=name, namespace="kube-system", http=None),
                ApiClient(transport),
                networks[-1],
                clock=clock,
                rng=Random(number),  # noqa: S311 - jitter
                metrics=metrics,
            )
            running.append(group.create_task(process.run(loop.create_future)))
            await asyncio.sleep(_START_S)
        await stop.wait()
        for task in (reporting, *running):
            task.cancel()


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
