"""The inputs of simple mode from the API server: IPs of services, addresses of nodes."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from random import Random

from extip.addresses.observation import Inputs
from extip.api.core_v1 import DetailedService, Namespace, Node, Service
from extip.api.resources import NAMESPACES, NODES, SERVICES
from extip.cache.derived import Derived, Linger
from extip.cache.informer import Informer
from extip.clock import Clock
from extip.endpoints.inputs import EndpointSources
from extip.endpoints.policy.serving_nodes import keeps_local
from extip.endpoints.readiness import Readiness
from extip.errors import ApiAccessError
from extip.guard.addresses_in_use import ClusterIps
from extip.guard.pod_inputs import PodSources
from extip.guard.reserved_inputs import ReservedSources
from extip.kube.client import ApiClient
from extip.metrics import Metrics
from extip.net.interfaces import IPAddress, IPInterface
from extip.services.lingering import linger
from extip.services.policy.namespace_sharing import namespaces_of, resolve_sharing
from extip.services.policy.permissions import Permissions
from extip.services.policy.requests import Masks, Owner, Requests
from extip.services.policy.wished_link import LinkWish, wished_link, wishes_by_ip
from extip.services.policy.written_ips import WrittenIPs, collect_written, written_ips
from extip.supervisor import Component

_PATIENCE_S = 2.0
"""Seconds for which a start waits for the first EndpointSlices, with ``--without-endpoints
withdraw``: IPs that nobody serves would come up, and go again."""

_ALL_READY: Mapping[str, bool] = {}


class ServiceInputs:
    """Informers and what follows from them; `on_change` is called when the inputs differ.

    Selectors are label selectors that the API server evaluates; empty ones select everything.
    `balanced_class` is the class of the load balancers whose IPs come up, too; None: of none.
    `withdraws` says whether it matters that a service has no ready endpoint.
    """

    def __init__(  # noqa: PLR0913 - a composition of parts and plain values
        self,
        client: ApiClient,
        *,
        masks: Masks,
        permissions: Permissions,
        service_selector: str,
        namespace_selector: str,
        balanced_class: str | None = None,
        withdraws: bool = False,
        on_change: Callable[[], None],
        clock: Clock,
        rng: Random,
        metrics: Metrics,
        linger: Linger = linger,
    ) -> None:
        services = client.lister_watcher(SERVICES, label_selector=service_selector)
        nodes = client.lister_watcher(NODES)
        self._on_change = on_change
        self._balanced_class = balanced_class
        self._asking: dict[str, set[str]] = {}  # keys of services with IPs by namespace
        self._services: Informer[Service] = Informer(
            "services", services, clock=clock, rng=rng, metrics=metrics
        )
        self._nodes: Informer[Node] = Informer(
            "nodes", nodes, clock=clock, rng=rng, metrics=metrics
        )
        self._namespaces: Informer[Namespace] | None = None
        if namespace_selector:
            namespaces = client.lister_watcher(NAMESPACES, label_selector=namespace_selector)
            self._namespaces = Informer(
                "namespaces", namespaces, clock=clock, rng=rng, metrics=metrics
            )
            self._namespaces.add_handler(self._on_namespace)
        self._requests: Derived[Service, WrittenIPs, Requests] = Derived(
            get=self._services.store.get,
            extract=self._asked,
            combine=partial(collect_written, parse=masks.parse, permit=permissions.refuse),
            on_change=on_change,
            linger=linger,
        )
        self.on_selection: Callable[[str], None] = lambda _: None
        """Called with the key of a service that may be selected now, or not any more; with
        ``namespace/`` for all services of a namespace."""
        self.namespaces_together: Callable[[IPAddress], frozenset[str]] = lambda _: frozenset()
        """Returns the namespaces that may share an IP."""
        self._links: Derived[Service, LinkWish, dict[str, str]] = Derived(
            get=self._services.store.get,
            extract=wished_link,
            combine=dict,
            on_change=on_change,
            linger=linger,
        )
        self._settled: tuple[Requests, Mapping[str, str], Requests] | None = None
        self._having: dict[IPAddress, frozenset[str]] = {}
        self._services.add_handler(self._on_service)
        self._followed: set[IPAddress] = set()
        self._followed_for = Requests()
        self._cluster_ips = ClusterIps(
            self._services.store.get, asked=self._followed, on_change=on_change
        )
        self._services.add_handler(self._cluster_ips.update)
        self._reserved = ReservedSources(
            client, self._nodes, on_change=on_change, clock=clock, rng=rng
        )
        self._endpoints: EndpointSources[Service] = EndpointSources(
            client,
            self._services,
            local=lambda service: keeps_local(service) and self._written(service) is not None,
            on_change=on_change,
            clock=clock,
            rng=rng,
            metrics=metrics,
        )
        self.local_endpoints = self._endpoints.current
        slices, need = self._endpoints.slices, self._endpoints.need
        self._readiness: Readiness[Service] | None = None
        if withdraws:
            self._readiness = Readiness(
                slices,
                self._services,
                counts=lambda service: self._written(service) is not None,
                on_change=on_change,
                clock=clock,
                linger=linger,
            )
        self._pods = PodSources(
            self._nodes, slices, asked=self._followed, begin=need, on_change=on_change, clock=clock
        )

    def current(self) -> Inputs | None:
        """Return the inputs; None until every cache has synced."""
        if not all(source.has_synced for source in (*self._informers(), self._reserved)):
            return None
        if self._pods.awaited or self._endpoints.awaited:
            return None
        requests = self._settle(self._requests.value())
        self._follow(requests)
        in_use = self._pods.in_use(self._cluster_ips)
        return Inputs(requests=requests, reserved=self._reserved.current(in_use))

    def unready(self) -> Mapping[str, bool]:
        """Return the services without a ready endpoint, and whether that has lasted.

        It is empty while EndpointSlices cannot be read, and where nobody asked to withdraw IPs. The
        same object is returned until something changes.
        """
        if self._readiness is None or not self._endpoints.slices.has_synced:
            return _ALL_READY
        return self._readiness.unready()

    def selects(self, service: DetailedService) -> bool:
        """Whether the selectors admit a service."""
        meta = service.metadata
        inside = self._namespaces is None or meta.namespace in self._namespaces.store
        return inside and f"{meta.namespace}/{meta.name}" in self._services.store

    def node_ips(self) -> frozenset[IPAddress] | None:
        """Return the single addresses that the cluster itself uses; None until they are known."""
        current = self.current()
        return None if current is None else current.reserved.single()

    def share_anew(self) -> None:
        """Decide again which namespace has which IP: `namespaces_together` may say otherwise."""
        before = self._settled
        if before is None or before[-1] is before[0]:
            return
        self._settled = None
        if self._settle(before[0]) == before[-1]:
            self._settled = before  # else the pass that follows would ask for this again, for ever
        else:
            self._on_change()

    def owners(self, ip: IPAddress) -> tuple[Owner, ...]:
        """Return the services that ask for an IP."""
        found = (owners for interface, owners in self.wanted().items() if interface.ip == ip)
        return next(found, ())

    def wanted(self) -> Mapping[IPInterface, tuple[Owner, ...]]:
        """Return the services that ask for each IP, as far as known."""
        current = self.current()
        return {} if current is None else current.requests.wanted

    def nodes(self) -> Iterable[Node]:
        """Return the Node objects."""
        return self._nodes.store.values()

    def _settle(self, asked: Requests) -> Requests:
        """Leave each IP to one namespace: whoever has it, as far as this process remembers."""
        wishes = self._links.value()
        before = self._settled
        if before is None or before[0] is not asked or before[1] is not wishes:
            requests = resolve_sharing(
                asked, lambda ip: self._having.get(ip, ()), self.namespaces_together
            )
            self._having = namespaces_of(requests.wanted)
            if links := wishes_by_ip(requests.wanted, wishes):
                requests = replace(requests, links=links)
            before = self._settled = asked, wishes, requests
        return before[-1]

    def _follow(self, requests: Requests) -> None:
        """Follow whether somebody in the cluster has one of these IPs."""
        if requests is not self._followed_for:
            self._followed_for = requests
            differing = self._followed ^ {interface.ip for interface in requests.wanted}
            self._followed ^= differing
            self._cluster_ips.look_at(differing)
            self._pods.look_at(differing)

    async def wait_synced(self) -> None:
        """Wait until every cache has been filled; pods and endpoints may still be awaited."""
        for source in (*self._informers(), self._reserved):
            await source.wait_synced()

    def components(self) -> list[Component]:
        """Return what has to run."""
        return [
            *(Component(informer.name, informer.run) for informer in self._informers()),
            *self._reserved.components(),
            *self._endpoints.components(),
            *self._pods.components(),
            Component("first-sync", self._announce_first_sync),
        ]

    def problem(self) -> str:
        """Return which caches have never been filled, and why; empty when all have.

        A readiness check.
        """
        missing = [
            f"{i.name} ({i.trouble[0]})" if i.trouble else i.name
            for i in self._informers()
            if not i.has_synced
        ]
        missing += [self._reserved.problem()] if self._reserved.problem() else []
        awaited = self._pods.awaited or self._endpoints.awaited
        missing += [self._endpoints.slices.name] if awaited else []
        return f"not synced yet: {', '.join(missing)}" if missing else ""

    def denied(self) -> ApiAccessError | None:
        """Return what the API server refuses to show; None when it refuses nothing."""
        troubles = (i.trouble[0] for i in self._informers() if i.trouble is not None)
        return next((error for error in troubles if isinstance(error, ApiAccessError)), None)

    async def _announce_first_sync(self) -> None:
        """Call `on_change` when all inputs are known: with no service at all, no key ever does."""
        await self.wait_synced()
        self._reserved.tell_gaps(self._pods.gap())
        self._on_change()
        await asyncio.get_running_loop().create_future()

    def _informers(self) -> list[Informer[Service] | Informer[Node] | Informer[Namespace]]:
        informers: list[Informer[Service] | Informer[Node] | Informer[Namespace]]
        informers = [self._services, self._nodes]
        return informers if self._namespaces is None else [*informers, self._namespaces]

    def _asked(self, service: Service) -> WrittenIPs | None:
        namespace = service.metadata.namespace
        if self._namespaces is not None and namespace not in self._namespaces.store:
            return None
        return self._written(service)

    def _written(self, service: Service) -> WrittenIPs | None:
        return written_ips(service, balanced_class=self._balanced_class)

    def _on_service(self, key: str) -> None:
        service = self._services.store.get(key)
        namespace = key.partition("/")[0]
        if service is not None and self._written(service) is not None:
            self._asking.setdefault(namespace, set()).add(key)
            if self._readiness is not None:
                self._endpoints.expect(_PATIENCE_S)
        elif asking := self._asking.get(namespace):
            asking.discard(key)
            if not asking:
                del self._asking[namespace]
        self._requests.update(key)
        self._links.update(key)
        self.on_selection(key)

    def _on_namespace(self, namespace: str) -> None:
        for key in self._asking.get(namespace, ()):
            self._requests.update(key)
        self.on_selection(f"{namespace}/")
