"""Looked at one by one after each change, IPs are wanted or refused as by a look at all of them."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st

from extip.api.ipcontroller_v1 import IpClaim, IpClaimSpec, IpClaimStatus, ServiceReference
from extip.api.meta_v1 import FullObjectMeta
from extip.api.names import MANAGED_BY, MANAGED_BY_LABEL
from extip.claims.policy.claims import current_owners, index_claims, parse_cidr
from extip.guard.policy.admission import Admission, admit
from extip.guard.policy.reserved import Reserved
from extip.guard.policy.rules import Guard, Surroundings, Verdicts
from extip.net.interfaces import IPAddress
from extip.net.networks import Networks
from extip.pools.policy.outcome import Allocated, Allocation
from extip.scheduling.policy.keys import Key, Wanted
from extip.scheduling.wanted_ips import WantedIps
from extip.services.policy.namespace_sharing import resolve_sharing
from extip.services.policy.requests import Masks, Owner, Request, collect

IPS = [ip_address(f"10.0.0.{n}") for n in range(1, 5)]
MASKS = Masks(v4=32, v6=128)
IP = st.sampled_from(IPS)
SOME = st.frozensets(IP, max_size=2)
OWNER = st.builds(
    Owner,
    kind=st.just("Service"),
    namespace=st.sampled_from(["red", "blue"]),
    name=st.sampled_from("ab"),
    uid=st.just("u"),
)
OWNERS = st.lists(OWNER, min_size=1, max_size=2, unique=True).map(lambda o: tuple(sorted(o)))
ASKED = st.lists(
    st.tuples(OWNER, st.lists(st.sampled_from([*map(str, IPS), "nonsense"]), max_size=3)),
    max_size=4,
)
RESERVED = st.builds(
    Reserved,
    nodes=SOME,
    listed=SOME,
    cluster_ips=SOME,
    pod_ips=SOME,
    services=st.sampled_from([Networks(), Networks(frozenset({ip_network("10.0.0.4/32")}))]),
)
EVENT = st.one_of(
    st.tuples(st.just("ask"), ASKED),
    st.tuples(st.just("allocate"), st.tuples(IP, OWNERS)),
    st.tuples(st.just("release"), IP),
    st.tuples(st.just("disown"), st.tuples(OWNER, IP)),
    st.tuples(st.just("reserve"), RESERVED),
    st.tuples(st.just("claim"), st.tuples(IP, st.sampled_from(["red", "blue"]), st.booleans())),
    st.tuples(st.just("unclaim"), IP),
)


class History:
    """Requests, allocation and facts as they change, with who follows them."""

    def __init__(self):
        self.requests = collect([], MASKS.parse)
        self.explicit: dict[IPAddress, Request] = {}
        self.allocation = Allocation()
        self.reserved = Reserved()
        self.claims = {}
        self.guard = Guard(allowed=(ip_network("10.0.0.0/30"), ip_network("10.0.0.4/32")))
        self.told: list[Admission] = []
        self.follower = WantedIps(self.guard, self.told.append, self.claims_of)
        self.wanted: dict[Key, Wanted] = {}

    def claims_of(self, ip):
        return [self.claims[ip]] if ip in self.claims else []

    def ask(self, asked):
        self.requests = collect(asked, MASKS.parse)
        before = self.explicit
        self.explicit = {one.ip: (one, owners) for one, owners in self.requests.wanted.items()}
        ips = before.keys() | self.explicit.keys()
        changed = (ip for ip in ips if before.get(ip) != self.explicit.get(ip))
        self.follower.take_explicit({ip: self.explicit.get(ip) for ip in changed})

    def allocate(self, what):
        ip, owners = what
        one = Allocated(ip_interface(f"{ip}/24"), owners, "pool")
        allocated = {**self.allocation.allocated, ip: one}
        self.allocation = replace(self.allocation, allocated=allocated, changed=frozenset({ip}))

    def release(self, ip):
        allocated = {other: one for other, one in self.allocation.allocated.items() if other != ip}
        self.allocation = replace(self.allocation, allocated=allocated, changed=frozenset({ip}))

    def disown(self, what):
        changed = frozenset(ip for _, ip in (what, *self.allocation.disowned))
        self.allocation = Allocation(
            allocated=self.allocation.allocated, disowned=frozenset({what}), changed=changed
        )

    def reserve(self, reserved):
        self.reserved = reserved

    def claim(self, what):
        ip, namespace, up = what
        self.claims[ip] = IpClaim(
            metadata=FullObjectMeta(name=str(ip), labels={MANAGED_BY_LABEL: MANAGED_BY}),
            spec=IpClaimSpec(
                cidr=f"{ip}/32",
                services=(ServiceReference(namespace=namespace, name="a", uid="u"),),
            ),
            status=IpClaimStatus(holder="n1" if up else ""),
        )

    def unclaim(self, ip):
        self.claims.pop(ip, None)

    def follow(self):
        self.step(2)
        while self.follower.pending:
            self.step(2)
        self.follower.report()

    def step(self, most):
        rejected = replace(self.requests, wanted={})
        found = self.follower.update(rejected, self.allocation, self.reserved, most)
        for ip, want in found.items():
            self.wanted.pop(ip, None)
            if want is not None:
                self.wanted[ip] = want

    def all_at_once(self):
        claims = self.claims.values()
        index = index_claims(claims)
        requests = resolve_sharing(
            self.allocation.extend(self.requests),
            lambda ip: current_owners(index.get(ip, ())),
            self.allocation.namespaces_together,
        )
        held = (parse_cidr(claim.spec.cidr) for claim in claims if claim.status.holder)
        kept = {one.ip for one in held if one is not None} & self.reserved.hearsay()
        around = Surroundings(reserved=self.reserved, kept=frozenset(kept))
        admission = admit(requests, Verdicts(self.guard, around))
        pools = self.allocation.pools()
        return admission, {
            one.ip: Wanted(one, requests.wanted[one], pools.get(one, ""))
            for one in admission.wanted
        }


@settings(max_examples=100)
@given(st.lists(EVENT, max_size=20))
def test_one_by_one_or_all_at_once_is_the_same(events):
    history = History()
    for kind, what in events:
        getattr(history, kind)(what)
        history.follow()
        admission, wanted = history.all_at_once()
        assert history.wanted == wanted
        assert history.told[-1].rejected == admission.rejected
        assert history.told[-1].doubtful == admission.doubtful


@settings(max_examples=100)
@given(st.lists(EVENT, max_size=20))
def test_it_is_the_same_where_facts_change_faster_than_ips_are_looked_at(events):
    history = History()
    for kind, what in events:
        getattr(history, kind)(what)
        history.step(1)
    history.follow()
    admission, wanted = history.all_at_once()
    assert history.wanted == wanted
    assert history.told[-1].rejected == admission.rejected


def test_a_fact_about_all_ips_is_worked_on_in_steps_and_once_more_when_it_changes_again():
    """A node that joins with a pod network of its own is such a fact."""
    looked: list[IPAddress] = []

    class Counting(Guard):
        def refuse(self, ip, around):
            looked.append(ip.ip)
            return super().refuse(ip, around)

    history = History()
    history.follower = WantedIps(Counting(), history.told.append, history.claims_of)
    texts = [f"10.1.{number // 250}.{number % 250}" for number in range(500)]
    history.ask([(Owner(kind="Service", namespace="red", name="a", uid="u"), texts)])
    history.follow()
    noted: list[int] = []
    for network in ("10.9.0.0/24", "10.9.1.0/24", "10.9.2.0/24"):
        looked.clear()
        history.reserve(Reserved(services=Networks(frozenset({ip_network(network)}))))
        history.step(64)
        assert len(looked) == 64
        noted.append(len(history.follower._due))
    assert noted == [0, 0, 0]
    looked.clear()
    while history.follower.pending:
        before = len(looked)
        history.step(64)
        assert len(looked) - before <= 64
    assert looked[-500:] == [*history.follower._asked]
    assert len(looked) == 500 - 3 * 64 + 500
