"""The standby of a claim: the node that takes its IP when its own may not hold it. Pure."""

from extip.api.ipcontroller_v1 import IpClaim
from extip.api.names import STANDBY_LABEL, label_value
from extip.claims.policy.claims import is_pinned, metadata_patch


def standby_of(claim: IpClaim) -> str:
    """Return the standby; empty for none. A claim that a person pinned to a node has none."""
    node = claim.spec.standby
    return "" if node == claim.spec.node_name or is_pinned(claim) else node


def standby_patch(claim: IpClaim, node: str) -> dict[str, object]:
    """Return the merge patch that writes the standby, empty for none.

    It fails with a conflict when the claim has changed since it was read.
    """
    labels = {STANDBY_LABEL: label_value(node) if node else None}
    metadata = metadata_patch(claim) | {"labels": labels}
    return {"metadata": metadata, "spec": {"standby": node or None}}
