"""Keeps the interface carrying exactly the wanted addresses: observe, plan, apply.

One key, the interface: whatever happened (a service changed, an address was removed by hand, the
link went down, netlink events were lost), the answer is one pass over everything. A burst of
triggers is one pass. Nothing is added or deleted before every input is known; when inputs are
lost later (the API server is away), the last known wish stands and lifetimes are still refreshed.

The owner task is `AddressReconciler.run`; the other methods may be called from any task of the
same loop. A pass may be cancelled at any point: the next one starts from what the kernel says.
"""

import asyncio
import errno
import os
from collections.abc import Callable, Iterable, Sequence

from extip import log
from extip.clock import Clock
from extip.errors import LinkError, LinkNotFoundError
from extip.metrics import Metrics
from extip.plan.desire import Desire
from extip.plan.link import Change, ChangeResult, IPAddress, Link, Operation
from extip.reconcile.observe import AddressObserver, Policy, View
from extip.reconcile.ports import AddressTable, Announcer, LinkTable

_RETRY_S = 0.25
"""First retry after a pass failed; doubled each time, never slower than the resync."""

_GONE = frozenset({errno.EADDRNOTAVAIL, errno.ENODEV})
"""Answers to a delete that mean there is nothing left to delete."""

_LOGS_PER_TURN = 50
"""Lines logged before other tasks get their turn."""


class AddressReconciler:
    """The loop that owns the addresses of one interface."""

    def __init__(  # noqa: PLR0913 - a composition of ports
        self,
        policy: Policy,
        *,
        observer: AddressObserver,
        links: LinkTable,
        table: AddressTable,
        announcer: Announcer,
        decided: Callable[[Desire], None],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._policy = policy
        self._observer = observer
        self._links = links
        self._table = table
        self._announcer = announcer
        self._tell = decided
        self._clock = clock
        self._metrics = metrics
        self._log = log.get_logger("addresses").bind(link=policy.iface)
        self._triggered = asyncio.Event()
        self._link: Link | None = None
        self._up: set[IPAddress] = set()
        self._failing: dict[Change, int] = {}
        self._refresh_due = 0.0
        self._passed_at: float | None = None
        self._problem = "no pass over the interface yet"

    @property
    def up(self) -> frozenset[IPAddress]:
        """External IPs on the interface as of the last pass."""
        return frozenset(self._up)

    def trigger(self) -> None:
        """Ask for a pass soon; many calls before it are one."""
        self._triggered.set()

    def uses(self, link_index: int) -> bool:
        """Return whether this is the index that the interface had at the last pass."""
        return self._link is not None and self._link.index == link_index

    def problem(self) -> str:
        """Return why the last pass did not succeed; empty when it did (a readiness check)."""
        return self._problem

    def stuck(self) -> str:
        """Return why the loop seems to hang; empty when it turns (a liveness check).

        A loop that made no pass during a whole address lifetime has lost its addresses already.
        """
        if self._passed_at is None:
            return ""
        age_s = self._clock.monotonic() - self._passed_at
        limit_s = max(self._policy.ttl_s, 2 * self._policy.resync_s)
        return f"no pass over the interface for {age_s:.0f} s" if age_s > limit_s else ""

    async def run(self) -> None:
        """Pass over the interface whenever something may have changed; until cancelled.

        Raises FatalError when the kernel refuses for want of a capability.
        """
        failures = 0
        while True:
            self._triggered.clear()
            succeeded = await self._attempt()
            failures = 0 if succeeded else failures + 1
            delay_s = min(self._policy.resync_s, self._policy.refresh_s)
            if failures:
                delay_s = min(delay_s, _RETRY_S * 2 ** min(failures - 1, 10))
            try:
                async with asyncio.timeout(delay_s):
                    await self._triggered.wait()
            except TimeoutError:
                self._observer.forget()  # a resync takes nothing on trust

    async def release(self) -> None:
        """Delete every address with our mark; called after `run` was cancelled.

        Raises LinkError when the kernel fails; whatever is left then ends with its lifetime.
        """
        observed = await self._table.dump()
        deletes = [Change(Operation.DELETE, a.link_index, a.interface) for a in observed if a.ours]
        async for results in self._table.apply(deletes, ttl_s=self._policy.ttl_s):
            self._count(results)
        self._log.info("addresses_released", count=len(deletes))

    async def _attempt(self) -> bool:
        started = self._clock.monotonic()
        try:
            problem = await self._pass(started)
        except LinkNotFoundError:
            problem = f"interface {self._policy.iface} does not exist; waiting for it"
            self._set_link(None)
            self._withdraw(set(self._up))
        except LinkError as error:
            problem = str(error)
        self._passed_at = self._clock.monotonic()
        self._metrics.reconcile_duration.observe(self._passed_at - started)
        self._metrics.reconciles.labels(result="failure" if problem else "success").inc()
        if problem != self._problem:
            if problem:
                self._log.warning("reconcile_failed", reason=problem)
            elif self._problem:
                self._log.info("reconcile_succeeded", addresses=len(self._up))
            self._problem = problem
        return not problem

    async def _pass(self, now: float) -> str:
        """Make the interface right; return what is still in the way."""
        refresh = now >= self._refresh_due
        view = await self._observer.observe(refresh=refresh)
        self._set_link(view.link)
        if not view.link.promotes_secondaries and _drops_secondaries(view.plan.changes):
            await self._links.promote_secondaries(view.link)
            self._log.info(
                "secondaries_promoted",
                reason="deleting a primary address must not take the others of its subnet down",
            )
        self._notice_losses(view)
        self._announce(view.plan.up - self._up)
        failures = await self._apply(view.plan.changes)
        if refresh and not any(f.change.operation is Operation.REFRESH for f in failures):
            self._refresh_due = now + self._policy.refresh_s
        if view.desire is not None:
            self._tell(view.desire)
            self._metrics.addresses_wanted.set(len(view.desire.wanted))
        self._metrics.addresses_up.set(len(self._up))
        return self._describe(failures)

    async def _apply(self, changes: Sequence[Change]) -> list[ChangeResult]:
        """Make the changes, announce each batch as it comes up; return what failed."""
        failures: list[ChangeResult] = []
        done: list[Change] = []
        async for results in self._table.apply(changes, ttl_s=self._policy.ttl_s):
            added = [
                r.change.interface.ip
                for r in results
                if not r.errno and r.change.operation is Operation.ADD
            ]
            self._announce(added)
            deleted = {
                r.change.interface.ip
                for r in results
                if r.change.operation is Operation.DELETE and r.errno in _GONE
            }
            self._withdraw(deleted)
            failures += [r for r in results if r.errno and not _is_done(r)]
            done += [
                r.change
                for r in results
                if not r.errno and r.change.operation is not Operation.REFRESH
            ]
            self._count(results)
        await self._log_changes(done)
        return failures

    async def _log_changes(self, changes: Sequence[Change]) -> None:
        for number, change in enumerate(changes, start=1):
            event = "address_added" if change.operation is Operation.ADD else "address_deleted"
            self._log.info(event, address=str(change.interface))
            if number % _LOGS_PER_TURN == 0:
                await self._clock.sleep(0)

    def _describe(self, failures: Sequence[ChangeResult]) -> str:
        """Log what newly fails, once; return one line about all of it."""
        failing = {f.change: f.errno for f in failures}
        for change, number in failing.items():
            if self._failing.get(change) != number:
                self._log.warning(
                    "address_change_failed",
                    address=str(change.interface),
                    operation=change.operation.value,
                    error=_explain(change, number),
                )
        self._failing = failing
        if not failing:
            return ""
        change, number = next(iter(failing.items()))
        return f"{len(failing)} address change(s) failed, first: {_explain(change, number)}"

    def _notice_losses(self, view: View) -> None:
        """Log addresses that were up, are still wanted, and are gone by somebody else's hand."""
        lost = self._up - view.plan.up
        if view.desire is not None:
            still = {interface.ip for interface in view.desire.wanted}
            for ip in sorted(lost & still, key=str):
                self._log.warning("address_lost", address=str(ip), reason="removed from outside")
        self._withdraw(lost)

    def _set_link(self, link: Link | None) -> None:
        if link == self._link:
            return
        if link is not None:
            self._log.info(
                "link_changed",
                index=link.index,
                mac=link.mac.hex(":"),
                up=link.up,
                carrier=link.carrier,
            )
        self._link = link
        self._announcer.set_link(link)

    def _announce(self, ips: Iterable[IPAddress]) -> None:
        new = [ip for ip in ips if ip not in self._up]
        if new:
            self._up.update(new)
            self._announcer.announce(new)

    def _withdraw(self, ips: Iterable[IPAddress]) -> None:
        gone = [ip for ip in ips if ip in self._up]
        if gone:
            self._up.difference_update(gone)
            self._announcer.withdraw(gone)

    def _count(self, results: Sequence[ChangeResult]) -> None:
        for operation in Operation:
            of_kind = [r for r in results if r.change.operation is operation]
            failed = sum(not _is_done(r) for r in of_kind)
            counter = self._metrics.address_changes
            if failed:
                counter.labels(operation=operation.value, result="failure").inc(failed)
            if len(of_kind) > failed:
                counter.labels(operation=operation.value, result="success").inc(
                    len(of_kind) - failed
                )


def _is_done(result: ChangeResult) -> bool:
    """Whether the wanted state holds: what was to be deleted may be gone already."""
    return not result.errno or (
        result.change.operation is Operation.DELETE and result.errno in _GONE
    )


def _drops_secondaries(changes: Iterable[Change]) -> bool:
    """Whether a delete among `changes` may be of the primary address of an IPv4 subnet."""
    return any(
        change.operation is Operation.DELETE
        and change.interface.version == 4  # noqa: PLR2004
        and change.interface.network.prefixlen < change.interface.max_prefixlen
        for change in changes
    )


def _explain(change: Change, number: int) -> str:
    if number == errno.EEXIST:
        return f"{change.interface.ip} was put there by somebody else meanwhile"
    if number in (errno.EACCES, errno.EOPNOTSUPP) and change.interface.version == 6:  # noqa: PLR2004
        return f"IPv6 is switched off on this interface (net.ipv6.conf), so no {change.interface}"
    name = errno.errorcode.get(number, str(number))
    return f"{change.operation.value} {change.interface}: {name} ({os.strerror(number)})"
