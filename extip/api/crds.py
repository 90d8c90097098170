"""The three CustomResourceDefinitions, as the data that they are.

The only source: ``manifests/claims/crds.yaml`` is rendered from it, `extip crds` prints and
applies it, and controller and scheduler create what is missing from it where they may. Tests
compare the schemas with the structs of `extip.api.ipcontroller_v1`.

Schemas are structural (apiextensions.k8s.io/v1). What can be said by a pattern is said by one,
since every server since 1.16 enforces it. ``x-kubernetes-validations`` use the CEL of 1.25 alone:
servers before that drop the field, and functions of later ones (`isCIDR`) would make servers in
between refuse the whole definition.
"""

from collections.abc import Sequence

from extip.api.names import GROUP
from extip.api.schema import (
    Json,
    array,
    boolean,
    conditions,
    integer,
    mapping,
    selector,
    struct,
    text,
    time,
)

MAX_SERVICES = 1024
"""Services that may share one IP."""

MAX_GATEWAYS = 256
"""Gateways that a node tells of."""
MAX_HELD = 4096
"""IPs without a claim that a node tells of."""

_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = rf"{_OCTET}(\.{_OCTET}){{3}}"
_IPV6 = r"[0-9A-Fa-f]{0,4}(:[0-9A-Fa-f]{0,4}){2,7}"
_IP_PATTERN = f"^({_IPV4}|{_IPV6})$"
_CIDR_PATTERN = f"^({_IPV4}/(3[0-2]|[12]?[0-9])|{_IPV6}/(12[0-8]|1[01][0-9]|[1-9]?[0-9]))$"
_MAX_CIDR = 43
_NODE_PATTERN = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$"
_MAX_NAME = 253
_LINK_PATTERN = r"^[^/\s]*$"
_MAX_LINK = 15
_MAX_RANGES = 256
_MAX_LINKS = 4096

_NUMBER = "(({} * 256 + {}) * 256 + {}) * 256 + {}".format(
    *(f"int(self[{{0}}].split('.')[{octet}])" for octet in range(4))
)
_IN_ORDER = f"self.exists(ip, ip.contains(':')) || {_NUMBER.format(0)} <= {_NUMBER.format(1)}"
"""Of IPv4 addresses; those of IPv6 are more than the CEL of 1.25 can compare."""
_OF_ONE_FAMILY = (
    "!has(self.ranges) || "
    "self.ranges.all(r, r.all(ip, ip.contains(':') == self.cidr.contains(':')))"
)


_SERVICE = struct(
    "A service.",
    {
        "namespace": text("Its namespace.", maxLength=63),
        "name": text("Its name.", maxLength=63),
        "uid": text("Tells it from a later service of the same name.", maxLength=128),
    },
    required=["namespace", "name"],
)

_CLAIM_SPEC = struct(
    "Which IP must be up, and where.",
    {
        "cidr": text(
            "The IP with the prefix length that it gets on the interface, such as 10.10.0.2/24.",
            pattern=_CIDR_PATTERN,
            maxLength=_MAX_CIDR,
            **{
                "x-kubernetes-validations": [
                    {
                        "rule": "self == oldSelf",
                        "message": "a claim is for one IP: delete it and create another",
                    }
                ]
            },
        ),
        "nodeName": text(
            "The node whose controller brings the IP up. The scheduler sets it; on a claim made by "
            "hand it may be set by hand, and is then left alone.",
            pattern=_NODE_PATTERN,
            maxLength=_MAX_NAME,
        ),
        "link": text(
            "The interface to use, in place of the controller's --iface.",
            pattern=_LINK_PATTERN,
            maxLength=_MAX_LINK,
        ),
        "services": array(
            "The services that want this IP. A claim that the scheduler made goes when there is "
            "none.",
            _SERVICE,
            maxItems=MAX_SERVICES,
            **{"x-kubernetes-list-type": "atomic"},
        ),
    },
    required=["cidr"],
)

_CLAIM_STATUS = struct(
    "Where the IP is, and what stands in its way.",
    {
        "conditions": conditions(
            "Accepted: nothing forbids the IP. Assigned: a node was chosen. Up: the holder has it "
            "on its interface."
        ),
        "holder": text("The node that has the IP up.", maxLength=_MAX_NAME),
        "link": text("The interface that it is on.", maxLength=_MAX_LINK),
        "since": time("When the holder brought it up."),
    },
)

_NODE_SPEC = struct(
    "What is wanted of the node.",
    {
        "draining": boolean("Move every IP away from this node, and bring none there."),
    },
)

_NODE_LINK = struct(
    "A network interface.",
    {
        "name": text("Its name.", maxLength=_MAX_LINK),
        "mac": text("Its hardware address.", maxLength=59),
        "addresses": array(
            "Addresses of the node itself on it, in CIDR form.",
            text("One address.", maxLength=_MAX_CIDR),
            **{"x-kubernetes-list-type": "atomic"},
        ),
        "up": boolean("Whether it is up and has carrier."),
    },
    required=["name"],
)

_NODE_STATUS = struct(
    "What its controller reports, and what the scheduler that leads concludes.",
    {
        "links": array(
            "Its network interfaces.",
            _NODE_LINK,
            maxItems=_MAX_LINKS,
            **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
        "version": text("Version of its controller.", maxLength=64),
        "claims": integer("IPs that it holds.", format="int32", minimum=0),
        "gateways": array(
            "Gateways in its routing tables: refused as external IPs everywhere.",
            text("One address.", maxLength=_MAX_CIDR),
            maxItems=MAX_GATEWAYS,
            **{"x-kubernetes-list-type": "atomic"},
        ),
        "held": array(
            "IPs that it has up though there is no claim: the definition of IpClaim was deleted.",
            text("One IP, in CIDR form.", maxLength=_MAX_CIDR),
            maxItems=MAX_HELD,
            **{"x-kubernetes-list-type": "atomic"},
        ),
        "conditions": conditions(
            "Ready: it may hold IPs, as the scheduler that leads concludes from heartbeats, "
            "interface and Kubernetes node. LinkReady: its interface can have IPs, as its "
            "controller says."
        ),
    },
)

_POOL_SPEC = struct(
    "Which addresses there are to give, and to whom.",
    {
        "cidr": text(
            "The network of the addresses, for example 192.168.16.0/24. They get its prefix length "
            "on the interface. Its network and broadcast address are never given. With host bits "
            "(192.168.16.7/24) it needs ranges.",
            pattern=_CIDR_PATTERN,
            maxLength=_MAX_CIDR,
        ),
        "ranges": array(
            "Ranges to give addresses from: [first, last] each, both included. Without any, the "
            "whole of cidr. Where pools overlap, the addresses belong to the one with the higher "
            "priority, then to the first by name.",
            {
                "type": "array",
                "description": "The first and the last address of a range.",
                "minItems": 2,
                "maxItems": 2,
                "items": {"type": "string", "pattern": _IP_PATTERN, "maxLength": _MAX_CIDR},
                "x-kubernetes-list-type": "atomic",
                "x-kubernetes-validations": [
                    {"rule": _IN_ORDER, "message": "a range begins with its first address"}
                ],
            },
            maxItems=_MAX_RANGES,
            **{"x-kubernetes-list-type": "atomic"},
        ),
        "priority": integer("Pools with a higher one are used first.", format="int32", default=0),
        "autoAssign": boolean(
            "Whether services that name no pool get addresses from this one.", default=True
        ),
        "namespaceSelector": selector("Only services in namespaces with these labels."),
        "serviceSelector": selector("Only services with these labels."),
        "nodeSelector": selector("Only Kubernetes nodes with these labels hold the addresses."),
        "avoidNetworkAddresses": boolean(
            "Also leave out IPv4 addresses inside of cidr that end in .0 or .255, which some "
            "equipment takes for those of a network.",
            default=False,
        ),
    },
    required=["cidr"],
    **{
        "x-kubernetes-validations": [
            {"rule": _OF_ONE_FAMILY, "message": "ranges are of the same IP version as cidr"}
        ]
    },
)

_POOL_STATUS = struct(
    "How much of it is in use; derived from services and claims.",
    {
        "allocated": mapping(
            "Each address in use, with the service (namespace/name) that has it.",
            {"type": "string"},
        ),
        "setAside": mapping(
            "Addresses that another station was found to have before they came up. They are not "
            "given for 10 minutes, unless nothing else is free.",
            struct(
                "What was found.",
                {
                    "message": text("Who has it.", maxLength=32768),
                    "time": time("When that was found out last."),
                },
            ),
        ),
        "size": integer("Addresses in all, no more than 2^63-1.", format="int64", minimum=0),
        "free": integer("Addresses left, no more than 2^63-1.", format="int64", minimum=0),
        "conditions": conditions(
            "Exhausted: no address is free. Overlapping: another pool has some of its addresses."
        ),
    },
)


def _column(name: str, path: str, kind: str = "string", *, wide: bool = False) -> Json:
    """Return a column that `kubectl get` prints; a wide one with ``-o wide`` alone."""
    return {"name": name, "jsonPath": path, "type": kind, "priority": 1 if wide else 0}


def _condition_path(kind: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{field}'


def _first_false(field: str) -> str:
    """Return the path of what stands in an object's way first, where True is how it should be."""
    return f'.status.conditions[?(@.status=="False")].{field}'


def _definition(  # noqa: PLR0913 - the parts of the document
    kind: str,
    short_name: str,
    description: str,
    *,
    spec: Json,
    status: Json,
    spec_required: bool,
    columns: Sequence[Json],
) -> Json:
    plural = f"{kind.lower()}s"
    schema = struct(
        description,
        {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
        **({"required": ["spec"]} if spec_required else {}),
    )
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Cluster",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short_name],
                "categories": ["extip"],
            },
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": schema},
                    "additionalPrinterColumns": list(columns),
                }
            ],
        },
    }


_AGE = _column("Age", ".metadata.creationTimestamp", "date")

IP_CLAIM = _definition(
    "IpClaim",
    "ipc",
    "One external IP that must be up on some node.",
    spec=_CLAIM_SPEC,
    status=_CLAIM_STATUS,
    spec_required=True,
    columns=[
        _column("IP", ".spec.cidr"),
        _column("Node", ".spec.nodeName"),
        _column("Up", _condition_path("Up", "status")),
        _column("Reason", _first_false("reason")),
        _column("Since", ".status.since", "date"),
        _column("Service", ".spec.services[0].name"),
        _column("Holder", ".status.holder", wide=True),
        _column("Link", ".status.link", wide=True),
        _column("Before", r".metadata.labels.ip-previous-node", wide=True),
        _column("Message", _first_false("message"), wide=True),
        _AGE,
    ],
)

IP_NODE = _definition(
    "IpNode",
    "ipn",
    "A node whose controller brings external IPs up.",
    spec=_NODE_SPEC,
    status=_NODE_STATUS,
    spec_required=False,
    columns=[
        _column("Ready", _condition_path("Ready", "status")),
        _column("Reason", _condition_path("Ready", "reason")),
        _column("IPs", ".status.claims", "integer"),
        _column("Draining", ".spec.draining", "boolean"),
        _column("Links", ".status.links[*].name", wide=True),
        _column("MACs", ".status.links[*].mac", wide=True),
        _column("Version", ".status.version"),
        _column("Message", _condition_path("Ready", "message"), wide=True),
        _AGE,
    ],
)

IP_CLAIM_POOL = _definition(
    "IpClaimPool",
    "ipp",
    "External IPs to give to services that ask for any.",
    spec=_POOL_SPEC,
    status=_POOL_STATUS,
    spec_required=True,
    columns=[
        _column("CIDR", ".spec.cidr"),
        _column("Size", ".status.size", "integer"),
        _column("Free", ".status.free", "integer"),
        _column("Auto", ".spec.autoAssign", "boolean"),
        _column("Exhausted", _condition_path("Exhausted", "status")),
        _column("Message", _condition_path("Exhausted", "message")),
        _column("Priority", ".spec.priority", "integer", wide=True),
        _column("Overlapping", _condition_path("Overlapping", "message"), wide=True),
        _AGE,
    ],
)

DEFINITIONS: tuple[Json, ...] = (IP_CLAIM, IP_NODE, IP_CLAIM_POOL)
"""In the order in which they are created."""
