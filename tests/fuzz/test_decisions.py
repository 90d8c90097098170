"""Whatever objects look like, decisions come to an end, and no IP comes up that should not."""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_network
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from extip.api import resources
from extip.api.core_v1 import DetailedService
from extip.api.ipcontroller_v1 import IpClaim
from extip.api.meta_v1 import KubernetesObject
from extip.api.resources import Resource
from extip.claims.policy.claims import (
    Delete,
    current_owners,
    index_claims,
    parse_cidr,
    plan_claims,
)
from extip.claims.policy.names import claim_name
from extip.claims.policy.node_claims import bring_together, held_claim, outcomes, status_after
from extip.guard.policy.admission import Admission, admit
from extip.guard.policy.reserved import Reserved, network_of, reported_network, unite
from extip.guard.policy.rules import Guard, Surroundings, Verdicts
from extip.kube.codec import ResourceCodec
from extip.liveness.lease_content import LeaseContent, beat_of, leaving_reason, renewed
from extip.net.networks import Networks
from extip.pools.policy.address_request import address_request
from extip.pools.policy.allocation import plan_allocation
from extip.pools.policy.allocation_index import Facts
from extip.pools.policy.outcome import Allocation
from extip.pools.policy.pools import compile_pools
from extip.scheduling.policy.node_facts import kubernetes_node, node_facts
from extip.scheduling.policy.placement import Strategy
from extip.scheduling.policy.planner import plan_schedule
from extip.scheduling.policy.schedule import AssignClaim, CreateClaim
from extip.scheduling.policy.snapshot import Snapshot
from extip.services.policy.namespace_sharing import resolve_sharing
from extip.services.policy.permissions import Permissions
from extip.services.policy.requests import Masks, Requests, collect, parse_ip, service_owner
from tests.fakes.interfaces import ETH0
from tests.fuzz import objects
from tests.fuzz.objects import listed, mangled

T = TypeVar("T", bound=KubernetesObject)

TERMS = LeaseContent(heartbeat_s=2.0)
MASKS = Masks(v4=32, v6=128)
ALLOWED = (ip_network("10.0.0.0/16"), ip_network("fd00::/16"), ip_network("10.96.0.0/16"))
PERMISSIONS = Permissions.of(ALLOWED, [("other", ip_network("192.0.2.0/24"))])
NEVER = ("127.0.0.1", "::1", "0.0.0.0", "224.0.0.1", "fe80::1", "::ffff:10.0.0.1")  # noqa: S104


def several(good: st.SearchStrategy[object]) -> st.SearchStrategy[list[str]]:
    return st.lists(mangled(good), max_size=4)


def decoded(resource: Resource[T], texts: Iterable[str]) -> tuple[T, ...]:
    """Decode as the watch cache does; the last of several with one key counts."""
    page = ResourceCodec(resource).decode_list(listed(resource.kind, list(texts)))
    assert all(item.metadata.name for item in page.items)
    return tuple({item.metadata.key: item for item in page.items}.values())


def reserved(nodes: Iterable[str], ip_nodes: Iterable[str]) -> Reserved:
    known = (network_of(node) for node in decoded(resources.NODES, nodes))
    on_heartbeat = (reported_network(node) for node in decoded(resources.IP_NODES, ip_nodes))
    parts = unite(part for part in (*known, *on_heartbeat) if part is not None)
    return Reserved(nodes=parts.ips, gateways=parts.gateways, pods=Networks(parts.pods))


def check(admission: Admission, requests: Requests, around: Reserved) -> None:
    """Nothing is wanted that nobody asked for, or that hurts; every request has its answer."""
    assert admission.wanted <= requests.wanted.keys()
    for interface in admission.wanted:
        assert str(interface.ip) not in NEVER
        assert interface.ip not in around.single()
        assert interface.ip not in around.pods
    answered = {str(interface.ip) for interface in admission.wanted}
    answered |= {rejection.text for rejection in admission.rejected}
    assert {str(interface.ip) for interface in requests.wanted} <= answered
    for rejection in admission.rejected:
        assert len(rejection.text) <= 64
        assert len(rejection.refusal.message) < 400 + len(str(rejection.owner))


@settings(max_examples=50)
@given(several(objects.SERVICE), several(objects.NODE))
def test_simple_mode_brings_up_what_was_written_and_harms_nobody(services, nodes):
    found = decoded(resources.SERVICES, services)
    asked = [(service_owner(s), s.spec.external_ips or ()) for s in found]
    requests = resolve_sharing(
        collect(asked, MASKS.parse, PERMISSIONS.refuse), lambda _: frozenset()
    )
    around = reserved(nodes, [])
    admission = admit(
        requests, Verdicts(Guard(allowed=PERMISSIONS.networks()), Surroundings(reserved=around))
    )
    check(admission, requests, around)
    written = {parse_ip(text) for _, texts in asked for text in texts}
    assert {interface.ip for interface in admission.wanted} <= written


class World:
    """What a scheduler sees, decoded."""

    def __init__(
        self, services: list[str], claims: list[str], pools: list[str], nodes: tuple[list[str], ...]
    ) -> None:
        self.services = decoded(resources.DETAILED_SERVICES, services)
        self.claims = decoded(resources.IP_CLAIMS, claims)
        self.pools = compile_pools(
            decoded(resources.IP_CLAIM_POOLS, pools), allowed=PERMISSIONS.networks()
        )
        self.reserved = reserved(*nodes)
        self.ip_nodes = {n.metadata.name: n for n in decoded(resources.IP_NODES, nodes[1])}
        self.nodes = {n.metadata.name: n for n in decoded(resources.NODES, nodes[0])}

    def allocation(self, requests: Requests) -> Allocation:
        address_requests = (address_request(service, lb_class="") for service in self.services)
        context = Facts(
            requests=requests, node_ips=self.reserved.single(), ports=partial(_ports, self.services)
        )
        return plan_allocation(
            [request for request in address_requests if request is not None],
            self.pools,
            self.claims,
            context,
        )

    def requests(self) -> tuple[Requests, Allocation]:
        asked = [(service_owner(s), s.spec.external_ips or ()) for s in self.services]
        explicit = collect(asked, MASKS.parse, PERMISSIONS.refuse)
        allocation = self.allocation(explicit)
        index = index_claims(self.claims)
        requests = resolve_sharing(
            allocation.extend(explicit), lambda ip: current_owners(index.get(ip, ()))
        )
        return requests, allocation

    def cluster(self) -> Snapshot:
        names = sorted({*self.ip_nodes, *self.nodes})
        return Snapshot(
            nodes=tuple(self._facts(name) for name in names),
            node_selectors={
                pool.name: pool.spec.node_selector
                for pool in self.pools.ordered
                if pool.spec.node_selector is not None
            },
            registered={name: node.metadata.created for name, node in self.ip_nodes.items()},
        )

    def _facts(self, name: str):
        node, ip_node = self.nodes.get(name), self.ip_nodes.get(name)
        kubernetes = None if node is None else kubernetes_node(node)
        return node_facts(name, ip_node, kubernetes, alive=True, leaving=False)


def _ports(services: tuple[DetailedService, ...], owner: object) -> frozenset[tuple[str, int]]:
    return frozenset(
        (port.protocol, port.port)
        for service in services
        if service_owner(service) == owner
        for port in service.spec.ports or ()
    )


worlds = st.builds(
    World,
    several(objects.SERVICE),
    several(objects.CLAIM),
    several(objects.POOL),
    st.tuples(several(objects.NODE), several(objects.IP_NODE)),
)


@settings(max_examples=80)
@given(worlds, st.sampled_from(Strategy))
def test_the_scheduler_claims_what_is_wanted_and_nothing_else(world, strategy):
    requests, allocation = world.requests()
    admission = admit(
        requests,
        Verdicts(Guard(allowed=PERMISSIONS.networks()), Surroundings(reserved=world.reserved)),
    )
    check(admission, requests, world.reserved)
    wanted = {interface: requests.wanted[interface] for interface in admission.wanted}
    schedule = plan_schedule(
        wanted, world.claims, world.cluster(), strategy, pools=allocation.pools()
    )
    for write in schedule.writes:
        if isinstance(write, CreateClaim):
            interface = parse_cidr(write.claim.spec.cidr)
            assert interface in wanted
            assert write.claim.metadata.name == claim_name(interface)
    _check_one_node_each(world, schedule)
    given_to: dict[object, set[str]] = {}
    for ip, allocated in allocation.allocated.items():
        given_to[ip] = {owner.namespace for owner in allocated.owners}
    for update in allocation.service_updates:
        for ip in update.new:
            assert len(given_to[ip]) == 1, "one namespace for an IP"
    actions = plan_claims(wanted, index_claims(world.claims), allocation.pools())
    assert len(actions) <= len(wanted) + len(world.claims) + 1


def _check_one_node_each(world, schedule) -> None:
    """See that each IP is on one of the nodes that are alive, once all is written."""
    nodes: dict[str, str] = {c.metadata.name: c.spec.node_name for c in world.claims}
    ips = {c.metadata.name: parse_cidr(c.spec.cidr) for c in world.claims}
    for write in schedule.writes:
        if isinstance(write, CreateClaim):
            nodes[write.claim.metadata.name] = write.claim.spec.node_name
            ips[write.claim.metadata.name] = parse_cidr(write.claim.spec.cidr)
        elif isinstance(write, AssignClaim):
            nodes[write.claim.metadata.name] = write.node
        elif isinstance(write, Delete):
            nodes.pop(write.claim.metadata.name)
    alive = {node.name for node in world.cluster().nodes}
    found: dict[object, set[str]] = {}
    for name, node in nodes.items():
        interface = ips[name]
        if interface is not None and node in alive and name not in schedule.refused:
            found.setdefault(interface.ip, set()).add(node)
    assert all(len(several_nodes) == 1 for several_nodes in found.values())


@settings(max_examples=50)
@given(several(objects.CLAIM), several(objects.NODE), several(objects.IP_NODE))
def test_a_controller_makes_something_of_every_claim(claims, nodes, ip_nodes):
    found = decoded(resources.IP_CLAIMS, claims)
    together = bring_together([held_claim(claim) for claim in found], links=ETH0)
    around = reserved(nodes, ip_nodes)
    admission = admit(together.requests, Verdicts(Guard(), Surroundings(reserved=around)))
    check(admission, together.requests, around)
    became = outcomes(together, admission, up=frozenset(), links=ETH0, problem="")
    assert became.keys() == {claim.metadata.name for claim in found}
    for claim in found:
        _settles(claim, became[claim.metadata.name])


def _settles(claim: IpClaim, outcome) -> None:
    """See that what is reported once is not reported again."""
    status = status_after(claim, outcome, node="n1", now="2026-01-01T00:00:00Z")
    if status is not None:
        again = IpClaim(metadata=claim.metadata, spec=claim.spec, status=status)
        assert status_after(again, outcome, node="n1", now="2026-01-02T00:00:00Z") is None


@settings(max_examples=50)
@given(several(objects.LEASE))
def test_every_lease_says_something(leases):
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for lease in decoded(resources.LEASES, leases):
        beat = beat_of(lease)
        assert 0 < beat.heartbeat_s < float("inf")
        assert isinstance(leaving_reason(lease), str)
        mine = renewed(lease, node="n1", identity="me", terms=TERMS, now=now)
        assert (
            ResourceCodec(resources.LEASES).decode_object(
                ResourceCodec(resources.LEASES).encode(mine)
            )
            == mine
        )


def test_the_strategies_do_make_good_objects():
    """A fuzzer whose every object fails to decode would test nothing."""
    for resource, good in (
        (resources.DETAILED_SERVICES, objects.SERVICE),
        (resources.IP_CLAIMS, objects.CLAIM),
        (resources.IP_CLAIM_POOLS, objects.POOL),
        (resources.NODES, objects.NODE),
        (resources.IP_NODES, objects.IP_NODE),
        (resources.LEASES, objects.LEASE),
    ):
        _decodes_mostly(resource, good)


def _decodes_mostly(resource, good) -> None:
    seen = []

    @settings(max_examples=100, database=None, derandomize=True)  # or a dozen may be bad by chance
    @given(mangled(good))
    def look(text):
        page = ResourceCodec(resource).decode_list(listed(resource.kind, [text]))
        seen.append(bool(page.items))

    look()
    assert sum(seen) >= len(seen) / 4, resource.kind
