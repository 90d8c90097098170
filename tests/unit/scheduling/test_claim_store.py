"""No claim is deleted on the strength of a cache that is behind."""

from typing import cast

import pytest
from msgspec.structs import replace

from extip.api.core_v1 import DetailedService, DetailedServiceMeta
from extip.api.ipcontroller_v1 import IpClaim, IpClaimSpec, ServiceReference
from extip.api.meta_v1 import FullObjectMeta
from extip.api.names import INSTANCE_LABEL
from extip.errors import ConflictError, NotFoundError
from extip.kube.client import ApiClient
from extip.scheduling.claim_store import ClaimStore

CLAIM = IpClaim(
    metadata=FullObjectMeta(name="10-0-0-1-32", uid="u", resource_version="7"),
    spec=IpClaimSpec(
        cidr="10.0.0.1/32",
        services=tuple(ServiceReference(namespace="shop", name=n, uid=n) for n in ("db", "web")),
    ),
)


def service(key, version):
    namespace, name = key.split("/")
    meta = DetailedServiceMeta(namespace=namespace, name=name, uid=name, resource_version=version)
    return DetailedService(metadata=meta)


class Server:
    """What there is, and what was deleted."""

    def __init__(self, **versions):
        self.services = {key: service(f"shop/{key}", v) for key, v in versions.items()}
        self.deleted = []

    async def get(self, _resource, *, name, namespace):
        assert namespace == "shop"
        if name not in self.services:
            raise NotFoundError("gone")
        return self.services[name]

    def sees(self, labels):
        return INSTANCE_LABEL not in (labels or {})

    async def delete(self, _resource, *, name, seen):
        self.deleted.append((name, seen))


@pytest.mark.parametrize(
    ("there", "cached", "goes"),
    [
        ({}, {}, True),
        ({}, {"web": "1"}, True),
        ({"web": "1"}, {"web": "1"}, True),
        ({"web": "2"}, {"web": "1"}, False),
        ({"web": "1"}, {}, False),
        ({"db": "3", "web": "1"}, {"db": "3"}, False),
        ({"db": "3", "web": "1"}, {"db": "3", "web": "1"}, True),
    ],
)
async def test_a_claim_goes_only_when_its_services_are_as_the_cache_has_them(there, cached, goes):
    server = Server(**there)
    known = {f"shop/{name}": service(f"shop/{name}", version) for name, version in cached.items()}
    store = ClaimStore(cast("ApiClient", server), known.get)
    if goes:
        await store.delete(CLAIM)
        assert server.deleted == [("10-0-0-1-32", CLAIM)]
    else:
        with pytest.raises(ConflictError, match="the cache is behind: service shop/web"):
            await store.delete(CLAIM)
        assert server.deleted == []


async def test_the_claim_of_a_service_that_another_instance_has_now_goes():
    server = Server(web="2")
    found = server.services["web"]
    labels = {INSTANCE_LABEL: "blue"}
    server.services["web"] = replace(found, metadata=replace(found.metadata, labels=labels))
    await ClaimStore(cast("ApiClient", server), lambda _: None).delete(CLAIM)
    assert [name for name, _ in server.deleted] == [CLAIM.metadata.name]
