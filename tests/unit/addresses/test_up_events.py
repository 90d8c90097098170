"""Simple mode tells services that their IPs have come up; the node, when there are many."""

import asyncio
from ipaddress import ip_address, ip_interface

from extip.addresses.up_events import UpEvents
from extip.kube.events import EventRecorder
from extip.services.policy.arrivals import MANY
from extip.services.policy.requests import Owner
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import run_virtually


class Recorder(EventRecorder):
    """Keeps Events."""

    def __init__(self):
        self.told = []

    def record(self, reference, *, type, reason, message):  # noqa: A002 - the API's word
        assert (type, reason) == ("Normal", "AddressUp")
        self.told.append((reference.kind, reference.name, message))


def owner(name):
    return Owner(kind="Service", namespace="shop", name=name, uid=f"uid-{name}")


def told(wanted, act):
    """Return what is told after `act` has changed what is up."""

    async def main():
        recorder = Recorder()
        events = UpEvents(recorder, wanted=lambda: wanted, node="n1", link=lambda _ip: "eth0")
        async with beside(events.run()):
            act(events)
            await asyncio.sleep(60)
        return recorder.told

    return run_virtually(main())


WANTED = {
    ip_interface("10.0.0.1/32"): (owner("api"), owner("web")),
    ip_interface("fd00::1/128"): (owner("web"),),
    ip_interface("10.0.0.2/32"): (owner("db"),),
}


def test_each_service_is_told_once_of_all_its_ips():
    def act(events):
        events.announce([ip_address("10.0.0.1")])
        events.announce([ip_address("fd00::1"), ip_address("10.0.0.2"), ip_address("10.0.0.9")])
        events.withdraw([ip_address("10.0.0.2"), ip_address("10.0.0.3")])

    assert told(WANTED, act) == [
        ("Service", "api", "10.0.0.1 is on n1, eth0"),
        ("Service", "web", "10.0.0.1 is on n1, eth0; fd00::1 is on n1, eth0"),
    ]


def test_the_node_is_told_of_many():
    wanted = {ip_interface(f"10.0.0.{n}/32"): (owner(f"s{n}"),) for n in range(MANY + 1)}
    found = told(wanted, lambda events: events.announce(interface.ip for interface in wanted))
    assert found == [
        (
            "Node",
            "n1",
            "21 IPs came up here: 10.0.0.0, 10.0.0.1, 10.0.0.2 and 18 more",
        )
    ]


def test_ips_that_nobody_asks_for_are_not_told():
    assert told({}, lambda events: events.announce([ip_address("10.0.0.1")])) == []
