"""The manifests agree with the program, and the image can be built."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import extip
from extip.cli import cli
from tests.meta.api_requests import api_requests
from tests.meta.manifests import (
    CONTAINERFILE,
    KUSTOMIZATIONS,
    MANIFESTS,
    ROOT,
    Workload,
    build,
    kubectl,
    workloads,
)

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = pytest.mark.parametrize("folder", KUSTOMIZATIONS, ids=lambda folder: folder.name)


def test_there_are_manifests_of_simple_mode():
    assert MANIFESTS / "simple" in KUSTOMIZATIONS


# What the manifests say about extip.


@FOLDERS
def test_every_flag_is_one_that_the_command_takes(folder):
    for workload in workloads(folder):
        command = cli.commands[workload.command]
        command.make_context(workload.command, workload.flags)  # raises click's own usage errors


@FOLDERS
def test_rbac_grants_what_the_source_asks_for_and_nothing_else(folder):
    for workload in workloads(folder):
        assert workload.granted() == api_requests(f"extip.modes.{workload.command}")


@FOLDERS
def test_probes_and_port_are_where_extip_serves(folder):
    for workload in workloads(folder):
        context = cli.commands[workload.command].make_context(workload.command, workload.flags)
        host, port = context.params["http"]
        (declared,) = workload.container["ports"]
        assert (declared["hostIP"], declared["containerPort"]) == (host, port)
        for probe in ("livenessProbe", "readinessProbe"):
            action = workload.container[probe]["httpGet"]
            assert (action["host"], action["port"]) == (host, declared["name"])


@FOLDERS
def test_every_image_is_this_version_of_extip(folder):
    for workload in workloads(folder):
        assert workload.container["image"] == f"extip:{extip.__version__}"
    assert f"-t extip:{extip.__version__} " in CONTAINERFILE.read_text()


@FOLDERS
def test_a_workload_selects_its_own_pods(folder):
    for workload in workloads(folder):
        labels = workload.manifest["spec"]["template"]["metadata"]["labels"]
        assert workload.manifest["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_simple_mode_has_two_powers_of_root_and_no_more():
    (workload,) = workloads(MANIFESTS / "simple")
    assert workload.container["securityContext"] == {
        "runAsUser": 0,
        "runAsGroup": 0,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    host = {key for key, value in workload.pod.items() if key.startswith("host") and value}
    assert host == {"hostNetwork"}
    assert "volumes" not in workload.pod


def test_simple_mode_is_one_pod_that_moves_soon():
    (workload,) = workloads(MANIFESTS / "simple")
    assert workload.manifest["spec"]["replicas"] == 1
    assert workload.manifest["spec"]["strategy"] == {"type": "Recreate"}
    waits = {
        toleration["key"].rpartition("/")[2]: toleration["tolerationSeconds"]
        for toleration in workload.pod["tolerations"]
    }
    assert waits.keys() == {"not-ready", "unreachable"}
    assert all(0 < seconds <= 10 for seconds in waits.values())


def test_a_hung_container_is_restarted_before_its_addresses_run_out():
    (workload,) = workloads(MANIFESTS / "simple")
    context = cli.commands["simple"].make_context("simple", workload.flags)
    ttl_s = 2 * context.params["resync"]
    left_s = ttl_s * 2 / 3  # it hangs just before it would have refreshed them
    probe = workload.container["livenessProbe"]
    noticed_s = probe["periodSeconds"] * probe["failureThreshold"] + probe["timeoutSeconds"]
    assert noticed_s < left_s - workload.pod["terminationGracePeriodSeconds"]


def test_the_overlay_that_the_comment_shows_works(tmp_path):
    client = json.loads(kubectl("version", "--client", "-o", "json"))["clientVersion"]
    if int(client["minor"].rstrip("+")) < 21:
        pytest.skip(f"kubectl {client['gitVersion']} is older than `patches` of kustomizations")
    comment = (MANIFESTS / "simple/kustomization.yaml").read_text()
    overlay = "".join(re.findall(r"^#   ((?!kubectl ).*\n)", comment, re.MULTILINE))
    shutil.copytree(MANIFESTS / "simple", tmp_path / "simple")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/kustomization.yaml").write_text(overlay)
    assert len(yaml.safe_load(overlay)["patches"]) == 1

    built = build(tmp_path / "mine")
    (manifest,) = (manifest for manifest in built if manifest["kind"] == "Deployment")
    patched = Workload(manifest, built)
    context = cli.commands["simple"].make_context("simple", patched.flags)
    assert context.params["iface"] == "bond0"
    assert [str(network) for network in context.params["allow_cidr"]] == ["10.10.0.0/24"]
    assert patched.container["image"] == f"registry.example/extip:{extip.__version__}"


# The image.


def instructions() -> list[tuple[str, str]]:
    """Return the Containerfile's instructions, each with its arguments on one line."""
    text = re.sub(r"(?m)^#.*\n", "", CONTAINERFILE.read_text()).replace("\\\n", "")
    pairs = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    return [(keyword, " ".join(rest.split())) for keyword, rest in pairs]


def copied_from_here() -> list[str]:
    """Return what the image takes from this repository."""
    copies = [rest.split() for keyword, rest in instructions() if keyword == "COPY"]
    return [source for words in copies if not words[0].startswith("--") for source in words[:-1]]


def test_the_image_gets_what_it_copies():
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    assert "*" in ignore
    assert let_in == set(copied_from_here())
    assert all((ROOT / source).exists() for source in let_in)


def test_the_image_runs_the_console_script_on_a_python_that_extip_supports():
    said = dict(instructions())
    assert json.loads(said["ENTRYPOINT"])[0] in PROJECT["project"]["scripts"]
    image = said["ARG"].removeprefix("PYTHON=").partition("-")[0]
    floor = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert [int(part) for part in image.split(".")] >= [int(part) for part in floor.split(".")]


def test_the_wheel_carries_the_package_and_its_types(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=60,
    )
    (wheel,) = tmp_path.iterdir()
    names = zipfile.ZipFile(wheel).namelist()
    assert wheel.name == f"extip-{extip.__version__}-py3-none-any.whl"
    assert {"extip/py.typed", "extip/__main__.py", "extip/cli/__init__.py"} <= set(names)
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"extip"}


def copy_into_image(source: str, folder: Path) -> None:
    """Copy a file or folder of this repository, without what .dockerignore leaves out."""
    if (ROOT / source).is_dir():
        left_out = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / source, folder / source, ignore=left_out)
    else:
        shutil.copy(ROOT / source, folder / source)


def installed_by_the_lock() -> dict[str, str]:
    lock = (ROOT / "requirements.lock").read_text()
    return dict(re.findall(r"(?m)^([a-z0-9-]+)==(\S+)", lock))


@pytest.mark.timeout(300)
def test_the_build_stage_installs_extip_with_the_locked_dependencies_alone(
    tmp_path: Path, pytestconfig: pytest.Config
):
    """Run what the Containerfile's first stage runs, with its folders moved to a temporary one.

    It fetches 60 MB and takes a while; so it is skipped where it has passed with the same inputs.
    """
    inputs = (CONTAINERFILE, ROOT / "requirements.lock", ROOT / "pyproject.toml")
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in inputs)).hexdigest()
    key = f"extip/image-{sys.version_info[0]}.{sys.version_info[1]}"
    if pytestconfig.cache.get(key, "") == digest:
        pytest.skip("passed before with the same Containerfile, lock and pyproject.toml")

    stage = [pair for pair in instructions() if pair[0] in ("FROM", "RUN", "COPY")]
    first = stage[1 : [keyword for keyword, _ in stage].index("FROM", 1)]
    work = tmp_path / "build"
    work.mkdir()
    for keyword, rest in first:
        if keyword == "COPY":
            for source in rest.split()[:-1]:
                copy_into_image(source, work)
        else:
            # The image's own Python and pip are those that run this test.
            command = re.sub(r"/(wheels|opt/extip)\b", rf"{tmp_path}/\1", rest)
            command = re.sub(
                r"(^|&& )(pip|python) ", rf"\1{Path(sys.executable).parent}/\2 ", command
            )
            (tmp_path / "opt").mkdir(exist_ok=True)
            done = subprocess.run(
                ["/bin/sh", "-ec", command], cwd=work, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr

    home = tmp_path / "opt/extip"
    said = subprocess.run(
        [home / "bin/extip", "--version"], capture_output=True, text=True, check=True
    )
    assert said.stdout == f"extip, version {extip.__version__}\n"
    (packages,) = home.glob("lib/python*/site-packages")
    installed = {
        name.lower().replace("_", "-"): version
        for name, version in (path.stem.split("-") for path in packages.glob("*.dist-info"))
    }
    assert installed.pop("extip") == extip.__version__
    assert installed.items() <= installed_by_the_lock().items()
    assert {"aiohttp", "kubernetes-asyncio", "pyroute2"} <= installed.keys()
    assert not {"pip", "pytest", "mypy", "hatchling"} & installed.keys()
    modules = {path.stem for path in (packages / "extip").glob("*.py")}
    compiled = {path.name.split(".")[0] for path in (packages / "extip/__pycache__").iterdir()}
    assert compiled == modules
    pytestconfig.cache.set(key, digest)
