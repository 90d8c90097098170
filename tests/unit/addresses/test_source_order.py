"""The node's own addresses come first, in whatever order they and external IPs came and went."""

from ipaddress import IPv4Address, ip_address, ip_interface

from hypothesis import given
from hypothesis import strategies as st

from extip.addresses.policy.changes import plan_addresses
from extip.addresses.policy.move_pace import MovePace
from extip.addresses.policy.readd_backoff import AT_ONCE, CALM_S
from extip.clock import LoopClock
from extip.net.interfaces import Change, Operation
from tests.fakes.link import FakeNode

OWN = tuple(map(ip_interface, ("10.0.0.1/24", "10.0.0.2/24", "10.0.0.3/16", "10.1.0.1/24")))
OTHER_KINDS = tuple(map(ip_interface, ("169.254.0.7/16", "10.0.0.4/32", "fd00::1/64")))
EXTERNAL = tuple(
    ip_interface(text)
    for host in ("10.0.0.51", "10.0.0.52", "10.0.9.53", "10.1.0.54")
    for text in (f"{host}/32", f"{host}/24", f"{host}/16")
)
GATEWAYS = tuple(map(ip_address, ("10.0.0.254", "10.0.9.254", "10.1.0.254", "192.0.2.1")))


class Still(LoopClock):
    """A clock that stands still."""

    def monotonic(self):
        return 0.0


class Kernel:
    """The fake kernel, and what it would send with."""

    def __init__(self):
        self.node = FakeNode(Still())
        self.link = self.node.add_link("eth0", promotes_secondaries=True)
        self.table = self.node.table

    def plan(self, wanted=None):
        return plan_addresses(
            wanted=wanted, observed=self.node.observed(), link_index=self.link.index, refresh=False
        ).changes

    def make(self, changes):
        return [self.table._make(change, 100) for change in changes]

    def source(self, gateway):
        """``inet_select_addr``: the first primary address that has the gateway, else the first."""
        primary = [
            a.interface
            for a in self.node.observed()
            if isinstance(a.interface.ip, IPv4Address) and not a.secondary
            if not a.interface.ip.is_link_local
        ]
        near = [interface for interface in primary if gateway in interface.network]
        return next(iter([*near, *primary]), None)

    def source_on_link(self, ip):
        """Return what the route with the longest prefix names, of all that addresses bring."""
        routes = [
            a.interface
            for a in self.node.observed()
            if not a.secondary and a.routed and ip in a.interface.network
        ]
        return max(routes, key=lambda i: i.network.prefixlen, default=None)


STEPS = st.lists(
    st.tuples(st.booleans(), st.sampled_from([*OWN, *OTHER_KINDS, *EXTERNAL])), max_size=30
)


def after(steps):
    """Return a kernel where addresses came and went as `steps` say, and what is wanted there."""
    kernel, wanted = Kernel(), set()
    index = kernel.link.index
    for comes, interface in steps:
        external = interface in EXTERNAL
        if comes and external:
            kernel.node.insert(index, interface, valid_s=100, ours=True)
            wanted.add(interface)
        elif comes:
            kernel.node.insert(index, interface, valid_s=None, ours=False)
        elif kernel.node.delete(index, interface) == 0:
            wanted.discard(interface)
    return kernel, wanted


def settle(kernel, wanted):
    """Make passes until there is nothing to do.

    There may be two: a node's own address that takes the place of an external IP as the primary one
    of its subnet comes behind all other primary ones.
    """
    for _ in range(2):
        changes = kernel.plan(wanted)
        assert {c.operation for c in changes} <= {Operation.MOVE}
        assert len(set(changes)) == len(changes)
        assert not any(kernel.make(changes))
    assert kernel.plan(wanted) == ()


def own(kernel):
    return {i for i in OWN if i in {a.interface for a in kernel.node.observed()}}


@given(STEPS, st.booleans())
def test_whatever_came_and_went_moves_end_and_change_nothing_but_the_order(steps, known):
    kernel, wanted = after(steps)
    before = {(a.interface, a.ours) for a in kernel.node.observed()}
    settle(kernel, wanted if known else None)
    assert {(a.interface, a.ours) for a in kernel.node.observed()} == before


@given(STEPS)
def test_no_gateway_is_reached_with_an_external_ip_as_the_source(steps):
    kernel, wanted = after(steps)
    settle(kernel, wanted)
    mine = own(kernel)
    if not mine:
        return
    for gateway in GATEWAYS:
        chosen = kernel.source(gateway)
        if chosen not in mine | {*OTHER_KINDS}:
            assert not any(gateway in interface.network for interface in mine)
            assert gateway in chosen.network  # which the node's own are not
        on_link = kernel.source_on_link(gateway)
        if any(gateway in interface.network for interface in mine):
            assert on_link in mine | {*OTHER_KINDS}


@given(STEPS)
def test_nothing_moves_where_the_node_has_no_address_of_its_own_or_came_first(steps):
    kernel, _ = after([step for step in steps if step[1] in EXTERNAL])
    assert all(change.operation is not Operation.MOVE for change in kernel.plan())
    first = Kernel()
    first.node.put("eth0", OWN[0])
    for interface in EXTERNAL:
        first.make([c for c in first.plan({interface}) if c.operation is Operation.ADD])
        assert all(c.operation is not Operation.MOVE for c in first.plan())


def test_moves_are_few_when_they_do_not_last():
    """A few at once, then one each resync, and at once again after a calm minute."""
    move = Change(Operation.MOVE, 1, EXTERNAL[0])
    refresh = Change(Operation.REFRESH, 1, EXTERNAL[0])
    pace = MovePace(slowest_s=20)
    now, made = 1000.0, 0
    for _ in range(600):
        made += move in pace.paced([move, refresh], now)
        assert refresh in pace.paced([refresh], now)
        now += 0.1
    assert AT_ONCE <= made <= AT_ONCE + 60 / 20 + 1
    now += CALM_S
    assert pace.paced([move], now) == [move]
    assert pace.paced([move], now + 0.1) == [move]
