"""A node dies: how long until a client gets answers again, with extip and with keepalived.

All of them hold an IP of the same node, so each death is one run of each. The pods are on a third
node, since kube-proxy goes on sending to those of a dead one until Kubernetes takes notice. The
node comes back before the next death, so the IPs go back and forth between two nodes. It is away
for longer than several deaths may have one cause, as a machine is that starts again: each death
stands for itself.

A controller on the third node has no IPs, and is the second that sees a node of the pair die. What
a death costs without its word depends first of all on how long ago the last heartbeat was. So the
deaths are spread over extip's heartbeat: one at random in each of as many equal parts of it.
Without that the median of twenty would be off by a tenth now and then; for keepalived any phase is
as likely.
"""

import os
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from extip.scheduling.policy.node_facts import EXCLUDE_LABEL
from extip.uplink.policy.settling import RETURN_S
from extip.uplink.policy.suspicion import COMMON_S
from tests.bench import failover_keepalived as keepalived
from tests.bench.failover_cluster import NAMESPACE, ClaimsCluster
from tests.bench.figure import Figure
from tests.bench.sampling import MS, percentile
from tests.lab.cluster import Lab
from tests.lab.node import Node
from tests.lab.process import Process
from tests.lab.wait import wait_until

DEATHS = int(os.environ.get("EXTIP_BENCH_DEATHS", "20"))
"""With each setting; fewer for a quick look."""
_BY_EXTIP, _BY_KEEPALIVED, _BY_FAST_KEEPALIVED = IPS = ("10.88.9.1", "10.88.9.2", "10.88.9.3")
_PEERS = ((_BY_KEEPALIVED, 1.0, 51), (_BY_FAST_KEEPALIVED, 0.1, 52))
_PAIR = ("n1", "n2")
_BACKEND = "n3"
_BEFORE_S = 0.3
"""Time in which all have to answer."""

_AFTERMATH_S = 0.3
"""Time in which an IP that came back may be lost again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How extip is set, and what is asked of it then, in seconds."""

    name: str
    controller: tuple[str, ...] = ()
    scheduler: tuple[str, ...] = ()
    heartbeat_s: float
    bounds: tuple[tuple[int, float | None], ...]
    """Percentile, and the outage that it may be."""
    lateness_s: float
    """A death in which the prober itself was later than this does not count."""
    port: bool = False
    """The port of the node leads nowhere, in place of its death."""


SETTINGS = (
    Setting(
        name="node dies, hb 2 s, monitor 4 s",
        heartbeat_s=2.0,
        bounds=((50, 0.7), (100, 1.2)),
        lateness_s=0.2,
    ),
    Setting(
        name="port dead, hb 2 s, monitor 4 s",
        heartbeat_s=2.0,
        bounds=((50, 0.7), (100, 1.2)),
        lateness_s=0.2,
        port=True,
    ),
    Setting(
        name="node dies, hb 0.1 s, monitor 0.3 s",
        controller=("--hb=100ms",),
        scheduler=("--monitor=300ms",),
        heartbeat_s=0.1,
        bounds=((50, None), (95, 0.45), (100, None)),
        lateness_s=0.09,
    ),
)


def measure(deaths: int = DEATHS) -> Iterator[Figure]:
    """Kill nodes, with each setting."""
    with Lab(nodes=3) as lab:
        lab.create_namespace(NAMESPACE)
        lab.add_backends(NAMESPACE, [_BACKEND])
        lab.kubectl("label", "node", _BACKEND, f"{EXCLUDE_LABEL}=")
        for setting in SETTINGS:
            scheduler = (f"--allow-cidr={_BY_EXTIP}/32", *setting.scheduler)
            cluster = ClaimsCluster(lab, controller=setting.controller, scheduler=scheduler)
            yield from _figures(setting, _outages(cluster, setting, deaths))
            cluster.stop()


def _outages(cluster: ClaimsCluster, setting: Setting, deaths: int) -> tuple[list[float], ...]:
    """Return what the deaths cost each of the IPs, in seconds."""
    cluster.start()
    cluster.start_controller(_BACKEND)
    peers: list[Process] = []
    for node in _PAIR:
        peers += _start(cluster, node)
        if node == _PAIR[0]:
            cluster.lab.add_service("web", IPS, namespace=NAMESPACE)
            wait_until(lambda: _holds_all(cluster, _PAIR[0]), "all to hold an IP", poll_s=0.05)
    outages: tuple[list[float], ...] = ([], [], [])
    parts = list(range(deaths))
    random.shuffle(parts)
    owner, other = _PAIR
    while parts:
        cluster.wait_watched()
        phase = (parts[-1] + random.random()) / deaths  # noqa: S311 - any in that part
        if outage_s := _death(cluster, owner, setting, phase):
            parts.pop()
            for found, one_s in zip(outages, outage_s, strict=True):
                found.append(one_s)
        back_at = time.monotonic() + COMMON_S
        wait_until(partial(_holds_all, cluster, other), "all IPs to have moved", poll_s=0.05)
        cluster.lab.nodes[owner].die()  # what is left of it
        cluster.wait_given_up(owner)
        time.sleep(max(0.0, back_at - time.monotonic()))
        cluster.lab.nodes[owner].revive()
        peers += _start(cluster, owner)
        owner, other = other, owner
    cluster.lab.delete_service("web", namespace=NAMESPACE)
    for peer in peers:
        if peer.running:
            peer.terminate()
    return outages


def _start(cluster: ClaimsCluster, node: str) -> list[Process]:
    """Start extip's controller and both of keepalived on a node; return these."""
    host = cluster.lab.nodes[node]
    peers = [
        keepalived.start(host, ip, advert_s=advert_s, router=router)
        for ip, advert_s, router in _PEERS
    ]
    cluster.start_controller(node)
    return peers


def _holds_all(cluster: ClaimsCluster, node: str) -> bool:
    held = {address.ip for address in cluster.lab.nodes[node].addresses("eth0")}
    return held.issuperset(IPS)


def _death(cluster: ClaimsCluster, owner: str, setting: Setting, phase: float) -> list[float]:
    """Kill the node that holds all; return the longest outage of each IP, none if unsure."""
    lab = cluster.lab
    if setting.port:
        time.sleep(RETURN_S)  # who has just come back takes nothing from a node that is cut off
    lab.client.flush_neighbours()
    for ip in IPS:
        lab.wait_for_http(ip)
    with lab.probe(IPS) as probe:
        time.sleep(_BEFORE_S)
        cluster.wait_for_heartbeat(owner)
        time.sleep(phase * setting.heartbeat_s)
        died = time.monotonic()
        _end(lab.nodes[owner], setting)
        for ip in IPS:
            probe.wait_for_failure(ip=ip, sent_after_s=died - 1)
        gone = time.monotonic()
        for ip in IPS:
            probe.wait_for_answer(ip=ip, sent_after_s=gone)
        time.sleep(_AFTERMATH_S)
    if probe.worst_lateness_s > setting.lateness_s:
        return []
    return [probe.longest_outage_s(ip) for ip in IPS]


def _end(node: Node, setting: Setting) -> None:
    if setting.port:
        node.cut("lan")
    else:
        node.die()


def _figures(setting: Setting, outages: Sequence[Sequence[float]]) -> Iterator[Figure]:
    for percent, at_most_s in setting.bounds:
        values = [MS * percentile(found, percent) for found in outages]
        which = "longest" if percent == 100 else f"p{percent}"
        for value, name in zip(values[1:], ("advert 1 s", "advert 0.1 s"), strict=True):
            yield Figure(
                what=f"{setting.name}: outage, {which}",
                measured=values[0],
                unit="ms",
                baseline=value,
                baseline_name=f"keepalived, {name}",
                at_most=None if at_most_s is None else MS * at_most_s,
                kind="value",
            )
