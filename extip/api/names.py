"""Names that live outside this process: groups, labels, annotations, Leases.

They are part of the interface: manifests, selectors and people rely on them.
"""

import re
from hashlib import sha256

GROUP = "ipcontroller.ext"
"""API group of IpClaim, IpNode and IpClaimPool."""

FIELD_MANAGER = "extip"
"""Under this name the API server books who owns which field: the first word of the user agent."""

NODE_LABEL = "ipnode"
"""On an IpClaim: the node that holds it, as `label_value` writes it."""

PREVIOUS_NODE_LABEL = "ip-previous-node"
"""On an IpClaim: the node that held it before. Set with each move, so that the former holder can
watch what becomes of its claims until the new one is up."""

STANDBY_LABEL = "ip-standby-node"
"""On an IpClaim: the node of its `spec.standby`, as `label_value` writes it."""

POOL_LABEL = "ip-pool-name"
"""On an IpClaim: the pool that its IP comes from, as `label_value` writes it."""

_SERVICE_SUFFIX = ".service.ipcontroller.ext"
"""The end of the prefix of labels on an IpClaim, one for each service that has its IP. The prefix
begins with the service's namespace. Prefix and name have room for any namespace and service."""

MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "extip"
"""On every IpClaim that the scheduler made; one without it is somebody's own and is left alone."""

PLACEMENT_ANNOTATION = "ipcontroller.ext/placement"
PLACEMENT_AUTOMATIC = "automatic"
"""On an IpClaim made by hand that the scheduler gave a node, so that it may move it again. A
`nodeName` written by hand carries none, and pins the claim to that node."""

AUTO_ANNOTATION = "external-ip"
AUTO = "auto"
"""On a Service: give it an address per IP family from a pool, in `spec.externalIPs`."""

POOL_ANNOTATION = "ipcontroller.ext/pool"
"""On a Service: names of the pools to take addresses from, separated by commas, preferred first."""

ADDRESSES_ANNOTATION = "ipcontroller.ext/addresses"
"""On a Service: the addresses to give to it, separated by commas. Several services may ask for the
same one when their ports differ."""

SHARING_KEY_ANNOTATION = "ipcontroller.ext/sharing-key"
"""On a Service: services with the same text share an address when their ports differ."""

ADDRESS_COUNT_ANNOTATION = "ipcontroller.ext/address-count"
"""On a Service: how many addresses of each IP family it asks for. They are on different nodes, as
far as there are nodes."""

PREFERRED_NODES_ANNOTATION = "ipcontroller.ext/preferred-nodes"
"""On a Service: nodes where its IPs are to be, separated by commas, the best first."""

LINK_ANNOTATION = "ipcontroller.ext/link"
"""On a Service: the interface that its IPs are to be on."""

ALLOCATED_ANNOTATION = "ipcontroller.ext/allocated"
"""On a Service: which of its `spec.externalIPs` come from a pool. Written together with them, so
that they can be told from those that a person wrote."""

MIGRATED_ANNOTATION = "ipcontroller.ext/migrated-from"
"""On a Service: its state before `extip migrate services`, as JSON, for `--undo`. Daemons do not
read it."""

HEADLESS_LABEL = "service.kubernetes.io/headless"
"""On a Service, with any value: kube-proxy looks neither at it nor at its endpoints."""

PREFIX = f"{GROUP}/"
SERVICE_ANNOTATIONS = frozenset(
    {
        AUTO_ANNOTATION,
        POOL_ANNOTATION,
        ADDRESSES_ANNOTATION,
        SHARING_KEY_ANNOTATION,
        PREFERRED_NODES_ANNOTATION,
        ADDRESS_COUNT_ANNOTATION,
        LINK_ANNOTATION,
        ALLOCATED_ANNOTATION,
        MIGRATED_ANNOTATION,
    }
)
"""All that mean anything on a Service; others with the group as their prefix are slips."""

PREFIX_ANNOTATION = "ipcontroller.ext/prefix-length"
PREFIX_EXPLICIT = "explicit"
"""On an IpClaim of the scheduler with a full prefix length: the scheduler was told that length.
Without it the length is the default, and a controller that was told another one uses its own."""

PORTS_ANNOTATION = "ipcontroller.ext/ports"
"""On an IpClaim that several services share: which of them has which port, ``80/TCP=web``, with
blanks in between; ``80/TCP=shop/web`` when they are of several namespaces. Whoever has a port keeps
it when another one comes to ask for it."""

COMPONENT_LABEL = "app.kubernetes.io/component"
HEARTBEAT_COMPONENT = "extip-heartbeat"
HEARTBEAT_SELECTOR = f"{COMPONENT_LABEL}={HEARTBEAT_COMPONENT}"
"""Label selector of the Leases by which controllers say that they are alive."""

INSTANCE_LABEL = "ipcontroller.ext/instance"
"""On services, pools, claims, IpNodes and heartbeats: the instance of extip whose they are, where
several are in a cluster (`--instance`)."""

SIMPLE_LEASE = "extip-simple"
"""The Lease by which processes of simple mode elect the one that gives addresses of pools."""

RIVAL_ANNOTATION = "ipcontroller.ext/rival"
"""On the Lease of schedulers: who wanted to act without election while another one does, and when.
Whoever holds the Lease tells of it."""

LEAVING_ANNOTATION = "ipcontroller.ext/leaving"
"""On a heartbeat Lease: the controller is about to stop (the reason is the value); its claims are
to be moved now."""

HEARTBEAT_ANNOTATION = "ipcontroller.ext/heartbeat-seconds"
"""On a heartbeat Lease: how often it is renewed, as a decimal number. The Lease's own duration
counts whole seconds, and heartbeats may be faster."""

LEASE_ANNOTATION = "ipcontroller.ext/lease-seconds"
"""On a heartbeat Lease: for so long after a renewal the node may have its IPs up, as a decimal
number; nobody else may be given them before. Without it two heartbeats."""

REACH_ANNOTATION = "ipcontroller.ext/reach"
"""On a heartbeat Lease: whether other stations answer on the node's interface, `reached` or
`isolated`, a blank, and the `renewTime` of the heartbeat that says so; absent while nobody can
tell."""

REACH_LINKS_ANNOTATION = "ipcontroller.ext/reach-links"
"""On a heartbeat Lease: the same for each interface that the controller selects, where there may be
several. Words `reached/eth0`, `isolated/eth1` or `unsure/eth2`, the first interface first, and the
`renewTime`, with blanks between them. `REACH_ANNOTATION` is about the first one."""

UNREAD_ANNOTATION = "ipcontroller.ext/claims-unread"
"""On a heartbeat Lease: the node may not, or cannot, read its claims; the value is the `renewTime`
of the heartbeat that says so. It keeps what it has, and is given nothing new."""

_HEARTBEAT_PREFIX = "extip-node-"
_MAX_LABEL = 63
_MAX_NAME = 253
_HASH_DIGITS = 8
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def is_node_name(text: str) -> bool:
    """Whether `text` can name an IpNode and its Lease: an RFC 1123 subdomain, dots included.

    Room is left for the prefix of the Lease's name.
    """
    return is_object_name(_HEARTBEAT_PREFIX + text) and _SUBDOMAIN.fullmatch(text) is not None


def is_object_name(text: str) -> bool:
    """Whether `text` can name an object, such as a Lease: an RFC 1123 subdomain."""
    return len(text) <= _MAX_NAME and _SUBDOMAIN.fullmatch(text) is not None


def is_namespace(text: str) -> bool:
    """Whether `text` can name a namespace: an RFC 1123 label."""
    return _LABEL.fullmatch(text) is not None


def label_value(name: str) -> str:
    """Return the label value that stands for the name of an object; for itself, that value.

    It is the name itself up to 63 characters, the longest that a label may hold. A longer name is
    cut and ends in the first eight digits of its SHA-256, so that two of them stay apart.
    """
    if len(name) <= _MAX_LABEL:
        return name
    digest = sha256(name.encode()).hexdigest()[:_HASH_DIGITS]
    return f"{name[: _MAX_LABEL - _HASH_DIGITS - 1].rstrip('.-')}-{digest}"


def service_label(namespace: str, name: str) -> str:
    """Return the label that an IpClaim of the scheduler has for each of its services.

    ``kubectl get ipc -l shop.service.ipcontroller.ext/web`` selects the IPs of ``shop/web``.
    """
    return f"{namespace}{_SERVICE_SUFFIX}/{name}"


def is_service_label(label: str) -> bool:
    """Whether the label stands for a service."""
    return f"{_SERVICE_SUFFIX}/" in label


def heartbeat_lease(node: str) -> str:
    """Return the name of a node's heartbeat Lease."""
    return f"{_HEARTBEAT_PREFIX}{node}"


def node_of_lease(lease: str) -> str | None:
    """Return the node whose heartbeat Lease has that name, or None when it is another Lease."""
    node = lease.removeprefix(_HEARTBEAT_PREFIX)
    return node if node and node != lease else None
