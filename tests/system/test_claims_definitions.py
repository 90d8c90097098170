"""Somebody deletes the definitions of extip's kinds: nothing goes down, moves or flaps."""

import time

import pytest

from tests.lab.api import ApiStatusError
from tests.lab.probe import HICCUP_S
from tests.lab.wait import wait_until
from tests.system.claims_cluster import IPS, MONITOR_S
from tests.system.wire import watched

GROUP = "ipcontroller.ext"
CLAIMS = f"/apis/{GROUP}/v1/ipclaims"
TRIO, MORE = IPS[:3], IPS[3:5]


@pytest.fixture
def cluster(idle_cluster, lab):
    yield idle_cluster
    lab.install_definitions()


def delete_definitions(lab, *kinds):
    lab.kubectl("delete", "crd", *(f"{kind}.{GROUP}" for kind in kinds), timeout=60)


def is_unknown(lab, path):
    try:
        lab.api.get(path)
    except ApiStatusError as error:
        return error.status == 404
    return False


def said(cluster, text):
    """Whether each controller is not ready, and says why."""
    return all(
        text in one.http("/readyz") and one.metric("extip_definitions_missing", definition=text)
        for one in cluster.controllers.values()
    )


def untouched(cluster, before):
    """Whether each IP was brought up once, where it is, and never removed."""
    return sorted(cluster.address_changes()) == sorted(
        f"{node}: address_added {ip}/32" for ip, node in before.items()
    )


def test_deleted_definitions_take_no_ip_down_and_claims_come_back_where_the_ips_are(
    cluster, lab, figures
):
    cluster.start()
    cluster.wait_alive(cluster.start_scheduler())  # one that begins later makes the definitions
    lab.add_service("web", TRIO, namespace=cluster.namespace)
    cluster.wait_settled(*TRIO)
    before = cluster.placed()
    with watched(lab, TRIO) as wire:
        delete_definitions(lab, "ipclaims", "ipclaimpools", "ipnodes")
        assert is_unknown(lab, CLAIMS)
        wait_until(lambda: said(cluster, f"ipclaims.{GROUP}"), "readiness and metric to tell")
        for scheduler in cluster.schedulers:
            scheduler.wait_for_event("definition_missing", definition=f"ipclaims.{GROUP}")
        time.sleep(MONITOR_S)
        assert cluster.up() == {ip: {node} for ip, node in before.items()}
        lab.install_definitions()
        began_s = time.monotonic()
        cluster.wait_settled(*TRIO)
        took_s = time.monotonic() - began_s
        time.sleep(MONITOR_S)
    figures(wire, claims_back=took_s)
    assert cluster.placed() == before
    assert untouched(cluster, before)
    assert {ip: wire.owners(ip) for ip in before} == {ip: {node} for ip, node in before.items()}
    assert max(wire.outages_s().values()) < HICCUP_S
    assert took_s < 15
    wait_until(lambda: cluster.controllers["n1"].http("/readyz") == "ok", "it to be ready")
    told = {event["reason"] for event in lab.api.get("/api/v1/events")["items"]}
    assert "DefinitionMissing" in told
    lab.delete_service("web", namespace=cluster.namespace)
    cluster.wait_settled()


def test_a_scheduler_that_begins_without_the_definition_leaves_ips_where_they_are(cluster, lab):
    """It knows of no claim: nodes tell it what they have."""
    cluster.start()
    lab.add_service("few", TRIO[:1], namespace=cluster.namespace)
    cluster.wait_settled(*TRIO[:1])
    lab.add_service("pinned", MORE, namespace=cluster.namespace, port=81)
    cluster.wait_settled(*TRIO[:1], *MORE)
    lab.delete_service("few", namespace=cluster.namespace)
    cluster.wait_settled(*MORE)
    before = cluster.placed()
    delete_definitions(lab, "ipclaims", "ipnodes")
    (old,) = cluster.schedulers
    assert old.process.terminate() == 0
    cluster.schedulers.clear()
    lab.install_definitions()
    cluster.start_scheduler()
    cluster.wait_settled(*MORE)
    assert cluster.placed() == before
    touched = [change for change in cluster.address_changes() if "deleted" in change]
    assert [change.split()[-1] for change in touched] == [f"{TRIO[0]}/32"]
