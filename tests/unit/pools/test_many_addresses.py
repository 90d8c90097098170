"""A service may name or write thousands of addresses, and keeps nobody else waiting."""

import msgspec
import pytest

from extip.api.core_v1 import DetailedService
from extip.api.ipcontroller_v1 import IpClaimPool, IpClaimPoolSpec
from extip.api.meta_v1 import FullObjectMeta
from extip.net.interfaces import CachedIPv4Address
from extip.pools.policy.address_request import MAX_NAMED, address_request
from extip.pools.policy.allocation import plan_allocation
from extip.pools.policy.allocation_index import Facts
from extip.pools.policy.pools import compile_pools
from extip.services.policy.requests import Masks, collect, service_owner

POOL = IpClaimPool(metadata=FullObjectMeta(name="edge"), spec=IpClaimPoolSpec(cidr="10.0.0.0/16"))
MANY = 3000


def ips(count):
    return [f"10.0.{n >> 8}.{n & 255}" for n in range(1, count + 1)]


def decided(*, kind="ClusterIP", external=(), **annotations):
    """Return the request of a service, and what is decided for it."""
    service = msgspec.convert(
        {
            "metadata": {
                "name": "web",
                "namespace": "shop",
                "uid": "u",
                "resourceVersion": "1",
                "annotations": {f"ipcontroller.ext/{k}": v for k, v in annotations.items()}
                | ({"external-ip": "auto"} if kind == "ClusterIP" else {}),
            },
            "spec": {"type": kind, "ipFamilies": ["IPv4"], "externalIPs": list(external)},
        },
        DetailedService,
    )
    request = address_request(service, lb_class="")
    assert request is not None
    written = collect([(service_owner(service), external)], Masks().parse)
    return request, plan_allocation([request], compile_pools([POOL]), [], Facts(requests=written))


@pytest.mark.parametrize(
    "annotations",
    [
        {},
        {"allocated": ",".join(ips(MANY))},
        {"addresses": ",".join(ips(100))},
        {"addresses": ",".join(ips(MANY)), "allocated": ",".join(ips(MANY))},
    ],
    ids=["written", "forged", "named", "all"],
)
def test_addresses_are_not_compared_each_with_each(annotations, monkeypatch):
    compared = 0
    equals = CachedIPv4Address.__eq__

    def counting(self, other):
        nonlocal compared
        compared += 1
        return equals(self, other)

    monkeypatch.setattr(CachedIPv4Address, "__eq__", counting)
    decided(external=ips(MANY), **annotations)
    assert compared < 20 * MANY


def test_more_addresses_than_any_service_needs_are_a_mistake():
    request, allocation = decided(kind="LoadBalancer", addresses=",".join(ips(MAX_NAMED)))
    assert len(allocation.allocated) == MAX_NAMED
    request, allocation = decided(kind="LoadBalancer", addresses=",".join(ips(MAX_NAMED + 1)))
    assert allocation.allocated == {}
    assert list(allocation.waiting.values()) == [
        "annotation ipcontroller.ext/addresses names 129 addresses, and 128 are the most"
    ]
    assert len(request.requested) == MAX_NAMED


def test_the_first_pools_of_a_list_count():
    names = [f"p{n}" for n in range(40_000)]
    request, allocation = decided(kind="LoadBalancer", pool=",".join([*names, "edge"]))
    assert len(request.pools) == MAX_NAMED
    assert allocation.allocated == {}
    _, allocation = decided(kind="LoadBalancer", pool=",".join([*names[: MAX_NAMED - 1], "edge"]))
    assert len(allocation.allocated) == 1
