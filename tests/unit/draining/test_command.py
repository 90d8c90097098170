"""A drain that can no longer see claims says that the node stays drained."""

from typing import cast

import pytest

from extip.api.ipcontroller_v1 import (
    IpClaim,
    IpClaimSpec,
    IpClaimStatus,
    IpNode,
    IpNodeStatus,
)
from extip.api.meta_v1 import FullObjectMeta
from extip.api.names import MANAGED_BY, MANAGED_BY_LABEL, NODE_LABEL, STANDBY_LABEL
from extip.api.resources import IP_CLAIMS, IP_NODES
from extip.cache.listwatch import Page
from extip.draining import command
from extip.errors import ApiError, ApiUnavailableError, NotFoundError, UnansweredError
from extip.kube.client import EVERYTHING, ApiClient


class Server:
    """Fails each list of claims."""

    def __init__(self, error: ApiError) -> None:
        self.error = error

    async def list(self, resource, *_scope, **_how):
        if resource is IP_CLAIMS:
            raise self.error
        return Page(items=(), resource_version="1")


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (NotFoundError("404 page not found"), "somebody deleted the definition ipclaims."),
        (ApiUnavailableError("no answer", request="list ipclaims"), "list ipclaims: no answer"),
    ],
)
async def test_a_drain_that_cannot_see_claims_tells_how_to_take_it_back(error, why):
    client = cast("ApiClient", Server(error))
    with pytest.raises(UnansweredError) as told:
        await command._emptied(client, "n1", 1)
    assert str(told.value).startswith(
        f"n1 is being drained, and whether it is empty is not known: {why}"
    )
    assert str(told.value).endswith("to take the drain back: `extip drain --undo n1`")


class Cluster:
    """Node n1 has died with a claim that n2 has taken as its standby."""

    def __init__(self):
        self.record = IpNode(
            metadata=FullObjectMeta(name="n1"), status=IpNodeStatus(failed_over={"c": 2})
        )
        self.claim = IpClaim(
            metadata=FullObjectMeta(
                name="c",
                generation=2,
                labels={
                    NODE_LABEL: "n1",
                    STANDBY_LABEL: "n2",
                    MANAGED_BY_LABEL: MANAGED_BY,
                },
            ),
            spec=IpClaimSpec(cidr="10.0.0.1/32", node_name="n1", standby="n2"),
            status=IpClaimStatus(holder="n1"),
        )

    async def list(self, resource, scope=EVERYTHING, **_how):
        if resource is IP_NODES:
            return Page(items=(self.record,), resource_version="1")
        key, _, value = scope.label_selector.partition("=")
        labels = self.claim.metadata.labels or {}
        found = (self.claim,) if not key or labels.get(key) == value else ()
        return Page(items=found, resource_version="1")

    async def get(self, _resource, **_name):
        return self.claim


async def test_a_standby_is_not_empty_while_it_has_claims_that_name_a_dead_node():
    cluster = Cluster()
    watched = command.Emptying(cast("ApiClient", cluster), "n2")
    assert [one.name for one in await watched.drain_blockers()] == ["c"]
    cluster.record = IpNode(metadata=FullObjectMeta(name="n1"))
    assert await watched.drain_blockers() == [], "it is its node's again"


async def test_a_dead_node_is_not_empty_before_its_standbys_report():
    cluster = Cluster()
    watched = command.Emptying(cast("ApiClient", cluster), "n1")
    (one,) = await watched.drain_blockers()
    assert one.why.startswith("given to n2, which does not have it up")
