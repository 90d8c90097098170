"""What is here: the interface, the node's own addresses on it, and the external IPs.

The neighbours are told of an external IP once it is known to be wanted. One that is found on the
interface before that (left by a run of before, while the API server says nothing) may be another
node's by now: it is watched, and not announced.
"""

from collections.abc import Iterable, Sequence

from extip import log
from extip.metrics import Metrics
from extip.plan.link import IPAddress, IPInterface, Link
from extip.reconcile.observe import View
from extip.reconcile.ports import Announcer


class Presence:
    """As of the last pass; tells announcer, log and metrics what changes."""

    def __init__(self, announcer: Announcer, *, name: str, metrics: Metrics) -> None:
        """`name` is the interface's."""
        self._announcer = announcer
        self._gauge = metrics.addresses_up
        self._log = log.get_logger("addresses").bind(link=name)
        self._up: set[IPAddress] = set()
        self._unconfirmed: set[IPAddress] = set()
        self.link: Link | None = None
        """None while it is missing."""
        self.own: Sequence[IPInterface] = ()
        """The node's own addresses there that are in use; neither external nor link-local ones."""

    @property
    def up(self) -> frozenset[IPAddress]:
        """External IPs on the interface."""
        return frozenset(self._up)

    def see(self, view: View) -> None:
        """Take note of the interface, and of the node's own addresses."""
        self.own = _own(view)
        self.set_link(view.link)

    def set_link(self, link: Link | None) -> None:
        """Take note of the interface; None, and nothing is up, while there is none."""
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
        self._announcer.set_link(link)

    def found(self, ips: Iterable[IPAddress], *, wanted: bool) -> None:
        """Take note of external IPs that are up; announce what is news, once it is `wanted`."""
        known = tuple(ips)
        new = [ip for ip in known if ip not in self._up]
        if new:
            self._up.update(new)
            self._unconfirmed.update(new)
            self._gauge.set(len(self._up))
            self._announcer.hold(new)
        if wanted:
            self.announce(known)

    def announce(self, ips: Iterable[IPAddress]) -> None:
        """Take note of wanted IPs that are up; announce those that were not until now."""
        new = [ip for ip in ips if ip not in self._up or ip in self._unconfirmed]
        if new:
            self._up.update(new)
            self._unconfirmed.difference_update(new)
            self._gauge.set(len(self._up))
            self._announcer.announce(new)

    def withdraw(self, ips: Iterable[IPAddress]) -> None:
        """Take note of IPs that are not up any more."""
        gone = [ip for ip in ips if ip in self._up]
        if gone:
            self._up.difference_update(gone)
            self._unconfirmed.difference_update(gone)
            self._gauge.set(len(self._up))
            self._announcer.withdraw(gone)


def _own(view: View) -> Sequence[IPInterface]:
    return tuple(
        a.interface
        for a in view.observed
        if a.link_index == view.link.index
        and not (a.ours or a.tentative or a.interface.ip.is_link_local)
    )
