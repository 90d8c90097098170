"""A service with external IPs → its next step to a load balancer, or back. Pure.

kube-proxy and extip look at one version of a service at a time. In each version that a step makes,
the service has its IPs in `spec.externalIPs`, or in `status.loadBalancer`, or in both. So the steps
may end anywhere, and another run goes on from what the service shows.
"""

from collections.abc import Sequence
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from extip.api.meta_v1 import Wire
from extip.api.names import (
    ADDRESSES_ANNOTATION,
    ALLOCATED_ANNOTATION,
    AUTO_ANNOTATION,
    MIGRATED_ANNOTATION,
)
from extip.api.whole_service import WholeService, WholeServiceMeta
from extip.net.interfaces import IPAddress
from extip.pools.policy.address_request import address_request
from extip.services.policy.requests import parse_ip
from extip.services.policy.written_ips import PROXY

LOAD_BALANCER, CLUSTER_IP = "LoadBalancer", "ClusterIP"

_RESTORED = (ADDRESSES_ANNOTATION, AUTO_ANNOTATION, ALLOCATED_ANNOTATION)
"""Annotations that a migration changes."""


class Step(StrEnum):
    """The next thing to do for a service."""

    NOTHING = "nothing"
    """It has no external IPs, and was not migrated."""
    BEGIN = "begin"
    """Make it a load balancer that asks for its external IPs by name."""
    WAIT = "wait"
    """Wait until its status has them."""
    FINISH = "finish"
    """Remove its external IPs."""
    DONE = "done"


class Note(Wire, frozen=True):
    """The state of a service before its migration, as `MIGRATED_ANNOTATION` has it."""

    type: str = CLUSTER_IP
    external_ips: tuple[str, ...] = msgspec.field(default=(), name="externalIPs")
    external_traffic_policy: str = ""
    annotations: dict[str, str] = {}  # noqa: RUF012 - a new one for each struct


def note_of(service: WholeService) -> Note | None:
    """Return the note on a service; None without one that can be read."""
    try:
        return msgspec.json.decode(_annotations(service)[MIGRATED_ANNOTATION], type=Note)
    except (KeyError, msgspec.DecodeError):
        return None


def is_served(service: WholeService, lb_class: str) -> bool:
    """Whether it is a load balancer that extip gives addresses to."""
    spec = service.spec
    return spec.type == LOAD_BALANCER and (spec.load_balancer_class or "") == lb_class


def external_ips(service: WholeService) -> tuple[IPAddress, ...]:
    """Return the external IPs that can be read, each once."""
    return _addresses(service.spec.external_ips or ())


def shown_ips(service: WholeService) -> tuple[IPAddress, ...]:
    """Return the IPs in the status that packets are sent to."""
    ways_in = service.status.load_balancer.ingress or ()
    return _addresses([way.ip for way in ways_in if way.ip and way.ip_mode != PROXY])


def next_step(service: WholeService, lb_class: str) -> Step:
    """Return the next step to a load balancer of this class."""
    ips, served, note = external_ips(service), is_served(service, lb_class), note_of(service)
    if note is not None and served and not service.spec.external_ips:
        return Step.FINISH if AUTO_ANNOTATION in _annotations(service) else Step.DONE
    if not service.spec.external_ips:
        return Step.NOTHING
    if note is None or not served or not {*ips} <= {*_requested(service, lb_class)}:
        return Step.BEGIN
    return Step.FINISH if {*ips} <= {*shown_ips(service)} else Step.WAIT


def begun(service: WholeService, lb_class: str) -> WholeService:
    """Return the service as `begin_patch` makes it."""
    annotations = {**_annotations(service), ADDRESSES_ANNOTATION: _asked(service, lb_class)}
    metadata: WholeServiceMeta = replace(service.metadata, annotations=annotations)
    spec = replace(service.spec, type=LOAD_BALANCER, load_balancer_class=lb_class or None)
    return replace(service, metadata=metadata, spec=spec)


def begin_patch(service: WholeService, lb_class: str) -> dict[str, object]:
    """Return the merge patch that makes it a load balancer, and leaves its external IPs there.

    `external-ip: auto` stays until the end: if extip serves another class, the service would lose
    its addresses with it. Node ports are not needed. A service that has some keeps them.
    """
    spec: dict[str, object] = {"type": LOAD_BALANCER}
    if lb_class:
        spec["loadBalancerClass"] = lb_class
    if service.spec.type in ("", CLUSTER_IP):
        spec["allocateLoadBalancerNodePorts"] = False
    note = msgspec.json.encode(_new_note(service, lb_class)).decode()
    annotations = {
        ADDRESSES_ANNOTATION: _asked(service, lb_class),
        MIGRATED_ANNOTATION: note,
    }
    return {"metadata": _metadata(service, annotations), "spec": spec}


def finish_patch(service: WholeService) -> dict[str, object]:
    """Return the merge patch that removes external IPs; the status has them by now."""
    annotations = {AUTO_ANNOTATION: None, ALLOCATED_ANNOTATION: None}
    return {"metadata": _metadata(service, annotations), "spec": {"externalIPs": None}}


def undo_patch(service: WholeService, note: Note) -> dict[str, object]:
    """Return the merge patch that restores all that the note has, in one write."""
    before: dict[str, str | None] = {key: note.annotations.get(key) for key in _RESTORED}
    metadata = _metadata(service, {**before, MIGRATED_ANNOTATION: None})
    if LOAD_BALANCER not in (service.spec.type, note.type):
        return {"metadata": metadata}  # somebody else has changed it back
    added = [text for text in service.spec.external_ips or () if text not in note.external_ips]
    spec: dict[str, object] = {"type": note.type, "externalIPs": [*note.external_ips, *added]}
    if note.type != LOAD_BALANCER:
        spec |= {"loadBalancerClass": None, "allocateLoadBalancerNodePorts": None}
    if note.type == CLUSTER_IP:
        spec["externalTrafficPolicy"] = note.external_traffic_policy or None
    return {"metadata": metadata, "spec": spec}


def _new_note(service: WholeService, lb_class: str) -> Note:
    """Return the note of a service; of one that has begun, the old one with new external IPs."""
    spec, annotations = service.spec, _annotations(service)
    old = note_of(service)
    if old is not None and is_served(service, lb_class):
        new = (text for text in spec.external_ips or () if text not in old.external_ips)
        texts: tuple[str, ...] = (*old.external_ips, *new)
        return replace(old, external_ips=texts)
    return Note(
        type=spec.type or CLUSTER_IP,
        external_ips=spec.external_ips or (),
        external_traffic_policy=spec.external_traffic_policy,
        annotations={key: annotations[key] for key in _RESTORED if key in annotations},
    )


def _asked(service: WholeService, lb_class: str) -> str:
    """Return the addresses to ask for: a load balancer keeps those that it has."""
    mine: Sequence[IPAddress] = ()
    if is_served(service, lb_class):
        mine = _requested(service, lb_class) or shown_ips(service)
    return ",".join(dict.fromkeys(map(str, (*mine, *external_ips(service))), 0))


def _requested(service: WholeService, lb_class: str) -> tuple[IPAddress, ...]:
    request = address_request(service, lb_class=lb_class)
    return () if request is None else request.requested


def _metadata(service: WholeService, annotations: object) -> dict[str, object]:
    """Return metadata for a patch that fails when the service has changed since it was read."""
    return {"resourceVersion": service.metadata.resource_version, "annotations": annotations}


def _annotations(service: WholeService) -> dict[str, str]:
    return service.metadata.annotations or {}


def _addresses(texts: Sequence[str]) -> tuple[IPAddress, ...]:
    found = (parse_ip(text) for text in texts)
    return tuple(dict.fromkeys((ip for ip in found if ip is not None), 0))
