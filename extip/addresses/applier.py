"""Makes the changes of one pass, and announces each batch as soon as the kernel has taken it.

Guarantees: an address is added only while the wanted set is young enough. No address gets a
lifetime that fencing does not allow at that moment. Both are checked for each change, since this
process may be frozen between any two of them.

It does not guarantee that all changes are made: `Applied.failures` and `Applied.late` tell.

It owns no task: `AddressReconciler` calls it.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from extip.addresses.apply_log import ApplyLog
from extip.addresses.apply_results import is_done
from extip.addresses.links_in_use import LinksInUse
from extip.addresses.ports import AddressTable, Fencing
from extip.clock import Clock
from extip.net.interfaces import Change, ChangeResult, Operation

UNSEEN = 2 / 3
"""Share of an address's lifetime in which it cannot have run out: it is refreshed in it."""

_ADDING = (Operation.ADD, Operation.MOVE)


@dataclass(slots=True)
class Applied:
    """The changes of a pass, as far as they were made."""

    began: float
    """When the pass began, on the clock's timeline."""
    lifetime_s: int
    """The shortest lifetime that a batch was given; 0 when none may be given."""
    failures: list[ChangeResult] = field(default_factory=list)
    late: bool = False
    """Some changes were dropped or made too late: this process stood still meanwhile."""


class ChangeApplier:
    """Applies changes to the selected interfaces."""

    def __init__(
        self,
        table: AddressTable,
        *,
        in_use: LinksInUse,
        fencing: Fencing,
        apply_log: ApplyLog,
        ttl_s: int,
        clock: Clock,
    ) -> None:
        """`ttl_s` is the lifetime that addresses have when nothing shortens it."""
        self._table = table
        self._in_use = in_use
        self._fencing = fencing
        self._apply_log = apply_log
        self._ttl_s = ttl_s
        self._clock = clock

    async def apply(self, changes: Sequence[Change], *, began: float, lifetime_s: int) -> Applied:
        """Make the changes in order. The lifetime follows fencing from batch to batch.

        `lifetime_s` is what fencing allowed when the pass began; with 0 only deletes are made.
        Raises LinkError when the kernel fails.
        """
        applied = Applied(began, lifetime_s)
        done: list[Change] = []
        waiting = deque(changes)
        while waiting:
            if lifetime_s > 0:
                applied.lifetime_s = min(applied.lifetime_s, self._fencing.lifetime_s())
            in_time = self._in_time(waiting, applied)
            async for results in self._table.apply(in_time, ttl_s=applied.lifetime_s):
                done += self._take(results, applied)
        await self._apply_log.log_changes(done)
        return applied

    def _in_time(self, waiting: deque[Change], applied: Applied) -> Iterator[Change]:
        """Take changes off the front for as long as the lifetime at hand is right for them.

        A change that comes too late is dropped. An address that was to be added may be another
        node's by now, and a refresh would bring back one that ran out. A delete is right at any
        time.
        """
        while waiting:
            if waiting[0].operation is not Operation.DELETE:
                lifetime_s = self._fencing.lifetime_s()
                if self._is_late(waiting[0].operation, applied) or lifetime_s <= 0:
                    applied.late = True
                    waiting.popleft()
                    continue
                if lifetime_s < applied.lifetime_s:
                    return
            yield waiting.popleft()

    def _is_late(self, operation: Operation, applied: Applied) -> bool:
        limit_s = UNSEEN * self._ttl_s
        if operation in _ADDING:
            limit_s = min(limit_s, self._fencing.wanted_valid_s)
        return self._clock.monotonic() - applied.began > limit_s

    def _take(self, results: Sequence[ChangeResult], applied: Applied) -> list[Change]:
        """Record the kernel's answers to a batch; return what was added, deleted or moved."""
        done = [
            r.change for r in results if not r.errno and r.change.operation is not Operation.REFRESH
        ]
        if self._is_late(Operation.ADD, applied):
            # The addresses are on the interface, but may be another node's: nobody announces them,
            # and the next pass looks again.
            applied.late |= any(c.operation in _ADDING for c in done)
        else:
            self._in_use.announce(c for c in done if c.operation is Operation.ADD)
        applied.failures += [r for r in results if r.errno and not is_done(r)]
        self._apply_log.count(results)
        return done
