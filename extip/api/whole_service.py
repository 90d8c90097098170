"""core/v1: a Service with all that tells how it came to be, for `extip migrate`.

Few are in memory at once, so nothing is dropped: compare `DetailedService`.
"""

from extip.api.core_v1 import DetailedService, DetailedServiceMeta, DetailedServiceSpec
from extip.api.meta_v1 import FieldOwnership, OwnerReference


class WholeServiceMeta(DetailedServiceMeta, frozen=True):
    """Metadata with every annotation, and with the owners of the object and of its fields."""

    owner_references: tuple[OwnerReference, ...] | None = None
    managed_fields: tuple[FieldOwnership, ...] | None = None
    deletion_timestamp: str | None = None

    def __post_init__(self) -> None:
        """Keep the annotations of others: they tell which program made the service."""


class WholeServiceSpec(DetailedServiceSpec, frozen=True):
    """The spec with what a change of the type gives a meaning."""

    load_balancer_source_ranges: tuple[str, ...] | None = None
    """Networks of clients. kube-proxy heeds them for IPs of load balancers alone."""


class WholeService(DetailedService, frozen=True):
    """A core/v1 Service as a person sees it."""

    metadata: WholeServiceMeta = WholeServiceMeta()
    spec: WholeServiceSpec = WholeServiceSpec()
