"""Each check of the cluster: facts that make it speak, and facts that do not."""

from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest

from extip.api.coordination_v1 import Lease, LeaseSpec
from extip.api.core_v1 import DetailedService, DetailedServiceMeta, DetailedServiceSpec
from extip.api.ipcontroller_v1 import IpNode, IpNodeStatus
from extip.api.meta_v1 import Condition, FullObjectMeta
from extip.api.names import HEARTBEAT_ANNOTATION, heartbeat_lease
from extip.doctor.policy import cluster_checks as checks
from extip.doctor.policy.facts import OWN_KINDS, ClusterFacts, Daemon
from extip.doctor.policy.finding import Severity

ERROR, WARNING, NOTE = Severity
DRAINING = "NodeDraining"
NOW = datetime(2026, 1, 1, 0, 0, 5, tzinfo=UTC)


def controller(name, version="1", ready="True", reason="", message=""):
    condition = Condition(type="Ready", status=ready, reason=reason, message=message)
    status = IpNodeStatus(version=version, conditions=(condition,))
    return IpNode(metadata=FullObjectMeta(name=name), status=status)


def beat(node, *, renewed="2026-01-01T00:00:04Z", every="2", namespace="extip-system"):
    metadata = FullObjectMeta(
        name=heartbeat_lease(node),
        namespace=namespace,
        annotations={HEARTBEAT_ANNOTATION: every},
    )
    return Lease(metadata=metadata, spec=LeaseSpec(holder_identity=node, renew_time=renewed))


def election(holder, renewed="2026-01-01T00:00:04Z"):
    spec = LeaseSpec(holder_identity=holder, renew_time=renewed, lease_duration_seconds=15)
    return Lease(metadata=FullObjectMeta(name="extip-scheduler"), spec=spec)


def service(name, *ips, **annotations):
    named = {f"ipcontroller.ext/{key.replace('_', '-')}": text for key, text in annotations.items()}
    return DetailedService(
        metadata=DetailedServiceMeta(namespace="shop", name=name, annotations=named or None),
        spec=DetailedServiceSpec(external_ips=ips or None),
    )


SCHEDULER = Daemon(
    command="scheduler", name="extip-system/s", namespace="extip-system", monitor_s=4.0
)
CONTROLLER = Daemon(command="controller", name="extip-system/c", namespace="extip-system")
IPVS = "kind: KubeProxyConfiguration\nmode: ipvs\nipvs:\n  strictARP: {}\n"

OWN = frozenset(f"{kind}.ipcontroller.ext" for kind in OWN_KINDS)
WELL = ClusterFacts(
    now=NOW,
    version=(1, 31),
    kinds=OWN,
    nodes=frozenset({"n1", "n2"}),
    ip_nodes=(controller("n1"), controller("n2")),
    beats=(beat("n1"), beat("n2")),
    elections={"extip-scheduler": (election("s1"),)},
    services=(service("web"),),
    daemons=(SCHEDULER, CONTROLLER),
    others=frozenset({"coredns", "registry.k8s.io/coredns:1"}),
    proxy=IPVS.format("true"),
)


def test_where_all_is_well_no_check_speaks():
    assert [one for check in checks.CHECKS for one in check(WELL)] == []


def test_what_is_not_known_is_no_fault():
    unknown = ClusterFacts(now=NOW)
    assert [one for check in checks.CHECKS for one in check(unknown)] == []


@pytest.mark.parametrize(
    ("check", "change", "severity", "what"),
    [
        (checks.permissions, {"denied": ("list nodes",)}, ERROR, "may not list nodes"),
        (
            checks.definitions,
            {"kinds": frozenset({"ipnodes.ipcontroller.ext"})},
            ERROR,
            "no definition ipclaims.ipcontroller.ext, ipclaimpools.ipcontroller.ext",
        ),
        (checks.definitions, {"kinds": frozenset()}, ERROR, "no definition"),
        (
            checks.definitions,
            {"kinds": frozenset(), "daemons": ()},
            NOTE,
            "no definition ipclaims.ipcontroller.ext",
        ),
        (checks.definitions, {"outdated": {"x": ("status.silent",)}}, WARNING, "status.silent"),
        (
            checks.versions,
            {"ip_nodes": (controller("n1"), controller("n2", "2"))},
            WARNING,
            "different versions: 1, 2",
        ),
        (
            checks.ready_nodes,
            {"ip_nodes": (controller("n1"), controller("n2", ready="False", message="it is off"))},
            WARNING,
            "n2: it is off",
        ),
        (
            checks.ready_nodes,
            {"ip_nodes": (controller("n1"), controller("n2", ready="False", reason=DRAINING))},
            NOTE,
            "n2: ",
        ),
        (
            checks.ready_nodes,
            {"ip_nodes": (controller("n2", ready="Unknown"), controller("n1", ready="Unknown"))},
            ERROR,
            "n1, n2: ",
        ),
        (
            checks.node_names,
            {"ip_nodes": (controller("n1.example.com"),)},
            WARNING,
            "n1.example.com has the name of no Kubernetes node; is it n1?",
        ),
        (checks.proxy_mode, {"proxy": IPVS.format("false")}, ERROR, "without strictARP"),
        (
            checks.figures,
            {"daemons": (replace(SCHEDULER, refused="--monitor must be at least 1 s"),)},
            ERROR,
            "extip-system/s: --monitor must be",
        ),
        (checks.figures, {"beats": (beat("n1", every="2.5"),)}, WARNING, "heartbeats every 2.5s"),
        (
            checks.namespaces,
            {"daemons": (SCHEDULER, replace(CONTROLLER, namespace="default"))},
            ERROR,
            "written in namespace default, extip-system, and looked for in extip-system",
        ),
        (checks.namespaces, {"beats": (beat("n1", namespace="x"),)}, ERROR, "extip-system, x"),
        (
            checks.clocks,
            {"beats": (beat("n1", renewed="2026-01-01T00:01:05Z"), beat("n2"))},
            WARNING,
            "n1 (+60 s)",
        ),
        (checks.other_software, {"others": frozenset({"metallb-speaker"})}, WARNING, "MetalLB is"),
        (
            checks.other_software,
            {"others": frozenset({"ghcr.io/kube-vip/kube-vip:v1"})},
            WARNING,
            "kube-vip is",
        ),
        (
            checks.other_software,
            {"kinds": OWN | {"servicegroups.purelb.io"}},
            WARNING,
            "PureLB is",
        ),
        (
            checks.other_software,
            {
                "others": frozenset({"metallb-speaker"}),
                "daemons": (replace(SCHEDULER, lb_class="example.com/extip"),),
            },
            NOTE,
            "MetalLB is",
        ),
        (
            checks.external_ips,
            {"version": (1, 36), "services": (service("web", "10.0.0.1"),)},
            WARNING,
            "shop/web have spec.externalIPs",
        ),
        (
            checks.leader,
            {"elections": {"extip-scheduler": (election("s1", "2025-12-31T23:59:00Z"),)}},
            ERROR,
            "no scheduler leads, or its clock is wrong: the leading scheduler s1 last renewed its",
        ),
        (checks.leader, {"elections": {"x": (election(""),)}}, ERROR, "no scheduler leads"),
        (checks.leader, {"elections": {"x": ()}}, WARNING, "none ran yet, or --leader-elect-res"),
        (
            checks.annotations,
            {"services": (service("web", "10.0.0.1", adresses="10.0.0.9"),)},
            WARNING,
            "shop/web: there is no annotation ipcontroller.ext/adresses (is ipcontroller.ext/addr",
        ),
        (
            checks.annotations,
            {"services": (service("web", "10.0.0.1", preferred_nodes="n2, n9"),)},
            WARNING,
            "ipcontroller.ext/preferred-nodes names n9, and no controller has that name",
        ),
    ],
)
def test_what_makes_a_check_speak(check, change, severity, what):
    assert list(check(WELL)) == []
    (found,) = check(replace(WELL, **change))
    assert found.severity is severity
    assert what in found.what
    assert found.why
    assert found.do
    assert msgspec.json.encode(found)


@pytest.mark.parametrize(
    ("check", "change"),
    [
        (checks.external_ips, {"services": (service("web", "10.0.0.1"),)}),
        (checks.external_ips, {"version": (1, 36)}),
        (checks.annotations, {"services": (service("web", preferred_nodes="n2,n1"),)}),
        (checks.annotations, {"ip_nodes": (), "services": (service("a", preferred_nodes="n9"),)}),
        (
            checks.clocks,
            {
                "ip_nodes": (controller("n1", ready="False"),),
                "beats": (beat("n1", renewed="2020-01-01T00:00:00Z"),),
            },
        ),
        (checks.definitions, {"kinds": None}),
        (checks.clocks, {"beats": (beat("n1", renewed="nonsense"),)}),
        (checks.figures, {"beats": (beat("n1", every="nonsense"),)}),
        (checks.figures, {"daemons": (CONTROLLER,), "beats": (beat("n1", every="60"),)}),
        (checks.proxy_mode, {"proxy": "mode: iptables\n"}),
        (
            checks.namespaces,
            {"beats": (beat("n9", namespace="x", renewed="2025-12-31T00:00:00Z"),)},
        ),
        (checks.namespaces, {"daemons": (CONTROLLER,)}),
        (
            checks.namespaces,
            {"daemons": (SCHEDULER, replace(CONTROLLER, namespace="", refused="no flag"))},
        ),
    ],
)
def test_what_does_not(check, change):
    assert list(check(replace(WELL, **change))) == []


def test_of_many_services_with_a_slip_the_first_ones_are_named_and_the_rest_counted():
    services = tuple(service(f"s{n}", adresses="x") for n in range(8))
    found = list(checks.annotations(replace(WELL, services=services)))
    assert [one.severity for one in found] == [WARNING] * 5 + [NOTE]
    assert found[-1].what == "3 more services have such annotations"
