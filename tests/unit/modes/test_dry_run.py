"""What a dry run prints: each address once, with what would happen to it."""

from ipaddress import ip_interface

import pytest

from extip.addresses.observation import (
    AddressObserver,
    AddressOptions,
    NodeObservation,
    Observation,
)
from extip.addresses.policy.changes import AddressPlan
from extip.clock import LoopClock
from extip.errors import LinkNotFoundError
from extip.guard.policy.rules import Guard
from extip.modes.dry_run import observe, render
from extip.net.interfaces import Change, Operation
from tests.fakes.interfaces import ETH0, ethernet
from tests.fakes.link import FakeNode

MOVED, KEPT, NEW = (ip_interface(f"10.88.1.{n}/24") for n in (1, 2, 3))

LINK = ethernet(mac=bytes(6), promotes_secondaries=True)


def test_an_address_that_is_moved_is_not_listed_as_kept_as_well():
    changes = (Change(Operation.ADD, 2, NEW), Change(Operation.MOVE, 2, MOVED))
    view = Observation(
        link=LINK,
        observed=(),
        admission=None,
        plan=AddressPlan(changes=changes, up=frozenset({MOVED.ip, KEPT.ip})),
    )
    assert [line.split() for line in render(NodeObservation(on=(view,))).splitlines()] == [
        ["add", "10.88.1.3/24"],
        ["move", "10.88.1.1/24"],
        ["keep", "10.88.1.2"],
    ]


def test_an_address_that_stays_down_for_want_of_endpoints_is_listed():
    view = Observation(
        link=LINK,
        observed=(),
        admission=None,
        plan=AddressPlan(changes=(), up=frozenset({KEPT.ip})),
    )
    text = render(NodeObservation(on=(view,)), [NEW])
    assert [line.split(maxsplit=2) for line in text.splitlines()] == [
        ["keep", "10.88.1.2"],
        ["down", "10.88.1.3/24", "none of its services has a ready endpoint"],
    ]


async def test_where_the_interface_is_missing_those_that_there_are_are_named():
    node = FakeNode(LoopClock())
    options = AddressOptions(links=ETH0, guard=Guard(), ttl_s=6, refresh_s=2.0, resync_s=20.0)
    observer = AddressObserver(options, inputs=lambda: None, links=node.links, table=node.table)
    for number in range(10):
        node.add_link(f"bond{number}")
    named = ", ".join(f"bond{number}" for number in range(8))
    with pytest.raises(
        LinkNotFoundError, match=rf"no interface 'eth0'; there are {named} and 2 more"
    ):
        await observe(observer, node.links)
