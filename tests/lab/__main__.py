"""`python -m tests.lab`: a lab with extip in it, for a person to play with; Ctrl-C ends it.

Exit code 0 after Ctrl-C or SIGTERM, 2 when the lab cannot be had.
"""

import argparse
import signal
import sys

from tests.lab.binaries import BinariesError
from tests.lab.cluster import Lab
from tests.lab.errors import LabError
from tests.lab.playground import Playground

_END = """
Logs are in {}/logs, extip's among them.
Ctrl-C ends it; nothing is left.
"""


def _text(lab: Lab) -> str:
    hosts = [lab.switch, *lab.nodes.values(), *lab.outsiders.hosts]
    pids = ", ".join(f"{host.name} {host.holder_pid}" for host in hosts)
    return f"""
Kubernetes {lab.server_version}, {len(lab.nodes)} nodes, up in {lab.startup_s:.1f} s

    export KUBECONFIG={lab.outside_kubeconfig()}

Enter a host (nsenter --all --preserve-credentials --target PID bash; in there
KUBECONFIG={lab.kubeconfig}): {pids}
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
            playground = Playground(lab)
            print("starting extip ...", flush=True)
            playground.start()
            print(_text(lab) + playground.text() + _END.format(lab.anchor.directory), flush=True)
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
