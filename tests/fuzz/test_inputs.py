"""What modes gather from their caches holds together, whatever comes and goes in these."""

import asyncio
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from extip.api import resources
from extip.api.meta_v1 import KubernetesObject
from extip.cache.informer import Informer
from extip.clock import LoopClock
from extip.definitions.kinds import Kinds
from extip.informers.scheduler import SchedulingInputs
from extip.informers.simple import ServiceInputs
from extip.kube.codec import ResourceCodec
from extip.kube.events import EventRecorder
from extip.metrics import Metrics
from extip.services.lingering import LINGER_S
from extip.services.policy.permissions import Permissions
from extip.services.policy.requests import Masks
from tests.fakes.virtual_time import run_virtually
from tests.fuzz import objects
from tests.fuzz.objects import listed, mangled

MASKS = Masks(v4=32, v6=128)
KINDS = {
    "services": (resources.DETAILED_SERVICES, objects.SERVICE),
    "plain": (resources.SERVICES, objects.SERVICE),
    "nodes": (resources.NODES, objects.NODE),
    "ip_nodes": (resources.IP_NODES, objects.IP_NODE),
    "claims": (resources.IP_CLAIMS, objects.CLAIM),
    "pools": (resources.IP_CLAIM_POOLS, objects.POOL),
    "leases": (resources.LEASES, objects.LEASE),
}


class NoServer:
    """A client whose informers are never run: tests write to their stores."""

    def lister_watcher(self, *_: object, **__: object) -> None:
        return None


def feed(informer: Informer[Any], kind: str, text: str, *, gone: bool) -> None:
    """Let an object appear in a cache as it decodes, or go from it."""
    resource: Any = KINDS[kind][0]
    found: tuple[KubernetesObject, ...] = (
        ResourceCodec(resource).decode_list(listed(resource.kind, [text])).items
    )
    for item in found:
        key = informer.store.remove(item) if gone else informer.store.put(item)
        informer._notify([] if key is None else [key])


def script(*kinds: str) -> st.SearchStrategy[list[tuple[str, str, bool]]]:
    one = st.sampled_from(kinds).flatmap(
        lambda kind: st.tuples(st.just(kind), mangled(KINDS[kind][1]), st.booleans())
    )
    return st.lists(one, max_size=12)


def synced(*informers: Informer[Any]) -> None:
    for informer in informers:
        informer._notify([])


@settings(max_examples=50)
@given(script("plain", "nodes"))
def test_simple_mode(steps):
    async def main():
        inputs = ServiceInputs(
            NoServer(),  # type: ignore[arg-type]
            masks=MASKS,
            permissions=Permissions(),
            service_selector="",
            namespace_selector="",
            on_change=lambda: None,
            clock=LoopClock(),
            rng=Random(1),  # noqa: S311 - jitter
            metrics=Metrics("test"),
        )
        synced(inputs._services, inputs._nodes, inputs._endpoints.slices)
        assert inputs.current() is None, "where the API server is, is not known yet"
        inputs._reserved._control_plane._read_once.set()
        informers: dict[str, Informer[Any]] = {"plain": inputs._services, "nodes": inputs._nodes}
        for kind, text, gone in steps:
            feed(informers[kind], kind, text, gone=gone)
            _is_true(inputs)
        for informer in informers.values():
            for item in list(informer.store.values()):
                informer._notify([key] if (key := informer.store.remove(item)) else [])
        assert not inputs._cluster_ips._count
        assert not inputs._cluster_ips._of_object
        _is_true(inputs)
        await asyncio.sleep(2 * LINGER_S)
        assert not inputs.wanted()
        _is_true(inputs)

    run_virtually(main())


def _is_true(inputs: ServiceInputs) -> None:
    """Compare what was kept up to date with what a look at everything would find."""
    current = inputs.current()
    assert current is not None
    again = inputs.current()
    assert again is not None
    assert again.requests is current.requests
    assert again.reserved is current.reserved
    services = inputs._services.store.values()
    cluster_ips = {text for s in services for text in s.spec.cluster_ips or ()}
    wanted = {interface.ip for interface in current.requests.wanted}
    assert current.reserved.cluster_ips == {ip for ip in wanted if str(ip) in _plain(cluster_ips)}


def _plain(texts: set[str]) -> set[str]:
    parsed = (MASKS.parse(text) for text in texts)
    return {str(interface.ip) for interface in parsed if interface is not None}


@settings(max_examples=50)
@given(script("services", "nodes", "ip_nodes", "claims", "pools", "leases"))
def test_the_scheduler(steps):
    async def main():
        inputs = SchedulingInputs(
            NoServer(),  # type: ignore[arg-type]
            **_scheduler_values(),
            kinds=_kinds(),
            clock=LoopClock(),
            rng=Random(1),  # noqa: S311 - jitter
            metrics=Metrics("test"),
        )
        informers: dict[str, Informer[Any]] = {
            "services": inputs._services,
            "nodes": inputs._nodes,
            "ip_nodes": inputs.ip_nodes,
            "claims": inputs.claims,
            "pools": inputs.pools,
            "leases": inputs.leases,
        }
        synced(*inputs._informers(), inputs._endpoints.slices)
        inputs._reserved._control_plane._read_once.set()
        inputs._warm = True
        for kind, text, gone in steps:
            feed(informers[kind], kind, text, gone=gone)
            current = inputs.current()
            assert current is not None
            assert {node.name for node in current.cluster.nodes} >= set(inputs.ip_nodes.store)
            assert inputs.allocation.current().pools is not None
            assert inputs.allocation.address_requests.changes() is not None

    run_virtually(main())


def _kinds() -> Kinds:
    """Return what watches the definitions, never run: they stand."""
    return Kinds(
        NoServer(),  # type: ignore[arg-type]
        EventRecorder(NoServer(), clock=LoopClock(), metrics=Metrics("test")),  # type: ignore[arg-type]
        clock=LoopClock(),
        rng=Random(1),  # noqa: S311
        metrics=Metrics("test"),
    )


def _scheduler_values() -> dict[str, Any]:
    return {
        "masks": MASKS,
        "lb_class": "",
        "permissions": Permissions(),
        "namespace": "kube-system",
        "monitor_s": 4.0,
        "rebalance_after_s": 60.0,
        "ignored": frozenset(),
    }
