"""The content of a heartbeat Lease, written and read. Pure; both ends use it.

The Lease names the controller (its holder) and the interval of its heartbeats. It says whether the
node is about to leave, whether it can read its claims, and on which interfaces it reaches others.
Its times are for people. A Lease with an empty holder is given up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil, isfinite

import msgspec

from extip.api.coordination_v1 import Lease, LeaseSpec
from extip.api.meta_v1 import NO_FIELD_OWNERS, FullObjectMeta, parse_version
from extip.api.names import (
    COMPONENT_LABEL,
    HEARTBEAT_ANNOTATION,
    HEARTBEAT_COMPONENT,
    LEASE_ANNOTATION,
    LEAVING_ANNOTATION,
    NODE_LABEL,
    REACH_ANNOTATION,
    REACH_LINKS_ANNOTATION,
    UNREAD_ANNOTATION,
    heartbeat_lease,
    label_value,
)
from extip.liveness.policy import HEARTBEATS, Beat
from extip.uplink.policy.isolation import Reachability
from extip.uplink.policy.isolations import FIRST

DEFAULT_HEARTBEAT_S = 2.0
"""Seconds, for a Lease without an interval."""


def new_lease(node: str, namespace: str) -> Lease:
    """Return the Lease of a node that has none yet, without a holder."""
    return Lease(metadata=FullObjectMeta(name=heartbeat_lease(node), namespace=namespace))


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseContent:
    """The part of a Lease that its node decides."""

    heartbeat_s: float
    lease_s: float = 0.0
    """Seconds after a renewal for which the node may hold its IPs; 0 for two heartbeats."""
    leaving: str = ""
    """The reason for which it is about to stop; empty when it stays."""
    unread: bool = False
    """It cannot read its claims."""
    reachability: Reachability = Reachability.UNSURE
    """Whether other stations answer on its first interface."""
    links: Mapping[str, Reachability] = field(default_factory=dict)
    """The same for each, the first one first; empty where there is but one."""


def renewed(lease: Lease, *, node: str, identity: str, terms: LeaseContent, now: datetime) -> Lease:
    """Return the Lease after `identity` renews or takes it; additions of others stay."""
    metadata, beaten = lease.metadata, wire_time(now)
    annotations = {
        **(metadata.annotations or {}),
        HEARTBEAT_ANNOTATION: f"{terms.heartbeat_s:g}",
    }
    for name, value in (
        (LEAVING_ANNOTATION, terms.leaving),
        (
            REACH_ANNOTATION,
            "" if terms.reachability is Reachability.UNSURE else f"{terms.reachability} {beaten}",
        ),
        (
            REACH_LINKS_ANNOTATION,
            " ".join([*(f"{word}/{link}" for link, word in terms.links.items()), beaten])
            if terms.links
            else "",
        ),
        (UNREAD_ANNOTATION, beaten if terms.unread else ""),
        (LEASE_ANNOTATION, f"{terms.lease_s:g}" if terms.lease_s else ""),
    ):
        annotations.pop(name, None)
        if value:
            annotations[name] = value
    labels = {
        **(metadata.labels or {}),
        COMPONENT_LABEL: HEARTBEAT_COMPONENT,
        NODE_LABEL: label_value(node),
    }
    taken = lease.holder != identity
    spec = lease.spec
    return msgspec.structs.replace(
        lease,
        metadata=msgspec.structs.replace(
            metadata, labels=labels, annotations=annotations, managed_fields=NO_FIELD_OWNERS
        ),
        spec=LeaseSpec(
            holder_identity=identity,
            lease_duration_seconds=max(
                1, ceil(HEARTBEATS * terms.heartbeat_s), ceil(terms.lease_s)
            ),
            acquire_time=beaten if taken else spec.acquire_time,
            renew_time=beaten,
            lease_transitions=(spec.lease_transitions or 0) + taken,
        ),
    )


def given_up(lease: Lease, *, now: datetime) -> Lease:
    """Return the Lease after its holder gives it up."""
    annotations = dict(lease.metadata.annotations or {})
    annotations.pop(LEAVING_ANNOTATION, None)
    return msgspec.structs.replace(
        lease,
        metadata=msgspec.structs.replace(lease.metadata, annotations=annotations),
        spec=msgspec.structs.replace(lease.spec, holder_identity="", renew_time=wire_time(now)),
    )


def beat_of(lease: Lease) -> Beat:
    """Return the heartbeat in a Lease."""
    token = f"{lease.holder} {lease.spec.renew_time}" if lease.holder else ""
    return Beat(
        token=token,
        heartbeat_s=_seconds(lease, HEARTBEAT_ANNOTATION, DEFAULT_HEARTBEAT_S),
        lease_s=_seconds(lease, LEASE_ANNOTATION, 0.0),
        version=parse_version(lease.metadata.resource_version),
    )


def leaving_reason(lease: Lease) -> str:
    """Return the reason for which the node is about to stop; empty when it stays."""
    return (lease.metadata.annotations or {}).get(LEAVING_ANNOTATION, "")


def reach_of(lease: Lease, *, at_any_time: bool = False) -> Reachability:
    """Return the reachability in a Lease; `UNSURE` for a malformed one.

    Only the word of the last heartbeat counts, unless `at_any_time` is set: an older controller,
    which does not know the annotation, keeps it.
    """
    word, _, beaten = (lease.metadata.annotations or {}).get(REACH_ANNOTATION, "").partition(" ")
    known = word in set(Reachability) and (at_any_time or beaten == lease.spec.renew_time)
    return Reachability(word) if known else Reachability.UNSURE


def reaches_of(lease: Lease, *, at_any_time: bool = False) -> dict[str, Reachability]:
    """Return the reachability of each interface in a Lease, the first one first.

    A Lease that names none tells of the first one alone, under the name `FIRST`. `at_any_time` is
    as in `reach_of`.
    """
    said = (lease.metadata.annotations or {}).get(REACH_LINKS_ANNOTATION, "")
    *words, beaten = said.split(" ")
    found: dict[str, Reachability] = {}
    for word, _, link in (text.partition("/") for text in words):
        if link and word in set(Reachability):
            found[link] = Reachability(word)
    if found and (at_any_time or beaten == lease.spec.renew_time):
        return found
    return {FIRST: reach_of(lease, at_any_time=at_any_time)}


def is_unread(lease: Lease) -> bool:
    """Whether the node's last heartbeat said that it cannot read its claims."""
    said = (lease.metadata.annotations or {}).get(UNREAD_ANNOTATION, "")
    return bool(said) and said == lease.spec.renew_time


def wire_time(now: datetime) -> str:
    """Return a MicroTime in the API server's format; `now` is in UTC."""
    return now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _seconds(lease: Lease, annotation: str, default: float) -> float:
    text = (lease.metadata.annotations or {}).get(annotation, "")
    try:
        seconds = float(text)
    except ValueError:
        return default
    return seconds if isfinite(seconds) and seconds > 0 else default
