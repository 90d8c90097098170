"""`extip manifests`: kubectl builds the folder, and the workloads have the flags and the image."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from extip import __version__
from tests.meta.manifests import ROOT, WORKLOADS, build, build_wheel, workloads

FLAGS = ["--image=registry.example:5000/extip", "--iface=bond0", "--mask=24"]
FLAGS += ["--allow-cidr=10.1.0.0/24", "--allow-cidr=fd00::/64"]
ALLOWED = ["--allow-cidr=10.1.0.0/24", "--allow-cidr=fd00::/64"]


def write(*arguments, place=ROOT):
    """Run the command as a process, in a folder from which Python finds the package."""
    return subprocess.run(
        [sys.executable, "-m", "extip", "manifests", *map(str, arguments)],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def containers(folder):
    """Return the container of each workload that kubectl builds, by the workload's name."""
    return {
        one["metadata"]["name"]: one["spec"]["template"]["spec"]["containers"][0]
        for one in build(folder)
        if one["kind"] in WORKLOADS
    }


def test_kubectl_builds_claims_mode_from_the_folder(tmp_path):
    done = write("claims", tmp_path / "mine", *FLAGS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"kubectl apply -k {tmp_path / 'mine'}\n")
    found = containers(tmp_path / "mine")
    assert found.keys() == {"extip-controller", "extip-scheduler"}
    images = {container["image"] for container in found.values()}
    assert images == {f"registry.example:5000/extip:{__version__}"}
    controller, scheduler = (found[f"extip-{part}"]["args"] for part in ("controller", "scheduler"))
    assert controller[:2] == ["controller", "--iface=bond0"]
    assert scheduler[:2] == ["scheduler", "--mask=24"]
    assert scheduler[-2:] == ALLOWED
    assert "--leader-elect" in scheduler


def test_kubectl_builds_simple_mode_from_the_folder(tmp_path):
    assert write("simple", tmp_path, *FLAGS[1:], "--image=extip@sha256:ab12").returncode == 0
    (container,) = containers(tmp_path).values()
    assert container["image"] == "extip@sha256:ab12"
    assert container["args"][:3] == ["simple", "--iface=bond0", "--mask=24"]
    assert container["args"][-2:] == ALLOWED


METRICS = ["--metrics-allow-cidr=10.244.0.0/16", "--metrics-allow-cidr=10.89.0.5"]


@pytest.mark.parametrize("mode", ["simple", "claims"])
def test_metrics_are_served_on_the_nodes_address_to_named_networks(tmp_path, mode):
    assert write(mode, tmp_path / "mine", *FLAGS, *METRICS).returncode == 0
    found = {w.command: w for w in workloads(tmp_path / "mine")}
    for workload in found.values():
        readers = [flag for flag in workload.flags if flag.startswith("--metrics-allow-cidr")]
        assert readers == [METRICS[0], f"{METRICS[1]}/32"]
    on_the_node = found["simple" if mode == "simple" else "controller"]
    assert "--metrics=10.89.0.11:9189" in on_the_node.arguments("n1", host_ip="10.89.0.11")
    ports = {port["name"]: port for port in on_the_node.container["ports"]}
    assert ports["metrics"]["hostPort"] == ports["metrics"]["containerPort"] == 9189
    assert ports["http"]["hostIP"] == "127.0.0.1"


SECURE = [*METRICS, "--metrics-tls-secret=metrics-cert", "--metrics-auth"]


@pytest.mark.parametrize("mode", ["simple", "claims"])
def test_every_program_serves_metrics_with_tls_and_asks_for_tokens(tmp_path, mode):
    folder = tmp_path / "mine"
    assert write(mode, folder, *FLAGS, *SECURE, "--monitoring").returncode == 0
    found = workloads(folder)
    addresses = {"controller": "10.89.0.11", "simple": "10.89.0.11", "scheduler": ""}
    for workload in found:
        arguments = workload.arguments("n1", host_ip="10.89.0.11")
        assert f"--metrics={addresses[workload.command]}:9189" in arguments
        (mount,) = workload.container["volumeMounts"]
        assert mount["readOnly"] is True
        (volume,) = workload.pod["volumes"]
        assert (volume["name"], volume["secret"]["secretName"]) == (mount["name"], "metrics-cert")
        for flag, file in (("cert", "tls.crt"), ("private-key", "tls.key")):
            assert f"--metrics-tls-{flag}-file={mount['mountPath']}/{file}" in arguments
        assert "--metrics-auth" in arguments
        assert {"metrics", "http"} == {port["name"] for port in workload.container["ports"]}
        assert ("authentication.k8s.io", "tokenreviews", "create") in workload.granted()


def test_the_monitor_scrapes_with_tls_and_a_token_of_its_own(tmp_path):
    folder = tmp_path / "mine"
    assert write("claims", folder, *FLAGS, *SECURE, "--monitoring").returncode == 0
    built = {(one["kind"], one["metadata"]["name"]): one for one in build(folder)}
    (endpoint,) = built["PodMonitor", "extip"]["spec"]["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["scheme"]) == ("metrics", "https")
    authority = {"secret": {"name": "metrics-cert", "key": "ca.crt"}}
    assert endpoint["tlsConfig"] == {"ca": authority, "serverName": "extip-metrics"}
    token = endpoint["authorization"]["credentials"]
    assert token["key"] == "token"
    assert ("Secret", token["name"]) in built
    (rule,) = built["NetworkPolicy", "extip-scheduler"]["spec"]["ingress"]
    assert [port["port"] for port in rule["ports"]] == ["metrics"]


def test_the_option_of_tokens_is_replaced_by_a_later_version(tmp_path):
    folder = tmp_path / "mine"
    assert write("claims", folder, *FLAGS, *SECURE).returncode == 0
    kinds = [one["kind"] for one in build(folder)]
    (folder / "metrics-auth" / "rbac-metrics.yaml").write_text("nonsense")
    assert write("claims", folder).returncode == 0
    assert [one["kind"] for one in build(folder)] == kinds


def test_monitoring_is_put_beside_and_replaced_by_a_later_version(tmp_path):
    folder = tmp_path / "mine"
    assert write("claims", folder, *FLAGS, *METRICS, "--monitoring").returncode == 0
    kinds = {one["kind"] for one in build(folder)}
    assert kinds >= {"PodMonitor", "PrometheusRule", "NetworkPolicy", "ConfigMap", "DaemonSet"}
    (folder / "monitoring" / "rules.yaml").write_text("nonsense")
    assert write("claims", folder).returncode == 0
    assert {one["kind"] for one in build(folder)} == kinds


def test_old_servers_get_what_they_know(tmp_path):
    assert write("claims", tmp_path / "old", *FLAGS, "--kubernetes=1.20").returncode == 0
    assert write("claims", tmp_path / "newer", *FLAGS, "--kubernetes=v1.24.3").returncode == 0
    write("claims", tmp_path / "new", *FLAGS)
    assert _versions(tmp_path / "old") == ("policy/v1beta1", False)
    assert _versions(tmp_path / "newer") == ("policy/v1", False)
    assert _versions(tmp_path / "new") == ("policy/v1", True)


def test_a_folder_for_old_servers_stays_one_at_an_upgrade(tmp_path):
    """Who upgrades does not think of the servers, which would refuse half of the folder."""
    folder = tmp_path / "mine"
    write("claims", folder, *FLAGS, "--kubernetes=1.20")
    assert "for Kubernetes 1.20 and later" in write("claims", folder).stdout
    assert _versions(folder) == ("policy/v1beta1", False)
    assert "for Kubernetes 1.25 and later" in write("claims", folder, "--kubernetes=1.25").stdout
    assert _versions(folder) == ("policy/v1", True)
    write("claims", folder)
    assert _versions(folder) == ("policy/v1", True)


def _versions(folder: Path) -> tuple[str, bool]:
    """Return the API of the budget, and whether definitions have rules."""
    (budget,) = (one for one in build(folder) if one["kind"] == "PodDisruptionBudget")
    text = (folder / "claims" / "crds.yaml").read_text()
    return budget["apiVersion"], "x-kubernetes-validations" in text


def test_a_later_version_replaces_all_but_the_overlay(tmp_path):
    folder = tmp_path / "mine"
    write("claims", folder, *FLAGS)
    overlay = folder / "kustomization.yaml"
    changed = yaml.safe_load(overlay.read_text()) | {"commonAnnotations": {"team": "edge"}}
    overlay.write_text(yaml.safe_dump(changed))
    (folder / "claims" / "of-the-former-version.yaml").write_text("nonsense")
    (folder / "claims" / "scheduler.yaml").write_text("nonsense")
    done = write("claims", folder)
    assert done.returncode == 0, done.stderr
    assert "stayed as it is: set its newTag" in done.stdout
    ignored = write("claims", folder, "--iface=eth9", "--mask=24", "--kubernetes=1.25").stdout
    assert "stayed as it is, without --iface, --mask: set its newTag" in ignored
    assert yaml.safe_load(overlay.read_text()) == changed
    assert containers(folder)["extip-controller"]["args"][1] == "--iface=bond0"
    assert not (folder / "claims" / "of-the-former-version.yaml").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--iface=bond0"], "--image and --iface are needed"),
        (["--image=extip"], "--image and --iface are needed"),
        (["--image=https://a/b", "--iface=bond0"], "cannot be the name of an image"),
        (["--image=Extip", "--iface=bond0"], "in lower case"),
        (["--image=a b", "--iface=bond0"], "cannot be the name of an image"),
        (["--image=extip", "--iface=a/b"], "cannot be the name of an interface"),
        (["--image=extip", "--iface=bond0", "--allow-cidr=10.0.0.1/24"], "--allow-cidr"),
        (["--image=extip", "--iface=bond0", "--mask=33"], "--mask"),
        (["--image=extip", "--iface=bond0", "--monitoring"], "--metrics-allow-cidr"),
        (["--image=extip", "--iface=bond0", "--kubernetes=1.19"], "from 1.20 on"),
        (["--image=extip", "--iface=bond0", "--metrics-tls-secret=a"], "--metrics-allow-cidr"),
        (["--image=extip", "--iface=bond0", *METRICS, "--metrics-auth"], "plain text"),
        (["--image=extip", "--iface=bond0", "--metrics-tls-secret=A"], "cannot be a name"),
    ],
)
def test_a_mistake_leaves_nothing_behind(tmp_path, arguments, said):
    done = write("claims", tmp_path / "mine", *arguments)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", ["simple", "claims"])
def test_a_folder_of_something_else_is_left_alone(tmp_path, mode):
    other = {"simple": "claims", "claims": "simple"}[mode]
    write(other, tmp_path / "theirs", *FLAGS)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "kustomization.yaml").write_text("resources: []\n")
    (tmp_path / "notes" / mode).mkdir()
    (tmp_path / "notes" / mode / "mine.yaml").write_text("kind: ConfigMap\n")
    for folder in (tmp_path / "theirs", tmp_path / "notes"):
        before = sorted(folder.rglob("*"))
        done = write(mode, folder, *FLAGS)
        assert (done.returncode, "name a new folder" in done.stderr) == (2, True)
        assert sorted(folder.rglob("*")) == before


def test_a_folder_that_cannot_be_written_is_told_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    done = write("claims", tmp_path / "file" / "mine", *FLAGS)
    assert done.returncode == 2
    assert done.stderr.endswith("cannot be written: Not a directory\n")


def test_the_wheel_writes_the_same_folder(tmp_path):
    zipfile.ZipFile(build_wheel(tmp_path)).extractall(tmp_path / "unpacked")
    for place, name in ((ROOT, "of-checkout"), (tmp_path / "unpacked", "of-wheel")):
        done = write("claims", tmp_path / name, *FLAGS, *SECURE, "--monitoring", place=place)
        assert done.returncode == 0, done.stderr
    assert _files(tmp_path / "of-wheel") == _files(tmp_path / "of-checkout")


def _files(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}
