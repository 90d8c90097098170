"""`extip migrate from` as a person calls it: files, standard input, a cluster, mistakes."""

import json
import os
import subprocess
import sys

import msgspec
import pytest
import yaml

from extip.errors import ApiAccessError, ConfigurationError, NotFoundError
from extip.kube.client import ApiClient
from extip.migrate.order import PROGRAMS
from extip.migrate.policy.documents import Documents, group_of, kind_of
from extip.migrate.policy.result import Result
from extip.migrate.policy.software import SOFTWARE
from extip.migrate.sources import read_cluster, read_files, read_segments
from tests.unit.migrate.manifests import service
from tests.unit.migrate.test_metallb import EDGE, LAYER2


def migrate(*arguments, stdin=""):
    command = [sys.executable, "-m", "extip", "migrate", "from", *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        input=stdin,
        env={**os.environ, "KUBECONFIG": "/nowhere"},
    )


def test_the_programs_of_the_flag_are_those_that_can_be_read():
    assert tuple(SOFTWARE) == PROGRAMS


def test_manifests_on_standard_input_become_others_on_standard_output():
    told = migrate("metallb", "-f", "-", "--network=10.20.30.0/24", stdin=f"{EDGE}---{LAYER2}")
    assert told.returncode == 0
    assert "Where it is piped to kubectl:" in told.stdout
    assert "--server-side" in told.stdout
    (pool,) = yaml.safe_load_all(told.stdout)
    assert pool["metadata"] == {"name": "edge"}
    assert told.stderr == "extip: the order of the switch-over is in docs/migration.md\n"


def test_a_thing_that_cannot_be_carried_over_is_a_line_and_an_exit_code(tmp_path):
    file = tmp_path / "metallb.yaml"
    file.write_text(f"{EDGE}---{LAYER2}---\nkind: BFDProfile\napiVersion: metallb.io/v1beta1\n")
    told = migrate("metallb", f"--file={file}", "--network=10.20.30.0/24")
    assert told.returncode == 1
    assert told.stderr.splitlines()[0].startswith("extip: BFDProfile without a name: extip speaks")
    assert "Traceback" not in told.stderr
    assert list(yaml.safe_load_all(told.stdout))  # the rest is there all the same


def test_both_are_data_for_programs():
    told = migrate("metallb", "-f", "-", "-o", "json", stdin=EDGE)
    assert (told.returncode, told.stderr) == (0, "")
    found = json.loads(told.stdout)
    assert [one["kind"] for one in found["objects"]] == ["IpClaimPool"]
    assert found["remarks"][0]["where"] == "IPAddressPool metallb-system/edge"
    assert found["remarks"][0]["lost"] is False
    assert set(found["remarks"][0]) == {"where", "why", "do", "lost"}


def test_a_file_of_other_things_has_a_line_each_and_nothing_to_apply():
    told = migrate("cilium", "-f", "-", stdin="kind: Foo\n---\n[1, 2]\n")
    assert (told.returncode, told.stdout) == (1, "")
    lines = told.stderr.splitlines()
    assert [line.partition(";")[0] for line in lines] == [
        "extip: standard input, document 2: it is no Kubernetes object",
        "extip: note: Foo without a name: it is nothing that is carried over from Cilium",
        "extip: the order of the switch-over is in docs/migration.md",
        "extip: there is nothing of Cilium that extip needs",
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: [1\nb: 2", " is no YAML, line 2: "),
        ("a: \x00", " is no YAML: "),
        ("a: 2026-99-99", " is no YAML: "),
        (b"\xff\xfe\xfa", " is no YAML: "),
        ("[" * 3000, " is no YAML"),
        ("[" * 200_000 + "]" * 200_000, " is no YAML: maximum recursion depth"),
        (None, "cannot read "),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(text, why, tmp_path):
    file = tmp_path / "file.yaml"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigurationError, match=r"file\.yaml") as told:
        read_files([str(file)], Result())
    assert why in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("purelb",), "'purelb' is not one of 'metallb', 'kube-vip', 'cilium'"),
        ((), "Missing argument"),
        (("metallb", "-f", "-", "--network=10.0.0.7/24"), "has host bits set"),
        (("metallb", "-f", "/nowhere/at/all"), "cannot read /nowhere/at/all: No such file"),
    ],
)
def test_a_mistake_is_one_line(arguments, why):
    told = migrate(*arguments)
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.count("\n") == 1
    assert why in told.stderr


class Lists:
    """Answers lists, as an API server does; of other kinds it has no definition."""

    server_time_s = None

    def __init__(self, answers):
        self.answers = answers

    async def addresses(self):
        return ()

    async def read(self, request):
        assert request.verb == "list"  # nothing is written
        answer = self.answers.get(request.path.removeprefix("/apis/").removeprefix("/api/"))
        if answer is None:
            raise NotFoundError("the server could not find the requested resource", status=404)
        if isinstance(answer, Exception):
            raise answer
        body = {"kind": "SomeList", "metadata": {"resourceVersion": "7"}, "items": answer}
        return msgspec.json.encode(body)

    def open(self, request):
        raise AssertionError(request)


def without_kind(manifest):
    """Return an object as lists of the API server have it."""
    return {key: value for key, value in manifest.items() if key not in ("apiVersion", "kind")}


async def read(program, answers):
    result = Result()
    found = await read_cluster(ApiClient(Lists(answers)), SOFTWARE[program], result)
    return found, result


async def test_objects_of_a_cluster_are_read_with_all_that_they_say():
    web = service("web", annotations={"metallb.io/address-pool": "edge"}, ips=["10.20.30.65"])
    found, result = await read(
        "metallb",
        {
            "metallb.io/v1beta1/ipaddresspools": [without_kind(yaml.safe_load(EDGE))],
            "metallb.io/v1beta1/l2advertisements": [without_kind(yaml.safe_load(LAYER2))],
            "v1/services": [without_kind(web)],
        },
    )
    assert [(group_of(one), kind_of(one)) for one in found] == [
        ("metallb.io", "IPAddressPool"),
        ("metallb.io", "L2Advertisement"),
        ("", "Service"),
    ]
    assert result.remarks == []
    outcome = SOFTWARE["metallb"].convert(Documents(found), ())
    assert [one.metadata.name for one in outcome.pools] == ["edge"]
    assert outcome.patches[0].annotations == {
        "ipcontroller.ext/pool": "edge",
        "ipcontroller.ext/addresses": "10.20.30.65",
    }
    assert outcome.complete


async def test_the_first_version_that_is_served_counts():
    pool = {"metadata": {"name": "blue"}, "spec": {"cidrs": [{"cidr": "10.0.0.1/32"}]}}
    for version in ("v2", "v2alpha1"):
        found, _ = await read("cilium", {f"cilium.io/{version}/ciliumloadbalancerippools": [pool]})
        assert [one["apiVersion"] for one in found] == [f"cilium.io/{version}"]


async def test_a_kind_that_may_not_be_read_is_a_line():
    denied = ApiAccessError("RBAC does not allow it", request="list services", status=403)
    found, result = await read("kube-vip", {"v1/services": denied, "v1/configmaps": []})
    assert found == ()
    (remark,) = result.remarks
    assert remark.lost
    assert str(remark).startswith("services: they are not read: list services: RBAC does not allow")


async def test_an_object_that_cannot_be_read_is_a_line():
    bad = {"metadata": {"name": "bad", "labels": "none"}}
    found, result = await read("metallb", {"metallb.io/v1beta1/ipaddresspools": [bad]})
    assert found == ()
    assert str(result.remarks[0]).startswith("IPAddressPool bad: Expected `object | null`")


async def test_segments_are_those_of_nodes_with_a_controller():
    links = [
        {"name": "eth0", "addresses": ["10.20.30.4/24", "fd00::4/64", "broken"]},
        {"name": "eth1"},
    ]
    node = {"metadata": {"name": "n1"}, "status": {"links": links}}
    lists = Lists({"ipcontroller.ext/v1/ipnodes": [node, node]})
    assert [str(one) for one in await read_segments(ApiClient(lists))] == [
        "10.20.30.0/24",
        "fd00::/64",
    ]
    assert await read_segments(ApiClient(Lists({}))) == ()
