"""Tells a person which definitions are missing, and whether somebody deleted them."""

from extip.api.names import GROUP
from extip.api.resources import IP_CLAIMS, IP_NODES
from extip.errors import NotFoundError
from extip.kube.client import ApiClient

_HELD = "what is up stays up, and nothing moves, until `extip crds --apply` makes"
_AGAIN = "`extip crds --apply` makes it again"

UNKNOWN = (
    "this cluster does not know extip's kinds: it runs in simple mode or not at all, and "
    "`extip crds --apply` is the first step to claims mode; or somebody deleted the definitions: "
    f"{_HELD} them again"
)
"""The text where neither claims nor nodes are known. Pools alone are enough for simple mode."""


def deleted(plural: str) -> str:
    """Return the text for a definition that is missing while others are there."""
    held = f"{_HELD} it again" if plural == IP_CLAIMS.plural else _AGAIN
    return f"somebody deleted the definition {plural}.{GROUP}: {held}"


async def without_claims(client: ApiClient) -> str:
    """Return the text for a cluster that does not know IpClaims. Raises ApiError."""
    try:
        await client.list(IP_NODES, limit=1)
    except NotFoundError:
        return UNKNOWN
    return deleted(IP_CLAIMS.plural)
