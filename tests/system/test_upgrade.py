"""Programs of this version and of an older one work together, in each order of an upgrade.

There is no release yet. `FORMER` stands for it: a commit from which much has changed, so that what
the two write and read of each other is not the same.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

import extip
from tests.lab.cluster import Lab
from tests.lab.extip import Extip
from tests.meta.manifests import ROOT
from tests.system.claims_cluster import IPS, WITHOUT_A_GAP, ClaimsCluster
from tests.system.wire import watched

FORMER = "59d5c6d"
WEB, LATER = IPS[:3], IPS[3:]
LONGEST_OUTAGE_S = 1.0
"""A move in order has none. A busy machine may have one, which is far below that of a death."""

ORJSON = """
import json

def dumps(value, default=None):
    return json.dumps(value, default=default).encode()
"""
"""A library that the former version needs and this one does not have, as far as it is used."""

Environment = Mapping[str, str]
THIS: Environment = {}


@pytest.fixture
def former(tmp_path: Path) -> Environment:
    """Unpack the former version, and return the environment in which Python imports that one."""
    archive = ["git", "-C", str(ROOT), "archive", "--format=tar", FORMER, "extip"]
    packed = subprocess.run(archive, capture_output=True, check=False, timeout=60)
    if packed.returncode != 0:
        pytest.skip(f"no history with commit {FORMER} here: {packed.stderr.decode().strip()}")
    subprocess.run(["tar", "-x", "-C", tmp_path], input=packed.stdout, check=True, timeout=60)
    (tmp_path / "orjson.py").write_text(ORJSON)
    environment = {"PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": "1"}
    where = [sys.executable, "-c", "import extip; print(extip.__file__)"]
    found = subprocess.run(where, env=environment, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()) == tmp_path / "extip/__init__.py"
    assert Path(extip.__file__) != tmp_path / "extip/__init__.py"
    return environment


class Versions(ClaimsCluster):
    """Replaces programs one by one, as a rolling update does."""

    def define(self, version: Environment) -> None:
        """Apply a version's definitions."""
        command = [sys.executable, "-m", "extip", "crds", "--apply"]
        self.lab.switch.run([*command, f"--kubeconfig={self.kubeconfig}"], env=version)

    def replace_controllers(
        self, version: Environment, *, half_way: Callable[[], None] = lambda: None
    ) -> None:
        for number, name in enumerate(list(self.controllers)):
            if number == 1:
                half_way()
            assert self.controllers[name].process.terminate() == 0
            watching = self._running()
            seen = [len(self._alive(one, name)) for one in watching]
            self.start_controller(name, env=version)
            for one, count in zip(watching, seen, strict=True):
                one.wait_for_event(
                    "node_liveness_changed", node=name, state="alive", count=count + 1
                )

    def _running(self) -> list[Extip]:
        return [one for one in self.schedulers if one.process.running]

    def _alive(self, scheduler: Extip, name: str) -> list[dict[str, object]]:
        return scheduler.events("node_liveness_changed", node=name, state="alive")

    def replace_schedulers(self, version: Environment) -> None:
        for scheduler in self._running():
            successor = self.start_scheduler(env=version)
            self.wait_alive(successor)
            assert scheduler.process.terminate() == 0


@pytest.fixture
def versions(private_lab: Callable[..., Lab]) -> Iterator[Versions]:
    """Make a lab in which no definition of any version is yet."""
    lab = private_lab(nodes=3)
    lab.create_namespace("test-versions")
    lab.add_backends("test-versions")
    made = Versions(lab, "test-versions")
    made.controller_flags += WITHOUT_A_GAP
    yield made
    made.end()


def test_an_upgrade_and_the_way_back_keep_every_ip(
    versions: Versions, former: Environment, figures: Callable[..., None]
) -> None:
    cluster, lab = versions, versions.lab
    cluster.define(former)
    scheduler = cluster.start_scheduler(env=former)
    for name in lab.nodes:
        cluster.start_controller(name, env=former)
    cluster.wait_alive(scheduler)
    cluster.wait_ready()
    cluster.serve(*WEB)

    def more() -> None:
        """Ask the leader, of one version, for IPs on nodes of both."""
        lab.add_service("more", LATER, namespace=cluster.namespace, port=81)
        cluster.wait_settled(*IPS)

    def fewer() -> None:
        lab.delete_service("more", namespace=cluster.namespace)
        cluster.wait_settled(*WEB)

    with watched(lab, WEB) as wire:
        cluster.define(THIS)
        cluster.replace_controllers(THIS, half_way=more)  # the leader is of the former version
        cluster.wait_settled(*IPS)
        cluster.replace_schedulers(THIS)
        fewer()

        cluster.replace_controllers(former, half_way=more)  # the leader is of this version
        cluster.wait_settled(*IPS)
        cluster.replace_schedulers(former)
        fewer()
        wire.wait_answers()
    figures(wire)
    assert max(wire.outages_s().values()) < LONGEST_OUTAGE_S
