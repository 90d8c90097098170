"""Services → the addresses that pools gave them which are gone now. Pure.

Where nobody makes claims, only the services tell of such an address. Beside an address of a pool
it was given, too: another allocator would not have left room for ours.
"""

from collections.abc import Iterable

from extip.net.interfaces import IPAddress
from extip.pools.policy.address_request import AddressRequest
from extip.pools.policy.pools import Pools
from extip.services.policy.requests import Owner

POOL_GONE = "gone"
"""Stands for the name of the pool, which nobody knows any more."""


def of_gone_pools(
    address_requests: Iterable[AddressRequest], pools: Pools
) -> dict[IPAddress, list[Owner]]:
    """Return each address that no pool has, and that a pool has given, with its services."""
    found: dict[IPAddress, list[Owner]] = {}
    for request in address_requests:
        for ip in _given(request, pools):
            if ip.version in request.families and pools.of(ip) is None:
                found.setdefault(ip, []).append(request.owner)
    return found


def _given(request: AddressRequest, pools: Pools) -> Iterable[IPAddress]:
    if request.to_external_ips:
        return (ip for ip in request.recorded if ip in request.external)
    if request.to_status and any(pools.of(ip) is not None for ip in request.given):
        return request.given
    return ()
