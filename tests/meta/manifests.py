"""The manifests as kubectl builds them, and what their workloads run as."""

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.lab.binaries import find_tool

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "manifests"
KUSTOMIZATIONS = sorted(path.parent for path in MANIFESTS.glob("*/kustomization.yaml"))
METRICS_AUTH = MANIFESTS / "metrics-auth"
MODES = [one for one in KUSTOMIZATIONS if one.name not in ("monitoring", METRICS_AUTH.name)]
CRDS = MANIFESTS / "claims" / "crds.yaml"
CONTAINERFILE = MANIFESTS / "Containerfile"
BINDINGS = ("RoleBinding", "ClusterRoleBinding")
WORKLOADS = ("Deployment", "DaemonSet", "StatefulSet")

Manifest = dict[str, Any]


def kubectl(*args: str | Path) -> str:
    """Run kubectl without a cluster and return what it prints."""
    program = find_tool("kubectl")
    assert program is not None, "no kubectl: `make setup` installs it"
    done = subprocess.run([program, *args], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def build_wheel(folder: Path) -> Path:
    """Build the wheel of this tree into a folder, without fetching anything."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=60,
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


def build(folder: Path) -> list[Manifest]:
    """Build a folder as `kubectl apply -k` does."""
    return list(yaml.safe_load_all(kubectl("kustomize", folder)))


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload that runs extip, among the objects that it is applied with."""

    manifest: Manifest
    beside: Sequence[Manifest]

    @property
    def namespace(self) -> str:
        name: str = self.manifest["metadata"]["namespace"]
        return name

    @property
    def pod(self) -> Manifest:
        """The pod's spec."""
        spec: Manifest = self.manifest["spec"]["template"]["spec"]
        return spec

    @property
    def container(self) -> Manifest:
        (container,) = self.pod["containers"]
        assert isinstance(container, dict)
        return container

    @property
    def service_account(self) -> str:
        name: str = self.pod["serviceAccountName"]
        return name

    @property
    def command(self) -> str:
        """The command of extip that it runs: a mode."""
        first: str = self.container["args"][0]
        return first

    @property
    def flags(self) -> list[str]:
        flags: list[str] = self.container["args"][1:]
        return flags

    def arguments(self, node: str, host_ip: str = "") -> list[str]:
        """Return the arguments as a pod on that node gets them: with variables filled in."""
        fields = {"spec.nodeName": node, "status.hostIP": host_ip}
        values = {
            variable["name"]: fields[variable["valueFrom"]["fieldRef"]["fieldPath"]]
            for variable in self.container.get("env", [])
        }
        arguments: list[str] = self.container["args"]
        return [re.sub(r"\$\((\w+)\)", lambda name: values[name[1]], one) for one in arguments]

    def granted(self, by: Sequence[str] = BINDINGS) -> set[tuple[str, str, str]]:
        """Return API group, resource and verb of all that its ServiceAccount may do.

        `by`: the kinds of bindings to look at.
        """
        granted: set[tuple[str, str, str]] = set()
        for rule in self._rules(by):
            groups, resources, verbs = rule["apiGroups"], rule["resources"], rule["verbs"]
            granted |= {(g, r, v) for g in groups for r in resources for v in verbs}
        return granted

    def _rules(self, by: Sequence[str]) -> Iterator[Manifest]:
        subject = {
            "kind": "ServiceAccount",
            "name": self.service_account,
            "namespace": self.namespace,
        }
        for binding in self.beside:
            if binding["kind"] in by and subject in binding["subjects"]:
                role = binding["roleRef"]
                (rules,) = (
                    manifest["rules"]
                    for manifest in self.beside
                    if (manifest["kind"], manifest["metadata"]["name"])
                    == (role["kind"], role["name"])
                )
                yield from rules


def workloads(folder: Path) -> list[Workload]:
    """Return the workloads of a folder."""
    built = build(folder)
    return [Workload(manifest, built) for manifest in built if manifest["kind"] in WORKLOADS]
