"""A cluster in one process and in virtual time: the real modes over a simulated world.

Nothing in here decides anything: the API server, the kernels and the segment are fakes, and what
`extip.modes` assembles runs on them as on real ones.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from ipaddress import ip_address, ip_interface
from random import Random

from extip.api.resources import NODES, SERVICES
from extip.kube.client import ApiClient
from extip.metrics import Metrics
from extip.modes import controller, scheduler, simple
from extip.modes.process import Process
from extip.settings.controller import ControllerSettings
from extip.settings.scheduler import SchedulerSettings
from extip.settings.simple import SimpleSettings
from tests.fakes.cluster_api import ClusterApi
from tests.fakes.cluster_objects import Json
from tests.fakes.cluster_transport import ClusterTransport
from tests.fakes.link import FakeNode
from tests.fakes.network import FakeNetwork
from tests.fakes.older_transport import OlderTransport
from tests.fakes.segment import FakeSegment
from tests.fakes.virtual_time import VirtualClock, VirtualTimeLoop

NAMESPACE = "kube-system"


class Running:
    """A process of the cluster, with its way to the API server."""

    def __init__(self, process: Process, transport: ClusterTransport) -> None:
        self.process = process
        self._transport = transport
        self._signals: asyncio.Queue[str] = asyncio.Queue()
        self._task = asyncio.ensure_future(process.run(self._signals.get))

    async def stop(self) -> None:
        """Send SIGTERM, and wait for the end; raises what the process failed with."""
        self._signals.put_nowait("SIGTERM")
        await self._task

    def cut_off(self) -> None:
        """Take the API server away from it; it goes on."""
        self._transport.cut()

    async def kill(self) -> None:
        """End it at once, as SIGKILL does: it does nothing more, and gives nothing back."""
        self._transport.cut()
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    def not_ready(self) -> dict[str, str]:
        """Return what `/readyz` would name."""
        said = {name: check() for name, check in self.process.ready.items()}
        return {name: problem for name, problem in said.items() if problem}


class Cluster:
    """Its API server, its segment, and the networks of its nodes by name."""

    def __init__(self, *, seed: int = 0) -> None:
        self.api = ClusterApi()
        self.segment = FakeSegment()
        self.networks: dict[str, FakeNetwork] = {}
        self.older: set[str] = set()
        """Nodes and identities whose next process is of an older version."""
        self._ends = AsyncExitStack()
        self._clock = VirtualClock()
        self._rng = Random(seed)  # noqa: S311 - a simulation's chance

    def add_node(self, name: str) -> FakeNetwork:
        """Boot a node: it has 192.0.2.N/24 on eth0, and a Node object that lists it."""
        number = len(self.networks) + 1
        node, own = FakeNode(self._clock), f"192.0.2.{number}"
        node.add_link("eth0", mac=bytes([2, 0, 0, 0, 0, number]))
        node.put("eth0", ip_interface(f"{own}/24"))
        network = self.networks[name] = FakeNetwork(node, self.segment, hostname=name)
        self.api.create(
            NODES,
            name,
            status={
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": own}],
            },
        )
        return network

    def add_service(self, name: str, *ips: str, namespace: str = "default") -> Json:
        """Create a service with external IPs."""
        spec = {"externalIPs": list(ips), "ports": [{"port": 80, "protocol": "TCP"}]}
        return self.api.create(
            SERVICES, name, namespace=namespace, spec=spec | {"clusterIP": "10.96.0.10"}
        )

    def start_simple(self, node: str, **flags: object) -> Running:
        """Run simple mode on a node."""
        settings = SimpleSettings(http=None, **flags)  # type: ignore[arg-type]
        transport = ClusterTransport(self.api, f"simple on {node}")
        return self._start(
            simple.assemble(
                settings,
                ApiClient(transport),
                self.networks[node],
                clock=self._clock,
                rng=self._chance(),
                metrics=Metrics("simple"),
            ),
            transport,
        )

    def start_controller(self, node: str, **flags: object) -> Running:
        """Run a controller on a node."""
        settings = ControllerSettings(node=node, namespace=NAMESPACE, http=None, **flags)  # type: ignore[arg-type]
        transport = self._way(f"controller on {node}", node)
        return self._start(
            controller.assemble(
                settings,
                ApiClient(transport),
                self.networks[node],
                clock=self._clock,
                rng=self._chance(),
                metrics=Metrics("controller"),
            ),
            transport,
        )

    def start_scheduler(self, identity: str, **flags: object) -> Running:
        """Run a scheduler anywhere."""
        settings = SchedulerSettings(namespace=NAMESPACE, http=None, **flags)  # type: ignore[arg-type]
        transport = self._way(f"scheduler {identity}", identity)
        return self._start(
            scheduler.assemble(
                settings,
                ApiClient(transport),
                identity,
                clock=self._clock,
                rng=self._chance(),
                metrics=Metrics("scheduler"),
            ),
            transport,
        )

    def holders(self, ip: str) -> set[str]:
        """Return the nodes that have an external IP on their interface."""
        wanted = ip_address(ip)
        return {
            name
            for name, network in self.networks.items()
            if any(a.ours and a.interface.ip == wanted for a in network.node.observed())
        }

    def last_announced(self, ip: str) -> str:
        """Return the node whose announcement of an IP came last: there its clients send."""
        wanted = ip_address(ip)
        macs = {network.node.find("eth0").mac: name for name, network in self.networks.items()}
        said = [macs[event.mac] for event in self.segment.announced if event.ip == wanted]
        return said[-1] if said else ""

    async def until(self, condition: Callable[[], object], *, within_s: float) -> float:
        """Wait until it holds; return how long that took. Raises TimeoutError."""
        began = self._clock.monotonic()
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110 - what it waits for may be anything
                await asyncio.sleep(0.01)
        return self._clock.monotonic() - began

    @asynccontextmanager
    async def always(self, condition: Callable[[], object]) -> AsyncIterator[None]:
        """Look all the time whether it holds; raises AssertionError at the end when it did not."""
        held = True

        def look() -> None:
            nonlocal held
            held = held and bool(condition())

        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        with loop.watched(look):
            yield
        assert held, "it did not hold all the time"

    @asynccontextmanager
    async def living(self) -> AsyncIterator["Cluster"]:
        """Kill what still runs at the end; raises what a process failed with."""
        async with self._ends:
            yield self

    def _way(self, who: str, name: str) -> ClusterTransport:
        return (OlderTransport if name in self.older else ClusterTransport)(self.api, who)

    def _start(self, process: Process, transport: ClusterTransport) -> Running:
        running = Running(process, transport)
        self._ends.push_async_callback(running.kill)
        return running

    def _chance(self) -> Random:
        return Random(self._rng.random())  # noqa: S311 - a simulation's chance
