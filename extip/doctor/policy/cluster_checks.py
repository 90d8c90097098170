"""Facts of the cluster → findings; each check is a function. Pure."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from extip.api.conditions import find_condition, is_true
from extip.api.coordination_v1 import Lease
from extip.api.ipcontroller_v1 import READY
from extip.api.names import GROUP, HEARTBEAT_ANNOTATION, node_of_lease
from extip.doctor.policy.facts import OWN_KINDS, ClusterFacts
from extip.doctor.policy.finding import Finding, Severity
from extip.nodes.policy.verdict import NOT_FOUND, NOT_HEARD, STOPPED
from extip.pools.policy.slips import slips
from extip.scheduling.policy.filters import Unfit
from extip.status.policy.overview import leader_of

Check = Callable[[ClusterFacts], Iterator[Finding]]

_SKEW = timedelta(seconds=10)
"""More than a heartbeat, its way and a busy machine explain."""
_RECENT = timedelta(minutes=5)
_SHOWN = 5
_EXTERNAL_IPS_DEPRECATED = (1, 36)
"""KEP-5707."""

_REMEDIES = {
    Unfit.DEAD: "see that the machine and its controller run; of a node that is gone for good: "
    "`kubectl delete ipnode NAME`",
    STOPPED: "start its controller; of a node that is gone for good: `kubectl delete ipnode NAME`",
    NOT_FOUND: "start its controller, or give it the scheduler's --namespace",
    NOT_HEARD: "see that controllers run, and reach the API server",
    Unfit.DRAINING: "`extip drain --undo NAME` when the work on the node is over",
    Unfit.LINK_DOWN: "look at cable, switch port and --iface; `extip doctor --iface` on the node "
    "tells more",
    Unfit.UNREAD: "look at the log of its controller: the API server refuses it something",
}
"""Remedies by the reason for which a node is not ready."""

_OWN_NAMES = tuple(f"{kind}.{GROUP}" for kind in OWN_KINDS)

_OTHERS = {
    "MetalLB": ("metallb",),
    "kube-vip": ("kube-vip",),
    "PureLB": ("purelb",),
    "OpenELB": ("openelb",),
    "ServiceLB (K3s)": ("klipper-lb", "svclb-"),
    "Cilium's L2 announcements": ("ciliuml2announcementpolicies",),
    "keepalived": ("keepalived",),
}
"""Other software that announces IPs of services, and marks of it in names and images."""


def permissions(facts: ClusterFacts) -> Iterator[Finding]:
    """Check that this account may do what its role needs."""
    if facts.denied:
        yield Finding(
            check="permissions",
            severity=Severity.ERROR,
            what=f"this account may not {_some(facts.denied)}",
            why=f"a {facts.role} cannot do its work without",
            do="grant what manifests/claims/rbac-*.yaml has, or choose another --context",
        )


def definitions(facts: ClusterFacts) -> Iterator[Finding]:
    """Check that the definitions are there, and not older than this extip."""
    kinds = facts.kinds
    missing = [] if kinds is None else [name for name in _OWN_NAMES if name not in kinds]
    if missing:
        daemons = {daemon.command for daemon in facts.daemons}
        begun = len(missing) < len(_OWN_NAMES) or daemons & {"controller", "scheduler"}
        yield Finding(
            check="definitions",
            severity=Severity.ERROR if begun else Severity.NOTE,
            what=f"there is no definition {_some(missing)}",
            why="claims mode keeps its state in objects of these kinds; simple mode needs none",
            do="`extip crds --apply` as an administrator",
        )
    for name, fields in facts.outdated.items():
        yield Finding(
            check="definitions",
            severity=Severity.WARNING,
            what=f"{name} does not know {_some(fields)}",
            why="it is older than this extip; the API server drops what it does not know",
            do="`extip crds --apply` as an administrator, before controllers are upgraded",
        )


def versions(facts: ClusterFacts) -> Iterator[Finding]:
    """Check that all controllers have one version."""
    found = {node.status.version for node in facts.ip_nodes if node.status.version}
    if len(found) > 1:
        yield Finding(
            check="versions",
            severity=Severity.WARNING,
            what=f"controllers have different versions: {_some(sorted(found))}",
            why="that is well during an upgrade, and is not tested for longer",
            do="let the upgrade end: `kubectl get ipn` shows who has which",
        )


def ready_nodes(facts: ClusterFacts) -> Iterator[Finding]:
    """Check that each controller's node may hold IPs, as the leading scheduler concludes."""
    lame: dict[tuple[str, str], list[str]] = {}
    for node in facts.ip_nodes:
        verdict = find_condition(node.status.conditions, READY)
        if verdict is not None and verdict.status != "True":
            lame.setdefault((verdict.reason, verdict.message), []).append(node.metadata.name)
    some_work = sum(map(len, lame.values())) < len(facts.ip_nodes)
    for (reason, message), names in sorted(lame.items()):
        drained = reason == Unfit.DRAINING
        limp = Severity.NOTE if drained else Severity.WARNING
        yield Finding(
            check="nodes",
            severity=limp if some_work else Severity.ERROR,
            what=f"{_some(sorted(names))}: {message}",
            why="a node gets no IPs then" + ("" if some_work else ", and none of all may have any"),
            do=_REMEDIES.get(
                reason, f"see what `kubectl get ipn -o wide` says; {reason} is a rule"
            ),
        )


def leader(facts: ClusterFacts) -> Iterator[Finding]:
    """Check that a scheduler leads, of each instance that has controllers."""
    for name, leases in facts.elections.items():
        problem = leader_of(leases, unread="", now=facts.now).problem
        if problem:
            yield Finding(
                check="leader",
                severity=Severity.ERROR if leases else Severity.WARNING,
                what=f"{problem} (Lease {name})",
                why="IPs that are up stay; none moves from a dead node, and no service gets one",
                do="see that schedulers run; their log says why none leads",
            )


def node_names(facts: ClusterFacts) -> Iterator[Finding]:
    """Check that each controller has the name of a Kubernetes node."""
    if not facts.nodes:
        return  # they may not be read
    for name in sorted({node.metadata.name for node in facts.ip_nodes} - facts.nodes):
        short = name.partition(".")[0]
        near = [node for node in sorted(facts.nodes) if node.partition(".")[0] == short]
        hint = f"; is it {near[0]}?" if near else ""
        yield Finding(
            check="node names",
            severity=Severity.WARNING,
            what=f"controller {name} has the name of no Kubernetes node{hint}",
            why="cordons, readiness and labels of its node do not count, nor do its endpoints",
            do="give it --hostname with the name in `kubectl get nodes`; of a node that is gone: "
            f"`kubectl delete ipnode {name}`",
        )


def proxy_mode(facts: ClusterFacts) -> Iterator[Finding]:
    """Check that kube-proxy in ipvs mode has strict ARP."""
    words = [line.strip().replace('"', "") for line in facts.proxy.splitlines()]
    if "mode: ipvs" in words and "strictARP: true" not in words:
        yield Finding(
            check="kube-proxy",
            severity=Severity.ERROR,
            what="kube-proxy runs in ipvs mode without strictARP",
            why="the kernel of every node answers ARP for every external IP",
            do="set ipvs.strictARP: true in ConfigMap kube-system/kube-proxy, and restart it",
        )


def figures(facts: ClusterFacts) -> Iterator[Finding]:
    """Check that the flags of each daemon fit together, and with those of the others."""
    slowest_s = max(map(_heartbeat_s, facts.beats), default=0.0)
    for daemon in facts.daemons:
        if daemon.refused:
            yield Finding(
                check="figures",
                severity=Severity.ERROR,
                what=f"{daemon.name}: {daemon.refused}",
                why=f"the {daemon.command} does not start so",
                do=f"change its flags; `extip {daemon.command} --help` has them",
            )
        elif 0 < daemon.monitor_s < 2 * slowest_s:
            yield Finding(
                check="figures",
                severity=Severity.WARNING,
                what=f"{daemon.name} has --monitor {daemon.monitor_s:g}s, and a controller sends "
                f"heartbeats every {slowest_s:g}s",
                why="the scheduler waits for two heartbeats all the same",
                do="make --monitor at least two --hb",
            )


def namespaces(facts: ClusterFacts) -> Iterator[Finding]:
    """Check that heartbeats are written where schedulers look for them."""
    known = [one for one in facts.daemons if one.namespace]  # the others cannot be read
    written = {one.namespace for one in known if one.command == "controller"}
    looked = {one.namespace for one in known if one.command == "scheduler"}
    written |= {one.metadata.namespace for one in facts.beats if _is_recent(one, facts.now)}
    if looked and written - looked:
        yield Finding(
            check="namespaces",
            severity=Severity.ERROR,
            what=f"heartbeats are written in namespace {_some(sorted(written))}, and looked for in "
            f"{_some(sorted(looked))}",
            why="a scheduler gives no IP to a controller that it does not hear",
            do="give controllers and schedulers the same --namespace",
        )


def clocks(facts: ClusterFacts) -> Iterator[Finding]:
    """Check that the clocks of nodes agree with that of this machine."""
    ready = {
        node.metadata.name for node in facts.ip_nodes if is_true(node.status.conditions, READY)
    }
    late = []
    for lease in facts.beats:
        name = node_of_lease(lease.metadata.name) or ""
        renewed = _time(lease.spec.renew_time)
        if name in ready and renewed is not None and abs(facts.now - renewed) > _SKEW:
            late.append(f"{name} ({(renewed - facts.now).total_seconds():+.0f} s)")
    if late:
        yield Finding(
            check="clocks",
            severity=Severity.WARNING,
            what=f"clocks differ from this machine's: {_some(late)}",
            why="no decision depends on them, but times in status, Events and logs mislead",
            do="see that NTP runs on these nodes and here; or nobody leads and they are dead",
        )


def other_software(facts: ClusterFacts) -> Iterator[Finding]:
    """Check that nobody else announces IPs of the same services."""
    classes = [one.lb_class for one in facts.daemons if one.command == "scheduler"]
    apart = bool(classes) and all(classes)
    marks = {*(facts.kinds or frozenset[str]()), *facts.others}
    for software, known in _OTHERS.items():
        if any(mark in text for text in marks for mark in known):
            yield Finding(
                check="other software",
                severity=Severity.NOTE if apart else Severity.WARNING,
                what=f"{software} is installed here",
                why="it may give and announce IPs of the same services",
                do="nothing: --lb-class keeps extip's services apart"
                if apart
                else "give extip's schedulers --lb-class, and pools other addresses than it has",
            )


def external_ips(facts: ClusterFacts) -> Iterator[Finding]:
    """Check that no service relies on externalIPs where servers are about to drop them."""
    written = [
        f"{one.metadata.namespace}/{one.metadata.name}"
        for one in facts.services
        if one.spec.external_ips
    ]
    if written and facts.version >= _EXTERNAL_IPS_DEPRECATED:
        yield Finding(
            check="externalIPs",
            severity=Severity.WARNING,
            what=f"{_some(sorted(written))} have spec.externalIPs",
            why="they are deprecated since Kubernetes 1.36 (KEP-5707); a later kube-proxy does "
            "not serve them unless its gate AllowServiceExternalIPs is set",
            do="`extip migrate services --all` makes them load balancers with the same IPs, and "
            "tells first what is in the way",
        )


def annotations(facts: ClusterFacts) -> Iterator[Finding]:
    """Check that services say nothing in vain by their annotations."""
    found = sorted(slips(facts.services, {one.metadata.name for one in facts.ip_nodes}).items())
    for name, text in found[:_SHOWN]:
        yield Finding(
            check="annotations",
            severity=Severity.WARNING,
            what=f"service {name}: {text}",
            why="extip goes on as if it were not there",
            do=f"`kubectl -n {name.replace('/', ' edit service ')}`, "
            "or where the service is written",
        )
    if len(found) > _SHOWN:
        yield Finding(
            check="annotations",
            severity=Severity.NOTE,
            what=f"{len(found) - _SHOWN} more services have such annotations",
            why="the first ones are above",
            do="mend these, and run it again",
        )


CHECKS: tuple[Check, ...] = (
    permissions,
    definitions,
    versions,
    ready_nodes,
    leader,
    node_names,
    proxy_mode,
    figures,
    namespaces,
    clocks,
    other_software,
    external_ips,
    annotations,
)


def _heartbeat_s(lease: Lease) -> float:
    try:
        return float((lease.metadata.annotations or {}).get(HEARTBEAT_ANNOTATION, "0"))
    except ValueError:  # somebody else wrote it
        return 0.0


def _is_recent(lease: Lease, now: datetime) -> bool:
    """Whether a controller may still renew it; a dead one's Lease stays for long."""
    renewed = _time(lease.spec.renew_time)
    return renewed is not None and bool(lease.holder) and abs(now - renewed) < _RECENT


def _time(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text or "")
    except ValueError:
        return None


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
