"""Several extips in one cluster: each sees and makes only the objects of its own instance.

The label `INSTANCE_LABEL` says whose an object is: services, pools, claims, IpNodes and heartbeats.
Without an instance extip sees those that do not have the label. So two instances never act on the
same object, whatever their programs decide.
"""

from dataclasses import dataclass
from typing import TypeVar

import msgspec

from extip.api.meta_v1 import FullObjectMeta, KubernetesObject
from extip.api.names import INSTANCE_LABEL
from extip.api.resources import (
    DETAILED_SERVICES,
    IP_CLAIM_POOLS,
    IP_CLAIMS,
    IP_NODES,
    LEASES,
    SERVICES,
    WHOLE_SERVICES,
    Resource,
)

T = TypeVar("T", bound=KubernetesObject)

_OF_ONE = (SERVICES, DETAILED_SERVICES, WHOLE_SERVICES, IP_CLAIMS, IP_NODES, IP_CLAIM_POOLS)
_MADE = (IP_CLAIMS, IP_NODES, LEASES)


@dataclass(frozen=True, slots=True)
class Instance:
    """One extip of a cluster."""

    name: str = ""
    """Empty for the one whose objects have no label."""

    @property
    def selector(self) -> str:
        """The label selector of its objects."""
        return f"{INSTANCE_LABEL}={self.name}" if self.name else f"!{INSTANCE_LABEL}"

    def lease(self, name: str) -> str:
        """Return the name of its Lease, where the one without a label has `name`."""
        return f"{name}-{self.name}" if self.name else name

    def narrowed(self, resource: Resource[T], selector: str) -> str:
        """Return the label selector of its own objects among those of another selector.

        Of Leases those with a selector are its own: the heartbeats.
        """
        if resource not in _OF_ONE and not (resource is LEASES and selector):
            return selector
        return ",".join(filter(None, (selector, self.selector)))

    def marked(self, resource: Resource[T], body: T) -> T:
        """Return an object as this instance makes it."""
        metadata = body.metadata
        if not self.name or resource not in _MADE or not isinstance(metadata, FullObjectMeta):
            return body
        labels = {**(metadata.labels or {}), INSTANCE_LABEL: self.name}
        return msgspec.structs.replace(
            body, metadata=msgspec.structs.replace(metadata, labels=labels)
        )

    def has(self, labels: dict[str, str] | None) -> bool:
        """Whether an object with these labels is its own."""
        return (labels or {}).get(INSTANCE_LABEL, "") == self.name
