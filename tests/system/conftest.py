"""Fixtures of the tests on a real cluster: a lab that they share, and labs of their own.

Every test in this folder carries the marker `lab`, and more patience than the default.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.lab.binaries import Binaries, BinariesError, find_binaries
from tests.lab.cluster import Lab
from tests.lab.extip import Extip
from tests.lab.node import Node
from tests.system.claims import Claims
from tests.system.claims_cluster import WITHOUT_A_GAP, ClaimsCluster
from tests.system.pooled_cluster import PooledCluster
from tests.system.wire import Wire

HERE = Path(__file__).parent
PATIENCE_S = 300
"""Longer than any wait of the lab, so that its message is seen and not pytest-timeout's."""

_STARTS = pytest.StashKey[list[Lab]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_STARTS] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("lab")
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(PATIENCE_S))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say on which server version the suite ran and, when asked for more, what was measured."""
    if terminalreporter.verbosity > 0:
        for report in terminalreporter.getreports("passed"):
            if report.when == "call" and report.user_properties:
                figures = ", ".join(f"{name} {value}" for name, value in report.user_properties)
                terminalreporter.write_line(f"{report.head_line}: {figures}")
    labs = config.stash[_STARTS]
    if labs:
        binaries = labs[0].binaries
        slowest = max(lab.startup_s for lab in labs)
        terminalreporter.write_line(
            f"lab: Kubernetes {binaries.version} ({binaries.source}); "
            f"{len(labs)} started, the slowest in {slowest:.1f} s"
        )


@pytest.fixture(scope="session")
def binaries() -> Binaries:
    """Find the Kubernetes binaries; where there are none, one message says how to supply them."""
    try:
        return find_binaries()
    except BinariesError as error:
        pytest.exit(f"lab: {error}", returncode=2)


def _start(config: pytest.Config, lab: Lab) -> None:
    lab.start()
    config.stash[_STARTS].append(lab)


def _end(lab: Lab) -> None:
    lab.close()
    assert not Path(f"/proc/{lab.anchor.pid}").exists()
    assert not lab.anchor.directory.exists()


@pytest.fixture(scope="session")
def shared_lab(pytestconfig: pytest.Config, binaries: Binaries) -> Iterator[Lab]:
    """Keep a lab of three nodes for the whole session; tests take `lab`."""
    lab = Lab(nodes=3)
    _start(pytestconfig, lab)
    yield lab
    _end(lab)


@pytest.fixture
def lab(shared_lab: Lab) -> Iterator[Lab]:
    """Lend the shared lab, fresh as at its start; what the test leaves in it is removed after.

    For faults that `Lab.reset` undoes: cuts, carrier, killed and frozen programs, a stopped API
    server. A test that changes links, sysctls or the cluster's own objects takes `private_lab`.
    """
    yield shared_lab
    shared_lab.reset()
    assert shared_lab.leftovers() == []


@pytest.fixture
def namespace(lab: Lab, request: pytest.FixtureRequest) -> str:
    """Make a Kubernetes namespace of the test's own.

    With a backend pod on every node, or on those that the test's module calls `PODS_ON`.
    """
    name = f"test-{secrets.token_hex(4)}"
    lab.create_namespace(name)
    lab.add_backends(name, getattr(request.module, "PODS_ON", None))
    return name


@pytest.fixture
def node(lab: Lab) -> Node:
    """Pick the node of tests that need one."""
    return lab.nodes["n1"]


@pytest.fixture
def simple(lab: Lab) -> Callable[..., Extip]:
    """Start `extip simple` in n1, or another node; it ends with the test."""

    def start(*flags: str, node: str = "n1", **env: str) -> Extip:
        return Extip(lab.nodes[node], "simple", *flags, kubeconfig=lab.kubeconfig, env=env)

    return start


@pytest.fixture
def pooled(lab: Lab, namespace: str) -> Iterator[PooledCluster]:
    """Make the definitions known; programs that a test starts end after it."""
    made = PooledCluster(lab, namespace)
    made.install()
    yield made
    made.end()
    made.clean_up()


@pytest.fixture
def claims(lab: Lab) -> Iterator[Claims]:
    """Make claims; they, the IpNodes and the heartbeat Leases go after the test."""
    lab.install_definitions()
    yield Claims(lab)
    lab.discard_claims()


@pytest.fixture
def controller(lab: Lab, claims: Claims) -> Callable[..., Extip]:
    """Start `extip controller` in n1, or another node, under the node's name; wait for a pass."""

    def start(
        *flags: str, node: str = "n1", hostname: str = "", ready: bool = True, **env: str
    ) -> Extip:
        flags = (f"--hostname={hostname or node}", *flags)
        extip = Extip(lab.nodes[node], "controller", *flags, kubeconfig=lab.kubeconfig, env=env)
        if ready:
            extip.wait_for_event("reconcile_succeeded")
        return extip

    return start


@pytest.fixture
def idle_cluster(lab: Lab, namespace: str) -> Iterator[ClaimsCluster]:
    """Prepare the lab for claims mode; the test starts the programs, all of them end after it."""
    made = ClaimsCluster(lab, namespace)
    made.install()
    yield made
    made.end()
    made.clean_up()


@pytest.fixture
def cluster(idle_cluster: ClaimsCluster) -> ClaimsCluster:
    """Run a controller on each of three nodes, and one scheduler."""
    idle_cluster.start()
    return idle_cluster


@pytest.fixture
def gapless_cluster(idle_cluster: ClaimsCluster) -> ClaimsCluster:
    """Run the same, with controllers that hand over without a gap."""
    idle_cluster.controller_flags += WITHOUT_A_GAP
    idle_cluster.start()
    return idle_cluster


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Note what was seen on the wire, in seconds, for the report of `pytest -v`."""

    def note(wire: Wire, **more: float) -> None:
        seen = {"outage": max(wire.outages_s().values()), "two answered": wire.double_s(), **more}
        request.node.user_properties += [(name, round(value, 3)) for name, value in seen.items()]

    return note


@pytest.fixture
def private_lab(pytestconfig: pytest.Config, binaries: Binaries) -> Iterator[Callable[..., Lab]]:
    """Start labs for one test: `private_lab(nodes=2, ip_forward=False)`; they end after it."""
    with ExitStack() as stack:

        def start(nodes: int = 3, *, ip_forward: bool = True, node_grace_s: float = 40.0) -> Lab:
            lab = Lab(nodes, ip_forward=ip_forward, node_grace_s=node_grace_s)
            _start(pytestconfig, lab)
            stack.callback(_end, lab)
            return lab

        yield start
