"""The IPs that are wanted are found in steps, those that services write themselves first."""

from ipaddress import ip_address
from typing import cast

from extip.api.core_v1 import DetailedService
from extip.guard.policy.reserved import Reserved
from extip.guard.policy.rules import Guard
from extip.net.interfaces import IPAddress
from extip.pools.allocator import Allocator
from extip.pools.policy.outcome import Allocation
from extip.scheduling.demand import Demand
from extip.scheduling.inputs import SchedulerInputs
from extip.scheduling.policy.snapshot import Snapshot
from extip.services.explicit_ips import ExplicitIPs
from extip.services.policy.requests import Masks, Owner, Request, Requests
from extip.services.policy.written_ips import WrittenIPs

IPS = [ip_address(f"10.0.0.{number}") for number in range(1, 8)]
AT_ONCE = 3


class Allocations:
    """Notes what was known to be taken whenever addresses are given."""

    pending = False

    def __init__(self) -> None:
        self.taken: set[IPAddress] = set()
        self.known: list[set[IPAddress]] = []

    def take_explicit(self, changes: dict[IPAddress, Request | None]) -> None:
        self.taken |= {*changes}

    def plan(self, _node_ips: frozenset[IPAddress]) -> Allocation:
        self.known.append({*self.taken})
        return Allocation()


def test_no_address_is_given_before_all_that_services_write_themselves_are_known():
    services = {
        f"default/web-{number}": WrittenIPs(
            Owner(kind="Service", namespace="default", name=f"web-{number}", uid=str(number)),
            (str(ip),),
            None,
        )
        for number, ip in enumerate(IPS)
    }
    explicit: ExplicitIPs[WrittenIPs] = ExplicitIPs(
        get=services.get,
        extract=lambda one: one,
        parse=Masks().parse,
        permit=lambda _namespace, _ip: None,
        on_change=lambda _ips: None,
    )
    for key in services:
        explicit.update(key)
    allocations = Allocations()
    demand = Demand(
        cast("ExplicitIPs[DetailedService]", explicit),
        cast("Allocator", allocations),
        guard=Guard(),
        on_admission=lambda _admission: None,
        claims_of=lambda _ip: (),
    )
    inputs = SchedulerInputs(
        rejected=Requests(), reserved=Reserved(), cluster=Snapshot(nodes=()), steady=frozenset()
    )
    found: set[object] = set()
    while demand.pending:
        found |= {*demand.step(inputs, AT_ONCE)}
    assert found == {*IPS}
    assert allocations.known
    assert all(known == {*IPS} for known in allocations.known)
