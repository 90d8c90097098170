"""One Lease of coordination.k8s.io/v1, as electors and heartbeats use it."""

from extip.api.coordination_v1 import Lease
from extip.api.names import HEARTBEAT_SELECTOR
from extip.api.resources import LEASES
from extip.cache.listwatch import MOST_RECENT
from extip.kube.client import ApiClient, Scope


class LeaseLock:
    """Reads and writes one Lease; implements `LeaseStore`."""

    def __init__(self, client: ApiClient, *, name: str, namespace: str) -> None:
        self._client = client
        self._name = name
        self._namespace = namespace

    async def get(self) -> Lease:
        """Return the Lease as it is now. Raises NotFoundError."""
        return await self._client.get(LEASES, name=self._name, namespace=self._namespace)

    async def create(self, lease: Lease) -> Lease:
        """Create it. Raises ConflictError when it exists."""
        return await self._client.create(LEASES, lease)

    async def replace(self, lease: Lease) -> Lease:
        """Replace it. Raises ConflictError unless its resourceVersion is current."""
        return await self._client.replace(LEASES, lease)


class HeartbeatReader:
    """Reads all heartbeat Leases of a namespace."""

    def __init__(self, client: ApiClient, *, namespace: str) -> None:
        self._client = client
        self._scope = Scope(namespace=namespace, label_selector=HEARTBEAT_SELECTOR)

    async def read(self) -> tuple[Lease, ...]:
        """Return them as they are now, from a quorum."""
        page = await self._client.list(LEASES, self._scope, resource_version=MOST_RECENT)
        return page.items
