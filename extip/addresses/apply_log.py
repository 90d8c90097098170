"""Logs and counts the changes that passes make on an interface.

It guarantees one line for each change, and one for each new failure. It owns no task.
"""

from collections.abc import Sequence

from extip import log
from extip.addresses.apply_results import explain, is_done
from extip.clock import Clock
from extip.metrics import Metrics
from extip.net.interfaces import Change, ChangeResult, Operation

_LOGS_PER_TURN = 50
"""Lines logged before other tasks get their turn."""


class ApplyLog:
    """The log of the interfaces; it remembers failing changes, so that each is logged once."""

    def __init__(self, *, link: str, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._changes = metrics.address_changes
        self._log = log.get_logger("addresses").bind(link=link)
        self._failing: dict[Change, int] = {}

    async def log_changes(self, changes: Sequence[Change]) -> None:
        """Log each address that was added or deleted, and the number of moved ones."""
        moved = [change for change in changes if change.operation is Operation.MOVE]
        if moved:
            self._log.warning(
                "addresses_moved",
                count=len(moved),
                address=str(moved[0].interface),
                reason="they stood in the way of the node's own, as the source of what it sends",
            )
            changes = [change for change in changes if change.operation is not Operation.MOVE]
        for number, change in enumerate(changes, start=1):
            event = "address_added" if change.operation is Operation.ADD else "address_deleted"
            self._log.info(event, address=str(change.interface))
            if number % _LOGS_PER_TURN == 0:
                await self._clock.sleep(0)

    def log_failures(self, failures: Sequence[ChangeResult]) -> str:
        """Log each new failure once; return one line about all of them, empty for none."""
        failing = {f.change: f.errno for f in failures}
        for change, number in failing.items():
            if self._failing.get(change) != number:
                self._log.warning(
                    "address_change_failed",
                    address=str(change.interface),
                    operation=change.operation.value,
                    error=explain(change, number),
                )
        self._failing = failing
        if not failing:
            return ""
        change, number = next(iter(failing.items()))
        return f"{len(failing)} address change(s) failed, first: {explain(change, number)}"

    def count(self, results: Sequence[ChangeResult]) -> None:
        """Count the kernel's answers."""
        for operation in Operation:
            of_kind = [r for r in results if r.change.operation is operation]
            failed = sum(not is_done(r) for r in of_kind)
            if failed:
                self._changes.labels(operation=operation.value, result="failure").inc(failed)
            if len(of_kind) > failed:
                self._changes.labels(operation=operation.value, result="success").inc(
                    len(of_kind) - failed
                )
