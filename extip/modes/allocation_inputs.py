"""What allocation learns from the API server: demands of services, pools, labels of namespaces."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from extip.api.core_v1 import DetailedService, LabelledNamespace
from extip.api.ipcontroller_v1 import IpClaimPool
from extip.api.meta_v1 import FullObjectMeta, LabelSelector
from extip.api.names import label_value
from extip.cache.derived import Derived
from extip.cache.informer import Informer
from extip.modes.lingering import linger
from extip.plan.demand import Demand, misunderstood, service_demand
from extip.plan.networks import IPNetwork
from extip.plan.pools import Pools, compile_pools
from extip.plan.requests import Owner, Ports, service_owner
from extip.reconcile.allocation import AllocationInputs

_Labels = tuple[str, Mapping[str, str]]
_Slip = tuple[Owner, str]
_Named = tuple[tuple[str, str], Ports]


class AllocationSources:
    """Follows from informers that somebody else runs; `changed` is called when it differs."""

    def __init__(
        self,
        *,
        services: Informer[DetailedService],
        pools: Informer[IpClaimPool],
        namespaces: Informer[LabelledNamespace],
        lb_class: str,
        allowed: tuple[IPNetwork, ...],
        changed: Callable[[], None],
    ) -> None:
        self._known_pools = pools.store
        # As long as the demand of a service lingers, so do its ports: nobody else gets them.
        self._ports: Derived[DetailedService, _Named, dict[tuple[str, str], Ports]] = Derived(
            get=services.store.get, extract=_ports, combine=dict, changed=changed, linger=linger
        )
        self._demands: Derived[DetailedService, Demand, tuple[Demand, ...]] = Derived(
            get=services.store.get,
            extract=partial(service_demand, lb_class=lb_class),
            combine=tuple,
            changed=changed,
            linger=linger,
        )
        self._pools: Derived[IpClaimPool, IpClaimPool, Pools] = Derived(
            get=pools.store.get,
            extract=_without_status,
            combine=partial(compile_pools, allowed=allowed),
            changed=changed,
        )
        self._namespaces: Derived[LabelledNamespace, _Labels, dict[str, Mapping[str, str]]] = (
            Derived(get=namespaces.store.get, extract=_labels, combine=_as_mapping, changed=changed)
        )
        self._slips: Derived[DetailedService, _Slip, dict[Owner, str]] = Derived(
            get=services.store.get, extract=_slip, combine=dict, changed=changed
        )
        services.add_handler(self._ports.update)
        services.add_handler(self._demands.update)
        services.add_handler(self._slips.update)
        pools.add_handler(self._pools.update)
        pools.add_handler(lambda _: changed())  # also when only a status was damaged
        namespaces.add_handler(self._namespaces.update)

    def current(self) -> AllocationInputs:
        """Return what is known now."""
        return AllocationInputs(
            demands=self._demands.value(),
            pools=self._pools.value(),
            known_pools=self._known_pools,
            namespaces=self._namespaces.value(),
            ports=self._ports_of,
            misunderstood=self._slips.value(),
        )

    def node_selectors(self) -> dict[str, LabelSelector]:
        """Return which nodes may hold the addresses of each pool that says so."""
        return {
            label_value(pool.name): pool.spec.node_selector
            for pool in self._pools.value().ordered
            if pool.spec.node_selector is not None
        }

    def _ports_of(self, owner: Owner) -> Ports:
        return self._ports.value().get((owner.namespace, owner.name), frozenset())


def _without_status(pool: IpClaimPool) -> IpClaimPool:
    return IpClaimPool(metadata=FullObjectMeta(name=pool.metadata.name), spec=pool.spec)


def _ports(service: DetailedService) -> _Named | None:
    found = frozenset((port.protocol, port.port) for port in service.spec.ports or ())
    return ((service.metadata.namespace, service.metadata.name), found) if found else None


def _slip(service: DetailedService) -> _Slip | None:
    text = misunderstood(service)
    return (service_owner(service), text) if text else None


def _labels(namespace: LabelledNamespace) -> _Labels:
    return namespace.metadata.name, namespace.metadata.labels or {}


def _as_mapping(labels: Iterable[_Labels]) -> dict[str, Mapping[str, str]]:
    return dict(labels)
