"""The inputs of allocation: address requests of services, pools, labels of namespaces."""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial

from extip.api.core_v1 import DetailedService, LabelledNamespace
from extip.api.ipcontroller_v1 import IpClaimPool
from extip.api.meta_v1 import FullObjectMeta
from extip.cache.derived import Derived, Followed, Parts
from extip.cache.informer import Informer
from extip.net.networks import IPNetwork
from extip.pools.allocator import AllocationInputs
from extip.pools.policy.address_request import AddressRequest, address_request, misunderstood
from extip.pools.policy.pools import Pools, compile_pools
from extip.services.lingering import linger
from extip.services.policy.requests import Owner, Ports, service_owner

_Labels = tuple[str, Mapping[str, str]]
_Slip = tuple[Owner, str]


def _anything(_service: DetailedService) -> bool:
    return True


class AllocationSources:
    """Derives the inputs from informers that others run; calls `on_change` after each change."""

    def __init__(  # noqa: PLR0913 - informers and plain values
        self,
        *,
        services: Informer[DetailedService],
        pools: Informer[IpClaimPool],
        namespaces: Informer[LabelledNamespace],
        lb_class: str,
        allowed: tuple[IPNetwork, ...],
        on_change: Callable[[], None],
        ours: Callable[[DetailedService], bool] = _anything,
    ) -> None:
        """Compose; services that are not `ours` ask for nothing."""
        self._known_pools = pools.store
        # Its ports linger as long as the request of a deleted service: no other service gets them.
        self._ports: Parts[DetailedService, Ports] = Parts(
            get=services.store.get, extract=_ports, on_change=on_change, linger=linger
        )
        self.address_requests: Followed[DetailedService, AddressRequest] = Followed(
            get=services.store.get,
            extract=lambda one: address_request(one, lb_class=lb_class) if ours(one) else None,
            on_change=on_change,
            linger=linger,
        )
        self._pools: Derived[IpClaimPool, IpClaimPool, Pools] = Derived(
            get=pools.store.get,
            extract=_without_status,
            combine=partial(compile_pools, allowed=allowed),
            on_change=on_change,
        )
        self._namespaces: Derived[LabelledNamespace, _Labels, dict[str, Mapping[str, str]]] = (
            Derived(
                get=namespaces.store.get, extract=_labels, combine=_as_mapping, on_change=on_change
            )
        )
        self._slips: Derived[DetailedService, _Slip, dict[Owner, str]] = Derived(
            get=services.store.get,
            extract=lambda one: _slip(one) if ours(one) else None,
            combine=dict,
            on_change=on_change,
        )
        services.add_handler(self._ports.update)
        services.add_handler(self.address_requests.update)
        services.add_handler(self._slips.update)
        pools.add_handler(self._pools.update)
        pools.add_handler(lambda _: on_change())  # also when a person has changed only a status
        namespaces.add_handler(self._namespaces.update)

    def look_again(self, key: str) -> None:
        """Look again whether a service asks for an address: `ours` may say otherwise."""
        self.address_requests.update(key)
        self._slips.update(key)

    def current(self) -> AllocationInputs:
        """Return the inputs of now."""
        return AllocationInputs(
            pools=self._pools.value(),
            known_pools=self._known_pools,
            namespaces=self._namespaces.value(),
            ports=self._ports_of,
            misunderstood=self._slips.value(),
        )

    @property
    def pools(self) -> Pools:
        """The pools; the same object until the spec of one differs."""
        return self._pools.value()

    def _ports_of(self, owner: Owner) -> Ports:
        return self._ports.get(str(owner)) or frozenset()


def _without_status(pool: IpClaimPool) -> IpClaimPool:
    return IpClaimPool(metadata=FullObjectMeta(name=pool.metadata.name), spec=pool.spec)


def _ports(service: DetailedService) -> Ports | None:
    ports = tuple((port.protocol, port.port) for port in service.spec.ports or ())
    return _set_of(ports) if ports else None


@lru_cache(maxsize=2**12)
def _set_of(ports: tuple[tuple[str, int], ...]) -> Ports:
    """Return a set; services with the same ports, of which there are many, share one."""
    return frozenset(ports)


def _slip(service: DetailedService) -> _Slip | None:
    text = misunderstood(service)
    return (service_owner(service), text) if text else None


def _labels(namespace: LabelledNamespace) -> _Labels:
    return namespace.metadata.name, namespace.metadata.labels or {}


def _as_mapping(labels: Iterable[_Labels]) -> dict[str, Mapping[str, str]]:
    return dict(labels)
