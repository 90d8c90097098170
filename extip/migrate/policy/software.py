"""The programs that extip can be moved to from. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from extip.api.names import GROUP
from extip.migrate.policy import cilium, kube_vip, metallb, predecessor
from extip.migrate.policy.documents import Documents
from extip.migrate.policy.result import Result
from extip.net.networks import IPNetwork


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Objects of a program, as a cluster has them."""

    group: str
    versions: tuple[str, ...]
    """The version to ask for first."""
    plural: str
    kind: str
    namespaced: bool = False
    name: str = ""
    """The objects of this name alone; empty for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Software:
    """One program."""

    title: str
    kinds: tuple[Kind, ...]
    convert: Callable[[Documents, Sequence[IPNetwork]], Result]


def _metallb(plural: str, kind: str, *versions: str) -> Kind:
    return Kind(
        group=metallb.GROUP,
        versions=versions or ("v1beta1",),
        plural=plural,
        kind=kind,
        namespaced=True,
    )


def _workloads(plural: str, kind: str) -> Kind:
    return Kind(group="apps", versions=("v1",), plural=plural, kind=kind, namespaced=True)


SOFTWARE: Mapping[str, Software] = {
    "metallb": Software(
        title="MetalLB",
        kinds=(
            _metallb("ipaddresspools", "IPAddressPool"),
            _metallb("l2advertisements", "L2Advertisement"),
            _metallb("bgpadvertisements", "BGPAdvertisement"),
            _metallb("bgppeers", "BGPPeer", "v1beta2"),
            _metallb("bfdprofiles", "BFDProfile"),
            _metallb("communities", "Community"),
        ),
        convert=metallb.convert,
    ),
    "kube-vip": Software(
        title="kube-vip",
        kinds=(
            Kind(
                group="",
                versions=("v1",),
                plural="configmaps",
                kind="ConfigMap",
                namespaced=True,
                name=kube_vip.CONFIG_MAP,
            ),
        ),
        convert=kube_vip.convert,
    ),
    "cilium": Software(
        title="Cilium",
        kinds=(
            Kind(
                group=cilium.GROUP,
                versions=("v2", "v2alpha1"),
                plural="ciliumloadbalancerippools",
                kind="CiliumLoadBalancerIPPool",
            ),
            Kind(
                group=cilium.GROUP,
                versions=("v2", "v2alpha1"),
                plural="ciliuml2announcementpolicies",
                kind="CiliumL2AnnouncementPolicy",
            ),
            Kind(
                group=cilium.GROUP,
                versions=("v2", "v2alpha1"),
                plural="ciliumbgpadvertisements",
                kind="CiliumBGPAdvertisement",
            ),
        ),
        convert=cilium.convert,
    ),
    "externalipcontroller": Software(
        title="k8s-externalipcontroller",
        kinds=(
            Kind(group=GROUP, versions=("v1",), plural="ipclaimpools", kind="IpClaimPool"),
            Kind(group=GROUP, versions=("v1",), plural="ipclaims", kind="IpClaim"),
            _workloads("daemonsets", "DaemonSet"),
            _workloads("deployments", "Deployment"),
        ),
        convert=predecessor.convert,
    ),
}
"""By the name that a person writes."""
