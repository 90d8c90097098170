"""What a dry run prints: each address once, with what would happen to it."""

from ipaddress import ip_interface

from extip.addresses.observation import NodeObservation, Observation
from extip.addresses.policy.changes import AddressPlan
from extip.modes.dry_run import render
from extip.net.interfaces import Change, Operation
from tests.fakes.interfaces import ethernet

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
