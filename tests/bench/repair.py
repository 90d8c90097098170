"""An address that another program removes: how long until it is back."""

from collections.abc import Iterator

from extip.addresses.policy.readd_backoff import AT_ONCE
from tests.bench import program
from tests.bench.figure import Figure
from tests.bench.sampling import MS, alternate, median
from tests.lab.cluster import Lab
from tests.lab.extip import Extip
from tests.lab.host import Host
from tests.lab.network import external_v4

_BLOCKS, _IN_A_BLOCK = 12, AT_ONCE
"""Each block has an address of its own: one that is removed more often is put back later."""


def measure() -> Iterator[Figure]:
    """Delete an address of extip's by `ip`, again and again; the baseline is `ip` itself.

    That runs alternately on a host without extip, so that the repair does not make it slower.
    """
    ips = [external_v4(number) for number in range(_BLOCKS)]
    with Lab(nodes=1) as lab:
        node = lab.nodes["n1"]
        extip = Extip(node, "simple", kubeconfig=lab.kubeconfig)
        lab.add_service("web", ips)
        extip.wait_for_addresses(*(f"{ip}/32" for ip in ips))
        fresh, other = iter(ips), iter(ips)
        repaired, alone = alternate(
            _BLOCKS,
            lambda: _delete(node, f"{next(fresh)}/32", "repaired"),
            lambda: _delete(lab.client, f"{next(other)}/32", "own"),
        )
        extip.process.terminate()
    yield Figure(
        what="address removed by another program: back, p50",
        measured=MS * median([run["gone_s"] for block in repaired for run in block]),
        unit="ms",
        baseline=MS * median([run["run_s"] for block in alone for run in block]),
        baseline_name="ip addr del, its run time",
        at_most=1,
    )


def _delete(host: Host, ip: str, mode: str) -> list[dict[str, float]]:
    results: list[dict[str, float]] = program.run(host, "deletions", "eth0", ip, _IN_A_BLOCK, mode)
    return results
