"""What the watch cache relies on, shown of the fakes and of a real API server alike.

Four servers: the one in memory, the same one over HTTP, that of the simulation, and a real
kube-apiserver with etcd. What the first three claim in the other tests is worth as much as these.
"""

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from extip.api.apiextensions_v1 import CustomResourceDefinition
from extip.api.core_v1 import Event, Namespace, Service
from extip.api.ipcontroller_v1 import IpClaim, IpClaimSpec
from extip.api.meta_v1 import FullObjectMeta, KubernetesObject, ObjectMeta
from extip.api.resources import (
    CUSTOM_RESOURCE_DEFINITIONS,
    EVENTS,
    IP_CLAIMS,
    LEASES,
    NAMESPACES,
    NODES,
    SERVICES,
    Resource,
)
from extip.cache.informer import Informer
from extip.cache.listwatch import EventType, ListerWatcher, Unreadable, WatchEvent
from extip.clock import LoopClock
from extip.definitions.install import Definitions
from extip.errors import ApiAccessError, ConflictError, ExpiredError, NotFoundError
from extip.kube.client import ApiClient, Scope, connect
from extip.kube.events import EventRecorder, ObjectReference, event_name
from extip.metrics import Metrics
from tests.fakes.api_server import FakeApiServer
from tests.fakes.cluster_api import ClusterApi
from tests.fakes.cluster_transport import ClusterTransport
from tests.fakes.http_api import HttpApiServer
from tests.fakes.tasks import beside
from tests.lab.cluster import Lab

WAIT_S = 50.0
"""Longer than any of this takes on a busy machine."""


class InMemory:
    """The fake, and what its users do to it."""

    def __init__(self) -> None:
        self.api = FakeApiServer()
        self.namespace = "default"
        self.source: ListerWatcher[Service] = self.api
        self.client: ApiClient

    async def create(self, name: str, *ips: str) -> None:
        self.api.create(name, ips=ips)

    async def update(self, name: str, *ips: str) -> None:
        self.api.update(f"{self.namespace}/{name}", ips=ips)

    async def delete(self, name: str) -> None:
        self.api.delete(f"{self.namespace}/{name}")

    async def forget(self) -> None:
        self.api.compact()


class WritableService(KubernetesObject, frozen=True):
    """A Service with what the API server insists on."""

    spec: dict[str, Any] = msgspec.field(default_factory=dict)


WRITABLE_SERVICES = Resource(
    group="", version="v1", plural="services", kind="Service", namespaced=True, type=WritableService
)


class Cluster:
    """A namespace of a real cluster."""

    def __init__(self, lab: Lab | None, client: ApiClient, namespace: str) -> None:
        self._lab = lab
        self.client = client
        self.namespace = namespace
        self.source = client.lister_watcher(SERVICES, namespace=namespace)

    async def create(self, name: str, *ips: str) -> None:
        spec = {"externalIPs": ips, "ports": [{"port": 80}], "selector": {"app": "none"}}
        meta = ObjectMeta(name=name, namespace=self.namespace)
        await self.client.create(WRITABLE_SERVICES, WritableService(metadata=meta, spec=spec))

    async def update(self, name: str, *ips: str) -> None:
        patch = {"spec": {"externalIPs": ips}}
        await self.client.patch(SERVICES, patch, name=name, namespace=self.namespace)

    async def delete(self, name: str) -> None:
        await self.client.delete(SERVICES, name=name, namespace=self.namespace)

    async def forget(self) -> None:
        await asyncio.to_thread(self._forget)

    def _forget(self) -> None:
        assert self._lab is not None
        self._lab.etcd_compact()
        self._lab.api_server.restart()  # its own cache knows recent versions until then


class Simulated(Cluster):
    """A namespace of the cluster that simulations have."""

    def __init__(self) -> None:
        self.api = ClusterApi()
        super().__init__(None, ApiClient(ClusterTransport(self.api, "a client")), "contract")

    async def forget(self) -> None:
        self.api.compact()


Server = InMemory | Cluster


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(nodes=1) as started:
        yield started


@asynccontextmanager
async def over_http(directory: Path) -> AsyncIterator[InMemory]:
    server = InMemory()
    async with HttpApiServer(server.api).listening() as listening:
        path = directory / "kubeconfig"
        path.write_text(
            "{current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],"
            f" clusters: [{{name: c, cluster: {{server: '{listening.url}'}}}}],"
            " users: [{name: u, user: {token: t}}]}"
        )
        async with connect(str(path), metrics=Metrics("test")) as client:
            server.client = client
            server.source = client.lister_watcher(SERVICES)
            yield server


@asynccontextmanager
async def real(lab: Lab) -> AsyncIterator[Cluster]:
    async with connect(str(lab.outside_kubeconfig()), metrics=Metrics("test")) as client:
        namespace = f"contract-{secrets.token_hex(4)}"
        await client.create(NAMESPACES, Namespace(metadata=ObjectMeta(name=namespace)))
        yield Cluster(lab, client, namespace)
        await client.delete(NAMESPACES, name=namespace)


REAL = pytest.param("real", marks=[pytest.mark.lab, pytest.mark.timeout(180)])


@pytest.fixture
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Server]:
    match request.param:
        case "memory":
            yield InMemory()
        case "http":
            async with over_http(tmp_path) as fake:
                yield fake
        case "simulated":
            yield Simulated()
        case _:
            async with real(request.getfixturevalue("lab")) as cluster:
                yield cluster


everywhere = pytest.mark.parametrize("server", ["memory", "http", "simulated", REAL], indirect=True)
by_client = pytest.mark.parametrize("server", ["http", "simulated", REAL], indirect=True)
in_clusters = pytest.mark.parametrize("server", ["simulated", REAL], indirect=True)
"""With all that a cluster has: selectors, subresources, definitions."""


async def take(events: AsyncIterator[WatchEvent[Service] | Unreadable]) -> WatchEvent[Service]:
    """Return the next event that is no bookmark."""
    async with asyncio.timeout(WAIT_S):
        async for event in events:
            assert isinstance(event, WatchEvent)
            if event.type is not EventType.BOOKMARK:
                return event
    raise AssertionError("the stream ended")


@everywhere
@pytest.mark.parametrize("resource_version", ["0", ""])
async def test_a_list_has_all_objects_and_a_version(server, resource_version):
    await server.create("a", "10.0.0.1", "fd00::1")
    await server.create("b")
    async with asyncio.timeout(WAIT_S):
        while True:  # version 0 may lag
            page = await server.source.list(resource_version=resource_version)
            if len(page.items) == 2:
                break
            await asyncio.sleep(0.05)
    assert {s.metadata.key: s.spec.external_ips or () for s in page.items} == {
        f"{server.namespace}/a": ("10.0.0.1", "fd00::1"),
        f"{server.namespace}/b": (),
    }
    assert all(s.metadata.uid and s.metadata.resource_version for s in page.items)
    assert page.resource_version.isdigit()
    assert page.unreadable == ()


@everywhere
async def test_a_list_is_not_older_than_the_version_that_it_asks_for(server):
    for number in range(20):
        await server.create(f"s{number}")
        known = (await server.source.list(resource_version="")).resource_version
        await server.create(f"t{number}")
        page = await server.source.list(resource_version=known)
        assert int(page.resource_version) >= int(known)
        assert f"{server.namespace}/s{number}" in {s.metadata.key for s in page.items}


@everywhere
async def test_a_watch_tells_every_change_in_order(server):
    page = await server.source.list(resource_version="")
    async with server.source.watch(resource_version=page.resource_version, timeout_s=300) as events:
        await server.create("a", "10.0.0.1")
        await server.update("a", "10.0.0.2")
        await server.delete("a")
        seen = [await take(events) for _ in range(3)]
    assert [event.type for event in seen] == [
        EventType.ADDED,
        EventType.MODIFIED,
        EventType.DELETED,
    ]
    assert [event.object.spec.external_ips for event in seen[:2]] == [("10.0.0.1",), ("10.0.0.2",)]
    assert {event.object.metadata.key for event in seen} == {f"{server.namespace}/a"}
    versions = [int(event.object.metadata.resource_version) for event in seen]
    assert int(page.resource_version) < versions[0] < versions[1] < versions[2]


@everywhere
async def test_a_watch_from_an_earlier_version_tells_what_was_missed(server):
    page = await server.source.list(resource_version="")
    await server.create("a")
    await server.create("b")
    await server.delete("a")
    async with server.source.watch(resource_version=page.resource_version, timeout_s=300) as events:
        seen = [await take(events) for _ in range(3)]
    assert [(event.type.value, event.object.metadata.name) for event in seen] == [
        ("ADDED", "a"),
        ("ADDED", "b"),
        ("DELETED", "a"),
    ]
    # from where that left off, nothing comes twice
    resource_version = seen[1].object.metadata.resource_version
    async with server.source.watch(resource_version=resource_version, timeout_s=300) as events:
        assert (await take(events)).type is EventType.DELETED


@everywhere
async def test_a_version_that_is_too_old_expires(server):
    await server.create("a")
    await server.forget()

    async def resume() -> None:
        async with server.source.watch(resource_version="1", timeout_s=300) as events:
            await take(events)

    with pytest.raises(ExpiredError, match="too old resource version"):
        await resume()


@everywhere
async def test_a_stream_ends_cleanly_when_its_time_is_over(server):
    await server.create("a")
    page = await server.source.list(resource_version="")
    resource_version = page.resource_version
    began_s = asyncio.get_running_loop().time()
    async with asyncio.timeout(WAIT_S):
        async with server.source.watch(resource_version=resource_version, timeout_s=2) as events:
            seen = [event async for event in events]
    assert [event.type for event in seen if event.type is not EventType.BOOKMARK] == []
    assert 1.5 < asyncio.get_running_loop().time() - began_s < WAIT_S


@everywhere
async def test_an_informer_follows(server):
    informer: Informer[Service] = Informer(
        "services",
        server.source,
        clock=LoopClock(),
        rng=Random(1),  # noqa: S311
        metrics=Metrics("test"),
    )
    changed = asyncio.Event()
    informer.add_handler(lambda _: changed.set())
    async with beside(informer.run()):
        await server.create("a", "10.0.0.1")
        async with asyncio.timeout(WAIT_S):
            await informer.wait_synced()
        for number in range(20):
            await server.create(f"s{number}", "10.0.0.1")
        for number in range(0, 20, 2):
            await server.delete(f"s{number}")
        for number in range(1, 20, 2):
            await server.update(f"s{number}", "10.0.0.2")
        wanted = {f"{server.namespace}/a": ("10.0.0.1",)} | {
            f"{server.namespace}/s{number}": ("10.0.0.2",) for number in range(1, 20, 2)
        }
        async with asyncio.timeout(WAIT_S):
            while {k: s.spec.external_ips for k, s in informer.store.items()} != wanted:
                await changed.wait()
                changed.clear()
        truth = await server.source.list(resource_version="")
        assert dict(informer.store) == {s.metadata.key: s for s in truth.items}


@by_client
async def test_writes_have_preconditions(server):
    client, namespace = server.client, server.namespace
    event = Event(
        metadata=ObjectMeta(name="e", namespace=namespace),
        involved_object=ObjectReference(kind="Service", namespace=namespace, name="a"),
        reason="First",
        count=1,
    )
    created = await client.create(EVENTS, event)
    with pytest.raises(ConflictError):
        await client.create(EVENTS, event)
    patched = await client.patch(EVENTS, {"count": 2}, name="e", namespace=namespace)
    assert (patched.count, patched.reason) == (2, "First")
    with pytest.raises(ConflictError):
        await client.replace(EVENTS, created)
    assert (await client.replace(EVENTS, patched)).count == 2
    await client.delete(EVENTS, name="e", namespace=namespace)
    with pytest.raises(NotFoundError):
        await client.get(EVENTS, name="e", namespace=namespace)


@by_client
async def test_events_are_counted_up(server):
    reference = ObjectReference(kind="Service", namespace=server.namespace, name="a", uid="u")
    recorder = EventRecorder(server.client, clock=LoopClock(), metrics=Metrics("test"))
    async with beside(recorder.run()):
        for count in (1, 2):
            recorder.record(reference, type="Warning", reason="Refused", message="no")
            await until_counted(server, event_name(reference, "Refused", "no"), count)


async def until_counted(server, name, count):
    async with asyncio.timeout(WAIT_S):
        for attempt in itertools.count():
            await asyncio.sleep(min(0.02 * attempt, 0.2))
            try:
                event = await server.client.get(EVENTS, name=name, namespace=server.namespace)
            except NotFoundError:
                continue
            if event.count == count:
                assert event.involved_object.name == "a"
                return


@pytest.mark.lab
@pytest.mark.timeout(180)
async def test_a_missing_permission_names_user_verb_and_resource(lab, tmp_path):
    token = lab.control_plane.service_account_token("default", "default", expiration_s=600)
    path = tmp_path / "kubeconfig"
    text = lab.outside_kubeconfig().read_text()
    path.write_text(text.replace(lab.control_plane.credentials.admin_token, token))
    assert path.read_text() != text
    async with connect(str(path), metrics=Metrics("test")) as client:
        with pytest.raises(ApiAccessError) as caught:
            await client.list(NODES)
    assert str(caught.value).startswith("list nodes: RBAC does not allow it: ")
    assert 'User "system:serviceaccount:default:default" cannot list resource "nodes"' in str(
        caught.value
    )


@in_clusters
async def test_an_answer_about_a_lease_tells_the_time_of_the_server(server):
    await server.client.list(LEASES, Scope(namespace=server.namespace))
    before = server.client.server_time_s
    assert before is not None
    async with asyncio.timeout(WAIT_S):
        while (after := server.client.server_time_s) == before:
            await asyncio.sleep(0.1)
            await server.client.list(LEASES, Scope(namespace=server.namespace))
    assert after is not None
    assert before < after < before + WAIT_S


@in_clusters
async def test_selectors_are_evaluated_by_the_server(server):
    await server.create("a")
    await server.create("b")
    labels = {"metadata": {"labels": {"extip": "yes"}}}
    await server.client.patch(SERVICES, labels, name="b", namespace=server.namespace)
    source = server.client.lister_watcher(
        SERVICES, namespace=server.namespace, label_selector="extip=yes"
    )
    page = await source.list(resource_version="")
    assert [s.metadata.name for s in page.items] == ["b"]
    async with source.watch(resource_version=page.resource_version, timeout_s=300) as events:
        await server.update("a", "10.0.0.1")
        patch = {"metadata": {"labels": None}}
        await server.client.patch(SERVICES, patch, name="b", namespace=server.namespace)
        gone = await take(events)
    assert (gone.type, gone.object.metadata.name) == (EventType.DELETED, "b")


@in_clusters
async def test_what_has_changed_since_is_not_deleted(server):
    await server.create("a")
    seen = await server.client.get(SERVICES, name="a", namespace=server.namespace)
    await server.update("a", "10.0.0.1")
    with pytest.raises(ConflictError):
        await server.client.delete(SERVICES, name="a", namespace=server.namespace, seen=seen)
    seen = await server.client.get(SERVICES, name="a", namespace=server.namespace)
    await server.client.delete(SERVICES, name="a", namespace=server.namespace, seen=seen)
    with pytest.raises(NotFoundError):
        await server.client.get(SERVICES, name="a", namespace=server.namespace)


@in_clusters
async def test_a_write_that_changes_nothing_is_no_event(server):
    await server.create("a")
    await server.update("a", "10.0.0.1")
    page = await server.source.list(resource_version="")
    async with server.source.watch(resource_version=page.resource_version, timeout_s=300) as events:
        await server.update("a", "10.0.0.1")
        await server.update("a", "10.0.0.2")
        assert (await take(events)).object.spec.external_ips == ("10.0.0.2",)


async def until_not_found(read: Callable[[], Awaitable[object]]) -> None:
    """Wait until it is gone; a definition that is not has its deletion timestamp."""
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                found = await read()
            except NotFoundError:
                return
            if isinstance(found, CustomResourceDefinition):
                assert found.metadata.deletion_timestamp
            await asyncio.sleep(0.01)


@in_clusters
async def test_the_objects_of_a_definition_go_before_it(server):
    """As `docs/definitions.md` relies on: the timestamp is there before the first one vanishes."""
    client, name = server.client, f"{IP_CLAIMS.plural}.{IP_CLAIMS.group}"
    definitions = Definitions(client, clock=LoopClock(), rng=Random(1))  # noqa: S311
    await definitions.apply()
    claim = IpClaim(metadata=FullObjectMeta(name="10-0-0-1-32"), spec=IpClaimSpec("10.0.0.1/32"))
    await client.create(IP_CLAIMS, claim)
    claims = client.lister_watcher(IP_CLAIMS)
    page = await claims.list(resource_version="")
    async with claims.watch(resource_version=page.resource_version, timeout_s=300) as events:
        await client.delete(CUSTOM_RESOURCE_DEFINITIONS, name=name)
        gone = await take(events)
        assert (gone.type, gone.object.metadata.name) == (EventType.DELETED, "10-0-0-1-32")
    await until_not_found(partial(client.get, CUSTOM_RESOURCE_DEFINITIONS, name=name))
    await until_not_found(partial(client.list, IP_CLAIMS))
    await definitions.apply()
    assert (await client.list(IP_CLAIMS)).items == ()
