"""`extip simple` gives addresses of pools on a real cluster, and they answer."""

import sys
from functools import partial

from tests.lab.wait import wait_until
from tests.system.pooled_cluster import DUAL, LOAD_BALANCER, pool

V4, V6 = "10.88.7.1", "fd00:88::7:1"
NEXT = "10.88.7.2"
WRITTEN = "10.88.8.1"


def extip_status(lab, *flags, check=True):
    """Return what a person sees; services of a test before may still be about to go.

    Without `check` it may say that not all is up.
    """
    argv = [sys.executable, "-m", "extip", "status", f"--kubeconfig={lab.kubeconfig}", *flags]
    return lab.switch.run(argv, check=check).stdout


def explanation(lab, ip):
    """Return it once it has the Event that the IP is up."""
    text = extip_status(lab, ip, check=False)
    return text if "AddressUp" in text else ""


def test_a_load_balancer_answers_on_both_families_and_keeps_its_addresses(pooled, lab, simple):
    extip = simple("--load-balancers")
    lab.apply(pool("v4", "10.88.7.0/28"))
    lab.apply(pool("v6", "fd00:88::7:0/112"))
    pooled.add("web", **LOAD_BALANCER, **DUAL)
    pooled.wait_ingress("web", V4, V6)
    extip.wait_for_addresses(f"{V4}/32", f"{V6}/128")
    for ip in (V4, V6):
        assert lab.wait_for_http(ip) in lab.nodes
        assert lab.wait_for_http(ip, host=lab.far_client) in lab.nodes
    pooled.wait_allocated("v4", {V4: f"{pooled.namespace}/web"})
    status = extip_status(lab, "-n", pooled.namespace)
    assert status.count(" given ") == 2
    assert V4 in status
    assert V6 in status
    pooled.add("written", externalIPs=[WRITTEN], port=82)
    extip.wait_for_addresses(f"{V4}/32", f"{V6}/128", f"{WRITTEN}/32")
    explained = wait_until(lambda: explanation(lab, WRITTEN), "the Event that it is up")
    assert " given " in explained
    assert "in its way:   nothing" in explained
    lab.delete_service("written", namespace=pooled.namespace)

    assert extip.process.terminate() == 0
    pooled.add("other", **LOAD_BALANCER, port=81)
    again = simple("--load-balancers", node="n2")
    pooled.wait_ingress("other", NEXT)
    again.wait_for_addresses(f"{V4}/32", f"{V6}/128", f"{NEXT}/32")
    assert pooled.ingress("web") == [V4, V6]
    assert lab.wait_for_http(V4) in lab.nodes

    lab.delete_service("web", namespace=pooled.namespace)
    again.wait_for_addresses(f"{NEXT}/32")
    pooled.wait_allocated("v4", {NEXT: f"{pooled.namespace}/other"})


def test_one_of_two_processes_gives_addresses_and_another_one_goes_on(pooled, lab, simple):
    """The second one has another interface in mind, so that the two do not fight over the IPs."""
    lab.apply(pool("v4", "10.88.7.0/28"))
    first = simple("--load-balancers")
    first.wait_for_event("leadership_acquired")
    second = simple("--load-balancers", "--iface=lo", node="n2")
    second.wait_for_event("leader_changed")
    names = [f"web-{n}" for n in range(4)]
    for name in names[:2]:
        pooled.add(name, **LOAD_BALANCER)
        wait_until(partial(pooled.ingress, name), "an address")
    assert not second.events("service_written")
    first.process.terminate()
    second.wait_for_event("leadership_acquired")
    for name in names[2:]:
        pooled.add(name, **LOAD_BALANCER)
        wait_until(partial(pooled.ingress, name), "an address")
    given = [ip for name in names for ip in pooled.ingress(name)]
    assert len({*given}) == len(names)


def test_services_share_an_address_have_several_and_choose_one(pooled, lab, simple):
    """What annotations say in claims mode, they say here, too."""
    extip = simple("--load-balancers")
    lab.apply(pool("v4", "10.88.7.0/28"))
    lab.apply(pool("v6", "fd00:88::7:0/112"))
    key = {"annotations": {"ipcontroller.ext/sharing-key": "front"}}
    count = {"annotations": {"ipcontroller.ext/address-count": "2"}}
    pooled.add("one", **LOAD_BALANCER, **DUAL, metadata=key)
    pooled.wait_ingress("one", V4, V6)
    pooled.add("two", **LOAD_BALANCER, **DUAL, metadata=key, port=81)
    pooled.wait_ingress("two", V4, V6)
    pooled.add("pair", **LOAD_BALANCER, **DUAL, metadata=count, port=82)
    pair = ("10.88.7.2", "10.88.7.3", "fd00:88::7:2", "fd00:88::7:3")
    pooled.wait_ingress("pair", *pair)
    pooled.add("named", **LOAD_BALANCER, loadBalancerIP="10.88.7.9", port=83)
    pooled.wait_ingress("named", "10.88.7.9")
    ways = [(V4, 80), (V6, 80), (V4, 81), (V6, 81), *((ip, 82) for ip in pair), ("10.88.7.9", 83)]
    for ip, port in ways:
        assert lab.wait_for_http(ip, port) in lab.nodes
    assert extip.process.running


def test_an_instance_serves_its_own_services_alone(pooled, lab, simple):
    label = {"labels": {"ipcontroller.ext/instance": "blue"}}
    lab.apply(pool("v4", "10.88.7.0/28"))
    blue = pool("blue", "10.88.8.0/28")
    lab.apply({**blue, "metadata": {**blue["metadata"], **label}})
    plain, other = (
        simple("--load-balancers"),
        simple("--load-balancers", "--instance=blue", node="n2"),
    )
    pooled.add("web", **LOAD_BALANCER)
    pooled.add("blue", **LOAD_BALANCER, metadata=label, port=81)
    pooled.wait_ingress("web", V4)
    pooled.wait_ingress("blue", WRITTEN)
    plain.wait_for_addresses(f"{V4}/32")
    other.wait_for_addresses(f"{WRITTEN}/32")
    assert lab.wait_for_http(V4) in lab.nodes
    assert lab.wait_for_http(WRITTEN, 81) in lab.nodes
