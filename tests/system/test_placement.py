"""Where claims go: to who serves the service, to the interface that is asked for."""

from functools import partial
from ipaddress import ip_interface

from tests.lab.api import GROUP
from tests.lab.extip import Extip
from tests.lab.wait import wait_until
from tests.system.claims_cluster import IPS

LOCAL = {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}


def serve_on(lab, namespace, *nodes):
    """Leave ready only the backends on these nodes; returns when their pods are so reported."""
    for name in lab.nodes:
        ready = "lab/ready-" if name in nodes else "lab/ready=false"
        lab.kubectl("annotate", "--overwrite", "pod", f"backend-{name}", ready, "-n", namespace)
    wanted = {name: str(name in nodes) for name in lab.nodes}
    wait_until(lambda: readiness(lab, namespace) == wanted, "the pods to be reported")


def readiness(lab, namespace):
    """Return the status of the Ready condition of each node's pod that has one already.

    A pod that is annotated before its first report may be ready for a moment.
    """
    return {
        pod["spec"]["nodeName"]: condition["status"]
        for pod in lab.api.get(f"/api/v1/namespaces/{namespace}/pods")["items"]
        for condition in pod["status"].get("conditions", [])
        if condition["type"] == "Ready"
    }


def answers(lab, node):
    """Return whether the endpoint on that node does; kube-proxy may learn of it after extip."""
    return bool(lab.client.http_get(IPS[0], timeout=0.25) == node)


def assigned(cluster, ip):
    claims = [c for c in cluster.claims() if c["spec"]["cidr"].startswith(f"{ip}/")]
    conditions = [one for c in claims for one in c.get("status", {}).get("conditions", [])]
    return next((c for c in conditions if c["type"] == "Assigned"), {})


def test_local_traffic_goes_where_an_endpoint_is(cluster, lab):
    serve_on(lab, cluster.namespace, "n2")
    lab.add_service("web", IPS[:1], namespace=cluster.namespace, spec=LOCAL)
    lab.add_service("other", IPS[1:], namespace=cluster.namespace)
    # The endpoint controllers may publish first what the pods were a moment ago.
    wait_until(lambda: cluster.placed().get(IPS[0]) == "n2", "the IP to be where the endpoint is")
    wait_until(lambda: set(cluster.placed().values()) == set(lab.nodes), "all nodes in use")
    cluster.wait_settled(*IPS)
    assert cluster.placed()[IPS[0]] == "n2"
    wait_until(partial(answers, lab, "n2"), "an answer of n2")

    serve_on(lab, cluster.namespace, "n3")
    wait_until(lambda: cluster.placed()[IPS[0]] == "n3", "the IP to follow the endpoint")
    cluster.wait_settled(*IPS)
    wait_until(partial(answers, lab, "n3"), "an answer of n3")
    wait_until(
        lambda: "it had no ready endpoint" in assigned(cluster, IPS[0]).get("message", ""),
        "the reason of the move",
    )

    serve_on(lab, cluster.namespace)
    wait_until(
        lambda: assigned(cluster, IPS[0]).get("reason") == "NoEligibleNode", "nobody to take it"
    )
    assert cluster.placed()[IPS[0]] == "n3"  # nowhere is better: it stays
    cluster.wait_settled(*IPS)


def test_services_with_disjoint_endpoints_share_an_ip_where_most_of_them_are_served(cluster, lab):
    ports = {"first": ("n1", 80), "second": ("n2", 81), "nowhere": ("n9", 82), "third": ("n2", 83)}

    def add(name):
        node, port = ports[name]
        spec = {**LOCAL, "selector": {"app": "backend", "node": node}}
        lab.add_service(name, IPS[:1], port=port, namespace=cluster.namespace, spec=spec)

    add("nowhere")
    wait_until(
        lambda: assigned(cluster, IPS[0]).get("reason") == "NoEligibleNode", "nobody to take it"
    )
    add("first")
    wait_until(lambda: lab.wait_for_http(IPS[0]) == "n1", "it to be up where one is served")
    add("second")
    told = f"{IPS[0]} is on n1, where this service has no ready endpoint"
    wait_until(lambda: any(told in text for text in events(lab, cluster, "second")), "an Event")
    assert cluster.placed()[IPS[0]] == "n1", "another that serves no more is no better"
    add("third")
    wait_until(lambda: cluster.placed()[IPS[0]] == "n2", "it to go where two are served")
    assert [lab.wait_for_http(IPS[0], port) for port in (81, 83)] == ["n2", "n2"]
    told = f"{IPS[0]} is on n2, where this service has no ready endpoint"
    wait_until(lambda: any(told in text for text in events(lab, cluster, "first")), "an Event")
    wait_until(
        lambda: "first" in assigned(cluster, IPS[0]).get("message", ""), "the claim to say so"
    )


def events(lab, cluster, service):
    found = lab.api.get(f"/api/v1/namespaces/{cluster.namespace}/events")["items"]
    return [e["message"] for e in found if e["involvedObject"]["name"] == service]


def test_simple_mode_withholds_what_its_node_has_no_endpoint_of_and_says_so(lab, namespace):
    serve_on(lab, namespace, "n2")
    extip = Extip(lab.nodes["n1"], "simple", "--resync=1s", kubeconfig=lab.kubeconfig)
    lab.add_service("web", IPS[:2], namespace=namespace, spec=LOCAL)
    lab.add_service("other", IPS[2:3], namespace=namespace)
    other = f"{IPS[2]}/32"
    said = extip.wait_for_event("no_local_endpoint", service=f"{namespace}/web", node="n1")
    assert set(said["addresses"]) == set(IPS[:2])
    events = f"/api/v1/namespaces/{namespace}/events"

    def told():
        return [
            (item["involvedObject"]["name"], item["count"])
            for item in lab.api.get(events)["items"]
            if item["reason"] == "NoLocalEndpoint"
        ]

    wait_until(lambda: told() == [("web", 1)], "an Event")
    assert extip.addresses() == {other}
    serve_on(lab, namespace, "n1", "n2")
    extip.wait_for_event("local_endpoint_ready", service=f"{namespace}/web")
    extip.wait_for_addresses(other, *(str(ip_interface(ip)) for ip in IPS[:2]))
    for ip in IPS[:2]:
        assert lab.wait_for_http(ip) == "n1"
    assert told() == [("web", 1)]
    serve_on(lab, namespace, "n2")
    extip.wait_for_addresses(other)
    assert extip.process.terminate() == 0


def test_a_rule_can_be_switched_off(idle_cluster, lab):
    cluster = idle_cluster
    serve_on(lab, cluster.namespace)
    cluster.scheduler_flags += ("--ignore-rule=NoLocalEndpoint",)
    cluster.start()
    lab.add_service("web", IPS[:3], namespace=cluster.namespace, spec=LOCAL)
    wait_until(lambda: set(cluster.placed().values()) == set(lab.nodes), "all nodes in use")


def test_a_claim_that_names_an_interface_goes_to_who_has_it(cluster, lab):
    claim = {
        "apiVersion": "ipcontroller.ext/v1",
        "kind": "IpClaim",
        "metadata": {"name": "hand-made"},
        "spec": {"cidr": f"{IPS[0]}/32", "link": "eth9"},
    }
    lab.api.request("POST", f"{GROUP}/ipclaims", claim)
    wait_until(
        lambda: "does not have the interface" in assigned(cluster, IPS[0]).get("message", ""),
        "the claim to wait for such an interface",
    )
    assert cluster.placed()[IPS[0]] == ""
    path = f"{GROUP}/ipclaims/hand-made"
    patch = {"spec": {"link": "eth0"}}
    lab.api.request("PATCH", path, patch, content_type="application/merge-patch+json")
    cluster.wait_settled(IPS[0])


def nodes_in_use(cluster):
    return set(cluster.placed().values())


def test_a_taint_of_a_node_that_goes_and_a_graceful_shutdown_move_its_ips(cluster, lab):
    lab.add_service("web", IPS[:3], namespace=cluster.namespace)
    cluster.wait_settled(*IPS[:3])
    assert nodes_in_use(cluster) == {"n1", "n2", "n3"}
    taint = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"
    try:
        lab.kubectl("cordon", "n1")  # alone it moves nothing: pods stay as well
        lab.kubectl("taint", "node", "n3", "dedicated=edge:NoSchedule")
        lab.kubectl("taint", "node", "n2", taint)
        wait_until(lambda: nodes_in_use(cluster) == {"n1", "n3"}, "the IP to leave n2")
        lab.kubectl("annotate", "node", "n3", "lab/shutting-down=yes")
        wait_until(lambda: nodes_in_use(cluster) == {"n1"}, "the IPs to leave n3")
        cluster.wait_settled(*IPS[:3])
    finally:
        lab.kubectl("uncordon", "n1")
        lab.kubectl("taint", "node", "n2", f"{taint}-")
        lab.kubectl("taint", "node", "n3", "dedicated-")
        lab.kubectl("annotate", "node", "n3", "lab/shutting-down-")
