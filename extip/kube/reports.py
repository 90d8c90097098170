"""Where is reported: the status of claims, the IpNode of a controller, and a verdict on it."""

from extip.api.ipcontroller_v1 import IpClaim, IpNode
from extip.api.resources import IP_CLAIMS, IP_NODES
from extip.kube.client import ApiClient


class ClaimStatuses:
    """IpClaims at the API server; implements `claim_status.ClaimStatusStore`."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def get(self, name: str) -> IpClaim:
        """Return a claim as it is now. Raises NotFoundError."""
        return await self._client.get(IP_CLAIMS, name=name)

    async def patch_status(self, name: str, patch: object) -> IpClaim:
        """Merge into a claim's status. Raises ConflictError when the claim has changed."""
        return await self._client.patch(IP_CLAIMS, patch, name=name, subresource="status")


class NodeRecord:
    """One IpNode at the API server; implements `node_registration.NodeStore`."""

    def __init__(self, client: ApiClient, *, name: str) -> None:
        self._client = client
        self._name = name

    async def get(self) -> IpNode:
        """Return it. Raises NotFoundError."""
        return await self._client.get(IP_NODES, name=self._name)

    async def create(self, node: IpNode) -> IpNode:
        """Create it. Raises ConflictError when it exists."""
        return await self._client.create(IP_NODES, node)

    async def patch_status(self, patch: object) -> IpNode:
        """Merge into its status. Raises ConflictError when it has changed."""
        return await self._client.patch(IP_NODES, patch, name=self._name, subresource="status")


class NodeRecords:
    """All IpNodes at the API server; implements `node_verdicts.NodeStatusStore`."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def patch_status(self, name: str, patch: object) -> IpNode:
        """Merge into the status of one. Raises ConflictError when it has changed."""
        return await self._client.patch(IP_NODES, patch, name=name, subresource="status")
