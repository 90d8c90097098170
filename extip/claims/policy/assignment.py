"""A claim's node and its standby, which takes the IP when that node may not hold it. Pure."""

from extip.api.ipcontroller_v1 import IpClaim
from extip.api.names import (
    NODE_LABEL,
    PLACEMENT_ANNOTATION,
    PLACEMENT_AUTOMATIC,
    PREVIOUS_NODE_LABEL,
    STANDBY_LABEL,
    label_value,
)
from extip.claims.policy.claims import is_pinned, metadata_patch


def standby_of(claim: IpClaim) -> str:
    """Return the standby; empty for none. A claim that a person pinned to a node has none."""
    node = claim.spec.standby
    return "" if node == claim.spec.node_name or is_pinned(claim) else node


def needs_label(claim: IpClaim) -> bool:
    """Whether the claim's label names another node than its spec: its node cannot see it then."""
    label = (claim.metadata.labels or {}).get(NODE_LABEL, "")
    return label != (label_value(claim.spec.node_name) if claim.spec.node_name else "")


def assignment_patch(claim: IpClaim, node: str) -> dict[str, object]:
    """Return the merge patch that gives the claim to `node`; an empty `node` takes its node away.

    It fails with a conflict when the claim has changed since it was read, so that a stale decision
    does not undo a newer one. Other labels stay. A label keeps the former node until the next move.
    """
    before = claim.spec.node_name
    labels: dict[str, str | None] = {NODE_LABEL: label_value(node) if node else None}
    spec: dict[str, object] = {"nodeName": node or None}
    if before and before != node:
        labels[PREVIOUS_NODE_LABEL] = label_value(before)
    if node and node == claim.spec.standby:  # another one is chosen in quiet times
        labels[STANDBY_LABEL] = spec["standby"] = None
    metadata = metadata_patch(claim) | {"labels": labels}
    if not claim.managed and before != node:  # without it, a person's claim counts as pinned
        metadata["annotations"] = {PLACEMENT_ANNOTATION: PLACEMENT_AUTOMATIC}
    return {"metadata": metadata, "spec": spec}


def standby_patch(claim: IpClaim, node: str) -> dict[str, object]:
    """Return the merge patch that writes the standby, empty for none.

    It fails with a conflict when the claim has changed since it was read.
    """
    labels = {STANDBY_LABEL: label_value(node) if node else None}
    metadata = metadata_patch(claim) | {"labels": labels}
    return {"metadata": metadata, "spec": {"standby": node or None}}
