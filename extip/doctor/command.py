"""`extip doctor`: gather facts, run all checks, tell what was found."""

import os
import sys
from ipaddress import ip_interface

import msgspec

from extip.clock import LoopClock
from extip.doctor.cluster import read_cluster
from extip.doctor.node import read_node
from extip.doctor.policy.facts import ClusterFacts, NodeFacts
from extip.doctor.policy.finding import Severity
from extip.doctor.policy.report import as_text, examine
from extip.doctor.wish import Wish
from extip.errors import ApiUnavailableError, ConfigurationError
from extip.kube.client import connect
from extip.kube.place import Place
from extip.metrics import Metrics
from extip.net.interfaces import IPAddress
from extip.settings.controller import ControllerSettings
from extip.terminal import has_colours

_NODE_NAME = "NODE_NAME"
"""The variable by which the manifests give a controller its --hostname."""


async def run(place: Place, wish: Wish) -> bool:
    """Print the findings; return whether none is an error.

    A cluster that cannot be asked keeps nobody from looking at this machine. Raises ApiError and
    ConfigurationError when there is nothing else to look at.
    """
    clock = LoopClock()
    cluster, unread = None, tuple[str, ...]()
    try:
        opened = connect(place.kubeconfig, context=place.context, metrics=Metrics("doctor"))
        async with opened as client:
            cluster = await read_cluster(client, wish.role, clock=clock)
            unread = cluster.unread
    except (ApiUnavailableError, ConfigurationError) as error:
        if not wish.iface:
            raise
        unread = (f"the cluster: {error}",)
    nodes: list[NodeFacts] = []
    if wish.iface:
        own = os.environ.get(_NODE_NAME) or ControllerSettings().node
        hostname, peers = wish.hostname or own, _peers(cluster, wish.hostname or own)
        links = ControllerSettings(iface=wish.iface).links  # it knows what they can be called
        nodes = await read_node(links, hostname, peers=peers, clock=clock)
    findings = examine(cluster, nodes)
    if wish.output == "json":
        told = {"findings": findings, "unread": unread}
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(told), indent=2).decode() + "\n")
    else:
        sys.stdout.write(as_text(findings, unread=unread, colour=has_colours(sys.stdout)))
    return all(one.severity is not Severity.ERROR for one in findings)


def _peers(cluster: ClusterFacts | None, own: str) -> list[IPAddress]:
    """Return the addresses of other nodes, as their controllers tell them."""
    nodes = () if cluster is None else cluster.ip_nodes
    links = [link for one in nodes if one.metadata.name != own for link in one.status.links or ()]
    return [ip_interface(text).ip for link in links for text in link.addresses or ()]
