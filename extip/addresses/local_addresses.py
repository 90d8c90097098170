"""The interface, the node's own addresses on it, and the external IPs that are up.

This is the one place that knows which external IPs are up; all others follow it as listeners.

Guarantee: an external IP is announced only when it is known to be wanted. One that an earlier run
left may be another node's while the API server does not answer. It is held: watched for conflicts,
and not announced.

It owns no task: `AddressReconciler` calls it.
"""

from collections.abc import Iterable, Sequence

from extip import log
from extip.addresses.observation import Observation
from extip.metrics import Metrics
from extip.net.interfaces import IPAddress, IPInterface, Link


class AddressListener:
    """Follows which external IPs are on the interface; without a method it ignores the change."""

    def set_link(self, link: Link | None) -> None:
        """Take the interface as it is from now on; None while there is none.

        Raises PermissionDeniedError.
        """

    def announce(self, ips: Iterable[IPAddress]) -> None:
        """Take IPs that are up and known to be wanted; each comes once until it is withdrawn."""

    def hold(self, ips: Iterable[IPAddress]) -> None:
        """Take IPs that are up and may be another node's, until they are announced or withdrawn."""

    def withdraw(self, ips: Iterable[IPAddress]) -> None:
        """Take IPs that are not up any more."""


class LocalAddresses:
    """The state as of the last pass; it passes changes on to its listeners, log and metrics."""

    def __init__(self, name: str, *, metrics: Metrics) -> None:
        """`name` is the interface's."""
        self._listeners: list[AddressListener] = []
        self._gauge = metrics.addresses_up
        self._log = log.get_logger("addresses").bind(link=name)
        self._up: set[IPAddress] = set()
        self._counted = 0
        self._unconfirmed: set[IPAddress] = set()
        self.link: Link | None = None
        """None while it is missing."""
        self.own: Sequence[IPInterface] = ()
        """The node's own addresses there that are in use; neither external nor link-local ones."""

    def add_listener(self, listener: AddressListener) -> None:
        """Have `listener` follow; listeners are told in their order."""
        self._listeners.append(listener)

    def is_up(self, ip: IPAddress) -> bool:
        """Return whether an external IP is on the interface."""
        return ip in self._up

    @property
    def up(self) -> frozenset[IPAddress]:
        """External IPs on the interface."""
        return frozenset(self._up)

    def see(self, observation: Observation) -> None:
        """Record the interface, and the node's own addresses on it."""
        self.own = _own(observation)
        self.set_link(observation.link)

    def set_link(self, link: Link | None) -> None:
        """Record the interface; with None, no IP is up."""
        if link is None:
            self.withdraw(self.up)
        if link == self.link:
            return
        if link is not None:
            self._log.info(
                "link_changed",
                index=link.index,
                mac=link.mac.hex(":"),
                up=link.up,
                carrier=link.carrier,
            )
        self.link = link
        for listener in self._listeners:
            listener.set_link(link)

    def found(self, ips: Iterable[IPAddress], *, wanted: bool) -> None:
        """Record external IPs that are up; announce the new ones if they are `wanted`."""
        known = tuple(ips)
        new = [ip for ip in known if ip not in self._up]
        if new:
            self._up.update(new)
            self._unconfirmed.update(new)
            self._count()
            for listener in self._listeners:
                listener.hold(new)
        if wanted:
            self.announce(known)

    def announce(self, ips: Iterable[IPAddress]) -> None:
        """Record wanted IPs that are up; announce those that were not announced yet."""
        new = [ip for ip in ips if ip not in self._up or ip in self._unconfirmed]
        if new:
            self._up.update(new)
            self._unconfirmed.difference_update(new)
            self._count()
            for listener in self._listeners:
                listener.announce(new)

    def withdraw(self, ips: Iterable[IPAddress]) -> None:
        """Record IPs that are not up any more."""
        gone = [ip for ip in ips if ip in self._up]
        if gone:
            self._up.difference_update(gone)
            self._unconfirmed.difference_update(gone)
            self._count()
            for listener in self._listeners:
                listener.withdraw(gone)

    def _count(self) -> None:
        """Bring the metric, which counts the IPs of all interfaces, up to date."""
        self._gauge.inc(len(self._up) - self._counted)
        self._counted = len(self._up)


def _own(observation: Observation) -> Sequence[IPInterface]:
    return tuple(
        a.interface
        for a in observation.observed
        if a.link_index == observation.link.index
        and not (a.ours or a.tentative or a.interface.ip.is_link_local)
    )
