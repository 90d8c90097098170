"""A service is created: how long until a client gets an answer by the external IP.

Each service has two external IPs on the same node: one that extip has to bring up, and one that was
put there by hand beforehand (extip refuses it as somebody else's and leaves it alone). So both wait
for the very same pass of kube-proxy, and the difference within a pair is what extip costs. Two
services, or two nodes, would differ by what kube-proxy happens to do: its passes are up to a
second apart.

The client probes both IPs from before the creation on, every 10 ms, each time by a new connection
that is given up soon: kube-proxy up to 1.22 listens on an external IP that is on the node until its
rules are in place, and a connection made in between hangs for ever. Since it asks before the
address is there, its neighbour entry is incomplete then, and only an announcement completes it
sooner than the next ARP request, a second later.

kube-proxy's pause of at least a second between two passes is switched off: it would hide extip. And
other stations are not asked first (`--probe 0s`): for the address that is there beforehand nobody
was asked either. What that costs by default is a line of its own.
"""

import random
import time
from collections.abc import Iterable, Iterator
from itertools import islice

from tests.bench.figure import Figure
from tests.bench.sampling import MS, median, percentile
from tests.lab.cluster import Lab
from tests.lab.daemon import Daemon
from tests.lab.extip import Extip
from tests.lab.network import external_v4
from tests.lab.node import Node

_PAIRS = 100
_BOUND_MS = 40
_PROBED_PAIRS, _PROBE_MS = 40, 200
_SETTLE_S = 0.4
"""Until the passes of kube-proxy that the last service caused are over."""


def measure() -> Iterator[Figure]:
    """Create services one after the other."""
    with Lab(nodes=1) as lab:
        node = lab.nodes["n1"]
        _hurry_kube_proxy(lab, node)
        numbers = iter(range(_PAIRS + _PROBED_PAIRS))
        pairs = _pairs(lab, node, islice(numbers, _PAIRS), "--probe=0s")
        probed = _pairs(lab, node, numbers)
    by_extip, by_hand = ([MS * pair[n] for pair in pairs] for n in (0, 1))
    for percent in (50, 99):
        yield Figure(
            what=f"service created, first answer by its IP, p{percent}",
            measured=percentile(by_extip, percent),
            unit="ms",
            baseline=percentile(by_hand, percent),
            baseline_name="address there beforehand",
            at_most=_BOUND_MS,
            kind="difference",
        )
    differences = [a - b for a, b in zip(by_extip, by_hand, strict=True)]
    yield Figure(
        what="the same, difference within a pair, p99",
        measured=percentile(differences, 99),
        unit="ms",
        at_most=_BOUND_MS,
        kind="value",
    )
    yield Figure(
        what="the same, p50, with the default --probe of 200 ms",
        measured=MS * median([a - b for a, b in probed]),
        unit="ms",
        at_most=_PROBE_MS + _BOUND_MS,
        kind="value",
    )


def _pairs(lab: Lab, node: Node, numbers: Iterable[int], *flags: str) -> list[tuple[float, float]]:
    extip = Extip(node, "simple", *flags, kubeconfig=lab.kubeconfig)
    extip.wait_for_event("reconcile_succeeded")
    pairs = [_pair(lab, node, number) for number in numbers]
    extip.process.terminate()
    return pairs


def _hurry_kube_proxy(lab: Lab, node: Node) -> None:
    """Start it again without the least time between two passes."""
    node.kube_proxy.process.terminate()
    command = [*node._kube_proxy(lab.binaries), "--iptables-min-sync-period=0s"]
    hurried = Daemon(node, "kube-proxy", command, ready=node._proxy_is_healthy)
    hurried.start()


def _pair(lab: Lab, node: Node, number: int) -> tuple[float, float]:
    """Create a service; return the seconds until extip's and until the other IP answers."""
    ips = external_v4(2 * number), external_v4(2 * number + 1)
    node.run(["ip", "addr", "add", f"{ips[1]}/32", "dev", "eth0"])
    with lab.probe(ips) as probe:
        time.sleep(random.uniform(0.05, 0.06))  # noqa: S311 - any phase of the probes' schedule
        created = time.monotonic()
        lab.add_service(f"web-{number}", ips)
        first = [probe.wait_for_answer(ip=ip).ended_s - created for ip in ips]
    time.sleep(_SETTLE_S)
    return first[0], first[1]
