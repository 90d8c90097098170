"""The IPs that services write and pools give, as the guard admits them: found in steps."""

from collections.abc import Callable, Iterable, Mapping

from extip.api.core_v1 import DetailedService
from extip.api.ipcontroller_v1 import IpClaim
from extip.guard.policy.admission import Admission
from extip.guard.policy.reserved import Reserved
from extip.guard.policy.rules import Guard
from extip.net.interfaces import IPAddress
from extip.pools.allocator import Allocator
from extip.pools.policy.outcome import Allocation
from extip.scheduling.inputs import SchedulerInputs
from extip.scheduling.policy.keys import Key, Wanted
from extip.scheduling.wanted_ips import WantedIps
from extip.services.explicit_ips import ExplicitIPs


class Demand:
    """The demand of one leadership; another leadership makes another one."""

    def __init__(
        self,
        explicit: ExplicitIPs[DetailedService],
        allocator: Allocator,
        *,
        guard: Guard,
        on_admission: Callable[[Admission], None],
        claims_of: Callable[[IPAddress], Iterable[IpClaim]],
    ) -> None:
        """Compose; `explicit` is read here alone. The others are those of `WantedIps`."""
        self._explicit = explicit
        self._allocator = allocator
        self._wanted = WantedIps(guard, on_admission, claims_of)
        self._reserved: Reserved | None = None
        self._single: frozenset[IPAddress] = frozenset()
        """The single addresses of `_reserved`."""
        self.allocation = Allocation()
        """The allocation so far."""

    @property
    def pending(self) -> bool:
        """Whether `step` has more to do."""
        return self._explicit.pending or self._allocator.pending or self._wanted.pending

    def step(self, inputs: SchedulerInputs, most: int) -> Mapping[Key, Wanted | None]:
        """Look at up to `most` IPs; return those that may differ, and None for an unwanted one.

        The IPs that services write are all known before any address is given.
        """
        changes = self._explicit.changes(most)
        self._allocator.take_explicit(changes)
        self._wanted.take_explicit(changes)
        if self._explicit.pending:
            return {}
        if inputs.reserved is not self._reserved:
            self._reserved, self._single = inputs.reserved, inputs.reserved.single()
        self.allocation = self._allocator.plan(self._single)
        return self._wanted.update(inputs.rejected, self.allocation, inputs.reserved, most)

    def report(self) -> None:
        """Tell who is refused now."""
        self._wanted.report()

    def forget(self) -> None:
        """Let the next demand find everything anew."""
        self._explicit.forget()
        self._allocator.forget()
