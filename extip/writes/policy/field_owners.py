"""Field owners of an object → the other program that writes a field of ours. Pure."""

from extip.api.meta_v1 import FieldOwnership, OwnedMeta
from extip.api.names import FIELD_MANAGER


def rival_of(metadata: OwnedMeta, field: str) -> str:
    """Return the field manager, other than extip, that owns a field; empty for none.

    `field` is a path such as ``status.loadBalancer``. Of several managers the last writer counts.
    """
    names = [f'"f:{name}"'.encode() for name in field.split(".")]
    owners = [
        entry
        for entry in metadata.managed_fields or ()
        if entry.manager != FIELD_MANAGER and all(name in bytes(entry.fields_v1) for name in names)
    ]
    return max(owners, key=_when).manager if owners else ""


def _when(entry: FieldOwnership) -> str:
    return entry.time or ""
