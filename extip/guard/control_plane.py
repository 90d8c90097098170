"""The addresses of the API server, and the networks of cluster IPs, read every few minutes.

They change once in years, so they are not watched. A kind that this server does not have, or that
this process may not read, counts as empty: the guard then uses the other facts. A fact that cannot
be read for the moment stays.

The owner task is `ControlPlane.run`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from extip.api.resources import ENDPOINT_SLICES, ENDPOINTS, SERVICE_CIDRS, SERVICES
from extip.backoff import Backoff
from extip.clock import Clock
from extip.errors import ApiError, ApiUnavailableError, NotFoundError, NotServedError
from extip.guard.policy.reserved import parse_ips, parse_networks
from extip.kube.client import ApiClient
from extip.log import get_logger
from extip.net.interfaces import IPAddress
from extip.net.networks import Networks

T = TypeVar("T")

INTERVAL_S = 300.0
"""Seconds between two reads."""

_RETRY = Backoff(initial_s=0.5, cap_s=30.0)

_SERVICE = "kubernetes"
"""The API server's service in the namespace `default` of every cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlaneFacts:
    """The addresses and networks of the control plane."""

    dialled: frozenset[IPAddress] = frozenset()
    """The addresses of the server in the kubeconfig, or in the pod's environment."""
    endpoints: frozenset[IPAddress] = frozenset()
    """The addresses on which API servers listen."""
    cluster_ips: frozenset[IPAddress] = frozenset()
    """The cluster IPs at which pods reach them."""
    services: Networks = field(default_factory=Networks)
    """Networks of cluster IPs."""


class ControlPlane:
    """Reads the facts, and calls `on_change` after each change."""

    def __init__(
        self, client: ApiClient, *, on_change: Callable[[], None], clock: Clock, rng: Random
    ) -> None:
        self.facts = ControlPlaneFacts()
        self._client = client
        self._on_change = on_change
        self._clock = clock
        self._rng = rng
        self._read_once = asyncio.Event()
        self._denied: set[str] = set()
        self._again = False
        self._log = get_logger("control-plane")

    @property
    def has_synced(self) -> bool:
        """Whether each fact was read once, or cannot be read."""
        return self._read_once.is_set()

    async def wait_synced(self) -> None:
        """Wait until `has_synced`."""
        await self._read_once.wait()

    async def run(self) -> None:
        """Keep the facts up to date; ends only by cancellation."""
        failures = 0
        while True:
            before = self.facts
            if await self._look():
                failures = 0
                first = not self.has_synced
                self._read_once.set()
                delay_s = INTERVAL_S * (0.9 + 0.2 * self._rng.random())
            else:
                failures += 1
                first = False
                delay_s = _RETRY.delay_s(failures, self._rng.random())
            if first or self.facts != before:
                self._on_change()
            await self._clock.sleep(delay_s)

    async def _look(self) -> bool:
        """Read all facts; return False when a read has to be repeated soon."""
        self._again = False
        known = self.facts
        self.facts = ControlPlaneFacts(
            dialled=await self._attempt(self._dialled, known.dialled),
            endpoints=await self._attempt(self._endpoints, known.endpoints),
            cluster_ips=await self._attempt(self._cluster_ips, known.cluster_ips),
            services=await self._attempt(self._services, known.services),
        )
        return not self._again

    async def _attempt(self, read: Callable[[], Awaitable[T]], known: T) -> T:
        """Return the result of a read; after a failure return the known fact."""
        try:
            return await read()
        except NotFoundError:
            return known
        except ApiUnavailableError as error:
            self._log.debug("control_plane_not_read", error=str(error))
            self._again = True
        except ApiError as error:
            if error.request not in self._denied:
                self._denied.add(error.request)
                self._log.warning("guard_knows_less", error=str(error))
        return known

    async def _dialled(self) -> frozenset[IPAddress]:
        """Return the addresses of the server; the known ones when its name does not resolve now."""
        return parse_ips(await self._client.addresses()) or self.facts.dialled

    async def _endpoints(self) -> frozenset[IPAddress]:
        try:
            endpoints = await self._client.get(ENDPOINTS, name=_SERVICE, namespace="default")
        except (NotFoundError, NotServedError):  # a server without this old kind
            slices = await self._client.get(ENDPOINT_SLICES, name=_SERVICE, namespace="default")
            return parse_ips(ip for one in slices.endpoints or () for ip in one.addresses or ())
        return parse_ips(
            address.ip
            for subset in endpoints.subsets or ()
            for address in (*(subset.addresses or ()), *(subset.not_ready_addresses or ()))
        )

    async def _cluster_ips(self) -> frozenset[IPAddress]:
        service = await self._client.get(SERVICES, name=_SERVICE, namespace="default")
        return parse_ips(service.spec.cluster_ips or ())

    async def _services(self) -> Networks:
        page = await self._client.list(SERVICE_CIDRS)
        cidrs = (cidr for one in page.items for cidr in one.spec.cidrs or ())
        return Networks(parse_networks(cidrs))
