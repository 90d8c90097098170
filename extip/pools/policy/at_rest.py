"""Services that have the one address that they ask for, so that a plan changes nothing. Pure.

Most services are at rest when a scheduler begins to lead. The test for one of them takes a tenth of
its plan. It is cautious: it may leave a service at rest to a plan, which has the same outcome.
"""

from extip.api.core_v1 import VIP
from extip.api.ipcontroller_v1 import IpClaim
from extip.claims.policy.claims import parse_cidr
from extip.claims.policy.ports import ports_text
from extip.net.interfaces import IPAddress, prefix_length
from extip.pools.policy.address_request import AddressRequest
from extip.pools.policy.outcome import Allocated
from extip.pools.policy.pools import Pools

_V4 = 4
_MODES = ("", VIP)


def address_at_rest(request: AddressRequest) -> IPAddress | None:
    """Return the only address of a service that asks for any one, in its status; None otherwise."""
    if len(request.given) != 1 or len(request.ingress) != 1 or not request.to_status:
        return None
    ip, way = request.given[0], request.ingress[0]
    particular = (
        request.sharing_key
        or request.requested
        or request.unclear
        or request.count > 1
        or request.pools
        or request.external_ips
        or request.recorded
    )
    if particular or request.families != (ip.version,):
        return None
    as_written = ip.version == _V4 or way.ip == str(ip)  # an IPv6 address has several texts
    return ip if as_written and not way.hostname and way.ip_mode in _MODES else None


def allocated_at_rest(request: AddressRequest, claim: IpClaim, pools: Pools) -> Allocated | None:
    """Return what a plan allocates to such a service by the only claim of its address.

    Return None when that depends on more than this: the claim is for others, or a pool has to say.
    """
    services, owner, interface = claim.spec.services, request.owner, parse_cidr(claim.spec.cidr)
    if interface is None or services is None or len(services) != 1 or not claim.managed:
        return None
    known = services[0]
    if (known.name, known.namespace, known.uid) != (owner.name, owner.namespace, owner.uid):
        return None
    pool = pools.of(interface.ip)
    if (
        pool is None
        or pool.is_draining
        or ports_text(claim)
        or prefix_length(interface) != pool.prefixlen(interface.ip)
    ):
        return None
    return Allocated(interface, (owner,), pool.name)
