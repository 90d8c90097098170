"""Closes the node's own ports on the IPs that are up (``--close-other-ports``).

Guarantee: an IP is closed within milliseconds after it came up, and for as long as it is up. When
this process is killed or frozen, the kernel opens the ports no sooner than it drops the address. It
does not guarantee this where the kernel refuses: `problem` tells.

The owner task is `PortCloser.run`; the other methods may be called from any task of the loop.
Without the flag there is `open_ports` instead.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from extip import log
from extip.addresses.local_addresses import AddressListener
from extip.clock import Clock
from extip.errors import LinkError
from extip.net.interfaces import IPAddress
from extip.trigger import Trigger

SPARE_S = 1.0
"""Seconds for which ports stay closed beyond the lifetime of the address, which is rounded."""

_RETRY_S = 1.0


class Ports(Protocol):
    """The packet filter of the node."""

    async def close_ports(self, ips: Collection[IPAddress], /, *, lifetime_s: float) -> None:
        """Have exactly these IPs closed for `lifetime_s` from now on. Raises LinkError."""

    async def remove(self) -> None:
        """Open all. Raises LinkError."""

    async def remove_leftover(self) -> bool:
        """Open all that an earlier process closed; return whether it had. Raises LinkError."""


class PortCloser(AddressListener):
    """Follows the IPs that are up."""

    def __init__(
        self,
        ports: Ports,
        *,
        up: Callable[[], frozenset[IPAddress]],
        ttl_s: float,
        refresh_s: float,
        clock: Clock,
    ) -> None:
        """`ttl_s` is the lifetime of addresses, which begins anew every `refresh_s`."""
        self._ports = ports
        self._up = up
        self._ttl_s = ttl_s
        self._refresh_s = refresh_s
        self._clock = clock
        self._log = log.get_logger("ports")
        self._changed = Trigger()
        self._problem = ""

    def hold(self, _ips: Iterable[IPAddress]) -> None:
        """Close the ports of IPs that have come up."""
        self._changed.set()

    def announce(self, _ips: Iterable[IPAddress]) -> None:
        """Close the ports of IPs that have come up."""
        self._changed.set()

    def withdraw(self, _ips: Iterable[IPAddress]) -> None:
        """Leave IPs out that are not up any more."""
        self._changed.set()

    def problem(self) -> str:
        """Return why ports are not closed; empty when they are (a readiness check)."""
        return self._problem

    async def run(self) -> None:
        """Close the ports of all IPs that are up, and again before that ends; until cancelled."""
        while True:
            self._changed.clear()
            done = await self._close()
            await self._changed.wait_at_most(self._refresh_s if done else _RETRY_S)

    async def _close(self) -> bool:
        up = self._up()
        # A lifetime that was begun just before this look ends within the spare time.
        lifetime_s = self._ttl_s + self._refresh_s + SPARE_S
        try:
            await self._ports.close_ports(up, lifetime_s=lifetime_s)
        except LinkError as error:
            if not self._problem:
                self._log.warning("ports_not_closed", reason=str(error))
            self._problem = f"other ports of external IPs are open: {error}"
            return False
        if self._problem:
            self._log.info("ports_closed", addresses=len(up))
        self._problem = ""
        return True

    async def remove(self) -> None:
        """Open all ports, after the addresses have gone."""
        try:
            await self._ports.remove()
        except LinkError as error:
            self._log.warning("ports_not_opened", reason=str(error))


async def open_ports(ports: Ports) -> None:
    """Take away the rules that a process with the flag has left; then wait until cancelled.

    For a process without the flag. It is the only one of extip on this node.
    """
    logger = log.get_logger("ports")
    try:
        if await ports.remove_leftover():
            logger.info("ports_opened", reason="--close-other-ports is off")
    except LinkError as error:  # mostly a kernel without nf_tables, where there is no table either
        logger.debug("ports_not_opened", reason=str(error))
    await asyncio.get_running_loop().create_future()
