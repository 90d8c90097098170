"""What a dry run prints: each address once, with what would happen to it."""

from ipaddress import ip_interface

from extip.modes.simple import render
from extip.plan.addresses import AddressPlan
from extip.plan.link import Change, Link, Operation
from extip.reconcile.observe import View

MOVED, KEPT, NEW = (ip_interface(f"10.88.1.{n}/24") for n in (1, 2, 3))

LINK = Link(
    index=2,
    name="eth0",
    mac=bytes(6),
    up=True,
    carrier=True,
    announces=True,
    mtu=1500,
    promotes_secondaries=True,
)


def test_an_address_that_is_moved_is_not_listed_as_kept_as_well():
    changes = (Change(Operation.ADD, 2, NEW), Change(Operation.MOVE, 2, MOVED))
    view = View(
        link=LINK,
        observed=(),
        desire=None,
        plan=AddressPlan(changes=changes, up=frozenset({MOVED.ip, KEPT.ip})),
    )
    assert [line.split() for line in render(view).splitlines()] == [
        ["add", "10.88.1.3/24"],
        ["move", "10.88.1.1/24"],
        ["keep", "10.88.1.2"],
    ]
