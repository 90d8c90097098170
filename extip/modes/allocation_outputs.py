"""Where the results of allocation go: services and pools at the API server, and their Events."""

from collections.abc import Mapping

from extip.api.ipcontroller_v1 import IpClaimPool
from extip.api.resources import DETAILED_SERVICES, IP_CLAIM_POOLS, OWNED_SERVICES
from extip.kube.client import ApiClient
from extip.kube.events import EventRecorder, ObjectReference
from extip.plan.link import IPAddress
from extip.plan.publication import Publication, SetIngress, publication_patch
from extip.plan.requests import Owner
from extip.plan.rivals import rival_of
from extip.plan.unserved import MISUNDERSTOOD, NOT_ALLOCATED
from extip.reconcile.contention import field_of


class AllocationWriter:
    """Implements `extip.reconcile.allocation.AllocationStore`.

    RBAC: get and patch on ``services``, patch on ``services/status`` and ``ipclaimpools/status``.
    """

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def publish(self, publication: Publication) -> None:
        """Write to a service what it was given."""
        await self._client.patch(
            DETAILED_SERVICES,
            publication_patch(publication),
            name=publication.owner.name,
            namespace=publication.owner.namespace,
            subresource="status" if isinstance(publication, SetIngress) else "",
        )

    async def rival(self, publication: Publication) -> str:
        """Return who else owns the field that the publication writes."""
        owner = publication.owner
        service = await self._client.get(OWNED_SERVICES, name=owner.name, namespace=owner.namespace)
        return rival_of(service.metadata, field_of(publication))

    async def patch_pool_status(self, pool: IpClaimPool, patch: object) -> None:
        """Merge into a pool's status."""
        await self._client.patch(
            IP_CLAIM_POOLS, patch, name=pool.metadata.name, subresource="status"
        )


class AllocationEvents:
    """Implements `extip.reconcile.allocation.AllocationReporter`."""

    def __init__(self, events: EventRecorder) -> None:
        self._events = events

    def allocated(self, owner: Owner, addresses: Mapping[IPAddress, str]) -> None:
        """Record that the service has new addresses, each with the name of its pool."""
        given = ", ".join(
            f"{ip} from pool {pool}" if pool else str(ip) for ip, pool in addresses.items()
        )
        self._events.record(
            _reference(owner), type="Normal", reason="AddressAllocated", message=given
        )

    def waiting(self, owner: Owner, why: str) -> None:
        """Record that the service does not have what it asks for."""
        self._events.record(_reference(owner), type="Warning", reason=NOT_ALLOCATED, message=why)

    def misunderstood(self, owner: Owner, what: str) -> None:
        """Record that an annotation of the service means nothing."""
        self._events.record(_reference(owner), type="Warning", reason=MISUNDERSTOOD, message=what)

    def contested(self, owner: Owner, field: str, rival: str) -> None:
        """Record that another program keeps changing a field of the service."""
        who = f"field manager {rival}" if rival else "another program"
        self._events.record(
            _reference(owner),
            type="Warning",
            reason="FieldContested",
            message=f"{field} is changed by {who} each time that extip has written it; extip "
            "writes its addresses back ever more rarely: have one of the two leave the field alone",
        )


def _reference(owner: Owner) -> ObjectReference:
    return ObjectReference(
        kind=owner.kind, namespace=owner.namespace, name=owner.name, uid=owner.uid
    )
