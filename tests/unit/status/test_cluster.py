"""Where `extip status` looks."""

import asyncio
from typing import cast

import pytest

from extip.api.coordination_v1 import Lease
from extip.api.core_v1 import Event
from extip.api.ipcontroller_v1 import IpClaim, IpClaimSpec
from extip.api.meta_v1 import FullObjectMeta
from extip.api.resources import EVENTS, IP_CLAIMS
from extip.cache.listwatch import FROM_CACHE, MOST_RECENT, Page
from extip.errors import ApiAccessError, ApiUnavailableError, NotFoundError, UnansweredError
from extip.kube.client import EVERYTHING, ApiClient
from extip.status import cluster
from tests.fakes.virtual_time import run_virtually
from tests.unit.status.test_pending import service

LEASE = Lease()
CLAIM = IpClaim(metadata=FullObjectMeta(name="c"), spec=IpClaimSpec(cidr="10.0.0.1/32"))
NOT_ALLOWED = ApiAccessError("may not", request="list")


class Server:
    """Answers lists by resource and namespace, and forbids the others; some kinds are unknown."""

    def __init__(self, *unknown, **found):
        self.found = found
        self.unknown = unknown
        self.asked = []

    async def list(self, resource, scope=EVERYTHING, *, resource_version="", limit=0):
        self.asked.append((resource.plural, scope.namespace))
        if resource.plural in self.unknown:
            raise NotFoundError("404 page not found (404)")
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

    async def list(self, _resource, _scope, *, resource_version, limit):
        self.asked += 1
        if self.asked < 3:
            raise ApiUnavailableError("storage is (re)initializing", status=self.status)
        return Page(items=(), resource_version=resource_version)


def test_a_kind_that_has_just_been_made_known_is_asked_for_again():
    server = Starting(429)
    assert run_virtually(cluster._patiently(client(server), IP_CLAIMS)).items == ()
    server = Starting(500)
    with pytest.raises(ApiUnavailableError):
        run_virtually(cluster._patiently(client(server), IP_CLAIMS))
    assert server.asked == 1


async def test_leases_are_looked_for_everywhere():
    """The manifests have them in another namespace than a process outside of pods would."""
    server = Server(leases=(LEASE,))
    assert await cluster._heartbeats(client(server), "") == (
        (LEASE,),
        "no namespace has a Lease of it",
    )
    assert server.asked == [("leases", "")]


async def test_a_namespace_narrows_the_look():
    found, missing = await cluster._heartbeats(client(Server(leases_edge=())), "edge")
    assert found == ()
    assert missing.startswith("namespace edge has no Lease")


async def test_whoever_may_not_look_everywhere_looks_at_home(monkeypatch):
    monkeypatch.setattr(cluster, "own_namespace", lambda: "home")
    assert (await cluster._heartbeats(client(Server(leases_home=(LEASE,))), ""))[0] == (LEASE,)
    found, missing = await cluster._heartbeats(client(Server()), "")
    assert (found, "cannot be read" in missing) == ((), True)


async def test_events_are_read_only_when_something_is_in_the_way():
    known = {"ipclaims": (), "ipnodes": (), "ipclaimpools": (), "leases": ()}
    server = Server(**known, services=(service("web"),))
    found = await cluster.read_cluster(client(server), "")
    assert (found.lacking, found.notes) == ((), ())
    assert (EVENTS.plural, "") not in server.asked
    server = Server(**known, services=(service("web", ips=("10.0.0.1",)),))
    found = await cluster.read_cluster(client(server), "")
    assert [one.ip for one in found.lacking] == ["10.0.0.1"]
    assert [note.partition(":")[0] for note in found.notes] == [
        "why IPs have no claim is not known"
    ]


async def test_what_may_not_be_read_is_told_and_all_else_is_shown():
    found = await cluster.read_cluster(client(Server(ipclaims=(), ipnodes=())), "")
    assert [note.partition(":")[0] for note in found.notes] == [
        "pools are not shown",
        "IPs without a claim are not shown",
    ]
    assert "may not" in found.elections_unread
    assert found.missing == "its Lease cannot be read"


async def test_a_deleted_definition_is_named_and_all_else_is_shown():
    server = Server("ipclaimpools", "ipnodes", ipclaims=(), leases=(), services=())
    found = await cluster.read_cluster(client(server), "")
    assert [note.partition(": somebody deleted the definition ")[::2] for note in found.notes] == [
        (
            "controllers are not shown",
            "ipnodes.ipcontroller.ext: `extip crds --apply` makes it again",
        ),
        (
            "pools are not shown",
            "ipclaimpools.ipcontroller.ext: `extip crds --apply` makes it again",
        ),
    ]


@pytest.mark.parametrize(
    ("unknown", "text"),
    [
        (("ipclaims",), "somebody deleted the definition ipclaims.ipcontroller.ext: what is up"),
        (("ipclaims", "ipnodes"), "this cluster does not know extip's kinds: it runs in simple"),
    ],
)
async def test_without_claims_it_is_told_whether_they_were_ever_there(unknown, text):
    server = Server(*unknown, ipnodes=())
    with pytest.raises(UnansweredError, match=text):
        await cluster.read_cluster(client(server), "")


async def test_events_of_an_ip_are_those_of_its_claims_and_services():
    event = Event(message="m")
    server = Server(events=(event,), events_shop=(event,))
    found = await cluster.events_about(client(server), [CLAIM], ["shop/web"])
    assert found == ((event, event), "")
    assert server.asked == [("events", ""), ("events", "shop")]
    found = await cluster.events_about(client(Server()), [CLAIM], ["shop/web"])
    assert found == ((), "list: may not")


class Together(Server):
    """Answers a list of claims or services only once both have been asked for."""

    def __init__(self, **found):
        super().__init__(**found)
        self.both_asked = asyncio.Event()

    async def list(self, resource, scope=EVERYTHING, *, resource_version="", limit=0):
        page = await super().list(resource, scope, resource_version=resource_version, limit=limit)
        if {("ipclaims", ""), ("services", "")} <= set(self.asked):
            self.both_asked.set()
        if resource.plural in ("ipclaims", "services"):
            await self.both_asked.wait()
        return page


async def test_the_longest_lists_are_asked_for_side_by_side():
    server = Together(ipclaims=(CLAIM,), services=(), ipnodes=(), ipclaimpools=(), leases=())
    async with asyncio.timeout(30):
        found = await cluster.read_cluster(client(server), "")
    assert found.claims == (CLAIM,)


async def test_an_error_of_one_list_is_told_as_it_is():
    with pytest.raises(ApiAccessError):
        await cluster.read_cluster(client(Server(services=(), ipnodes=(), leases=())), "")


class Large:
    """Has more of a kind than come in one page."""

    def __init__(self, count):
        self.items = (CLAIM,) * count
        self.asked = []

    async def list(self, _resource, _scope, *, resource_version, limit=0):
        self.asked.append((resource_version, limit))
        more = "more" if limit and limit < len(self.items) else ""
        items = self.items[: limit or None]
        return Page(items=items, resource_version="1", continue_token=more)


@pytest.mark.parametrize(
    ("count", "versions"),
    [(cluster._FEW, [MOST_RECENT]), (cluster._FEW + 1, [MOST_RECENT, FROM_CACHE])],
)
async def test_a_few_are_read_as_they_are_now_and_many_from_the_watch_cache(count, versions):
    server = Large(count)
    assert len(await cluster._allowed(client(server), IP_CLAIMS, "", [])) == count
    assert [version for version, _ in server.asked] == versions
    server = Large(count)
    assert len((await cluster._patiently(client(server), IP_CLAIMS)).items) == count
    assert [version for version, _ in server.asked] == versions
