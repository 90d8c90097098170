"""Objects and flags of the predecessor → the same for extip, which has its kinds."""

import pytest

from extip.claims.policy.claims import parse_cidr
from extip.claims.policy.names import claim_name
from tests.unit.migrate.manifests import addresses_of, annotations_of, converted, lost, notes

POOL = """
apiVersion: ipcontroller.ext/v1
kind: IpClaimPool
metadata: {name: test-pool}
spec:
  cidr: 192.168.16.248/29
  ranges: [[192.168.16.249, 192.168.16.250], [192.168.16.252, 192.168.16.253]]
  allocated: {192.168.16.249: 192-168-16-249-29}
"""
PROGRAM = "externalipcontroller"


def pool(name, cidr="192.168.16.248/29", **spec):
    return {
        "apiVersion": "ipcontroller.ext/v1",
        "kind": "IpClaimPool",
        "metadata": {"name": name},
        "spec": {"cidr": cidr, **spec},
    }


def claim(cidr, node="n1", *, name="", **spec):
    interface = parse_cidr(cidr)
    assert interface is not None
    return {
        "apiVersion": "ipcontroller.ext/v1",
        "kind": "IpClaim",
        "metadata": {"name": name or claim_name(interface), "labels": {"ipnode": node}},
        "spec": {"cidr": cidr, "nodeName": node, "link": "", **spec},
    }


def service(name, *ips, auto=False):
    annotations = {"annotations": {"external-ip": "auto"}} if auto else {}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "shop", **annotations},
        "spec": {"externalIPs": list(ips)},
    }


def workload(kind, *command, api_version="apps/v1", args=()):
    pod = {"containers": [{"command": list(command), "args": list(args)}]}
    spec = pod if kind == "Pod" else {"template": {"spec": pod}}
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "it"}, "spec": spec}


def test_a_pool_stays_without_its_book():
    result = converted(PROGRAM, POOL)
    assert addresses_of(result, "test-pool") == [f"192.168.16.{n}" for n in (249, 250, 252, 253)]
    (manifest,) = result.manifests()
    assert set(manifest["spec"]) == {"cidr", "ranges"}
    assert result.remarks == []


def test_the_range_of_early_versions_is_read():
    given = pool("early", range=["192.168.16.252", "192.168.16.253"])
    assert addresses_of(converted(PROGRAM, given), "early") == ["192.168.16.252", "192.168.16.253"]


def test_a_service_that_got_its_address_from_a_pool_says_so():
    """Otherwise extip would take the address for one that a person wrote, or give another one."""
    got, wrote = service("got", "192.168.16.249", "10.9.9.9", auto=True), service("w", "10.9.9.8")
    result = converted(PROGRAM, POOL, got, wrote)
    assert annotations_of(result) == {
        "shop/got": {
            "ipcontroller.ext/allocated": "192.168.16.249",
            "ipcontroller.ext/addresses": "192.168.16.249",
        }
    }


def test_the_claims_of_services_become_the_schedulers():
    """Otherwise extip would take them for a person's, and pin them to their node for ever."""
    given = claim("192.168.16.249/29")
    result = converted(PROGRAM, POOL, service("got", "192.168.16.249", auto=True), given)
    assert result.manifests()[-1] == {
        "apiVersion": "ipcontroller.ext/v1",
        "kind": "IpClaim",
        "metadata": {
            "name": "192-168-16-249-29",
            "labels": {"app.kubernetes.io/managed-by": "extip"},
        },
        "spec": {"cidr": "192.168.16.249/29"},
    }
    assert result.complete


def test_a_claim_that_is_extips_already_stays_as_it_is():
    given = claim("10.9.9.9/32")
    given["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "extip"
    assert converted(PROGRAM, given, service("web", "10.9.9.9")).manifests() == []


def test_a_claim_of_no_service_is_told_and_stays():
    result = converted(PROGRAM, claim("10.9.9.9/32", link="eth1"))
    assert result.manifests() == []
    assert result.complete
    first, second = notes(result)
    assert "no service has this IP in spec.externalIPs" in first
    assert "its link eth1 is honoured now" in second


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            workload(
                "DaemonSet",
                *("ipmanager", "claimcontroller", "--iface=dind0", "--logtostderr", "--hb=500ms"),
                api_version="extensions/v1beta1",
            ),
            "run: extip controller --iface=dind0 --hb=500ms",
        ),
        (
            workload(
                "Deployment",
                *("/usr/bin/ipmanager", "s", "--mask", "24", "--leader-elect", "--monitor=1s"),
            ),
            "run: extip scheduler --mask=24 --leader-elect --monitor=1s",
        ),
        (
            workload("Deployment", "ipmanager", args=("scheduler", "--leader-elect=true")),
            "run: extip scheduler --leader-elect=true",
        ),
        (
            workload("Pod", "ipmanager", "naivecontroller", "--mask=24", api_version="v1"),
            "run: extip simple --mask=24",
        ),
    ],
)
def test_flags_are_the_same(given, line):
    result = converted(PROGRAM, given)
    assert result.complete
    assert notes(result)[-1].endswith(line)


def test_flags_that_extip_does_not_have_are_told():
    given = workload("DaemonSet", "ipmanager", "c", "--v=5", "--monitor=1s")
    told = notes(converted(PROGRAM, given))
    assert [line.partition(";")[0] for line in told] == [
        "note: DaemonSet it: --v is no flag of extip controller",
        "note: DaemonSet it: extip has the same flags",
    ]
    assert told[-1].endswith("run: extip controller")


def test_workloads_of_other_programs_in_a_cluster_mean_nothing():
    ours = workload("DaemonSet", "ipmanager", "c")
    result = converted(PROGRAM, ours, workload("Deployment", "nginx"))
    assert not any("nginx" in line or "Deployment" in line for line in notes(result))


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            pool("x", "192.168.16.248/99"),
            "IpClaimPool x: spec.cidr '192.168.16.248/99' is no network",
        ),
        (
            pool("x", ranges=[["192.168.16.251", "192.168.16.250"]]),
            "IpClaimPool x: range 192.168.16.251-192.168.16.250 is reversed",
        ),
        (
            {**claim("10.0.0.1/32", name="fakeclaim"), "spec": {"cidr": "fake"}},
            "IpClaim fakeclaim: spec.cidr 'fake' is no address with a prefix length",
        ),
        (workload("Pod", "ipmanager", "dance", api_version="v1"), "Pod it: 'ipmanager dance' runs"),
    ],
)
def test_bad_input_gets_one_line(given, line):
    result = converted(PROGRAM, POOL, given)
    (told,) = lost(result)
    assert told.startswith(line)
    assert addresses_of(result, "test-pool")


def test_a_pool_none_of_whose_ranges_can_be_read_is_left_out():
    """All of its network would be given otherwise."""
    given = pool("x", ranges=[["192.168.16.251", "192.168.16.250"], ["one"]])
    assert converted(PROGRAM, given).manifests() == []


def test_its_nodes_are_passed_over_and_other_objects_told():
    node = {"apiVersion": "ipcontroller.ext/v1", "kind": "IpNode", "metadata": {"name": "n1"}}
    other = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}
    assert notes(converted(PROGRAM, node, other)) == [
        "note: Secret s: it is nothing that is carried over from k8s-externalipcontroller"
    ]
