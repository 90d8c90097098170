"""The Helm chart has what `kubectl apply -k` applies. Helm's own engine renders it."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from extip import __version__
from extip.manifests import chart as of_chart
from tests.lab import helm as engine
from tests.meta.manifests import MANIFESTS, ROOT, WORKLOADS, build, build_wheel

SPACE = "extip-system"
LEAST = {"image": f"registry.example/extip:{__version__}", "iface": "bond0"}
LEAST_FLAGS = [f"--image={LEAST['image']}", "--iface=bond0"]
ALL = {
    **LEAST,
    "mask": 24,
    "allowCidr": ["10.1.0.0/24", "fd00::/64"],
    "metrics": {"allowCidr": ["10.244.0.0/16"]},
    "monitoring": {"enabled": True},
}
ALL_FLAGS = [*LEAST_FLAGS, "--mask=24", "--allow-cidr=10.1.0.0/24", "--allow-cidr=fd00::/64"]
ALL_FLAGS += ["--metrics-allow-cidr=10.244.0.0/16", "--monitoring"]
SECURE = {
    **LEAST,
    "metrics": {"allowCidr": ["10.244.0.0/16"], "tlsSecret": "extip-metrics", "auth": True},
    "monitoring": {"enabled": True},
}
TLS_ALONE = {**SECURE, "metrics": {"allowCidr": ["10.244.0.0/16"], "tlsSecret": "extip-metrics"}}
SECURE_FLAGS = [*LEAST_FLAGS, "--metrics-allow-cidr=10.244.0.0/16", "--monitoring"]
SECURE_FLAGS += ["--metrics-tls-secret=extip-metrics", "--metrics-auth"]


def run(*arguments: str | Path, place: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "extip", *map(str, arguments)],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    done = run("chart", tmp_path / "chart")
    assert done.returncode == 0, done.stderr
    return tmp_path / "chart"


@pytest.fixture
def helm() -> Any:
    found = engine.load()
    if found is None:
        pytest.skip(engine.WHY_NOT)
    return found


def render(helm: Any, chart: Path, values: dict[str, Any]) -> list[dict[str, Any]]:
    with helm.Chart.load(str(chart)) as loaded:
        texts = loaded.render(values, name="extip", namespace=SPACE)
    files = (text for name, text in sorted(texts.items()) if not name.endswith(".txt"))
    return [one for text in files for one in yaml.safe_load_all(text) if one]


def by_name(objects: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return objects by kind and name, without the namespace, which Helm adds when it applies."""
    found = {}
    for one in objects:
        if one["kind"] not in ("CustomResourceDefinition", "Namespace"):
            one["metadata"].pop("namespace", None)
            found[one["kind"], one["metadata"]["name"]] = one
    return found


@pytest.mark.parametrize(
    ("values", "flags"),
    [
        (LEAST, LEAST_FLAGS),
        (ALL, ALL_FLAGS),
        (SECURE, SECURE_FLAGS),
        (TLS_ALONE, SECURE_FLAGS[:-1]),
    ],
    ids=["least", "all", "secure", "tls alone"],
)
def test_the_chart_has_just_the_objects_of_the_folder(helm, chart, tmp_path, values, flags):
    done = run("manifests", "claims", tmp_path / "mine", *flags)
    assert done.returncode == 0, done.stderr
    expected, rendered = by_name(build(tmp_path / "mine")), by_name(render(helm, chart, values))
    assert rendered.keys() == expected.keys()
    for identity, manifest in expected.items():
        assert rendered[identity] == manifest, identity


def test_other_values_of_the_chart_reach_the_workloads(helm, chart):
    values = {
        **LEAST,
        "controller": {"args": ["--hb=1s"], "nodeSelector": {"edge": "yes"}},
        "scheduler": {"args": ["--nodefilter=first-alive"]},
        "metrics": {"allowCidr": ["10.0.0.0/8"]},
        "monitoring": {"enabled": True, "namespace": "prometheus"},
    }
    made = by_name(render(helm, chart, values))
    pods = {
        name: one["spec"]["template"]["spec"]
        for (kind, name), one in made.items()
        if kind in WORKLOADS
    }
    assert pods["extip-controller"]["containers"][0]["args"][-1] == "--hb=1s"
    assert pods["extip-controller"]["nodeSelector"] == {"edge": "yes"}
    assert pods["extip-scheduler"]["containers"][0]["args"][-1] == "--nodefilter=first-alive"
    assert "prometheus" in json.dumps(made["NetworkPolicy", "extip-scheduler"])


@pytest.mark.parametrize("iface", ["auto", "bond0,enp*", "bond0.100,bond0.200,auto"])
def test_the_chart_takes_each_selection_of_interfaces(helm, chart, iface):
    values = {**LEAST, "iface": iface}
    with helm.Chart.load(str(chart)) as loaded:
        loaded.validate_schema(values)
    made = by_name(render(helm, chart, values))
    container = made["DaemonSet", "extip-controller"]["spec"]["template"]["spec"]["containers"][0]
    assert f"--iface={iface}" in container["args"]


@pytest.mark.parametrize(
    "values",
    [
        {"image": "localhost:5000/a/b__c:v1.2-x"},
        {"image": "[fd00::1]:5000/extip@sha256:0a"},
        {"image": "extip"},
        {"allowCidr": ["0.0.0.0/0", "10.1.0.0/9", "10.0.0.1/32", "::/0", "fd00:1::/64", "::1/128"]},
        {"monitoring": {"enabled": False}},
    ],
)
def test_values_that_can_work_are_taken(helm, chart, values):
    with helm.Chart.load(str(chart)) as loaded:
        loaded.validate_schema({**LEAST, **values})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "image"),
        ({**LEAST, "image": "https://registry.example/extip"}, "image"),
        ({**LEAST, "image": "registry.example/Extip:1"}, "image"),
        ({**LEAST, "mask": 33}, "mask"),
        ({**LEAST, "iface": "a/b"}, "iface"),
        ({**LEAST, "iface": "bond0,"}, "iface"),
        ({**LEAST, "allowCidr": ["10.0.0.1"]}, "allowCidr"),
        ({**LEAST, "allowCidr": ["10.0.0.0/33"]}, "allowCidr"),
        ({**LEAST, "allowCidr": ["fd00::/129"]}, "allowCidr"),
        ({**LEAST, "monitoring": {"enabled": True}}, "metrics"),
        ({**LEAST, "scheduler": {"args": ["nodefilter=fair"]}}, "scheduler/args"),
        ({**LEAST, "allowCIDR": []}, "allowCIDR"),
        ({**LEAST, "metrics": {"allowCidr": ["10.0.0.0/8"], "auth": True}}, "tlsSecret"),
        ({**LEAST, "metrics": {"tlsSecret": "extip-metrics"}}, "allowCidr"),
        ({**LEAST, "metrics": {"allowCidr": ["10.0.0.0/8"], "tlsSecret": "A"}}, "tlsSecret"),
    ],
)
def test_values_that_cannot_work_are_refused(helm, chart, values, said):
    with helm.Chart.load(str(chart)) as loaded, pytest.raises(helm.HelmValuesError, match=said):
        loaded.validate_schema(values)


def test_helm_finds_no_fault_with_the_chart(helm, chart):
    values = chart / "values.yaml"
    values.write_text(values.read_text().replace('image: ""', 'image: "extip:1"'))
    found = helm.lint(str(chart))
    assert (found["total_charts_linted"], found["errors"]) == (1, [])


def test_every_value_is_documented_and_checked(chart):
    values = yaml.safe_load((chart / "values.yaml").read_text())
    schema = json.loads((chart / "values.schema.json").read_text())["properties"]
    assert schema.keys() - {"global"} == values.keys()
    for name, value in values.items():
        if isinstance(value, dict):
            assert schema[name]["properties"].keys() == value.keys()
    lines = [line.strip() for line in (chart / "values.yaml").read_text().splitlines()]
    leaves = [n for n, line in enumerate(lines) if ": " in line and not line.startswith("#")]
    assert all(lines[n - 1].startswith("#") for n in leaves)


def test_the_definitions_are_those_of_the_manifests(chart):
    made = (chart / "crds/crds.yaml").read_text()
    assert made == (MANIFESTS / "claims/crds.yaml").read_text()


def test_the_chart_has_the_version_of_extip(chart):
    said = yaml.safe_load((chart / "Chart.yaml").read_text())
    assert said["version"] == said["appVersion"] == __version__


def test_a_manifest_that_changed_under_a_value_is_found(tmp_path):
    file = tmp_path / "scheduler.yaml"
    file.write_text((MANIFESTS / "claims/scheduler.yaml").read_text().replace("--mask=", "--m="))
    with pytest.raises(ValueError, match=r"scheduler.yaml has no '--mask=32"):
        of_chart.template_of(file)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "notes").write_text("mine")
    done = run("chart", tmp_path)
    assert (done.returncode, "name a new folder" in done.stderr) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


def test_the_wheel_writes_the_same_chart(chart, tmp_path):
    zipfile.ZipFile(build_wheel(tmp_path)).extractall(tmp_path / "unpacked")
    done = run("chart", tmp_path / "other", place=tmp_path / "unpacked")
    assert done.returncode == 0, done.stderr
    of_wheel, here = (
        {str(p.relative_to(root)): p.read_text() for p in root.rglob("*") if p.is_file()}
        for root in (tmp_path / "other", chart)
    )
    assert of_wheel == here
