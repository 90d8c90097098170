"""The orderly stop of a controller: other nodes have its IPs before it removes them."""

import asyncio
from functools import partial

from extip import log
from extip.addresses.reconciler import AddressReconciler
from extip.addresses.release import release_in_time
from extip.claims.status import ClaimStatusWriter
from extip.fencing.cache_freshness import CacheFreshness
from extip.handover.drain_wait import DrainWait
from extip.liveness.heartbeat import Publisher
from extip.supervisor import Component, NextSignal, run_beside


class Departure:
    """The departure of one controller."""

    def __init__(  # noqa: PLR0913 - a composition of parts and plain values
        self,
        freshness: CacheFreshness,
        drain_wait: DrainWait,
        heartbeat: Publisher,
        reconciler: AddressReconciler,
        statuses: ClaimStatusWriter,
        *,
        keeps_addresses: bool,
        needs_lease: bool,
        timeout_s: float,
    ) -> None:
        """Compose.

        `keeps_addresses`: all is left as it is, for a successor. `needs_lease`: no two nodes ever
        have an IP, so the Lease must not end before the addresses do. `timeout_s` is how long to
        wait for others.
        """
        self._freshness = freshness
        self._drain_wait = drain_wait
        self._heartbeat = heartbeat
        self._reconciler = reconciler
        self._statuses = statuses
        self._keeps_addresses = keeps_addresses
        self._needs_lease = needs_lease
        self._timeout_s = timeout_s
        self._log = log.get_logger("controller")

    async def drain(self, signal: str, next_signal: NextSignal) -> None:
        """Have others take the IPs over, and wait until they have; all parts run meanwhile.

        A second signal ends the wait, and so does the timeout. Without a heartbeat lately nobody
        could be told, and nobody is waited for.
        """
        if self._keeps_addresses or not self._freshness.in_contact():
            return
        self._log.info("draining", signal=signal)
        self._heartbeat.leave(f"stopped by {signal}")
        impatience = Component("impatience", partial(self._give_up_at_signal, next_signal))
        await run_beside([impatience], self._wait_left)

    async def release(self) -> None:
        """Remove the addresses and give the Lease up; after the components were cancelled.

        Nobody is told anything while addresses may be left, where the Lease must outlast them.
        """
        if self._keeps_addresses:
            return
        all_went = await release_in_time(self._reconciler)
        if not all_went and self._needs_lease:
            self._log.warning("heartbeat_kept", reason="addresses are left, until their TTL")
            return
        await self._heartbeat.release()
        await self._statuses.stop()

    async def _wait_left(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._drain_wait.wait()
        except TimeoutError:
            self._log.warning("drain_timed_out", reason="not every IP is up on another node")

    async def _give_up_at_signal(self, next_signal: NextSignal) -> None:
        self._log.warning("drain_cut_short", signal=await next_signal())
        self._drain_wait.give_up()
        await asyncio.get_running_loop().create_future()
