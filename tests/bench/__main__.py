"""`python -m tests.bench [NAME ...]`: exit code 1 when a bound is missed, 2 when it cannot run."""

import argparse
import gc
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from tests.bench import (
    announce,
    balancers,
    cache,
    cluster_size,
    command_line,
    failover,
    failover_drain,
    failover_faults,
    failover_first_answer,
    failover_mass,
    failover_placement,
    failover_rest,
    first_answer,
    many_services,
    netlink,
    rack,
    repair,
    rest,
    scale,
    scheduler,
)
from tests.bench.figure import Figure, Table
from tests.lab.binaries import BinariesError
from tests.lab.errors import LabError

GROUPS: dict[str, tuple[str, Callable[[], Iterator[Figure]]]] = {
    "first-answer": ("service created to first answer by its IP", first_answer.measure),
    "netlink": ("add and dump addresses", netlink.measure),
    "announce": ("bring addresses up and announce them", announce.measure),
    "cache": ("list and watch services", cache.measure),
    "repair": ("bring a removed address back", repair.measure),
    "rest": ("memory and processor when nothing happens", rest.measure),
    "fail-over": ("a node dies, with keepalived beside", failover.measure),
    "drain": ("a node with 50 IPs is stopped in order", failover_drain.measure),
    "claims-answer": ("service created to first answer, claims", failover_first_answer.measure),
    "balancers": ("LoadBalancer service created to first answer", balancers.measure),
    "mass-move": ("a node with 1,000 claims dies", failover_mass.measure),
    "placement": ("100,000 claims over 1,000 nodes, decisions alone", failover_placement.measure),
    "scheduler": ("what one event costs the scheduler, by the number of claims", scheduler.measure),
    "rack": ("a rack of nodes dies, by the size of the cluster", rack.measure),
    "faults": ("outage and double ownership under faults", failover_faults.measure),
    "faults-release": ("the same, --on-api-loss release", failover_faults.measure_release),
    "claims-rest": ("claims mode when nothing happens", failover_rest.measure),
    "cluster-size": ("a controller at rest, by the number of nodes", cluster_size.measure),
    "many-services": ("one more service than 2,000, and pods that restart", many_services.measure),
    "scale": ("each of 200 controllers at rest, and what happens to them", scale.measure),
    "command-line": ("start the program", command_line.measure),
}


def main() -> int:
    """Run the chosen groups, all by default; returns the exit code."""
    chosen = _chosen()
    table, started, missed = Table(), time.monotonic(), 0
    gc.freeze()  # as extip does, so that what runs in this process is not charged with its imports
    print(table.heading(), flush=True)
    try:
        for name in chosen:
            for figure in GROUPS[name][1]():
                print(table.row(figure), flush=True)
                missed += not figure.ok
    except (BinariesError, LabError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    outcome = f"{missed} MISSED" if missed else "all bounds hold"
    print(f"\n{outcome}; {time.monotonic() - started:.0f} s")
    return 1 if missed else 0


def _chosen() -> Sequence[str]:
    groups = "\n".join(f"  {name:<14}{about}" for name, (about, _) in GROUPS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Measure extip against named baselines in the same run.",
        epilog=f"groups:\n{groups}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="groups to run (default: all)")
    names: list[str] = parser.parse_args().names
    unknown = [name for name in names if name not in GROUPS]
    if unknown:
        parser.error(f"no group {unknown[0]!r}; there are: {', '.join(GROUPS)}")
    return names or list(GROUPS)


if __name__ == "__main__":
    sys.exit(main())
