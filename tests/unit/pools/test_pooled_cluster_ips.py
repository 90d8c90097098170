"""Cluster IPs that lie in a pool are known, whatever comes first, and others cost nothing."""

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from extip.api.core_v1 import DetailedService, DetailedServiceSpec
from extip.pools.policy.pools import Pools, compile_pools
from extip.pools.pooled_cluster_ips import PooledClusterIps
from tests.unit.pools.allocation_world import pool

SOME = ("10.0.0.1", "10.0.0.2", "10.0.1.1", "fd00::1", "10.0.9.9", "None")
POOLS = [
    Pools(),
    compile_pools([pool("p", "10.0.0.0/24")]),
    compile_pools([pool("p", "10.0.0.0/24", ("10.0.0.2", "10.0.0.9")), pool("q", "fd00::/64")]),
    compile_pools([pool("far", "192.168.0.0/24")]),
]


class World:
    """Services with cluster IPs."""

    def __init__(self):
        self.known: dict[str, DetailedService] = {}
        self.news = 0
        self.index = PooledClusterIps(self.known.get, on_change=self._count)
        self.pools = POOLS[0]

    def _count(self):
        self.news += 1

    def put(self, key, *texts):
        self.known.pop(key, None)
        if texts:
            self.known[key] = DetailedService(spec=DetailedServiceSpec(cluster_ips=texts))
        self.index.update(key)

    def expected(self):
        texts = {text for one in self.known.values() for text in one.spec.cluster_ips or ()}
        ips = {ip_address(text) for text in texts - {"None"}}
        return {ip for ip in ips if self.pools.of(ip) is not None}


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from("abc"), st.lists(st.sampled_from(SOME), max_size=2)),
            st.sampled_from(POOLS),
        )
    )
)
def test_they_are_those_of_a_look_at_everything(steps):
    world = World()
    for step in steps:
        if isinstance(step, Pools):
            world.pools = step
        else:
            world.put(step[0], *step[1])
        found = world.index.pooled(world.pools)
        assert found == world.expected()
        assert world.index.pooled(world.pools) is found


def test_only_those_in_pools_are_news():
    world = World()
    world.pools = POOLS[1]
    world.put("far", "10.0.1.1", "10.0.9.9")
    world.index.pooled(world.pools)
    world.news = 0
    world.put("a", "10.0.1.2")
    assert world.news == 0
    world.put("b", "10.0.1.3", "10.0.0.2")
    assert world.news >= 1
    world.news = 0
    world.put("b")
    assert world.news == 1
