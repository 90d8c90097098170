"""A controller is stopped in order: what that costs each of the IPs that it held."""

import random
import time
from collections.abc import Iterator

from tests.bench.failover_cluster import NAMESPACE, ClaimsCluster
from tests.bench.figure import Figure
from tests.bench.sampling import MS, percentile
from tests.lab.cluster import Lab
from tests.lab.errors import LabError
from tests.lab.network import external_v4

_COUNT = 50
_PROBED = 10
"""As many of them, others each time, as this machine can probe beside all that it does."""

_ROUNDS = 12
_BOUND_MS = 50
_LATENESS_S = 0.02
"""A round in which the prober itself was later than this does not count."""

_TRIES = 4
_QUIET_S = 0.5
_PAIR = ("n1", "n2")
_BACKEND = "n3"
_CONTROL = "10.88.9.9"
"""An IP that stays where it is. A round in which it does not answer does not count: it is the
machine that did not come to it."""


def measure() -> Iterator[Figure]:
    """Hand all IPs from one node to another and back."""
    ips = [external_v4(number) for number in range(_COUNT)]
    outages: list[float] = []
    discarded = 0
    with Lab(nodes=3) as lab:
        lab.create_namespace(NAMESPACE)
        lab.add_backends(NAMESPACE, [_BACKEND])
        lab.nodes[_BACKEND].run(["ip", "address", "add", f"{_CONTROL}/32", "dev", "eth0"])
        flags = ("--nodefilter=first-alive", "--allow-cidr=10.88.1.0/24")
        cluster = ClaimsCluster(lab, scheduler=flags)
        cluster.start(*_PAIR)
        lab.add_service("web", [*ips, _CONTROL], namespace=NAMESPACE)
        while len(outages) < _ROUNDS * _PROBED:
            found = _drained(cluster, ips)
            outages += found
            discarded += not found
            if discarded > _TRIES * _ROUNDS:
                raise LabError("this machine is too busy to probe in time")
    for percent, at_most in ((99, _BOUND_MS), (100, None)):
        which = "longest" if percent == 100 else f"p{percent}"
        yield Figure(
            what=f"node with {_COUNT} IPs is drained: outage of an IP, {which}",
            measured=MS * percentile(outages, percent),
            unit="ms",
            at_most=at_most,
            kind="value",
        )


def _drained(cluster: ClaimsCluster, ips: list[str]) -> list[float]:
    """Stop the controller that has all IPs, start it again; return the outages of some."""
    (owner,) = set(cluster.wait_settled(ips).values())
    for ip in ips:
        cluster.lab.wait_for_http(ip)
    probed = random.sample(ips, _PROBED)
    with cluster.lab.probe([*probed, _CONTROL]) as probe:
        time.sleep(_QUIET_S)
        cluster.controllers[owner].process.terminate()
        cluster.wait_settled(ips)
        time.sleep(_QUIET_S)
    cluster.start_controller(owner)
    if probe.worst_lateness_s > _LATENESS_S or probe.outages(_CONTROL):
        return []
    return [probe.longest_outage_s(ip) for ip in probed]
