"""External IPs that went by another hand: somebody removed them, or they ran out unseen.

Those that another program removes again and again come back ever more slowly
(`policy.readd_backoff`).

It owns no task: `AddressReconciler` calls it.
"""

from collections.abc import Collection

from extip import log
from extip.addresses.applier import UNSEEN
from extip.addresses.local_addresses import LocalAddresses
from extip.addresses.observation import Observation
from extip.addresses.policy.readd_backoff import ReaddBackoff
from extip.clock import Clock
from extip.net.interfaces import IPAddress

_RAN_OUT = "this process stood still, and they ran out"


class Losses:
    """Tells of lost IPs, and knows how soon they may be added again."""

    def __init__(self, *, link: str, slowest_s: float, clock: Clock) -> None:
        self._clock = clock
        self._log = log.get_logger("addresses").bind(link=link)
        self.backoff = ReaddBackoff(slowest_s=slowest_s)
        """The IPs that have to wait."""
        self._began_at = 0.0
        self._given_s = 0
        self._ran_out = False

    def observed(self, began: float) -> None:
        """Note that a pass which began at that time has read the addresses."""
        before, self._began_at = self._began_at, began
        self._ran_out = self._clock.monotonic() - before > UNSEEN * self._given_s

    def given(self, lifetime_s: int) -> None:
        """Note the lifetime that addresses have from now on; 0 when none was given."""
        self._given_s = lifetime_s or self._given_s

    def notice(
        self,
        observation: Observation,
        local: LocalAddresses,
        *,
        expected: Collection[IPAddress],
        undisturbed: bool,
    ) -> None:
        """Record IPs that are gone; log those that are wanted, and were not `expected` to go.

        Only an address that went while the interface was `undisturbed`, and this process ran, was
        removed by another program. Only such a one comes back ever more slowly. Else the kernel
        itself may have dropped it.
        """
        lost = local.up - observation.plan.up
        if lost and observation.admission is not None:
            wanted = {interface.ip for interface in observation.admission.wanted}
            gone = sorted(lost & wanted.difference(expected), key=str)
            if undisturbed and not self._ran_out:
                gone = self.backoff.on_removed(gone, self._began_at)
            reason = _RAN_OUT if self._ran_out else "removed from outside"
            for ip in gone:
                self._log.warning("address_lost", address=str(ip), reason=reason)
        local.withdraw(lost)
