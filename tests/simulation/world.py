"""The cluster of a history: hosts with clocks of their own, processes that are killed or freeze.

It is `Cluster`, whose processes and networks can fail in every way that `tests.simulation.faults`
knows, and the wishes of users that the invariants compare it with.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_address, ip_interface
from random import Random
from typing import Any

from extip.api.resources import IP_CLAIMS, NODES
from extip.errors import FatalError
from extip.kube.client import ApiClient
from extip.metrics import Metrics
from extip.modes import controller, scheduler, simple
from extip.modes.process import Process
from extip.net.interfaces import IPAddress, IPInterface
from extip.scheduling import failovers
from extip.scheduling.policy.placement import Strategy
from extip.settings.controller import ControllerSettings
from extip.settings.scheduler import SchedulerSettings
from extip.settings.simple import SimpleSettings
from tests.fakes.cluster_api import ClusterApi
from tests.fakes.cluster_transport import ClusterTransport
from tests.fakes.faulty_segment import Client, FaultySegment, Stranger
from tests.fakes.hosts import LIFE, HostClock, Life, ProcessClock, hosts_loop
from tests.fakes.link import FakeNode
from tests.fakes.network import FakeNetwork
from tests.fakes.older_transport import OlderTransport
from tests.fakes.world import later
from tests.simulation.cluster import NAMESPACE
from tests.simulation.moves import Move, Moves
from tests.simulation.users import Users

IFACE = "eth0"

MOVED_S = 8.0
"""For so long after a move in order its IP may be on two nodes, or its clients be on their way."""

ALONE_S = 11.0
"""A fault is alone when none was for so long before it, and it stays so for so long after it."""


@dataclass
class Node:
    """A machine with a network."""

    name: str
    mac: bytes
    own: IPAddress
    clock: HostClock
    network: FakeNetwork

    @property
    def kernel(self) -> FakeNode:
        return self.network.node


@dataclass(eq=False)
class Running:
    """A process that runs now, or did last."""

    life: Life
    transport: ClusterTransport
    signals: asyncio.Queue[str]
    task: object
    began_s: float
    process: Process
    frozen_at_s: float | None = None
    thawed_at_s: float = -1e9
    ended: str | None = None
    """The failure that it ended with; empty where it ended in order."""
    stopped_at_s: float | None = None
    """When it was killed or ended."""
    fatal: bool = False
    """It ended with an error that tells a person what to mend."""


class World:
    """Everything there is."""

    lan = IPv4Network("192.0.2.0/24")
    """The network of the nodes."""
    new_segment: type[FaultySegment] = FaultySegment
    least = 1
    """Claims of a dead node that fail over by one write: a few are many here."""

    def __init__(self, rng: Random, *, flags: dict[str, object]) -> None:
        self.rng = rng
        self._least, failovers.LEAST = failovers.LEAST, self.least
        self.flags = flags
        """Of the controllers, by field of their settings; `scheduler` has those of schedulers."""
        self._of_schedulers = SchedulerSettings(
            namespace=NAMESPACE,
            http=None,
            leader_elect=True,
            **flags["scheduler"],  # type: ignore[arg-type]
        )
        self.api = ClusterApi()
        self.api.faults.rng = Random(rng.random())  # noqa: S311 - a simulation's chance
        self.segment = self.new_segment(Random(rng.random()))  # noqa: S311
        self.client = Client(self.segment, bytes([2, 0, 0, 0, 1, 0]), Random(rng.random()))  # noqa: S311
        self.nodes: dict[str, Node] = {}
        self.scheduler_hosts: dict[str, HostClock] = {}
        self.processes: dict[str, Running] = {}
        self.lives: list[Running] = []
        self.simple = bool(flags.get("simple"))
        """The nodes run `extip simple`, one at a time."""
        self.pod = ""
        """The node on which Kubernetes wants it to run; empty in claims mode."""
        self.users = Users(self.api)
        self.moves = Moves(self.api)
        self.strangers: dict[object, Stranger] = {}
        self.foreign: dict[tuple[str, IPInterface], float] = {}
        """Addresses that somebody put on a node by hand, and when."""
        self.held: Counter[tuple[str, str]] = Counter()
        """Faults of one kind that hit one thing now; see `begins`."""
        self.active: Counter[str] = Counter()
        """Kinds of faults that are there now."""
        self.touched: dict[str, float] = {}
        """When a fault, or its end, was last at a node or process; `*` is for all of them."""
        self.answering: dict[IPAddress, list[str]] = {}
        """The nodes that answer the clients for each IP."""
        self.answered_before: dict[IPAddress, list[str]] = {}
        """The same at the look before."""
        self.alone: Any = None
        """The fault that is alone, from its begin until a while after its end."""
        self.reached: dict[IPAddress, bytes] = {}
        """The station that has what clients send to each IP; none where it is lost."""
        self._cut_off: dict[str, float] = {}
        self.defined_at_s = -1e9
        """When a definition was made again."""
        self._disturbed_s = 0.0

    @property
    def now(self) -> float:
        return hosts_loop().now

    # Machines

    def add_node(self, name: str, *, rate: float = 1.0) -> Node:
        number = len(self.nodes) + 1
        mac, own = bytes([2, 0, 0, number >> 8, 0, number & 0xFF]), self.lan[number]
        clock = HostClock(rate)
        kernel = FakeNode(ProcessClock(clock))
        kernel.add_link(IFACE, mac=mac)
        kernel.put(IFACE, ip_interface(f"{own}/{self.lan.prefixlen}"))
        network = FakeNetwork(kernel, self.segment, hostname=name, iface=IFACE)
        node = self.nodes[name] = Node(name, mac, own, clock, network)
        self.add_to_api(name)
        return node

    def add_to_api(self, name: str) -> None:
        """Have the API server know the machine as a node that nothing is wrong with."""
        self.api.create(
            NODES,
            name,
            status={
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": str(self.nodes[name].own)}],
            },
        )

    def add_scheduler(self, name: str, *, rate: float = 1.0) -> None:
        self.scheduler_hosts[name] = HostClock(rate)

    def mac_of(self, name: str) -> bytes:
        return self.nodes[name].mac

    # Processes: a controller has its node's name, a scheduler its own.

    def start(self, name: str) -> None:
        """Start a process that does not run, where it is to run."""
        if self.pod not in ("", name) or self.held[("no power", name)]:
            return
        before = self.processes.get(name)
        if before is not None and before.ended is None and not before.life.dead:
            return
        life = Life(name, self._clock_of(name))
        older = self.held[("older", name)]
        transport = (OlderTransport if older else ClusterTransport)(self.api, name)
        context = copy_context()
        context.run(LIFE.set, life)
        process = context.run(self._assemble, name, transport)
        signals: asyncio.Queue[str] = asyncio.Queue()
        running = Running(life, transport, signals, None, self.now, process)
        self.processes[name] = running
        self.lives.append(running)
        running.task = hosts_loop().create_task(self._run(process, running), context=context)
        transport.way.silent = bool(self.held[("silent", name)])
        transport.way.cut = bool(self.held[("cut", name)])

    async def _run(self, process: Process, running: Running) -> None:
        try:
            await process.run(running.signals.get)
        except Exception as error:  # noqa: BLE001 - whatever ends a process is what is looked for
            running.ended = _text_of(error)
            running.fatal = _is_fatal(error)
        else:
            running.ended = ""
        running.stopped_at_s = self.now
        running.transport.cut()
        self._close_sockets(running.life.name)

    def kill(self, name: str) -> None:
        """As SIGKILL: nothing of it runs any more, and its sockets are closed."""
        running = self.processes[name]
        running.life.dead, running.stopped_at_s = True, self.now
        running.transport.cut()
        self._close_sockets(name)

    def reschedule(self) -> None:
        """Have the pod of simple mode stopped in order, and started on the next node."""
        names = list(self.nodes)
        self._follow(self.pod, names[(names.index(self.pod) + 1) % len(names)])

    def _follow(self, source: str, target: str) -> None:
        """Wait until the pod has gone from a node; the kubelet tells the pod to stop."""
        self.pod = target
        if self.exists(source):
            if self.runs(source):
                self.terminate(source)
            self.later(0.5, self._follow, source, target)
        else:
            self.start(target)

    def terminate(self, name: str) -> None:
        """As SIGTERM."""
        self.processes[name].signals.put_nowait("SIGTERM")

    def restart(self, name: str) -> None:
        """Have a process stopped in order, and another one started once it has gone."""
        if self.exists(name):
            self.terminate(name)
            self._start_after(self.processes[name])

    def _start_after(self, running: Running) -> None:
        name = running.life.name
        if self.processes[name] is running and self.exists(name):
            self.later(0.1, self._start_after, running)
        else:
            self.start(name)

    def freeze(self, name: str) -> None:
        running = self.processes[name]
        if not running.life.frozen:
            running.life.frozen, running.frozen_at_s = True, self.now

    def thaw(self, name: str) -> None:
        running = self.processes[name]
        if running.life.frozen and not running.life.dead:
            running.frozen_at_s, running.thawed_at_s = None, self.now
            hosts_loop().thaw(running.life)

    def exists(self, name: str) -> bool:
        """Whether there is a process of that name now, frozen or not."""
        running = self.processes.get(name)
        return running is not None and running.ended is None and not running.life.dead

    def runs(self, name: str) -> bool:
        running = self.processes.get(name)
        return running is not None and running.ended is None and running.life.runs

    # Faults that overlap

    def begins(self, what: str, who: str = "") -> bool:
        """Count a fault; return whether nothing else of its kind is there already."""
        self.held[(what, who)] += 1
        return self.held[(what, who)] == 1

    def ends(self, what: str, who: str = "") -> bool:
        """Count the end of a fault; return whether nothing of its kind is left."""
        self.held[(what, who)] -= 1
        return self.held[(what, who)] == 0

    @staticmethod
    def later(delay_s: float, callback: Callable[..., object], *args: object) -> None:
        later(delay_s, callback, *args)

    # Interfaces

    def unplug(self, name: str) -> None:
        """Pull the cable of a node out."""
        self.begins("unplugged", name)
        self.set_link(name)

    def plug_in(self, name: str) -> None:
        """Put it in again."""
        self.ends("unplugged", name)
        self.set_link(name)

    def power_off(self, name: str) -> None:
        """Have a node lose its power: nobody on it says anything any more."""
        if self.begins("no power", name):
            if self.exists(name):
                self.kill(name)
            self.unplug(name)

    def power_on(self, name: str) -> None:
        """Have it boot: its kernel is a new one."""
        if self.ends("no power", name):
            kernel = self.nodes[name].kernel
            for address in [one for one in kernel.observed() if one.ours]:
                kernel.delete(address.link_index, address.interface)
            self.plug_in(name)
            self.start(name)

    def set_link(self, name: str) -> None:
        """Have the interface of a node as the faults say that are there now."""
        node = self.nodes[name]
        (link,) = node.kernel.all_links()
        up, plugged = not self.held[("down", name)], not self.held[("unplugged", name)]
        if (link.up, link.carrier) != (up, up and plugged):
            node.kernel.change_link(link.name, up=up, carrier=up and plugged)
        (self.segment.unplugged.discard if up and plugged else self.segment.unplugged.add)(node.mac)

    def touching(self, names: tuple[str, ...], by: int) -> None:
        """Take it that a fault begins (1) or ends (-1) at these."""
        for name in names:
            self.held[("touched", name)] += by
            self.touched[name] = self.now

    def touched_s_ago(self, name: str) -> float:
        """Return how long ago a fault was last at it, or at all; 0 while it is."""
        if self.held[("touched", name)] or self.held[("touched", "*")]:
            return 0.0
        last = max(self.touched.get(name, -1e9), self.touched.get("*", -1e9))
        return self.now - last

    def fault_begins(self, kind: str, fault: object) -> None:
        """Take it that a fault begins."""
        self.alone = fault if self.quiet_for_s > ALONE_S else None
        self.active[kind] += 1
        self._disturbed_s = self.now

    def fault_ends(self, kind: str) -> None:
        """Take it that a fault has ended."""
        self.active[kind] -= 1
        self._disturbed_s = self.now

    @property
    def quiet_for_s(self) -> float:
        """How long there has been no fault."""
        return 0.0 if self.active.total() else self.now - self._disturbed_s

    # What is looked at

    def look(self) -> None:
        """Take in what is there now; called five times a second."""
        self.users.look()
        self._look_at_wire()
        if self.quiet_for_s > ALONE_S:
            self.alone = None
        for name, running in self.processes.items():
            if running.transport.way.silent or running.transport.way.cut:
                self._cut_off[name] = self.now
            if running.ended and running.fatal and self.now - (running.stopped_at_s or 0) > 2:
                self.start(name)  # as a kubelet does

    def answers(self) -> dict[IPAddress, list[str]]:
        """Return the nodes that answer the clients now, for each IP, whoever put it there."""
        found: dict[IPAddress, list[str]] = {}
        for name, node in self.nodes.items():
            link = node.kernel.look_up(IFACE)
            if link is not None and link.carrier and self.client.hears(node.mac):
                for ip in node.kernel.ips():
                    found.setdefault(ip, []).append(name)
        return found

    def _look_at_wire(self) -> None:
        all_answers = self.answers()
        by_hand = {(name, interface.ip) for name, interface in self.foreign}
        answering = {
            ip: named
            for ip, names in all_answers.items()
            if (named := [name for name in names if (name, ip) not in by_hand])
        }
        macs = {ip: [self.mac_of(name) for name in names] for ip, names in all_answers.items()}
        for stranger in self.strangers.values():
            macs.setdefault(stranger.ip, []).append(stranger.station)
        self.answered_before, self.answering = self.answering, answering
        self.reached = {ip: self.client.reaches(ip, macs.get(ip, [])) for ip in self.users.wanted}

    def cut_off_s_ago(self, name: str) -> float:
        """Return how long ago a process had no way to the API server; 0 while it has none."""
        if self.api.faults.refusing or self.api.faults.standing_still or self.api.faults.rules:
            return 0.0
        return self.now - self._cut_off.get(name, -1e9)

    def states(self) -> list[str]:
        """Return what the cluster is in the middle of: other faults, moves, elections."""
        found = [kind for kind, count in self.active.items() if count]
        assigned = self.assigned()
        if any(node not in self.holders(ip) for ip, node in assigned.items()):
            found.append("moving")
        if any(len(names) > 1 for names in self.answering.values()):
            found.append("two-holders")
        if any(not self.runs(name) for name in self.scheduler_hosts):
            found.append("scheduler-gone")
        if any(not self.runs(name) for name in self.nodes):
            found.append("node-gone")
        return found or ["steady"]

    def tasks(self) -> dict[str, int]:
        """Return how many tasks each process has."""
        running = self.processes.items()
        return {name: one.life.unfinished() for name, one in running if self.runs(name)}

    def ours_on(self, name: str) -> list[str]:
        """Return the addresses on a node that extip put there."""
        return [str(a.interface) for a in self.nodes[name].kernel.observed() if a.ours]

    @property
    def rebalance_after_s(self) -> float:
        """How long nodes have to be steady before IPs are moved to even the load out; 0: never."""
        return self._of_schedulers.rebalance_after_s

    @property
    def strategy(self) -> Strategy:
        """How schedulers distribute claims."""
        return self._of_schedulers.nodefilter

    def is_balancing(self, ip: IPAddress) -> bool:
        """Whether an IP was moved a moment ago to even the load out: two nodes may have it."""
        move = self.moves.last.get(ip)
        return move is not None and self.balances(move) and self.now - move.at_s < MOVED_S

    def balances(self, move: Move) -> bool:
        """Whether a move makes the load more even, or with `first-alive` joins the others."""
        helps = move.gap > 1 if self.strategy is Strategy.FAIR else move.joins
        return self.rebalance_after_s > 0 and helps

    @property
    def ttl_s(self) -> float:
        return 40.0 if self.simple else 6.0

    @property
    def local_ips(self) -> set[IPAddress]:
        """The IPs of services with local traffic policy."""
        return {ip_address("10.88.1.9")}

    # What there is

    def holders(self, ip: IPAddress) -> list[str]:
        """Return the nodes that have an IP on their interface, put there by extip."""
        return [name for name, node in self.nodes.items() if node.kernel.has_ours(ip)]

    def assigned(self) -> dict[IPAddress, str]:
        """Return the IPs that have a claim, each with its node."""
        if self.simple:
            return dict.fromkeys(self.users.wanted, self.pod)
        claims = self.api.collections.get(IP_CLAIMS.path(), {}).values()
        return {
            ip_address(claim["spec"]["cidr"].partition("/")[0]): claim["spec"].get("nodeName", "")
            for claim in claims
        }

    def client_over(self, transport: ClusterTransport) -> ApiClient:
        """Return the client of one process."""
        return ApiClient(transport)

    def close(self) -> None:
        """Let every task end, those of killed processes, too; nothing they do counts any more."""
        for running in self.lives:
            running.transport.cut()
            running.life.dead = False
            hosts_loop().thaw(running.life)
        failovers.LEAST = self._least

    def _clock_of(self, name: str) -> HostClock:
        return self.nodes[name].clock if name in self.nodes else self.scheduler_hosts[name]

    def _close_sockets(self, name: str) -> None:
        if name in self.nodes:
            self.nodes[name].network.forget_process()

    def _assemble(self, name: str, transport: ClusterTransport) -> Process:
        clock = ProcessClock(self._clock_of(name))
        rng = Random(self.rng.random())  # noqa: S311 - a simulation's chance
        kube = self.client_over(transport)
        if self.simple:
            return simple.assemble(
                SimpleSettings(http=None, load_balancers=True),
                kube,
                self.nodes[name].network,
                clock=clock,
                rng=rng,
                metrics=Metrics("simple"),
            )
        if name in self.nodes:
            of_controller = {k: v for k, v in self.flags.items() if k != "scheduler"}
            settings = ControllerSettings(
                node=name,
                namespace=NAMESPACE,
                http=None,
                **of_controller,  # type: ignore[arg-type]
            )
            return controller.assemble(
                settings,
                kube,
                self.nodes[name].network,
                clock=clock,
                rng=rng,
                metrics=Metrics("controller"),
            )
        identity = f"{name}_{self.rng.getrandbits(32):08x}"
        return scheduler.assemble(
            self._of_schedulers, kube, identity, clock=clock, rng=rng, metrics=Metrics("scheduler")
        )


def _text_of(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_text_of(one) for one in error.exceptions)
    return f"{type(error).__name__}: {error}"


def _is_fatal(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_fatal, error.exceptions))
    return isinstance(error, FatalError)
