"""The three CustomResourceDefinitions: schemas from the structs, and columns of `kubectl get`.

``manifests/claims/crds.yaml`` is rendered from it. `extip crds` prints and applies it. Controllers
and schedulers create missing definitions from it, where they may.
"""

from collections.abc import Sequence
from typing import cast

from extip.api.ipcontroller_v1 import IpClaim, IpClaimPool, IpNode
from extip.api.resources import (
    CUSTOM_RESOURCE_DEFINITIONS,
    IP_CLAIM_POOLS,
    IP_CLAIMS,
    IP_NODES,
    Resource,
)
from extip.api.schema import Json
from extip.definitions.schema import schema_of


def _column(name: str, path: str, kind: str = "string", *, wide: bool = False) -> Json:
    """Return a column of `kubectl get`; a wide column needs ``-o wide``.

    The server leaves a priority of 0 out. With it a server-side apply of the same definition would
    differ from what is there, and conflict with `extip crds --apply`.
    """
    column: Json = {"name": name, "jsonPath": path, "type": kind}
    return {**column, "priority": 1} if wide else column


def _condition_path(kind: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{field}'


def _first_false(field: str) -> str:
    """Return the path in the first condition that is False; all should be True."""
    return f'.status.conditions[?(@.status=="False")].{field}'


def _definition(
    resource: Resource[IpClaim] | Resource[IpNode] | Resource[IpClaimPool],
    short_name: str,
    columns: Sequence[Json],
) -> Json:
    schema = schema_of(resource.type)
    own = cast("Json", schema["properties"])
    everywhere = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}}
    metadata = {"metadata": {"type": "object"}}  # its schema is the API server's
    return {
        "apiVersion": CUSTOM_RESOURCE_DEFINITIONS.api_version,
        "kind": CUSTOM_RESOURCE_DEFINITIONS.kind,
        "metadata": {"name": f"{resource.plural}.{resource.group}"},
        "spec": {
            "group": resource.group,
            "scope": "Cluster",
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.kind.lower(),
                "shortNames": [short_name],
                "categories": ["extip"],
            },
            "versions": [
                {
                    "name": resource.version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {
                        "openAPIV3Schema": {
                            **schema,
                            "properties": {**everywhere, **own, **metadata},
                        }
                    },
                    "additionalPrinterColumns": list(columns),
                }
            ],
        },
    }


_AGE = _column("Age", ".metadata.creationTimestamp", "date")

_IP_CLAIM_COLUMNS = (
    _column("IP", ".spec.cidr"),
    _column("Node", ".spec.nodeName"),
    _column("Up", _condition_path("Up", "status")),
    _column("Reason", _first_false("reason")),
    _column("Since", ".status.since", "date"),
    _column("Service", ".spec.services[0].name"),
    _column("Standby", ".spec.standby", wide=True),
    _column("Holder", ".status.holder", wide=True),
    _column("Link", ".status.link", wide=True),
    _column("Before", r".metadata.labels.ip-previous-node", wide=True),
    _column("Message", _first_false("message"), wide=True),
    _AGE,
)

_IP_NODE_COLUMNS = (
    _column("Ready", _condition_path("Ready", "status")),
    _column("Reason", _condition_path("Ready", "reason")),
    _column("IPs", ".status.claims", "integer"),
    _column("Draining", ".spec.draining", "boolean"),
    _column("Links", ".status.links[*].name", wide=True),
    _column("MACs", ".status.links[*].mac", wide=True),
    _column("Version", ".status.version"),
    _column("Message", _condition_path("Ready", "message"), wide=True),
    _AGE,
)

_IP_CLAIM_POOL_COLUMNS = (
    _column("CIDR", ".spec..cidr"),  # its own, else that of the first of its networks
    _column("Size", ".status.size", "integer"),
    _column("Free", ".status.free", "integer"),
    _column("Auto", ".spec.autoAssign", "boolean"),
    _column("Allocation", ".spec.allocation"),
    _column("Exhausted", _condition_path("Exhausted", "status")),
    _column("Message", _condition_path("Exhausted", "message")),
    _column("Priority", ".spec.priority", "integer", wide=True),
    _column("Overlapping", _condition_path("Overlapping", "message"), wide=True),
    _AGE,
)


def definitions() -> tuple[Json, ...]:
    """Return the definitions in the order of their creation."""
    return (
        _definition(IP_CLAIMS, "ipc", _IP_CLAIM_COLUMNS),
        _definition(IP_NODES, "ipn", _IP_NODE_COLUMNS),
        _definition(IP_CLAIM_POOLS, "ipp", _IP_CLAIM_POOL_COLUMNS),
    )
