"""Writes the results of allocation to services and pools, and records Events on services."""

from collections.abc import Mapping

from extip.api.ipcontroller_v1 import IpClaimPool
from extip.api.resources import DETAILED_SERVICES, IP_CLAIM_POOLS, OWNED_SERVICES
from extip.kube.client import ApiClient
from extip.kube.events import EventRecorder
from extip.net.interfaces import IPAddress
from extip.pools.policy.service_update import (
    ServiceUpdate,
    SetIngress,
    field_of,
    service_update_patch,
)
from extip.services.policy.references import reference_to
from extip.services.policy.refusal import MISUNDERSTOOD, NOT_ALLOCATED
from extip.services.policy.requests import Owner
from extip.writes.policy.field_owners import rival_of


class AllocationWriter:
    """Writes to services and pools; every call raises ApiError.

    RBAC: get and patch on ``services``, patch on ``services/status`` and ``ipclaimpools/status``.
    """

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def publish(self, update: ServiceUpdate) -> None:
        """Write its addresses to a service."""
        await self._client.patch(
            DETAILED_SERVICES,
            service_update_patch(update),
            name=update.owner.name,
            namespace=update.owner.namespace,
            subresource="status" if isinstance(update, SetIngress) else "",
        )

    async def rival(self, update: ServiceUpdate) -> str:
        """Return the other owner of the field that the update writes."""
        owner = update.owner
        service = await self._client.get(OWNED_SERVICES, name=owner.name, namespace=owner.namespace)
        return rival_of(service.metadata, field_of(update))

    async def patch_pool_status(self, pool: IpClaimPool, patch: object) -> None:
        """Merge into a pool's status."""
        await self._client.patch(
            IP_CLAIM_POOLS, patch, name=pool.metadata.name, subresource="status"
        )


class AllocationEvents:
    """Records Events on services."""

    def __init__(self, events: EventRecorder) -> None:
        self._events = events

    def allocated(self, owner: Owner, addresses: Mapping[IPAddress, str]) -> None:
        """Record that the service has new addresses, each with the name of its pool."""
        given = ", ".join(
            f"{ip} from pool {pool}" if pool else str(ip) for ip, pool in addresses.items()
        )
        self._events.record(
            reference_to(owner), type="Normal", reason="AddressAllocated", message=given
        )

    def waiting(self, owner: Owner, why: str) -> None:
        """Record that the service's request is not met, with the reason."""
        self._events.record(reference_to(owner), type="Warning", reason=NOT_ALLOCATED, message=why)

    def misunderstood(self, owner: Owner, what: str) -> None:
        """Record that extip cannot interpret an annotation of the service."""
        self._events.record(reference_to(owner), type="Warning", reason=MISUNDERSTOOD, message=what)

    def contested(self, owner: Owner, field: str, rival: str) -> None:
        """Record that another program keeps changing a field of the service."""
        who = f"field manager {rival}" if rival else "another program"
        self._events.record(
            reference_to(owner),
            type="Warning",
            reason="FieldContested",
            message=f"{field} is changed by {who} each time that extip has written it; extip "
            "writes its addresses back ever more rarely: have one of the two leave the field alone",
        )
