"""Addresses in bulk over a raw netlink socket: the hot path of a fail-over.

Adding, refreshing and deleting go in batches of up to 64 a datagram; a batch is in force when its
results come, so each can be announced before the next is sent. Errors come back per address.
"""

import errno
import os
from collections.abc import AsyncIterator, Iterable, Sequence
from ipaddress import IPv4Interface
from itertools import islice
from operator import attrgetter

from extip.clock import Clock
from extip.errors import LinkNotFoundError, NetlinkError
from extip.net import ifaddr
from extip.net.interfaces import Change, ChangeResult, ObservedAddress, Operation
from extip.net.netlink import NetlinkSocket, Reply, nothing, raise_if_not_permitted

MAX_BATCH = 64
"""Most changes in one datagram: larger ones gain nothing."""

_FIRST_BATCH = 16
_SLOW_S, _FAST_S = 0.010, 0.004
"""A batch, during which the event loop stands still, that takes longer is halved next time;
one that takes less is doubled. (IPv6 takes 20 times as long as IPv4, and both grow with the
number of addresses on the interface.)"""

_OPERATION = attrgetter("operation")

_TURN_S = 0.002
"""Other tasks get their turn after a batch once this long has passed."""


class AddressSocket(NetlinkSocket):
    """Reads and changes the addresses of its network namespace; enter it to open it."""

    def __init__(self, *, clock: Clock, mark: ifaddr.Mark | None = None) -> None:
        super().__init__(clock=clock)
        self.mark = mark or ifaddr.mark_for_kernel(os.uname().release)
        """How our addresses are recognised; by default, what the running kernel can do."""
        self._decoder = ifaddr.Decoder(self.mark)

    async def check_permission(self) -> None:
        """Raise `PermissionDeniedError` when this process may not change addresses."""
        nowhere = Change(Operation.DELETE, 0, IPv4Interface(0))
        async for _ in self.apply([nowhere], ttl_s=1):
            pass

    async def dump(self, link_index: int = 0) -> list[ObservedAddress]:
        """Return the IPv4 and IPv6 addresses of all interfaces (0), or of one.

        The list is complete, or `NetlinkError` is raised; `LinkNotFoundError` when there is no
        interface of that index. Yields to the loop every few hundred addresses.
        """
        try:
            found = await self.table(
                "dump addresses",
                lambda sequence: ifaddr.dump_request(sequence, link_index),
                self._decoder.decode,
            )
        except NetlinkError as error:
            if error.errno == errno.ENODEV:
                raise LinkNotFoundError(f"no interface has index {link_index}") from error
            raise
        if link_index:  # a kernel without strict checking (before 4.20) sends them all
            return [address for address in found if address.link_index == link_index]
        return found

    async def apply(
        self, changes: Iterable[Change], *, ttl_s: int
    ) -> AsyncIterator[list[ChangeResult]]:
        """Carry out the changes in order; yield the results of each batch once it is in force.

        `ttl_s` is the lifetime, in whole seconds and at least 1, that added and refreshed
        addresses get. A change that fails does not stop the others; its result has the errno:
        ``EEXIST`` for an address to add that is there, ``EADDRNOTAVAIL`` for one to delete that
        is not, ``ENODEV`` when the interface is gone. A move has the errno of its addition; no
        more than a few microseconds pass between its two halves.

        Raises `PermissionDeniedError` and, when the socket itself fails, `NetlinkError`; what the
        batch under way did is unknown then, as it is after a cancellation.
        """
        encoder = ifaddr.Encoder(self.mark, ttl_s=ttl_s)
        waiting, size = iter(changes), _FIRST_BATCH
        yielded = self._clock.monotonic()
        while batch := list(islice(waiting, size)):
            began = self._clock.monotonic()
            results = await self._carry_out(batch, encoder)
            size = _next_size(size, self._clock.monotonic() - began)
            yield results
            if self._clock.monotonic() - yielded > _TURN_S:
                await self._clock.sleep(0)
                yielded = self._clock.monotonic()

    async def _carry_out(self, batch: list[Change], encoder: ifaddr.Encoder) -> list[ChangeResult]:
        """Send a batch; return the results once it is in force."""
        steps, lasts = _steps(batch)
        first = self.reserve(len(steps))
        reply: Reply[None] = await self.call(
            "change addresses",
            encoder.batch(steps, first),
            range(first, first + len(steps)),
            nothing,
        )
        raise_if_not_permitted(reply.errors)
        failed = reply.errors.get
        return [
            ChangeResult(change, failed(first + n, 0))
            for change, n in zip(batch, lasts, strict=True)
        ]


def _next_size(size: int, took_s: float) -> int:
    """Return the size of the next batch, after one of `size` that took so long."""
    if took_s > _SLOW_S:
        return max(1, size // 2)
    return min(MAX_BATCH, size * 2) if took_s < _FAST_S else size


def _steps(batch: list[Change]) -> tuple[list[Change], Sequence[int]]:
    """Return what to send for a batch, and where the last message of each change is in it."""
    if Operation.MOVE not in map(_OPERATION, batch):
        return batch, range(len(batch))
    steps: list[Change] = []
    lasts: list[int] = []
    for change in batch:
        steps += ifaddr.steps(change)
        lasts.append(len(steps) - 1)
    return steps, lasts
