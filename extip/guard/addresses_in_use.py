"""The addresses of services and pods, kept up to date object by object."""

from collections.abc import Callable, Container, Iterable

from extip.api.core_v1 import AnyService
from extip.api.discovery_v1 import EndpointSlice
from extip.guard.policy.reserved import parse_ips
from extip.guard.policy.service_network import Spans, widened
from extip.net.interfaces import IPAddress


class AddressesInUse:
    """An index of the addresses in objects.

    Most objects do not matter: `on_change` is called only when `taken` differs.
    """

    def __init__(
        self,
        texts: Callable[[str], tuple[str, ...]],
        *,
        asked: Container[IPAddress] = (),
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """`texts` returns the addresses in an object, by its key; none for a deleted object.

        `asked` are the external IPs that somebody asks for. Whoever changes it calls `look_at`.
        """
        self._texts = texts
        self._asked = asked
        self._on_change = on_change
        self._of_object: dict[str, tuple[str, ...]] = {}
        self._count: dict[IPAddress, int] = {}
        self.taken: frozenset[IPAddress] = frozenset()
        """The IPs that somebody asks for, and that are in use; the same object until one differs.
        """

    def update(self, key: str) -> None:
        """Read one object again; an informer's handler."""
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
        self._came(came)
        self._went(frozenset(ip for ip in went if ip not in self._count))
        before = self.taken
        self.look_at(came | went)
        if self.taken is not before:
            self._on_change()

    def look_at(self, ips: Iterable[IPAddress]) -> None:
        """Look again at these: somebody asks for them now, or nobody does any more."""
        taken = self._asked, self._count
        differing = {ip for ip in ips if (ip in self.taken) != all(ip in one for one in taken)}
        if differing:
            self.taken ^= differing

    def _came(self, ips: frozenset[IPAddress]) -> None:
        """Note addresses that came into use."""

    def _went(self, ips: frozenset[IPAddress]) -> None:
        """Note addresses that are not in use any more."""


class ClusterIps(AddressesInUse):
    """The cluster IPs of services."""

    def __init__(
        self,
        get: Callable[[str], AnyService | None],
        *,
        asked: Container[IPAddress] = (),
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        def texts(key: str) -> tuple[str, ...]:
            service = get(key)
            return () if service is None else service.spec.cluster_ips or ()

        super().__init__(texts, asked=asked, on_change=on_change)
        self.spans: Spans = {}
        """The lowest and highest ones ever in use, by IP version: networks do not shrink."""

    def _came(self, ips: frozenset[IPAddress]) -> None:
        spans = widened(self.spans, ips)
        if spans is not self.spans:  # a few times: it takes a new highest or lowest one
            self.spans = spans
            self._on_change()


class PodIps(AddressesInUse):
    """The addresses of pods in EndpointSlices."""

    def __init__(
        self,
        get: Callable[[str], EndpointSlice | None],
        *,
        asked: Container[IPAddress],
        on_change: Callable[[], None],
    ) -> None:
        def texts(key: str) -> tuple[str, ...]:
            found = get(key)
            return () if found is None else tuple(_addresses_of_pods(found))

        super().__init__(texts, asked=asked, on_change=on_change)


def _addresses_of_pods(found: EndpointSlice) -> Iterable[str]:
    """Return the addresses of pods in a slice.

    Persons write other addresses there, and such an address may be an external IP.
    """
    for endpoint in found.endpoints or ():
        if endpoint.target is not None and endpoint.target.kind == "Pod":
            yield from endpoint.addresses or ()
