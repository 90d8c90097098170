"""Which service has which address of a pool."""

from tests.mutants.mutation import Mutation

_ALLOCATION = ("unit/pools/test_allocation.py",)
_WISHES = ("unit/pools/test_allocation_wishes.py",)
_NEVER_TWICE = "An address is never given twice, also when the scheduler dies between two writes"

MUTATIONS = (
    Mutation(
        name="held-address-counts-as-free",
        promise=_NEVER_TWICE,
        file="pools/policy/port_sharing.py",
        old="self._index.users[ip] = asker.request.owner",
        new="self._index.users.get(ip)",
        tests=_ALLOCATION,
    ),
    Mutation(
        name="claimed-address-counts-as-free",
        promise=_NEVER_TWICE,
        file="pools/policy/allocation_index.py",
        old="self.users[interface.ip] = services[0] if services else",
        new="_ = services[0] if services else",
        tests=_ALLOCATION,
    ),
    Mutation(
        name="shown-address-counts-as-free",
        promise=_NEVER_TWICE,
        file="pools/policy/allocation_index.py",
        old="                self.users[ip] = request.owner",
        new="                _ = request.owner",
        tests=_ALLOCATION,
    ),
    Mutation(
        name="written-address-counts-as-free",
        promise=_NEVER_TWICE,
        file="pools/policy/allocation_index.py",
        old="self.users[ip] = owners[0]",
        new="_ = owners[0]",
        tests=_ALLOCATION,
    ),
    Mutation(
        name="address-shown-before-it-is-claimed",
        promise=_NEVER_TWICE,
        file="pools/policy/service_update.py",
        old="shown = [ip for ip in holding.held if ip in holding.claimed]",
        new="shown = list(holding.held)",
        tests=_ALLOCATION,
    ),
    Mutation(
        name="service-written-without-precondition",
        promise=_NEVER_TWICE,
        file="pools/policy/service_update.py",
        old='metadata: dict[str, object] = {"resourceVersion": update.version}',
        new="metadata: dict[str, object] = {}",
        tests=("unit/pools/test_service_update.py",),
    ),
    Mutation(
        name="clashing-ports-share",
        promise="no port (number and protocol) is the same",
        file="pools/policy/port_sharing.py",
        old="return not self._ports(one) & self._ports(other)",
        new="return True",
        tests=_ALLOCATION + _WISHES,
    ),
    Mutation(
        name="namespaces-share-an-address",
        promise="Services of one namespace share an address",
        file="pools/policy/port_sharing.py",
        old="if one.namespace != other.namespace and not",
        new="if not one.namespace and not",
        tests=_ALLOCATION + _WISHES,
    ),
    Mutation(
        name="unasked-sharing",
        promise="when each of them asks for it by name",
        file="pools/policy/port_sharing.py",
        old="return asked and _asks(request, ip)",
        new="return True",
        tests=_ALLOCATION + _WISHES,
    ),
    Mutation(
        name="node-address-from-a-pool",
        promise="addresses of other nodes",
        file="pools/policy/allocation_index.py",
        old="dict.fromkeys(facts.node_ips, A_NODE)",
        new="{}",
        tests=_ALLOCATION,
    ),
    Mutation(
        name="pool-serves-everybody",
        promise="A pool's own selectors say which services it serves",
        file="pools/policy/allocation_index.py",
        old="return self._pools.by_name[pool].serves(request.labels, labels)",
        new="return self._pools.by_name[pool] is not None",
        tests=_ALLOCATION + _WISHES,
    ),
    Mutation(
        name="taken-address-is-given-again",
        promise="is then set aside, and the service gets another one at once",
        file="pools/policy/set_aside.py",
        old="if ip not in aside.avoided:",
        new="if ip not in aside.again:",
        tests=("unit/pools/test_set_aside.py",),
    ),
    Mutation(
        name="address-goes-before-its-successor-is-up",
        promise="Then the status shows the old and the new one until the new one is up",
        file="pools/policy/service_update.py",
        old="arrived = {ip.version for ip in self.held if ip in self.up}",
        new="arrived = {ip.version for ip in self.held}",
        tests=_ALLOCATION + _WISHES,
    ),
    Mutation(
        name="waiting-services-never-get-a-freed-address",
        promise="A service keeps its addresses until it can get the ones that it asks for now",
        file="pools/policy/allocation_state.py",
        old="note(self._touched.services, map(str, self._decisions.hopeful()))",
        new="",
        tests=("unit/pools/test_allocation_state.py",),
    ),
)
