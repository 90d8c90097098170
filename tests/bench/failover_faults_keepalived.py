"""The same faults for keepalived as Debian ships it, with `advert_int 1`, which is its default."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tests.bench import failover_keepalived
from tests.lab.cluster import Lab
from tests.lab.node import Node
from tests.lab.process import Process
from tests.lab.wait import wait_until

_ADVERT_S = 1.0
_ROUTER = 77


class Pair:
    """keepalived on two nodes, with one IP."""

    def __init__(self, lab: Lab, ip: str, nodes: tuple[str, str]) -> None:
        self.lab = lab
        self.ip = ip
        self._processes: dict[str, Process] = {}
        self._nodes = nodes

    def start(self, *names: str) -> None:
        """Start it on these nodes; on both, when none is named."""
        for name in names or self._nodes:
            self._processes[name] = failover_keepalived.start(
                self.lab.nodes[name], self.ip, advert_s=_ADVERT_S, router=_ROUTER
            )

    def wait_settled(self) -> str:
        """Wait until one node alone has the IP; returns its name."""

        def one() -> str:
            found = [name for name in self._nodes if self._has(self.lab.nodes[name])]
            return found[0] if len(found) == 1 else ""

        return wait_until(one, "one keepalived to have the IP")

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to all its processes on a node: a watcher, and one that does the work."""
        session = self._processes[name].pid
        for pid in self.lab.nodes[name].all_pids():
            if os.getsid(pid) == session:
                os.kill(pid, number)

    def end(self) -> None:
        """Kill it everywhere, and take away the address that it leaves behind."""
        for name in self._processes:
            self.signal(name, signal.SIGKILL)
        for name in self._nodes:
            node = self.lab.nodes[name]
            node.run(["ip", "address", "del", f"{self.ip}/32", "dev", "eth0"], check=False)

    def _has(self, node: Node) -> bool:
        return any(address.ip == self.ip for address in node.addresses("eth0"))


Act = Callable[[Pair, str], object]
"""Gets the node that has the IP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong, and how it ends."""

    name: str
    begin: Act
    end: Act


def _signal(number: signal.Signals, pair: Pair, owner: str) -> None:
    pair.signal(owner, number)


FAULTS = (
    Fault(
        name="killed with -9, started again",
        begin=partial(_signal, signal.SIGKILL),
        end=lambda pair, owner: pair.start(owner),
    ),
    Fault(
        name="frozen and thawed",
        begin=partial(_signal, signal.SIGSTOP),
        end=partial(_signal, signal.SIGCONT),
    ),
    Fault(
        name="cut off from the clients' network, healed",
        begin=lambda pair, owner: pair.lab.nodes[owner].cut("lan"),
        end=lambda pair, owner: pair.lab.nodes[owner].heal(),
    ),
    Fault(
        name="carrier lost, back",
        begin=lambda pair, owner: pair.lab.nodes[owner].carrier_down(),
        end=lambda pair, owner: pair.lab.nodes[owner].carrier_up(),
    ),
)
