"""Writes IpClaims to the API server, for the scheduler."""

from collections.abc import Callable

from extip.api.core_v1 import DetailedService
from extip.api.ipcontroller_v1 import IpClaim, ServiceReference
from extip.api.resources import DETAILED_SERVICES, IP_CLAIMS
from extip.errors import ApiError, ConflictError, NotFoundError
from extip.kube.client import ApiClient
from extip.supervisor import for_each

_CONCURRENCY = 16
"""Services that are read at once. A claim may name a thousand, and a write has four seconds."""


class ClaimStore:
    """Every call raises ApiError.

    `known` returns the version of a service that was decided over.
    """

    def __init__(self, client: ApiClient, known: Callable[[str], DetailedService | None]) -> None:
        self._client = client
        self._known = known

    async def create(self, claim: IpClaim) -> IpClaim:
        """Create a claim. Raises ConflictError when one with that name exists."""
        return await self._client.create(IP_CLAIMS, claim)

    async def patch(self, claim: IpClaim, patch: object) -> IpClaim:
        """Merge into a claim."""
        return await self._client.patch(IP_CLAIMS, patch, name=claim.metadata.name)

    async def patch_status(self, claim: IpClaim, patch: object) -> IpClaim:
        """Merge into a claim's status."""
        return await self._client.patch(
            IP_CLAIMS, patch, name=claim.metadata.name, subresource="status"
        )

    async def delete(self, claim: IpClaim) -> None:
        """Delete a claim, if neither the claim nor one of its services has changed.

        Each service is read from the API server; one that another instance has now counts as gone.
        In a cache that is broken, silent or behind (that of a new leader, for instance) a service
        looks like one that is gone. The deletion of its claim would stop its traffic. Raises
        ConflictError when one has changed.
        """
        failures: list[ApiError] = []

        async def confirm(service: ServiceReference) -> None:
            try:
                await self._confirm(service)
            except ApiError as error:
                failures.append(error)

        await for_each(claim.spec.services or (), confirm, limit=_CONCURRENCY)
        if failures:
            raise failures[0]
        await self._client.delete(IP_CLAIMS, name=claim.metadata.name, seen=claim)

    async def _confirm(self, service: ServiceReference) -> None:
        known = self._known(str(service))
        try:
            found = await self._client.get(
                DETAILED_SERVICES, name=service.name, namespace=service.namespace
            )
        except NotFoundError:
            return
        if known is None and not self._client.sees(found.metadata.labels):
            return  # it belongs to another instance now
        if known is None or known.metadata.resource_version != found.metadata.resource_version:
            raise ConflictError(f"the cache is behind: service {service} is not as it says")
