"""What a lab looks like before a test, and how it is brought back to that after one."""

import contextlib
import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.daemon import Daemon
from tests.lab.host import SERVICE_ACCOUNT_FILES, Host, pids_by_namespaces
from tests.lab.node import Node
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from tests.lab.cluster import Lab

COLLECTIONS = {
    "service": "/api/v1/{}services",
    "deployment": "/apis/apps/v1/{}deployments",
    "daemon set": "/apis/apps/v1/{}daemonsets",
}
"""Paths of the kinds that extip looks at in all namespaces: a namespace that is deleted still shows
them for some seconds, to the next test, too."""

KUBE_PROXY_PORTS = {"10249", "10256"}
"""Where kube-proxy itself is asked: metrics and health."""

Links = dict[str, set[str]]
"""The interfaces of a node, each with its addresses but the link-local ones."""


class Baseline:
    """Remembers links, addresses and namespaces of a fresh lab; undoes what tests add to it.

    Objects in a namespace that a test made go with it, those of `COLLECTIONS` at once.
    Cluster-scoped objects other than namespaces are the test's own to delete.
    """

    def __init__(self, lab: "Lab") -> None:
        self._lab = lab
        self._links = {node.name: _links(node) for node in lab.nodes.values()}
        self._namespaces = self._list_namespaces()
        self._api_server = lab.api_server.process.pid

    # What is there beyond the fresh lab.

    def leftovers(self) -> list[str]:
        """Describe processes, links, addresses and objects that a fresh lab does not have."""
        found = [f"process {pid} in {host.name}" for host, pid in self._strange_processes()]
        for node in self._lab.nodes.values():
            found += [f"link {link} in {node.name}" for link in self._strange_links(node)]
            found += [f"address {pair} in {node.name}" for pair in self._strange_addresses(node)]
        found += [f"{kind} {space}/{name}" for kind, space, name in self._strange_objects()]
        found += [f"files of a ServiceAccount in {host.name}" for host, _ in self._mounted()]
        return found

    def _hosts(self) -> dict[Host, list[Daemon]]:
        """All hosts, each with the lab's own programs in it."""
        lab, plane = self._lab, self._lab.control_plane
        hosts: dict[Host, list[Daemon]] = {host: [] for host in lab.outsiders.hosts}
        hosts[lab.switch] = plane.daemons()
        for node in lab.nodes.values():
            hosts[node] = [node.kubelet, node.kube_proxy, node.host_backend]
            hosts[node.pods] = [node.backend]
        return hosts

    def _strange_processes(self) -> list[tuple[Host, int]]:
        """Find the processes that are neither the lab's own programs nor started by those.

        Whatever the anchor starts leads a session of its own.
        """
        everybody = pids_by_namespaces()
        return [
            (host, pid)
            for host, daemons in self._hosts().items()
            for pid in host.own_pids(everybody)
            if _session(pid) not in {None, *(d.process.pid for d in daemons if d.running)}
        ]

    def _strange_links(self, node: Node) -> set[str]:
        return set(_links(node)) - set(self._links[node.name])

    def _strange_addresses(self, node: Node) -> set[tuple[str, str]]:
        before = self._links[node.name]
        return {
            (link, address)
            for link, addresses in _links(node).items()
            for address in addresses - before.get(link, set())
        }

    def _mounted(self) -> list[tuple[Host, Path]]:
        folders = [(host, host.outside(SERVICE_ACCOUNT_FILES)) for host in self._hosts()]
        return [(host, folder) for host, folder in folders if folder.exists()]

    def _list_namespaces(self) -> set[str]:
        items = self._lab.api.get("/api/v1/namespaces")["items"]
        return {item["metadata"]["name"] for item in items}

    def _strange_objects(self) -> set[tuple[str, str, str]]:
        """Find the objects of `COLLECTIONS`: kind, namespace and name of each."""
        found = {
            (kind, item["metadata"]["namespace"], item["metadata"]["name"])
            for kind, path in COLLECTIONS.items()
            for item in self._lab.api.get(path.format(""))["items"]
        }
        return found - {("service", "default", "kubernetes")}

    # Back to it.

    def restore(self) -> None:
        """Bring the lab back: strays killed, faults healed, addresses and objects removed."""
        self.end_strays()
        self._heal()
        for node in self._lab.nodes.values():
            self._restore_links(node)
        for _, folder in self._mounted():
            shutil.rmtree(folder)
        strange = self._strange_objects()
        for kind, space, name in strange:
            collection = COLLECTIONS[kind].format(f"namespaces/{space}/")
            self._lab.api.discard(f"{collection}/{name}")
        if any(kind == "service" for kind, _, _ in strange):
            wait_until(self._ports_are_free, "kube-proxy to let go of external IPs")
        for name in self._list_namespaces() - self._namespaces:
            self._lab.api.discard(f"/api/v1/namespaces/{name}")
        for host in (self._lab.client, self._lab.router):
            host.flush_neighbours()

    def _ports_are_free(self) -> bool:
        """Whether no kube-proxy listens on the port of a service any more.

        It opens those of new services before it closes those of deleted ones. If both have the same
        external IP it fails (EADDRINUSE), makes no rules, and does not try again for an hour.
        """
        listening = [
            line
            for node in self._lab.nodes.values()
            for line in node.run(["ss", "-Hlntup"]).stdout.splitlines()
            if '"kube-proxy"' in line
        ]
        return all(line.split()[4].rpartition(":")[2] in KUBE_PROXY_PORTS for line in listening)

    def end_strays(self) -> None:
        """Kill what tests started; returns when it is gone."""
        wait_until(self._kill_strays, "what tests started to end")

    def _kill_strays(self) -> bool:
        strays = self._strange_processes()
        for _, pid in strays:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not strays

    def _heal(self) -> None:
        nodes = self._lab.nodes.values()
        self._lab.switch.heal(*(port for node in nodes for port in node.ports.values()))
        for node in nodes:
            node.carrier_up("lan")
            node.carrier_up("management")
        for daemon in self._hosts()[self._lab.switch]:
            if daemon.running:
                daemon.thaw()
            daemon.start()
        for node in nodes:
            if not node.kube_proxy.running:
                node.revive()
        self._refresh_clients()

    def _refresh_clients(self) -> None:
        """Restart who could not reach the API server: the backoff of client-go may last a minute.

        Those are kube-proxy and the controller manager.
        """
        lab, switch = self._lab, self._lab.switch
        restarted = lab.api_server.process.pid != self._api_server
        behind = [
            node
            for node in lab.nodes.values()
            if restarted or node.ports["management"].name in switch.once_cut
        ]
        if restarted:
            lab.control_plane.controller_manager.restart()
        for node in behind:
            node.kube_proxy.stop()
            node.kube_proxy.launch()
        for node in behind:
            node.kube_proxy.wait_ready()
        self._api_server = lab.api_server.process.pid
        switch.once_cut.clear()

    def _restore_links(self, node: Node) -> None:
        for link in self._strange_links(node):
            node.run(["ip", "link", "del", link], check=False)  # a veth's peer goes with it
        for link, address in self._strange_addresses(node):
            # Gone already when it was secondary to one that went before it.
            node.run(["ip", "addr", "del", address, "dev", link], check=False)


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def _links(node: Node) -> Links:
    return {
        link["ifname"]: {
            f"{address['local']}/{address['prefixlen']}"
            for address in link["addr_info"]
            if address["scope"] != "link"
        }
        for link in node.ip_json("addr")
    }
