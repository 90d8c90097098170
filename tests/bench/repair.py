"""An address that another program removes: how long until it is back."""

from collections.abc import Iterator

from tests.bench import program
from tests.bench.figure import Figure
from tests.bench.sampling import MS, alternate, median
from tests.lab.cluster import Lab
from tests.lab.extip import Extip
from tests.lab.host import Host
from tests.lab.network import external_v4

_BLOCKS, _IN_A_BLOCK = 6, 10


def measure() -> Iterator[Figure]:
    """Delete an address of extip's by `ip`, again and again; the baseline is `ip` itself.

    That runs alternately on a host without extip, so that the repair does not make it slower.
    """
    ip = f"{external_v4(0)}/32"
    with Lab(nodes=1) as lab:
        node = lab.nodes["n1"]
        extip = Extip(node, "simple", kubeconfig=lab.kubeconfig)
        lab.add_service("web", [external_v4(0)])
        extip.wait_for_addresses(ip)
        repaired, alone = alternate(
            _BLOCKS, lambda: _delete(node, ip, "repaired"), lambda: _delete(lab.client, ip, "own")
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
