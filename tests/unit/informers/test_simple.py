"""Which services count, as they and the labels of their namespaces change."""

from collections.abc import Iterator
from ipaddress import ip_interface
from random import Random

import pytest

from extip.api.core_v1 import (
    Namespace,
    Node,
    NodeMeta,
    Service,
    ServiceAnnotations,
    ServiceMeta,
    ServiceSpec,
)
from extip.api.meta_v1 import ObjectMeta
from extip.clock import LoopClock
from extip.informers.simple import ServiceInputs
from extip.metrics import Metrics
from extip.services.policy.permissions import Permissions
from extip.services.policy.requests import Masks
from tests.fakes.virtual_time import run_virtually


class NoServer:
    """A client whose informers are never run: tests write to their stores."""

    def lister_watcher(self, *_: object, **__: object) -> None:
        return None


class CountingDict(dict[str, Service]):
    """Counts how many keys somebody walks over."""

    walked = 0

    def __iter__(self) -> Iterator[str]:
        for key in super().__iter__():
            self.walked += 1
            yield key


class Snapshot:
    """Services and the namespaces that a selector matches."""

    def __init__(self) -> None:
        self.changes = 0
        self.inputs = ServiceInputs(
            NoServer(),  # type: ignore[arg-type]
            masks=Masks(v4=32, v6=128),
            permissions=Permissions(),
            service_selector="",
            namespace_selector="edge=yes",
            on_change=self._count,
            clock=LoopClock(),
            rng=Random(1),  # noqa: S311 - jitter
            metrics=Metrics("test"),
            linger=lambda end: end(),
        )
        self._version = 0

    def _count(self) -> None:
        self.changes += 1

    def service(
        self, namespace: str, name: str, *ips: str, created: str = "", link: str | None = None
    ) -> None:
        self._version += 1
        meta = ServiceMeta(
            name=name,
            namespace=namespace,
            resource_version=str(self._version),
            creation_timestamp=created,
            annotations=None if link is None else ServiceAnnotations(link=link),
        )
        service = Service(metadata=meta, spec=ServiceSpec(external_ips=ips))
        self.inputs._services.store.put(service)
        self.inputs._services._notify([service.metadata.key])

    def no_service(self, key: str) -> None:
        store = self.inputs._services.store
        store.remove(store[key])
        self.inputs._services._notify([key])

    def node_without_network(self, name: str) -> None:
        self.inputs._nodes.store.put(Node(metadata=NodeMeta(name=name)))
        self.inputs._nodes._notify([name])

    def namespace(self, name: str, *, matches: bool) -> None:
        assert self.inputs._namespaces is not None
        store, namespace = self.inputs._namespaces.store, Namespace(metadata=ObjectMeta(name=name))
        if matches:
            store.put(namespace)
        else:
            store.remove(namespace)
        self.inputs._namespaces._notify([name])

    def holders(self, ip: str) -> set[str]:
        """Return the namespaces that have an IP now."""
        requests = self.inputs._settle(self.inputs._requests.value())
        owners = requests.wanted.get(ip_interface(ip), ())
        return {owner.namespace for owner in owners}

    def links(self) -> dict[str, str]:
        """Return the interfaces that are wished for, by IP."""
        requests = self.inputs._settle(self.inputs._requests.value())
        return {str(ip): link for ip, link in requests.links.items()}

    def wanted(self) -> set[str]:
        return {str(interface.ip) for interface in self.inputs._requests.value().wanted}


@pytest.fixture
def cluster() -> Snapshot:
    return Snapshot()


def test_a_namespace_brings_its_services_in_and_takes_them_out(cluster: Snapshot) -> None:
    cluster.service("a", "one", "10.0.0.1")
    cluster.service("ab", "one", "10.0.0.2")
    cluster.service("a", "none")
    assert cluster.wanted() == set()
    cluster.namespace("a", matches=True)
    assert cluster.wanted() == {"10.0.0.1"}
    cluster.service("a", "none", "10.0.0.3")
    assert cluster.wanted() == {"10.0.0.1", "10.0.0.3"}
    cluster.service("a", "one")
    cluster.no_service("a/none")
    cluster.service("a", "two", "10.0.0.4")
    assert cluster.wanted() == {"10.0.0.4"}
    cluster.namespace("a", matches=False)
    assert cluster.wanted() == set()
    cluster.namespace("a", matches=True)
    cluster.namespace("ab", matches=True)
    assert cluster.wanted() == {"10.0.0.4", "10.0.0.2"}
    assert ip_interface("10.0.0.4/32") in cluster.inputs._requests.value().wanted


def test_a_namespace_is_no_reason_to_walk_over_all_services(cluster: Snapshot) -> None:
    for number in range(100):
        cluster.service(f"ns-{number}", "web", f"10.0.0.{number}")
    store = cluster.inputs._services.store
    store._objects = counting = CountingDict(store._objects)
    for number in range(100):
        cluster.namespace(f"ns-{number}", matches=True)
    assert len(cluster.wanted()) == 100
    assert counting.walked == 0


def test_a_service_names_the_interface_of_its_ips(cluster: Snapshot) -> None:
    """Of several, the first by name counts that names one."""
    cluster.namespace("a", matches=True)
    cluster.service("a", "one", "10.0.0.1")
    assert cluster.links() == {}
    cluster.service("a", "two", "10.0.0.1", "10.0.0.2", link=" dmz0 ")
    cluster.service("a", "three", "10.0.0.3", link="no name")
    both = {"10.0.0.1": "dmz0", "10.0.0.2": "dmz0"}
    assert cluster.links() == both
    before = cluster.changes
    cluster.service("a", "one", "10.0.0.1", link="lan0")
    assert cluster.links() == both | {"10.0.0.1": "lan0"}
    assert cluster.changes > before
    cluster.no_service("a/two")
    assert cluster.links() == {"10.0.0.1": "lan0"}


def test_services_that_are_gone_leave_nothing_behind(cluster: Snapshot) -> None:
    for number in range(10):
        cluster.service(f"ns-{number}", "web", "10.0.0.1")
        cluster.no_service(f"ns-{number}/web")
    assert cluster.inputs._asking == {}


def test_whoever_has_an_ip_keeps_it_until_they_drop_it(cluster: Snapshot) -> None:
    for name in ("a", "b", "c"):
        cluster.namespace(name, matches=True)
    cluster.service("b", "web", "10.0.0.1", created="2026-01-02")
    assert cluster.holders("10.0.0.1") == {"b"}
    cluster.service("a", "web", "10.0.0.1", created="2026-01-01")
    cluster.service("c", "web", "10.0.0.1", created="2026-01-03")
    assert cluster.holders("10.0.0.1") == {"b"}
    cluster.service("b", "more", "10.0.0.1", created="2026-01-04")
    cluster.no_service("b/web")
    assert cluster.holders("10.0.0.1") == {"b"}
    cluster.no_service("b/more")
    assert cluster.holders("10.0.0.1") == {"a"}
    cluster.namespace("a", matches=False)
    assert cluster.holders("10.0.0.1") == {"c"}
    cluster.namespace("a", matches=True)
    assert cluster.holders("10.0.0.1") == {"c"}


def test_that_addresses_of_pods_are_awaited_is_said_and_so_a_dry_run_waits_too() -> None:
    async def main() -> None:
        cluster = Snapshot()
        assert "endpointslices" not in cluster.inputs.problem()
        cluster.node_without_network("n1")
        assert "informer-endpointslices" in cluster.inputs.problem()
        cluster.inputs._endpoints.slices._notify([])
        assert "endpointslices" not in cluster.inputs.problem()

    run_virtually(main())
