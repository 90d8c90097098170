"""k8s-externalipcontroller, the predecessor: its objects and flags → those of extip. Pure.

Its kinds have the names that extip's have. So its objects stay where they are, and are changed as
far as extip would understand them in another way.
"""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from extip.api.apps_v1 import Container, WorkloadSpec
from extip.api.ipcontroller_v1 import IpClaimPool, IpClaimPoolSpec
from extip.api.meta_v1 import FullObjectMeta, Wire
from extip.api.names import (
    ADDRESSES_ANNOTATION,
    ALLOCATED_ANNOTATION,
    AUTO,
    AUTO_ANNOTATION,
    GROUP,
    MANAGED_BY,
    MANAGED_BY_LABEL,
)
from extip.api.resources import IP_CLAIMS
from extip.claims.policy.claims import parse_cidr
from extip.migrate.policy.documents import Documents, Foreign, ServiceDocument
from extip.migrate.policy.result import Patch, Result
from extip.migrate.policy.services import patch_service
from extip.net.interfaces import IPAddress
from extip.net.networks import IPNetwork
from extip.pools.policy.pools import compile_pools
from extip.services.policy.requests import cut, parse_ip

_WORKLOADS = ("DaemonSet", "Deployment", "Pod", "ReplicaSet", "StatefulSet")
_PROGRAM = "ipmanager"
_COMMANDS: Mapping[str, str] = {
    "naivecontroller": "simple",
    "n": "simple",
    "claimcontroller": "controller",
    "c": "controller",
    "scheduler": "scheduler",
    "s": "scheduler",
}
_ELECTION = frozenset(
    {
        "leader-elect",
        "leader-elect-lease-duration",
        "leader-elect-renew-deadline",
        "leader-elect-retry-period",
    }
)
_FLAGS: Mapping[str, frozenset[str]] = {
    "simple": frozenset({"iface", "kubeconfig", "mask", "resync"}),
    "controller": frozenset({"iface", "kubeconfig", "mask", "resync", "hb", "hostname"}),
    "scheduler": frozenset({"kubeconfig", "mask", "monitor", "nodefilter"}) | _ELECTION,
}
"""Flags that extip has by the same name, with the same meaning."""
_SWITCHES = frozenset({"leader-elect"})
"""Flags that need no value."""
_UNUSED = frozenset({"iface", "mask", "resync", "hb", "hostname", "monitor", "nodefilter"})
"""Flags that each command of the predecessor accepts, and not each one reads."""


class PoolSpec(Wire, frozen=True):
    """The addresses of a pool."""

    cidr: str = ""
    ranges: tuple[tuple[str, ...], ...] | None = None
    range: tuple[str, ...] | None = None
    """A first and a last address, in early versions."""
    allocated: dict[str, str] | None = None
    """Its book of who has which address. It had none of IpClaims."""


class Pool(Foreign, frozen=True):
    """An ipcontroller.ext/v1 IpClaimPool."""

    spec: PoolSpec = PoolSpec()


class ClaimSpec(Wire, frozen=True):
    """The IP, and its node."""

    cidr: str = ""
    node_name: str = ""
    link: str = ""


class Claim(Foreign, frozen=True):
    """An ipcontroller.ext/v1 IpClaim."""

    spec: ClaimSpec = ClaimSpec()


class AnyWorkloadSpec(WorkloadSpec, frozen=True):
    """The pods of a workload; a Pod has its containers right here."""

    containers: tuple[Container, ...] | None = None


class Workload(Foreign, frozen=True):
    """Anything that runs pods."""

    spec: AnyWorkloadSpec = AnyWorkloadSpec()


def convert(documents: Documents, _segments: Sequence[IPNetwork]) -> Result:
    """Return what extip needs to go on where the predecessor stops."""
    result = Result()
    pools = documents.read("IpClaimPool", Pool, result, group=GROUP)
    for pool in pools:
        _add_pool(pool, result)
    services = documents.services(result)
    _mark_allocated(services, result)
    wanted = {ip for one in services for ip in _external_ips(one)}
    for claim in documents.read("IpClaim", Claim, result, group=GROUP):
        _take_over(claim, wanted, result)
    kinds = [(GROUP, kind) for kind in ("IpClaimPool", "IpClaim", "IpNode")]
    for _, kind, name in documents.others([*kinds, *_tell_flags(documents, result)]):
        where = f"{kind or 'an object without a kind'} {name}"
        result.note(where, "it is nothing that is carried over from k8s-externalipcontroller")
    return result


def _add_pool(pool: Pool, result: Result) -> None:
    spec = pool.spec
    ranges = [*(spec.ranges or ()), *([spec.range] if spec.range else [])]
    found = IpClaimPool(
        metadata=FullObjectMeta(name=pool.metadata.name),
        spec=IpClaimPoolSpec(cidr=spec.cidr, ranges=tuple(ranges) or None),
    )
    problem = compile_pools([found]).ordered[0].problem
    if problem:
        result.lose(pool.where, problem, "correct it, and run this again")
        good = tuple(r for r in ranges if _is_range(spec.cidr, r))
        if not good:  # without any, all of the network would be given
            return
        found = replace(found, spec=replace(found.spec, ranges=good))
    result.pools.append(found)


def _is_range(cidr: str, entry: tuple[str, ...]) -> bool:
    """Whether a range is one of the network, or reaches beyond it."""
    spec = IpClaimPoolSpec(cidr=cidr, ranges=(entry,))
    return not compile_pools([IpClaimPool(spec=spec)]).ordered[0].problem


def _external_ips(service: ServiceDocument) -> list[IPAddress]:
    texts = service.spec.external_ips or ()
    return [ip for text in texts if (ip := parse_ip(text)) is not None]


def _mark_allocated(services: Sequence[ServiceDocument], result: Result) -> None:
    """Say of addresses that a service got from a pool that they are no person's own.

    The predecessor wrote that into the pool, and extip reads it at the service. The service asks
    for them by name. Otherwise it would get others, while the old ones are still on some node.
    """
    for service in services:
        own = service.annotations
        if own.get(AUTO_ANNOTATION) != AUTO or ALLOCATED_ANNOTATION in own:
            continue
        pools = result.pools_of(_external_ips(service))
        allocated = [str(ip) for ip, pool in pools.items() if pool]
        if allocated:
            annotations = {ALLOCATED_ANNOTATION: ",".join(allocated)}
            if not own.get(ADDRESSES_ANNOTATION):
                annotations[ADDRESSES_ANNOTATION] = ",".join(allocated)
            patch_service(service, annotations, result)


def _take_over(claim: Claim, wanted: set[IPAddress], result: Result) -> None:
    """Give the claim of a service to extip's scheduler, which would else take it for a person's."""
    interface = parse_cidr(claim.spec.cidr)
    if interface is None:
        why = f"spec.cidr {cut(claim.spec.cidr)!r} is no address with a prefix length"
        result.lose(claim.where, why, f"kubectl delete ipclaim {claim.metadata.name}")
    elif claim.labels.get(MANAGED_BY_LABEL) == MANAGED_BY:
        pass
    elif interface.ip in wanted:
        result.add(
            Patch(
                api_version=IP_CLAIMS.api_version,
                kind=IP_CLAIMS.kind,
                name=claim.metadata.name,
                labels={MANAGED_BY_LABEL: MANAGED_BY},
                cidr=claim.spec.cidr,
            )
        )
    else:
        result.note(
            claim.where,
            "no service has this IP in spec.externalIPs, so it counts as made by hand: extip keeps "
            "it, on the node of its nodeName if there is one",
            f"kubectl delete ipclaim {claim.metadata.name}, unless it is wanted",
        )
    if claim.spec.link:
        result.note(
            claim.where,
            f"its link {cut(claim.spec.link)} is honoured now",
            "run the controllers with an --iface that has it",
        )


def _tell_flags(documents: Documents, result: Result) -> list[tuple[str, str]]:
    """Remark on the flags of each program; return the kinds that have any."""
    kinds = [(group, kind) for group in ("", "apps", "extensions") for kind in _WORKLOADS]
    found = False
    for group, kind in kinds:
        for workload in documents.read(kind, Workload, Result(), group=group):
            spec = workload.spec
            for one in (*(spec.containers or ()), *(spec.template.spec.containers or ())):
                words = (*(one.command or ()), *(one.args or ()))
                if any(word.rpartition("/")[2] == _PROGRAM for word in words):
                    found = True
                    _tell_command(workload.where, words, result)
    return kinds if found else []


def _tell_command(where: str, words: Sequence[str], result: Result) -> None:
    command = next((word for word in words if word in _COMMANDS), "")
    if not command:
        why = f"{' '.join(words)!r} runs no controller and no scheduler"
        result.lose(where, cut(why), "look up what it does")
        return
    mode = _COMMANDS[command]
    kept: list[str] = []
    for name, value in _flags(words[words.index(command) + 1 :]):
        if name in _FLAGS[mode]:
            kept.append(f"--{name}={value}" if value or name not in _SWITCHES else f"--{name}")
        elif name not in _UNUSED:
            why = f"--{name} is no flag of extip {mode}"
            result.note(where, why, "leave it out; --log-level says how much is logged")
    result.note(where, "extip has the same flags", f"run: {' '.join(['extip', mode, *kept])}")


def _flags(words: Sequence[str]) -> list[tuple[str, str]]:
    """Return names and values; a value may be a word of its own."""
    found: list[tuple[str, str]] = []
    for word in words:
        if word.startswith("-"):
            name, _, value = word.lstrip("-").partition("=")
            found.append((name, value))
        elif found and not found[-1][1] and found[-1][0] not in _SWITCHES:
            found[-1] = (found[-1][0], word)
    return found
