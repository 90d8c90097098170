"""`python -m tests.lab`: bring a lab up for a person to play with; Ctrl-C ends it.

Exit code 0 after Ctrl-C or SIGTERM, 2 when the lab cannot be had.
"""

import argparse
import signal
import sys

from tests.lab.binaries import BinariesError
from tests.lab.cluster import Lab
from tests.lab.errors import LabError
from tests.lab.network import external_v4


def _text(lab: Lab) -> str:
    node = lab.nodes["n1"]
    ip = external_v4(0)
    enter = "nsenter --all --preserve-credentials --target"
    hosts = [*lab.nodes.values(), *lab.outsiders.hosts]
    pids = ", ".join(f"{host.name} {host.holder_pid}" for host in hosts)
    return f"""
Kubernetes {lab.server_version}, {len(lab.nodes)} nodes, up in {lab.startup_s:.1f} s

kubeconfig      export KUBECONFIG={lab.outside_kubeconfig()}
                kubectl get nodes,pods -o wide
enter a node    {enter} {node.holder_pid} bash
                (KUBECONFIG={lab.kubeconfig} in there)
the switch      {enter} {lab.switch.holder_pid} bridge link

A service with external IPs, its address added by hand, a request of the client:

  kubectl create service clusterip backend --tcp=80:8080
  kubectl patch service backend -p '{{"spec": {{"externalIPs": ["{ip}"]}}}}'
  {enter} {node.holder_pid} ip addr add {ip}/32 dev eth0
  {enter} {lab.client.holder_pid} curl -s http://{ip}/

Pids to enter by: {pids}.
Logs: {lab.anchor.directory}/logs
Ctrl-C ends it; nothing is left.
"""


def main() -> int:
    """Run the lab until a signal comes; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.lab", description="A cluster to play in."
    )
    parser.add_argument("--nodes", type=int, default=3, help="how many nodes (default: 3)")
    parser.add_argument(
        "--no-ip-forward", action="store_true", help="nodes that do not forward packets"
    )
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    try:
        print("starting a lab ...", flush=True)
        with Lab(arguments.nodes, ip_forward=not arguments.no_ip_forward) as lab:
            print(_text(lab), flush=True)
            while True:
                signal.pause()
    except KeyboardInterrupt:
        print("gone")
        return 0
    except (LabError, BinariesError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 2


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
