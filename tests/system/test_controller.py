"""`extip controller` on a real cluster: what its claims say is on the wire, and in their status.

No scheduler runs here: claims are made, moved and deleted by hand.
"""

import json
import signal
import time
from functools import partial

import pytest

from tests.lab.api import GROUP, ApiStatusError
from tests.lab.deletions import Deletions
from tests.lab.extip import MARK, Extip
from tests.lab.probe import HICCUP_S
from tests.lab.wait import wait_until
from tests.system.lenient import lenient_definition

IPS = ("10.88.6.1", "10.88.6.2", "10.88.6.3")
IP6 = "fd00:88::6:1"
TTL_S = 3
LONG_TTL_S = 9
"""Of addresses that are to stay: refreshed every third of it, they outlive a machine that stands
still for a while."""


def events_about(lab, namespace, name, reason):
    listed = lab.api.get(f"/api/v1/namespaces/{namespace}/events")["items"]
    return [e for e in listed if e["involvedObject"]["name"] == name and e["reason"] == reason]


# Claims and addresses.


def test_brings_its_own_claims_up_with_their_masks_and_no_others(lab, claims, controller, node):
    claims.create(IPS[0], "n1", prefix=24)
    claims.create(IPS[1], "n2", prefix=24)
    claims.create(IP6, "n1", prefix=128)
    extip = controller("--mask=30")
    extip.wait_for_addresses(f"{IPS[0]}/24", f"{IP6}/128")
    claims.create(IPS[2], "n1", prefix=32)
    extip.wait_for_addresses(f"{IPS[0]}/24", f"{IP6}/128", f"{IPS[2]}/32")
    (warning,) = extip.events("mask_ignored")
    assert warning["claim"] in {"10-88-6-1-24", "10-88-6-3-32"}
    for address in node.addresses("eth0"):
        if address.proto == MARK:
            assert address.valid_s is not None
            assert address.valid_s <= 6
    claims.delete("10-88-6-1-24")
    extip.wait_for_addresses(f"{IP6}/128", f"{IPS[2]}/32")


def test_a_manifest_of_the_predecessor_beside_one_that_cannot_be_read(lab, claims, controller):
    """Its end-to-end test: exactly one managed IP, and the selector finds one claim."""
    manifest = """
apiVersion: ipcontroller.ext/v1
kind: IpClaim
metadata: {name: 10-10-0-2-24, labels: {ipnode: test}}
spec: {cidr: 10.10.0.2/24, nodeName: test}
"""
    extip = controller(hostname="test")
    with lenient_definition(lab):
        lab.apply(manifest)
        claims.create("1::2::3", "test", prefix=64, name="unreadable")
        extip.wait_for_addresses("10.10.0.2/24")
        claims.wait_for("unreadable", "Accepted", "False", "MalformedCidr")
        claims.wait_for("unreadable", "Up", "False", "MalformedCidr")
        claims.wait_for("10-10-0-2-24", "Up", "True", "AddressUp")
        assert extip.addresses() == {"10.10.0.2/24"}


def test_a_name_with_dots_and_one_that_is_too_long_for_a_label(lab, claims, controller):
    long = f"{'n' * 60}.example.org"
    label = "n" * 54 + "-"
    for number, name in enumerate(("node.example.org", long)):
        extip = controller("--drain-timeout=0s", hostname=name)
        lease = lab.api.get(
            f"/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/extip-node-{name}"
        )
        value = lease["metadata"]["labels"]["ipnode"]
        assert value == name if name != long else value.startswith(label) and len(value) == 63
        claim = claims.create(IPS[number], name, name=f"named-{number}") if name != long else None
        if claim is None:
            body = {
                "apiVersion": "ipcontroller.ext/v1",
                "kind": "IpClaim",
                "metadata": {"name": "named-1", "labels": {"ipnode": value}},
                "spec": {"cidr": f"{IPS[number]}/32", "nodeName": name},
            }
            lab.api.request("POST", f"{GROUP}/ipclaims", body)
        extip.wait_for_addresses(f"{IPS[number]}/32")
        assert extip.process.terminate() == 0


def test_what_was_deleted_while_it_was_down_goes_at_the_start(claims, controller):
    kept, gone = claims.create(IPS[0], "n1"), claims.create(IPS[1], "n1")
    extip = controller("--address-ttl=1h")
    extip.wait_for_addresses(f"{IPS[0]}/32", f"{IPS[1]}/32")
    extip.process.kill()
    extip.process.wait()
    claims.delete(gone)
    extip = controller("--address-ttl=1h")
    extip.wait_for_addresses(f"{IPS[0]}/32")
    assert extip.events("address_added") == []
    claims.wait_for(kept, "Up", "True", "AddressUp")


# What it reports.


def test_conditions_say_where_an_ip_is_and_why_not(lab, claims, controller, node, namespace):
    lab.add_service("web", namespace=namespace)
    service = lab.api.get(f"/api/v1/namespaces/{namespace}/services/web")
    up = claims.create(IPS[0], "n1")
    gateway = claims.create(
        "10.88.0.1",
        "n1",
        services=[{"namespace": namespace, "name": "web", "uid": service["metadata"]["uid"]}],
    )
    elsewhere = claims.create(IPS[1], "n1", link="eth7")
    extip = controller()
    condition = claims.wait_for(up, "Up", "True", "AddressUp")
    claims.wait_for(up, "Accepted", "True", "Accepted")
    assert condition["observedGeneration"] == claims.get(up)["metadata"]["generation"]
    status = claims.status(up)
    assert (status["holder"], status["link"]) == ("n1", "eth0")
    assert status["since"] == condition["lastTransitionTime"]
    refused = claims.wait_for(gateway, "Accepted", "False", "GatewayAddress")
    assert "gateway" in refused["message"]
    claims.wait_for(gateway, "Up", "False", "GatewayAddress")
    mismatch = claims.wait_for(elsewhere, "Up", "False", "LinkMismatch")
    assert "eth7" in mismatch["message"]
    wait_until(lambda: events_about(lab, "default", gateway, "GatewayAddress"), "Event on claim")
    wait_until(lambda: events_about(lab, namespace, "web", "GatewayAddress"), "Event on service")
    assert extip.addresses() == {f"{IPS[0]}/32"}
    lines = {line.split()[0]: line.split() for line in lab.kubectl("get", "ipc").splitlines()}
    assert lines[up][1:4] == [f"{IPS[0]}/32", "n1", "True"]
    assert lines[gateway][1:5] == ["10.88.0.1/32", "n1", "False", "GatewayAddress"]


def test_conditions_of_others_stay(lab, claims, controller):
    """The scheduler writes Assigned into the same list."""
    name = claims.create(IPS[0], "n1")
    assigned = {
        "type": "Assigned",
        "status": "True",
        "reason": "Assigned",
        "message": "to n1",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    claims.merge(f"{name}/status", {"status": {"conditions": [assigned]}})
    controller()
    claims.wait_for(name, "Up", "True", "AddressUp")
    assert claims.condition(name, "Assigned")["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    before = claims.condition(name, "Up")["lastTransitionTime"]
    claims.merge(f"{name}/status", {"status": {"conditions": [assigned], "holder": None}})
    claims.wait_for(name, "Up", "True", "AddressUp")
    wait_until(lambda: claims.status(name).get("holder") == "n1", "the holder to be told again")
    assert claims.condition(name, "Up")["lastTransitionTime"] >= before


def test_rests_when_nothing_changes(lab, claims, controller):
    name = claims.create(IPS[0], "n1")
    extip = controller("--hb=400ms", "--resync=800ms")
    claims.wait_for(name, "Up", "True", "AddressUp")
    registered = f"{GROUP}/ipnodes/n1"
    counted = lambda: lab.api.get(registered).get("status", {}).get("claims") == 1  # noqa: E731
    wait_until(counted, "the IpNode to tell of the claim")

    def written():
        node = lab.api.get(registered)["status"]
        patches = extip.metric("extip_api_requests_total", verb="patch", code="200")
        return claims.get(name)["metadata"]["resourceVersion"], node, patches

    before = written()
    beaten = extip.metric("extip_heartbeats_total", result="success")
    passed = extip.metric("extip_reconciles_total", result="success")
    wait_until(
        lambda: (
            extip.metric("extip_heartbeats_total", result="success") >= beaten + 10
            and extip.metric("extip_reconciles_total", result="success") >= passed + 5
        ),
        "heartbeats and passes",
    )
    wait_until(lambda: written() == before, "nothing to have been written")


def test_registers_its_node_and_tells_when_the_carrier_is_lost(lab, claims, controller, node):
    controller("--resync=10m")

    def ready():
        conditions = lab.api.get(f"{GROUP}/ipnodes/n1").get("status", {}).get("conditions", [])
        return [(c["status"], c["reason"]) for c in conditions if c["type"] == "LinkReady"]

    wait_until(lambda: ready() == [("True", "LinkUp")], "the node to be ready")
    links = lab.api.get(f"{GROUP}/ipnodes/n1")["status"]["links"]
    assert links[0]["name"] == "eth0"
    assert links[0]["mac"] == node.mac
    assert {f"{node.ip}/16", f"{node.ip6}/64"} <= set(links[0]["addresses"])
    node.carrier_down()
    wait_until(lambda: ready() == [("False", "NoCarrier")], "the loss to be told")
    node.carrier_up()
    wait_until(lambda: ready() == [("True", "LinkUp")], "the return to be told")
    lab.api.discard(f"{GROUP}/ipnodes/n1")
    controller("--resync=1s", node="n2")
    wait_until(lambda: "n2" in lab.kubectl("get", "ipnodes"), "the IpNode to be made")
    lab.api.discard(f"{GROUP}/ipnodes/n2")
    wait_until(lambda: "n2" in lab.kubectl("get", "ipnodes"), "the IpNode to be made again")
    wait_until(lambda: lab.api.get(f"{GROUP}/ipnodes/n2").get("status"), "what it tells")
    assert "managedFields" not in lab.api.get(f"{GROUP}/ipnodes/n2")["metadata"]


# Moves.


def test_an_address_stays_until_its_next_holder_is_up(claims, controller):
    name = claims.create(IPS[0], "n1")
    extip = controller("--drain-timeout=10m", "--address-ttl=1h")
    extip.wait_for_addresses(f"{IPS[0]}/32")
    claims.wait_for(name, "Up", "True", "AddressUp")
    claims.move(name, "n2", before="n1")
    extip.wait_for_event("handover_began")
    time.sleep(2)
    assert extip.addresses() == {f"{IPS[0]}/32"}
    claims.report_up(name, "n2")
    extip.wait_for_addresses()
    assert extip.events("handover_ended", outcome="arrived")


def test_an_address_that_nobody_takes_goes_after_the_drain_timeout(claims, controller):
    name = claims.create(IPS[0], "n1")
    extip = controller("--drain-timeout=2s")
    extip.wait_for_addresses(f"{IPS[0]}/32")
    claims.move(name, "n2", before="n1")
    extip.wait_for_addresses()
    ended = extip.wait_for_event("handover_ended", outcome="moving")
    assert ended["after_s"] >= 2


def test_a_deleted_claim_is_not_handed_over(claims, controller):
    name = claims.create(IPS[0], "n1")
    extip = controller("--drain-timeout=10m", "--address-ttl=1h")
    extip.wait_for_addresses(f"{IPS[0]}/32")
    claims.delete(name)
    extip.wait_for_addresses()
    assert extip.events("handover_ended", outcome="gone")


def test_two_controllers_hand_over_without_a_gap(lab, claims, controller, namespace):
    lab.add_service("web", [IPS[0]], namespace=namespace)
    name = claims.create(IPS[0], "n1")
    first = controller()
    second = controller(node="n2")
    first.wait_for_addresses(f"{IPS[0]}/32")
    lab.wait_for_http(IPS[0])
    with lab.probe(IPS[0]) as probe:
        for node, before in (("n2", "n1"), ("n1", "n2")):
            claims.move(name, node, before=before)
            taker, giver = (second, first) if node == "n2" else (first, second)
            taker.wait_for_addresses(f"{IPS[0]}/32")
            giver.wait_for_addresses()
            wait_until(partial(claims.is_held_by, name, node), "the holder")
            time.sleep(0.5)
    assert probe.longest_outage_s(IPS[0]) < HICCUP_S


# Ends.


@pytest.mark.parametrize("flag", ["--drain-timeout=1s", "--drain-timeout=0s"])
def test_stops_in_time_when_nobody_takes_over(lab, claims, controller, flag):
    name = claims.create(IPS[0], "n1")
    extip = controller(flag, "--address-ttl=1h")
    claims.wait_for(name, "Up", "True", "AddressUp")
    assert extip.process.terminate() == 0
    assert extip.addresses() == set()
    claims.wait_for(name, "Up", "False", "ControllerStopped")
    lease = lab.api.get("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/extip-node-n1")
    assert not lease["spec"].get("holderIdentity")


def test_says_that_it_leaves_and_goes_when_its_claims_are_up_elsewhere(lab, claims, controller):
    name = claims.create(IPS[0], "n1")
    extip = controller("--drain-timeout=10m", "--address-ttl=1h")
    claims.wait_for(name, "Up", "True", "AddressUp")
    extip.process.kill(signal.SIGTERM)
    path = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/extip-node-n1"
    wait_until(
        lambda: "ipcontroller.ext/leaving" in lab.api.get(path)["metadata"]["annotations"],
        "the Lease to say so",
    )
    assert extip.addresses() == {f"{IPS[0]}/32"}
    claims.move(name, "n2", before="n1")
    extip.wait_for_event("handover_began")
    assert extip.process.running
    claims.report_up(name, "n2")
    assert extip.process.wait() == 0
    assert extip.addresses() == set()
    assert claims.status(name)["holder"] == "n2"


def test_a_second_signal_ends_the_wait(claims, controller):
    claims.create(IPS[0], "n1")
    extip = controller("--drain-timeout=10m", "--address-ttl=1h")
    extip.wait_for_addresses(f"{IPS[0]}/32")
    extip.process.kill(signal.SIGTERM)
    extip.wait_for_event("draining")
    extip.process.kill(signal.SIGTERM)
    assert extip.process.wait() == 0
    assert extip.addresses() == set()


def test_can_leave_its_addresses_to_the_next_start(claims, controller):
    name = claims.create(IPS[0], "n1")
    flags = ("--on-exit=keep", "--address-ttl=1h", "--drain-timeout=10m")
    extip = controller(*flags)
    claims.wait_for(name, "Up", "True", "AddressUp")
    assert extip.process.terminate() == 0  # it waits for nobody
    assert extip.addresses() == {f"{IPS[0]}/32"}
    extip = controller(*flags)
    wait_until(lambda: extip.metric("extip_addresses_up") == 1, "adopted")
    assert extip.events("address_added") == []


# Faults.


def test_the_kernel_withdraws_when_it_is_killed(claims, controller, node):
    claims.create(IPS[0], "n1")
    extip = controller("--hb=500ms")  # addresses live for 3 s
    extip.wait_for_addresses(f"{IPS[0]}/32")
    extip.wait_for_refresh(f"{IPS[0]}/32", ttl_s=TTL_S)
    extip.process.kill()
    extip.process.wait()
    assert all(a.valid_s <= TTL_S for a in node.addresses("eth0") if a.proto == MARK)
    extip.wait_for_addresses()


def test_a_frozen_one_that_was_replaced_adds_nothing_when_it_thaws(lab, claims, controller):
    name = claims.create(IPS[0], "n1")
    kept = claims.create(IPS[1], "n1")
    extip = controller("--hb=500ms")
    extip.wait_for_addresses(f"{IPS[0]}/32", f"{IPS[1]}/32")
    claims.wait_for(name, "Up", "True", "AddressUp")
    extip.process.freeze()
    added = len(extip.events("address_added", address=f"{IPS[0]}/32"))
    claims.move(name, "n2", before="n1")
    extip.wait_for_addresses()
    extip.process.thaw()
    extip.wait_for_addresses(f"{IPS[1]}/32")
    time.sleep(2)
    extip.wait_for_addresses(f"{IPS[1]}/32")
    assert len(extip.events("address_added", address=f"{IPS[0]}/32")) == added
    claims.wait_for(kept, "Up", "True", "AddressUp")


def test_a_frozen_one_that_was_replaced_announces_nothing_when_it_thaws(lab, claims, controller):
    """Nothing of what was to follow the first announcements: those of 1 s and 2 s after it."""
    with lab.observe(IPS[0], interval_s=0) as observer:
        name = claims.create(IPS[0], "n1")
        extip = controller("--hb=500ms")
        observer.wait_for_announcement(IPS[0])
        time.sleep(0.3)
    extip.process.freeze()
    claims.move(name, "n2", before="n1")
    extip.wait_for_addresses()
    with lab.observe(IPS[0], interval_s=0) as observer:
        extip.process.thaw()
        time.sleep(2)
        assert observer.announcements(IPS[0]) == []


def test_a_restarted_one_that_was_replaced_announces_nothing(lab, claims, controller):
    """It finds the address as the one before it left it, and reads its claims first."""
    name = claims.create(IPS[0], "n1")
    kept = claims.create(IPS[1], "n1")
    flags = ("--hb=500ms", "--address-ttl=1h")
    extip = controller(*flags)
    extip.wait_for_addresses(f"{IPS[0]}/32", f"{IPS[1]}/32")
    claims.wait_for(kept, "Up", "True", "AddressUp")
    extip.process.kill()
    extip.process.wait()
    claims.move(name, "n2", before="n1")
    with lab.observe([IPS[0], IPS[1]], interval_s=0) as observer:
        extip = controller(*flags)
        extip.wait_for_addresses(f"{IPS[1]}/32")
        observer.wait_for_announcement(IPS[1])
        time.sleep(2)
        assert observer.announcements(IPS[0]) == []
    assert extip.events("address_added") == []


def test_nothing_moves_while_the_api_server_is_away(lab, claims, controller, node, namespace):
    lab.add_service("web", [IPS[0]], namespace=namespace)
    name = claims.create(IPS[0], "n1")
    extip = controller("--hb=500ms", f"--address-ttl={LONG_TTL_S}s")
    claims.wait_for(name, "Up", "True", "AddressUp")
    lab.wait_for_http(IPS[0])
    transition = claims.condition(name, "Up")["lastTransitionTime"]
    deletions = Deletions(node)
    with lab.probe(IPS[0]) as probe:
        lab.api_server.stop()
        stopped_s = time.monotonic()
        extip.wait_for_refresh(f"{IPS[0]}/32", ttl_s=LONG_TTL_S, after_s=stopped_s + LONG_TTL_S)
        assert extip.http("/livez") == "ok"
        assert "heartbeat" in extip.http("/readyz")
        lab.api_server.start()
        claims.create(IPS[1], "n1")
        extip.wait_for_addresses(f"{IPS[0]}/32", f"{IPS[1]}/32")
        wait_until(lambda: extip.http("/readyz") == "ok", "ready")
    assert deletions.so_far() == []
    assert probe.longest_outage_s(IPS[0]) < HICCUP_S
    assert claims.condition(name, "Up")["lastTransitionTime"] == transition


def test_restores_an_address_while_the_api_server_is_away(lab, claims, controller, node):
    claims.create(IPS[0], "n1")
    extip = controller("--hb=500ms", "--address-ttl=1h", "--resync=10m")
    extip.wait_for_addresses(f"{IPS[0]}/32")
    lab.api_server.stop()
    wait_until(lambda: "heartbeat" in extip.http("/readyz"), "the loss to be noticed")
    node.run(["ip", "address", "del", f"{IPS[0]}/32", "dev", "eth0"])
    extip.wait_for_addresses(f"{IPS[0]}/32")
    lab.api_server.start()


def test_what_was_moved_in_an_outage_goes_at_once_after_it(lab, claims, controller, node):
    """Cut off from the API server alone: it holds on, and makes way when it reads its claims."""
    name = claims.create(IPS[0], "n1")
    claims.create(IPS[1], "n1")
    extip = controller("--hb=500ms", "--drain-timeout=10m", "--address-ttl=1h")
    claims.wait_for(name, "Up", "True", "AddressUp")
    node.cut("management")
    time.sleep(4)
    claims.move(name, "n2", before="n1")
    time.sleep(2)
    assert extip.addresses() == {f"{IPS[0]}/32", f"{IPS[1]}/32"}
    node.heal("management")
    extip.wait_for_addresses(f"{IPS[1]}/32")
    assert extip.events("handover_began") == []


def test_a_name_that_is_in_use_is_refused(lab, claims, controller):
    claims.create(IPS[0], "n1")
    first = controller("--hb=4s")
    first.wait_for_addresses(f"{IPS[0]}/32")
    second = controller("--hb=4s", node="n2", hostname="n1", ready=False)
    assert second.process.wait() == 3
    assert second.addresses() == set()
    assert second.events("address_added") == []
    last = second.process.output().splitlines()[-1]
    assert "n1" in last
    assert "--hostname" in last
    assert "Traceback" not in second.process.output()
    assert first.addresses() == {f"{IPS[0]}/32"}


def test_a_restart_goes_on_at_once(claims, controller):
    """The Lease still names it: it need not wait to see whether somebody else is there."""
    claims.create(IPS[0], "n1")
    extip = controller("--hb=5m")
    extip.wait_for_addresses(f"{IPS[0]}/32")
    extip.process.kill()
    extip.process.wait()
    extip = controller("--hb=5m")  # long before the former one's heartbeats are missed
    assert extip.addresses() == {f"{IPS[0]}/32"}
    assert extip.events("address_added") == []


def test_waits_for_the_definitions_and_says_what_to_run(lab, claims, controller, node):
    """Without the permission to make them itself."""
    for plural in ("ipclaims", "ipnodes", "ipclaimpools"):
        lab.kubectl("delete", "crd", f"{plural}.ipcontroller.ext")
    account = "extip-test-poor"
    lab.kubectl("create", "serviceaccount", account)
    rules = [
        {"apiGroups": ["ipcontroller.ext"], "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["nodes", "events"], "verbs": ["*"]},
    ]
    path = "/apis/rbac.authorization.k8s.io/v1"
    lab.api.ensure(f"{path}/clusterroles", {"metadata": {"name": account}, "rules": rules})
    lab.kubectl(
        "create",
        "clusterrolebinding",
        account,
        f"--clusterrole={account}",
        f"--serviceaccount=default:{account}",
    )
    try:
        kubeconfig = lab.service_account_kubeconfig("default", account)
        extip = Extip(node, "controller", "--hostname=n1", kubeconfig=kubeconfig)
        event = extip.wait_for_event("waiting_for_definitions")
        assert "extip crds --apply" in json.dumps(event)
        assert "not synced" in extip.http("/readyz")
        lab.install_definitions()
        claims.create(IPS[0], "n1")
        extip.wait_for_addresses(f"{IPS[0]}/32")
    finally:
        lab.kubectl("delete", "clusterrolebinding,clusterrole", account)
        lab.kubectl("delete", "serviceaccount", account)


def test_a_claim_of_a_wrong_shape_is_refused_by_the_server(claims):
    with pytest.raises(ApiStatusError):
        claims.create("fakeclaim", "n1", prefix=1, name="fakeclaim")


def test_many_claims_at_once(lab, claims, controller):
    """Spec first, statuses after: the addresses do not wait for a thousand writes."""
    extip = controller()
    names = [claims.create(f"10.88.7.{n}", "n1") for n in range(1, 201)]
    wait_until(lambda: len(extip.addresses()) == 200, "200 addresses")
    wait_until(partial(_all_up, claims, names), "200 statuses")


def _all_up(claims, names):
    return all(claims.condition(name, "Up").get("status") == "True" for name in names[::20])
