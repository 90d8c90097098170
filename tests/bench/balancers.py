"""A service of type LoadBalancer is created: how long until its address of a pool answers.

One at a time, as in `first_answer`: each service also has an external IP that is on the node
beforehand. Both wait for the same pass of kube-proxy, and other stations are not asked first.

Then 1,000 at once, with kube-proxy as it is by default: without its pause it misses changes when so
many come. The baseline is the bare API client: it creates the same services, and writes the claim
and the status of each itself, while all addresses are on the node beforehand. What is left is the
API server, kube-proxy, and 3,000 requests.
"""

import json
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address

from tests.bench import program
from tests.bench.failover_cluster import ClaimsCluster
from tests.bench.figure import Figure
from tests.bench.first_answer import _SETTLE_S, _hurry_kube_proxy
from tests.bench.sampling import MS, percentile
from tests.lab.api import GROUP
from tests.lab.cluster import Lab
from tests.lab.network import external_v4
from tests.lab.node import Node
from tests.lab.wait import wait_until

_PAIRS = int(os.environ.get("EXTIP_BENCH_PAIRS", "50"))
_MANY = int(os.environ.get("EXTIP_BENCH_BALANCERS", "1000"))
_BOUND_MS = 80
_BOUND = 2.0
_PATIENCE_S = 240.0
_FIRST = IPv4Address("10.88.64.1")


def address(number: int) -> str:
    """Return the address that the pool gives to the service of that number, from 0."""
    return str(_FIRST + number)


def measure() -> Iterator[Figure]:
    """Create services one after the other, then many at once."""
    pairs = _one_by_one()
    by_extip, by_hand = ([MS * pair[n] for pair in pairs] for n in (0, 1))
    for percent in (50, 99):
        yield Figure(
            what=f"LoadBalancer service created, its address answers, p{percent}",
            measured=percentile(by_extip, percent),
            unit="ms",
            baseline=percentile(by_hand, percent),
            baseline_name="address there beforehand",
            at_most=_BOUND_MS,
            kind="difference",
        )
    bare = _many(by_hand=True)
    yield Figure(
        what=f"{_MANY:,} such services at once, all answer",
        measured=_many(by_hand=False),
        unit="s",
        baseline=bare,
        baseline_name="bare API client, addresses there",
        at_most=_BOUND,
    )


def _one_by_one() -> list[tuple[float, float]]:
    with _cluster() as (lab, node):
        _hurry_kube_proxy(lab, node)
        return [_pair(lab, node, number) for number in range(_PAIRS)]


def _pair(lab: Lab, node: Node, number: int) -> tuple[float, float]:
    """Create a service; return the seconds until the pool's and until the other IP answers."""
    ips = address(number), external_v4(number)
    node.run(["ip", "addr", "add", f"{ips[1]}/32", "dev", "eth0"])
    with lab.probe(ips) as probe:
        time.sleep(random.uniform(0.05, 0.06))  # noqa: S311 - any phase of the probes' schedule
        created = time.monotonic()
        spec = {"type": "LoadBalancer", "ipFamilyPolicy": "SingleStack"}
        lab.add_service(f"web-{number}", [ips[1]], spec=spec)
        first = [probe.wait_for_answer(ip=ip).ended_s - created for ip in ips]
    time.sleep(_SETTLE_S)
    return first[0], first[1]


def _many(*, by_hand: bool) -> float:
    """Return the seconds from the first creation until every address has answered."""
    with _cluster(running=not by_hand) as (lab, node):
        if by_hand:
            addresses = (f"addr add {address(number)}/32 dev eth0" for number in range(_MANY))
            lab.switch.batch(list(addresses), host=node.name)
        pod = lab.api.get("/api/v1/namespaces/default/pods/backend-n1")["status"]["podIP"]
        command = program.argv("all_answer", _MANY)
        asking = lab.client.start(command, env=program.environment(), name="all-answer")
        started = program.run(lab.switch, "balancers", lab.kubeconfig, _MANY, pod, int(by_hand))
        asking.wait(timeout=_PATIENCE_S)
        return float(json.loads(asking.output())) - float(started)


@contextmanager
def _cluster(*, running: bool = True) -> Iterator[tuple[Lab, Node]]:
    """Bring up one node with a pool and, unless others do its work, extip."""
    with Lab(nodes=1) as lab:
        node = lab.nodes["n1"]
        lab.install_definitions()
        if running:
            ClaimsCluster(lab, controller=["--probe=0s"]).start("n1")
            ranges = [[address(0), address(max(_MANY, _PAIRS) - 1)]]
            lab.apply(
                {
                    "apiVersion": "ipcontroller.ext/v1",
                    "kind": "IpClaimPool",
                    "metadata": {"name": "bench"},
                    "spec": {"cidr": "10.88.64.0/18", "ranges": ranges},
                }
            )
            path = f"{GROUP}/ipclaimpools/bench"
            wait_until(lambda: lab.api.get(path).get("status", {}).get("size"), "the pool")
        yield lab, node
