"""Services leave `spec.externalIPs`, and come back, while clients use their IPs."""

import json
import signal
import subprocess
import sys

import pytest
import yaml

from tests.lab.probe import HICCUP_S
from tests.lab.wait import wait_until
from tests.meta.manifests import ROOT
from tests.meta.pages import blocks
from tests.system.pooled_cluster import ADDRESSES, DUAL, SINGLE, pool
from tests.system.wire import watched

V4, V6 = "10.88.7.1", "fd00:88::7:1"
MORE = [f"10.88.7.{n}" for n in range(2, 6)]
IPS = [V4, V6, *MORE]


def line_of(lab, *words):
    kubeconfig = f"--kubeconfig={lab.outside_kubeconfig()}"
    return [sys.executable, "-m", "extip", "migrate", "services", kubeconfig, *words]


def migrate(lab, *words):
    return subprocess.run(
        line_of(lab, *words), check=False, capture_output=True, text=True, timeout=120
    )


def rows(told):
    return {row["service"].split("/")[1]: row for row in json.loads(told.stdout)["services"]}


def states(lab, *words):
    return {name: row["state"] for name, row in rows(migrate(lab, *words, "-o", "json")).items()}


@pytest.fixture
def cluster(pooled):
    """Three controllers, one scheduler, and services of several kinds with external IPs."""
    pooled.start()
    add_services(pooled)
    pooled.wait_settled(*IPS)
    return pooled


def add_services(cluster):
    cluster.add("dual", externalIPs=[V4, V6], **{**DUAL, "ipFamilyPolicy": "PreferDualStack"})
    cluster.add("plain", externalIPs=MORE[:1], **SINGLE)
    cluster.add("several", externalIPs=MORE[1:3], **SINGLE)
    cluster.add("ports", externalIPs=MORE[3:], type="NodePort", **SINGLE)


def specs(cluster):
    """Return what a person wrote: a server adds nothing that stays."""
    found = {name: cluster.service(name) for name in ("dual", "plain", "several", "ports")}
    return {
        name: (one["spec"], one["metadata"].get("annotations"), one["status"])
        for name, one in found.items()
    }


def apply_missing_pools(lab, *words):
    told = migrate(lab, *words, "-o", "json")
    assert told.returncode == 1, told.stderr
    for one in json.loads(told.stdout)["pools"]:
        lab.apply(one)


def test_all_services_go_there_and_back_and_no_client_notices(cluster, lab, figures):
    everything = ("--all", "-n", cluster.namespace)
    before, changes = specs(cluster), cluster.address_changes()
    placed = cluster.placed()
    with watched(lab, IPS) as wire:
        apply_missing_pools(lab, *everything)
        assert set(states(lab, *everything).values()) == {"ready"}
        assert specs(cluster) == before, "nothing was changed"
        done = migrate(lab, *everything, "--apply")
        assert done.returncode == 0, done.stdout
        assert f"{cluster.namespace}/dual: migrated: {V4},{V6} on " in done.stdout
        for name, ips in {"dual": IPS[:2], "plain": MORE[:1], "several": MORE[1:3]}.items():
            after = cluster.service(name)
            assert cluster.ingress(name) == list(ips)
            assert "externalIPs" not in after["spec"]
            assert after["spec"]["type"] == "LoadBalancer"
        cluster.wait_settled(*IPS)
        assert migrate(lab, *everything, "--apply").returncode == 0, "there is nothing to do"
        wire.wait_answers()
        undone = migrate(lab, *everything, "--undo", "--apply")
        assert undone.returncode == 0, undone.stdout
        wait_until(lambda: specs(cluster) == before, "all to be as it was")
        cluster.wait_settled(*IPS)
        wire.wait_answers()
    figures(wire)
    assert max(wire.outages_s().values()) < HICCUP_S
    assert cluster.placed() == placed
    assert all(wire.owners(ip) == {node} for ip, node in placed.items())
    assert cluster.address_changes() == changes, "each IP was up all the time"
    assert set(states(lab, *everything).values()) == {"ready"}


def test_one_service_goes_alone_and_a_pool_of_another_prefix_length_is_no_gap(cluster, lab):
    lab.apply(pool("edge", "10.88.7.0/24", (MORE[0], MORE[0])))
    name = f"{cluster.namespace}/plain"
    told = migrate(lab, name)
    assert told.returncode == 0, told.stdout
    assert f"- {name}: the prefix length of {MORE[0]} changes from 32 to 24" in told.stdout
    node = cluster.placed()[MORE[0]]
    with watched(lab, MORE[:1]) as wire:
        assert migrate(lab, "plain", "-n", cluster.namespace, "--apply").returncode == 0
        wait_until(
            lambda: f"{MORE[0]}/24" in cluster.controllers[node].addresses(), "the other length"
        )
        cluster.wait_settled(*IPS)
        wire.wait_answers()
        assert migrate(lab, name, "--undo", "--apply").returncode == 0
        wait_until(
            lambda: f"{MORE[0]}/32" in cluster.controllers[node].addresses(), "the length before"
        )
        cluster.wait_settled(*IPS)
        wire.wait_answers()
    assert max(wire.outages_s().values()) < HICCUP_S
    assert wire.owners(MORE[0]) == {node}
    assert cluster.service("several")["spec"]["externalIPs"] == MORE[1:3]


def test_what_stands_in_the_way_is_told_and_nothing_is_changed(cluster, lab):
    everything = ("--all", "-n", cluster.namespace)
    cluster.merge("ports", {"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/name": "x"}}})
    before = specs(cluster)
    answers = [migrate(lab, *everything), migrate(lab, *everything, "--apply")]
    for told in answers:
        assert told.returncode == 1
        assert f"! {cluster.namespace}/plain: {MORE[0]} is in no pool" in told.stdout
        assert f"! {cluster.namespace}/ports: Flux manages it" in told.stdout
    assert specs(cluster) == before
    manifest = answers[-1].stdout.split("\n---\n")[1]
    (made,) = yaml.safe_load_all(manifest)
    lab.apply(manifest)
    assert made["metadata"]["name"] == "external-ips"
    assert states(lab, *everything) == {
        **dict.fromkeys(("dual", "plain", "several"), "ready"),
        "ports": "in the way",
    }
    assert migrate(lab, "nobody").stderr == "extip: there is no service 'nobody'\n"
    assert migrate(lab, "plain", "--all").returncode == 2


def test_the_documented_permissions_are_enough_and_fewer_are_told(cluster, lab):
    lab.apply(pool("edge", f"{MORE[0]}/32"))
    (role,) = (
        found
        for block in blocks(ROOT / "docs/migration.md", "yaml")
        for found in yaml.safe_load_all(block)
        if found["kind"] == "ClusterRole"
    )
    account = {"name": "mover", "namespace": cluster.namespace}
    for manifest in (
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
        {**role, "metadata": {"name": cluster.namespace}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": cluster.namespace},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": cluster.namespace,
            },
            "subjects": [{"kind": "ServiceAccount", **account}],
        },
    ):
        lab.apply(manifest)
    where = lab.service_account_kubeconfig(cluster.namespace, "mover")
    name = f"{cluster.namespace}/plain"
    line = [sys.executable, "-m", "extip", "migrate", "services", f"--kubeconfig={where}", name]

    def as_the_account(*words):
        return lab.switch.run([*line, *words], check=False)

    try:
        for words in ((), ("--apply",), ("--undo", "--apply")):
            told = as_the_account(*words)
            assert (told.returncode, told.stderr) == (0, ""), told.stdout
        role["rules"][0]["verbs"] = ["get", "list"]
        lab.apply({**role, "metadata": {"name": cluster.namespace}})

        def refused():
            told = as_the_account()
            return told.returncode == 1 and f"! {name}: patch services {name}: " in told.stdout

        wait_until(refused, "the missing permission to be told")
    finally:
        lab.kubectl("delete", "clusterrole,clusterrolebinding", cluster.namespace)


def test_interrupted_it_goes_on_and_without_a_scheduler_nothing_is_taken_away(cluster, lab):
    """Without a scheduler it waits, and says so in the end."""
    apply_missing_pools(lab, "--all", "-n", cluster.namespace)
    name = f"{cluster.namespace}/plain"
    with watched(lab, MORE[:1]) as wire:
        line = line_of(lab, name, "--apply", "--wait=2m")
        for scheduler in cluster.schedulers:
            assert scheduler.process.terminate() == 0
        with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as process:
            try:
                begun = lambda: cluster.service("plain")["spec"]["type"] == "LoadBalancer"  # noqa: E731
                wait_until(begun, "it to begin")
                process.send_signal(signal.SIGINT)
                said = process.communicate(timeout=60)[1]
            finally:
                process.kill()
        assert process.returncode == 130
        assert said.startswith("extip: interrupted; 0 of 1 are through, and no service lost an IP")
        assert cluster.service("plain")["spec"]["externalIPs"] == MORE[:1]
        stopped = migrate(lab, name, "--apply", "--wait=1s")
        assert stopped.returncode == 1
        assert f"after 1 s its status does not have {MORE[0]}" in stopped.stdout
        assert "it has its IPs in both ways now" in stopped.stdout
        cluster.start_scheduler()
        assert migrate(lab, name, "--apply").returncode == 0
        assert cluster.ingress("plain") == MORE[:1]
        cluster.wait_settled(*IPS)
        wire.wait_answers()
    assert max(wire.outages_s().values()) < HICCUP_S


def test_an_address_of_a_pool_in_external_ips_stays_its_too(cluster, lab):
    lab.apply(pool("auto", "10.88.7.32/28"))
    cluster.add("auto", metadata={"annotations": {"external-ip": "auto"}}, **SINGLE)
    ip = "10.88.7.33"
    cluster.wait_settled(*IPS, ip)
    name = f"{cluster.namespace}/auto"
    with watched(lab, [ip]) as wire:
        assert migrate(lab, name, "--apply").returncode == 0
        assert cluster.ingress("auto") == [ip]
        after = cluster.service("auto")
        assert "externalIPs" not in after["spec"]
        assert after["metadata"]["annotations"].keys() == {
            ADDRESSES,
            "ipcontroller.ext/migrated-from",
        }
        cluster.wait_settled(*IPS, ip)
        assert migrate(lab, name, "--undo", "--apply").returncode == 0
        wait_until(lambda: not cluster.ingress("auto"), "the status to be empty")
        before = cluster.service("auto")
        assert before["spec"]["externalIPs"] == [ip]
        assert before["metadata"]["annotations"] == {
            "external-ip": "auto",
            "ipcontroller.ext/allocated": ip,
        }
        cluster.wait_settled(*IPS, ip)
        wire.wait_answers()
    assert max(wire.outages_s().values()) < HICCUP_S


def test_in_simple_mode_all_go_there_and_back_and_no_client_notices(pooled, lab, simple, figures):
    everything = ("--all", "-n", pooled.namespace)
    add_services(pooled)
    alone = simple()
    alone.wait_for_addresses(*(f"{ip}/{128 if ':' in ip else 32}" for ip in IPS))
    apply_missing_pools(lab, *everything)
    told = migrate(lab, *everything)
    assert (told.returncode, "holds the Lease extip-simple" in told.stdout) == (1, True)
    assert alone.process.terminate() == 0
    giving = simple("--load-balancers")
    giving.wait_for_event("leadership_acquired")
    before = specs(pooled)
    with watched(lab, IPS) as wire:
        done = migrate(lab, *everything, "--apply")
        assert done.returncode == 0, done.stdout
        assert pooled.ingress("dual") == [V4, V6]
        wire.wait_answers()
        assert migrate(lab, *everything, "--undo", "--apply").returncode == 0
        wait_until(lambda: specs(pooled) == before, "all to be as it was")
        wire.wait_answers()
    figures(wire)
    assert max(wire.outages_s().values()) < HICCUP_S
    assert all(wire.owners(ip) == {"n1"} for ip in IPS)
    gone = [e for e in giving.events() if e["event"] == "address_deleted"]
    assert gone == []
