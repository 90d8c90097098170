"""Looks at the node and plans, changing nothing: the first half of a pass, and a dry run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from extip.errors import LinkNotFoundError
from extip.plan.addresses import AddressPlan, plan_addresses
from extip.plan.desire import Desire, decide
from extip.plan.guard import Guard, Surroundings, surroundings
from extip.plan.link import IPAddress, Link, ObservedAddress
from extip.plan.requests import Requests
from extip.reconcile.ports import AddressTable, LinkTable

_IPVS_LINK = "kube-ipvs0"
"""kube-proxy in ipvs mode binds every external IP here, on every node; that is not a conflict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Everything that comes from the API server."""

    requests: Requests
    nodes: frozenset[IPAddress]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the operator chose."""

    iface: str
    guard: Guard
    ttl_s: int
    refresh_s: float
    resync_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One observation and what follows from it."""

    link: Link
    observed: Sequence[ObservedAddress]
    desire: Desire | None
    """None while the inputs are not known."""
    plan: AddressPlan


class AddressObserver:
    """Brings together what the API server and the kernel say."""

    def __init__(
        self,
        policy: Policy,
        *,
        inputs: Callable[[], Inputs | None],
        links: LinkTable,
        table: AddressTable,
    ) -> None:
        self._policy = policy
        self._inputs = inputs
        self._links = links
        self._table = table
        self._routing: tuple[frozenset[IPAddress], frozenset[int]] | None = None
        self._decided: tuple[Requests, Surroundings, Desire] | None = None

    def forget(self) -> None:
        """Have the next observation read the gateways anew.

        They are kept between passes, since a node may have many routes; routes alone are no
        reason for a pass.
        """
        self._routing = None

    async def observe(self, *, refresh: bool) -> View:
        """Look at the node and plan; changes nothing."""
        link = await self._links.link(self._policy.iface)
        observed = await self._table.dump()
        inputs = self._inputs()
        desire = None if inputs is None else await self._desire(inputs, observed)
        plan = plan_addresses(
            wanted=None if desire is None else desire.wanted,
            observed=observed,
            link_index=link.index,
            refresh=refresh,
        )
        return View(link=link, observed=observed, desire=desire, plan=plan)

    async def _desire(self, inputs: Inputs, observed: Sequence[ObservedAddress]) -> Desire:
        if self._routing is None:
            self._routing = (await self._links.gateways(), await self._exempt_links())
        gateways, exempt = self._routing
        around = surroundings(observed, gateways=gateways, nodes=inputs.nodes, exempt_links=exempt)
        if self._decided is not None:
            requests, was, desire = self._decided
            if requests is inputs.requests and was == around:
                return desire
        desire = decide(inputs.requests, guard=self._policy.guard, around=around)
        self._decided = (inputs.requests, around, desire)
        return desire

    async def _exempt_links(self) -> frozenset[int]:
        try:
            return frozenset({(await self._links.link(_IPVS_LINK)).index})
        except LinkNotFoundError:
            return frozenset()
