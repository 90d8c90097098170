"""Simple mode takes an IP down while none of its services has a ready endpoint, and says so."""

from ipaddress import ip_interface

import pytest

from extip.endpoints.policy.unanswered import unanswered
from extip.endpoints.withdrawals import Withdrawals
from extip.guard.policy.admission import Admission
from extip.net.interfaces import IPAddress
from extip.services.policy.requests import Owner, Requests

WEB, DB = (Owner(kind="Service", namespace="shop", name=name, uid=name) for name in ("web", "db"))
V4, V6, SHARED = map(ip_interface, ("10.0.0.1/32", "fd00::1/128", "10.0.0.3/32"))
WANTED = {V4: (WEB,), V6: (WEB,), SHARED: (WEB, DB)}
NEW, LASTED = False, True
ADMISSION = Admission(wanted=frozenset(), rejected=frozenset())


@pytest.mark.parametrize(
    ("unready", "expected"),
    [
        ({}, {}),
        ({"shop/web": NEW}, {V4: False, V6: False}),
        ({"shop/web": LASTED}, {V4: True, V6: True}),
        ({"shop/web": LASTED, "shop/db": NEW}, {V4: True, V6: True, SHARED: False}),
        ({"shop/web": LASTED, "shop/db": LASTED}, {V4: True, V6: True, SHARED: True}),
        ({"other/web": LASTED}, {}),
    ],
)
def test_no_service_of_the_ip_has_an_endpoint(unready, expected):
    assert unanswered(WANTED, unready) == expected


def test_an_ip_without_services_is_nobodys():
    assert unanswered({V4: ()}, {"shop/web": LASTED}) == {}


class Bench:
    def __init__(self):
        self.unready: dict[str, bool] = {}
        self.up: set[IPAddress] = set()
        self.events = []
        self.requests = Requests(wanted=WANTED)
        self.withdrawals = Withdrawals(
            self,  # type: ignore[arg-type]
            unready=lambda: self.unready,
            up=lambda: self.up,
        )

    def record(self, reference, *, type, reason, message):  # noqa: A002 - the API's word
        self.events.append((reference.name, type, reason, message))

    def make_pass(self):
        """Make a pass as the reconciler does; return what is wanted."""
        wanted = self.withdrawals.serve(self.requests).wanted.keys()
        self.withdrawals.on_admission(ADMISSION)
        self.up = {interface.ip for interface in wanted}
        return wanted


def test_it_goes_when_that_has_lasted_and_comes_back_at_once():
    bench = Bench()
    assert bench.make_pass() == WANTED.keys()
    bench.unready = {"shop/web": NEW}
    assert bench.make_pass() == WANTED.keys()
    bench.unready = {"shop/web": LASTED}
    assert bench.make_pass() == {SHARED}
    bench.unready = {}
    assert bench.make_pass() == WANTED.keys()


def test_one_that_is_not_up_waits_for_the_first_endpoint():
    """So does one that was down already when this process began: it does not blink."""
    bench = Bench()
    bench.unready = {"shop/web": NEW}
    assert bench.make_pass() == {SHARED}
    assert bench.events == []
    bench.unready = {}
    assert bench.make_pass() == WANTED.keys()


def test_one_that_the_last_process_left_up_stays_until_it_has_lasted():
    bench = Bench()
    bench.up = {V4.ip}
    bench.unready = {"shop/web": NEW}
    assert bench.make_pass() == {V4, SHARED}
    bench.unready = {"shop/web": LASTED}
    assert bench.make_pass() == {SHARED}


def test_each_service_is_told_once_in_the_words_of_claims_mode():
    bench = Bench()
    bench.requests = Requests(wanted={SHARED: (WEB, DB)})
    bench.unready = {"shop/web": LASTED, "shop/db": LASTED}
    for _ in range(3):
        bench.make_pass()
    message = (
        "10.0.0.3 is down until an endpoint is ready: no service of it has one "
        "(--without-endpoints withdraw)"
    )
    told = [(name, "Warning", "NoReadyEndpoint", message) for name in ("web", "db")]
    assert bench.events == told
    bench.unready = {}
    bench.make_pass()
    assert bench.events == told
    bench.unready = {"shop/web": LASTED, "shop/db": LASTED}
    bench.make_pass()
    assert bench.events == told * 2


def test_while_nothing_changes_the_same_requests_are_returned():
    bench = Bench()
    assert bench.withdrawals.serve(bench.requests) is bench.requests
    bench.unready = {"shop/web": LASTED}
    first = bench.withdrawals.serve(bench.requests)
    assert first is not bench.requests
    assert bench.withdrawals.serve(bench.requests) is first
    bench.unready = {"shop/web": LASTED, "shop/db": LASTED}
    assert bench.withdrawals.serve(bench.requests).wanted == {}


def test_what_is_taken_back_meanwhile_is_over():
    """Its service asks for the IP no more: nothing is told of it, and nothing kept."""
    bench = Bench()
    bench.unready = {"shop/web": LASTED}
    bench.make_pass()
    assert len(bench.events) == 2
    bench.requests = Requests(wanted={SHARED: (WEB, DB)})
    assert bench.make_pass() == {SHARED}
    assert len(bench.events) == 2
