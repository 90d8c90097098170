"""Where the API server is, and which networks it gives cluster IPs from: read now and then.

These change once in years, so they are asked for every few minutes instead of being watched. What
this server does not have, or this process may not read, counts as nothing: the guard then rests on
the rest. What cannot be read for the moment stays as it was.

The owner task is `ControlPlane.run`.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar
from urllib.parse import urlsplit

from extip.api.resources import ENDPOINT_SLICES, ENDPOINTS, SERVICE_CIDRS, SERVICES
from extip.clock import Clock
from extip.errors import ApiError, ApiUnavailableError, NotFoundError, NotServedError
from extip.kube.client import ApiClient
from extip.log import get_logger
from extip.plan.backoff import Backoff
from extip.plan.link import IPAddress
from extip.plan.networks import Networks
from extip.plan.requests import parse_ip
from extip.plan.reserved import parse_ips, parse_networks

T = TypeVar("T")

INTERVAL_S = 300.0
"""Between two looks."""

_RESOLVE_S = 5.0
"""Bound on the resolution of the API server's name."""

_RETRY = Backoff(initial_s=0.5, cap_s=30.0)

_SERVICE = "kubernetes"
"""The service of the API server, in the namespace `default`, on every cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlaneFacts:
    """What is known of the control plane."""

    dialled: frozenset[IPAddress] = frozenset()
    """What the address in the kubeconfig, or in the pod's environment, stands for."""
    endpoints: frozenset[IPAddress] = frozenset()
    """Where the API servers listen."""
    cluster_ips: frozenset[IPAddress] = frozenset()
    """Where pods reach them."""
    services: Networks = field(default_factory=Networks)
    """Networks of cluster IPs."""


class ControlPlane:
    """Reads it; `changed` is called when it differs."""

    def __init__(
        self, client: ApiClient, *, changed: Callable[[], None], clock: Clock, rng: Random
    ) -> None:
        self.facts = ControlPlaneFacts()
        self._client = client
        self._changed = changed
        self._clock = clock
        self._rng = rng
        self._read_once = asyncio.Event()
        self._denied: set[str] = set()
        self._again = False
        self._log = get_logger("control-plane")

    @property
    def has_synced(self) -> bool:
        """Whether everything was read once, or cannot be."""
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
                self._changed()
            await self._clock.sleep(delay_s)

    async def _look(self) -> bool:
        """Read everything; return whether there is nothing to try again soon."""
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
        """Return what was read, or what is known when that fails, now or for good."""
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
        host = urlsplit(self._client.server).hostname or ""
        ip = parse_ip(host)
        return frozenset({ip}) if ip is not None else await self._resolve(host)

    async def _resolve(self, name: str) -> frozenset[IPAddress]:
        """Return the addresses of a name; those of before when it does not resolve now."""
        try:
            async with asyncio.timeout(_RESOLVE_S):
                found = await asyncio.get_running_loop().getaddrinfo(
                    name, None, type=socket.SOCK_STREAM
                )
        except (OSError, UnicodeError, TimeoutError):
            return self.facts.dialled
        return parse_ips(str(address[0]) for *_, address in found)

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
