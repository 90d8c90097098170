"""Runs the acts one after another; ends by itself, with status 0 when everything was seen."""

import sys
import time

from tests.demo import claims, pools, simple
from tests.demo.stage import Stage
from tests.lab.binaries import BinariesError
from tests.lab.cluster import Lab
from tests.lab.errors import LabError


def main() -> int:
    """Bring the cluster up, play the acts, take it down."""
    started = time.monotonic()
    stage = Stage()
    try:
        stage.title("A Kubernetes cluster in namespaces of this machine")
        with Lab(nodes=3) as lab:
            stage.say(
                f"kube-apiserver {lab.server_version}, etcd, kube-proxy on n1, n2, n3; "
                f"ready in {lab.startup_s:.1f} s"
            )
            simple.play(stage, lab)
            claims.play(stage, lab)
            pools.play(stage, lab)
            stage.title("Nothing is left")
            stage.show("processes, links, addresses", lab.leftovers() == [], "none in any node")
    except (BinariesError, LabError, AssertionError) as error:
        sys.stdout.flush()
        sys.stderr.write(f"demo: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    stage.say(f"\nDone in {time.monotonic() - started:.0f} s. Play with it yourself: make lab")
    return 0 if stage.all_seen else 1


if __name__ == "__main__":
    sys.exit(main())
