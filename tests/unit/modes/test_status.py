"""Where `extip status` looks, and what it takes words for."""

from typing import cast

import pytest

from extip.api.coordination_v1 import Lease
from extip.api.resources import EVENTS, IP_CLAIMS
from extip.cache.listwatch import Page
from extip.errors import ApiAccessError, ApiUnavailableError
from extip.kube.client import ApiClient
from extip.modes import status as mode
from extip.plan.overview import ClaimRow, ClaimState
from tests.fakes.virtual_time import run_virtually
from tests.unit.plan.test_unserved import service

LEASE = Lease()
NOT_ALLOWED = ApiAccessError("may not", request="list")


class Server:
    """Answers lists by resource and namespace, and forbids the others."""

    def __init__(self, **found):
        self.found = found
        self.asked = []

    async def list(self, resource, scope, *, resource_version):
        self.asked.append((resource.plural, scope.namespace))
        key = f"{resource.plural}_{scope.namespace}".rstrip("_")
        if key not in self.found:
            raise NOT_ALLOWED
        return Page(items=self.found[key], resource_version="1")


def client(server):
    return cast("ApiClient", server)


class Starting:
    """Has just been told of a kind: it answers 429 for a moment."""

    def __init__(self, status):
        self.status = status
        self.asked = 0

    async def list(self, _resource, _scope, *, resource_version):
        self.asked += 1
        if self.asked < 3:
            raise ApiUnavailableError("storage is (re)initializing", status=self.status)
        return Page(items=(), resource_version=resource_version)


def test_a_kind_that_has_just_been_made_known_is_asked_for_again():
    server = Starting(429)
    assert run_virtually(mode._patiently(client(server), IP_CLAIMS)).items == ()
    server = Starting(500)
    with pytest.raises(ApiUnavailableError):
        run_virtually(mode._patiently(client(server), IP_CLAIMS))
    assert server.asked == 1


def test_a_service_without_its_namespace_is_proposed_with_it():
    row = ClaimRow(ip="", node="", state=ClaimState.UP, since="", services=("shop/web",), why="")
    assert mode._unknown("web", [row]).endswith("node of extip's: do you mean shop/web?")
    for word in ("we", "shop", ""):
        assert mode._unknown(word, [row]).endswith("node of extip's")


async def test_leases_are_looked_for_everywhere():
    """The manifests have them in another namespace than a process outside of pods would."""
    server = Server(leases=(LEASE,))
    assert await mode._leases(client(server), "") == ((LEASE,), "no namespace has a Lease of it")
    assert server.asked == [("leases", "")]


async def test_a_namespace_narrows_the_look():
    found, missing = await mode._leases(client(Server(leases_edge=())), "edge")
    assert found == ()
    assert missing.startswith("namespace edge has no Lease")


async def test_whoever_may_not_look_everywhere_looks_at_home(monkeypatch):
    monkeypatch.setattr(mode, "own_namespace", lambda: "home")
    assert (await mode._leases(client(Server(leases_home=(LEASE,))), ""))[0] == (LEASE,)
    found, missing = await mode._leases(client(Server()), "")
    assert (found, "cannot be read" in missing) == ((), True)


async def test_events_are_read_only_when_something_is_in_the_way(capsys):
    server = Server(services=(service("web"),))
    assert await mode._unserved(client(server), ()) == []
    assert (EVENTS.plural, "") not in server.asked
    server = Server(services=(service("web", ips=("10.0.0.1",)),))
    (row,) = await mode._unserved(client(server), ())
    assert (row.ip, row.state) == ("10.0.0.1", ClaimState.WAITING)
    assert "may not" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "ip", "known"),
    [
        ("10.0.0.2", "10.0.0.2", True),
        ("10.0.0.2/24", "10.0.0.2", True),
        ("10.0.0.20", "10.0.0.2", False),
        ("fd00:0:0::0001", "fd00::1", True),
        ("FD00::1/128", "fd00::1", True),
        ("shop/web", "10.0.0.2", True),
        ("n1", "10.0.0.2", True),
        ("", "", False),
    ],
)
def test_an_ip_may_be_written_in_any_way(word, ip, known):
    row = ClaimRow(ip=ip, node="n1", state=ClaimState.UP, since="", services=("shop/web",), why="")
    assert mode._concerns(word, row) is known
