"""Which addresses services and pods have, as they come and go."""

from collections.abc import Callable, Iterable

from extip.api.core_v1 import AnyService
from extip.api.discovery_v1 import EndpointSlice
from extip.plan.link import IPAddress
from extip.plan.reserved import parse_ips
from extip.plan.service_network import Spans, widened


class AddressesInUse:
    """An index of the addresses that objects name.

    Most objects matter to nobody here: `changed` is called only for addresses that were among the
    `wanted` ones when they were last asked for.
    """

    def __init__(
        self,
        texts: Callable[[str], tuple[str, ...]],
        *,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """Compose; `texts` returns what an object names, by its key: nothing when it is gone."""
        self._texts = texts
        self._changed = changed
        self._of_object: dict[str, tuple[str, ...]] = {}
        self._count: dict[IPAddress, int] = {}
        self._all: frozenset[IPAddress] | None = None
        self._taken: tuple[object, frozenset[IPAddress]] | None = None
        self._asked: frozenset[IPAddress] = frozenset()

    def update(self, key: str) -> None:
        """Look at one object again (an informer's handler)."""
        new, old = self._texts(key), self._of_object.get(key, ())
        if new == old:
            return
        if new:
            self._of_object[key] = new
        else:
            del self._of_object[key]
        came, went = parse_ips(new), parse_ips(old)
        for ip in came:
            self._count[ip] = self._count.get(ip, 0) + 1
        for ip in went:
            self._count[ip] -= 1
            if not self._count[ip]:
                del self._count[ip]
        self._all = None
        self._came(came)
        if not self._asked.isdisjoint(came | went):
            self._taken = None
            self._changed()

    def all(self) -> frozenset[IPAddress]:
        """Return every address in use; the very same object until one changes."""
        if self._all is None:
            self._all = frozenset(self._count)
        return self._all

    def among(self, wanted: Iterable[IPAddress], *, of: object) -> frozenset[IPAddress]:
        """Return those of the addresses that are in use.

        They are looked up anew only when one of them changed or `of` is another object.
        """
        if self._taken is None or self._taken[0] is not of:
            self._asked = frozenset(wanted)
            self._taken = of, frozenset(ip for ip in self._asked if ip in self._count)
        return self._taken[1]

    def _came(self, ips: frozenset[IPAddress]) -> None:
        """Take note of addresses that came into use."""


class ClusterIps(AddressesInUse):
    """The cluster IPs of services."""

    def __init__(
        self,
        get: Callable[[str], AnyService | None],
        *,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        def texts(key: str) -> tuple[str, ...]:
            service = get(key)
            return () if service is None else service.spec.cluster_ips or ()

        super().__init__(texts, changed=changed)
        self.spans: Spans = {}
        """How far they reach; what once was in use stays in it, since networks do not shrink."""

    def _came(self, ips: frozenset[IPAddress]) -> None:
        spans = widened(self.spans, ips)
        if spans is not self.spans:  # a few times: it takes a new highest or lowest one
            self.spans = spans
            self._changed()


class PodIps(AddressesInUse):
    """The addresses of pods that serve a service, as EndpointSlices name them."""

    def __init__(
        self,
        get: Callable[[str], EndpointSlice | None],
        *,
        changed: Callable[[], None],
    ) -> None:
        def texts(key: str) -> tuple[str, ...]:
            found = get(key)
            return () if found is None else tuple(_addresses_of_pods(found))

        super().__init__(texts, changed=changed)


def _addresses_of_pods(found: EndpointSlice) -> Iterable[str]:
    """Return the addresses in a slice that pods have.

    Others are put there by people: an external IP may well be where a service of theirs leads to.
    """
    for endpoint in found.endpoints or ():
        if endpoint.target is not None and endpoint.target.kind == "Pod":
            yield from endpoint.addresses or ()
