"""What the scheduling loop writes to and tells, as it sees it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from extip.api.ipcontroller_v1 import IpClaim, IpClaimPool, ServiceReference
from extip.plan.allocation import Allocation
from extip.plan.link import IPAddress
from extip.plan.publication import Publication
from extip.plan.requests import Requests


@dataclass(frozen=True, slots=True)
class SetPoolStatus:
    """Merge into a pool's status."""

    pool: IpClaimPool
    """As it was decided over."""
    patch: object


Publishing = Publication | SetPoolStatus
"""What allocation writes."""


class ClaimStore(Protocol):
    """Where claims are written; every call raises ApiError."""

    async def create(self, claim: IpClaim) -> IpClaim:
        """Create a claim. Raises ConflictError when there is one of that name."""

    async def patch(self, claim: IpClaim, patch: object) -> IpClaim:
        """Merge into a claim."""

    async def patch_status(self, claim: IpClaim, patch: object) -> IpClaim:
        """Merge into a claim's status."""

    async def delete(self, claim: IpClaim) -> None:
        """Delete a claim as it was read.

        Raises ConflictError also when a service that it names is there and differs from what was
        decided over: nothing brings the IP down because a cache is behind.
        """


class AddressAllocator(Protocol):
    """Gives addresses from pools; see `extip.reconcile.allocation.Allocator`."""

    def forget(self) -> None:
        """Forget what was written and read: another may have led meanwhile."""

    def plan(
        self, claims: Collection[IpClaim], requests: Requests, node_ips: frozenset[IPAddress]
    ) -> Allocation:
        """Decide which service has which address."""

    def due(self, allocation: Allocation) -> tuple[Mapping[str, Publishing], float | None]:
        """Return what is to be written to services and pools, by name, the most urgent first.

        And the seconds after which there may be more without anything having changed, or None.
        """

    def claimed(self, claim: IpClaim) -> Mapping[str, Publishing]:
        """Take note of a claim that was written; return what can be written to services then."""

    async def write(self, one: Publishing) -> None:
        """Make one of these writes; raises ApiError."""

    def failed(self, one: Publishing, error: str) -> None:
        """Take note of a write that failed and had not before."""


class Historian(Protocol):
    """Tells users what was decided about a claim, where they look."""

    def moved(self, claim: IpClaim, node: str, why: str) -> None:
        """Record that `claim` was given to another node."""

    def contested(self, claim: IpClaim) -> None:
        """Record that somebody undoes what is written to the claim, each time."""

    def not_served(self, service: ServiceReference, claim: IpClaim) -> None:
        """Record that a service has no endpoint where its IP is, though it wants local ones."""
