"""Looks at the node and plans, changing nothing: the first half of a pass, and a dry run."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from extip.errors import LinkNotFoundError, NetlinkError
from extip.plan.addresses import AddressPlan, plan_addresses
from extip.plan.desire import Desire, decide
from extip.plan.guard import Guard, Surroundings, Verdicts, surroundings
from extip.plan.link import IPAddress, Link, ObservedAddress
from extip.plan.requests import Requests
from extip.plan.reserved import IPVS_LINK, Reserved
from extip.reconcile.ports import AddressTable, LinkTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Everything that comes from the API server."""

    requests: Requests
    reserved: Reserved = field(default_factory=Reserved)
    """What the cluster itself uses."""


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
    requests: Requests = field(default_factory=Requests)
    """What the desire is about."""
    problem: str = ""
    """What could not be read; the plan then rests on what was known before."""


class Gate(Protocol):
    """Has the last word on what is added."""

    def admit(self, view: View, *, up: frozenset[IPAddress]) -> View:
        """Return the view without the additions that have to wait.

        `up` are the external IPs that were on the interface after the last pass.
        """

    def rest(self) -> None:
        """Forget everything: there is no interface now."""


class OpenGate:
    """Lets nothing wait."""

    def admit(self, view: View, *, up: frozenset[IPAddress]) -> View:  # noqa: ARG002 - a Gate
        """Return the view as it is."""
        return view

    def rest(self) -> None:
        """Do nothing."""


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
        self._gateways: frozenset[IPAddress] | None = None
        self._gateways_read = -1
        self._generation = 0
        self._verdicts = Verdicts(policy.guard, Surroundings())
        self._decided: tuple[Requests, Verdicts, Desire] | None = None
        self._listed: tuple[Requests, Reserved, frozenset[IPAddress]] | None = None
        self._kept: frozenset[IPAddress] = frozenset()

    @property
    def own(self) -> frozenset[IPAddress]:
        """The node's own addresses, as of the last observation."""
        return self._verdicts.around.foreign

    def forget(self) -> None:
        """Have the next observation read the gateways anew.

        They are kept between passes, since a node may have many routes; routes alone are no
        reason for a pass.
        """
        self._generation += 1

    async def observe(
        self, *, refresh: bool, extend: bool = True, yielded: Collection[IPAddress] = ()
    ) -> View:
        """Look at the node and plan (see `plan_addresses`); changes nothing.

        Addresses are read last: what is planned over them is done to them next. Where the routes
        cannot be read the last known gateways count; where there are none yet, what is up is held.
        Raises LinkError.
        """
        link = await self._links.link(self._policy.iface)
        problem = await self._read_gateways()
        exempt = await self._exempt_links()
        observed = await self._table.dump()
        inputs = self._inputs()
        desire = None
        if inputs is not None and self._gateways is not None:
            desire = self._decide(
                inputs,
                surroundings(
                    observed,
                    gateways=self._gateways,
                    reserved=inputs.reserved,
                    exempt_links=exempt,
                    kept=self._keep(inputs, observed),
                ),
            )
        plan = plan_addresses(
            wanted=None if desire is None else desire.wanted,
            observed=observed,
            link_index=link.index,
            refresh=refresh,
            extend=extend,
            yielded=yielded,
        )
        return View(
            link=link,
            observed=observed,
            desire=desire,
            plan=plan,
            requests=Requests() if inputs is None else inputs.requests,
            problem=problem,
        )

    async def _read_gateways(self) -> str:
        """Read the gateways when they may have changed; return why that failed."""
        generation = self._generation
        if self._gateways_read == generation:
            return ""
        try:
            self._gateways = await self._links.gateways()
        except NetlinkError as error:
            return f"cannot read the routes: {error}"
        self._gateways_read = generation  # a change meanwhile has made it stale already
        return ""

    def _decide(self, inputs: Inputs, around: Surroundings) -> Desire:
        verdicts = self._verdicts = self._verdicts.within(around)
        if self._decided is not None:
            requests, before, desire = self._decided
            if requests is inputs.requests and before is verdicts:
                return desire
        desire = decide(inputs.requests, verdicts)
        self._decided = (inputs.requests, verdicts, desire)
        return desire

    def _keep(self, inputs: Inputs, observed: Sequence[ObservedAddress]) -> frozenset[IPAddress]:
        """Return the wanted IPs that stay although Node objects list them.

        Those that are here by our hand or, as their claims say, on another node; once found, for as
        long as somebody wants them.
        """
        requests, reserved = inputs.requests, inputs.reserved
        if (
            self._listed is None
            or self._listed[0] is not requests
            or self._listed[1] is not reserved
        ):
            wanted = (interface.ip for interface in requests.wanted)
            self._listed = requests, reserved, reserved.hearsay().intersection(wanted)
        listed = self._listed[2]
        if listed:
            up = {a.interface.ip for a in observed if a.ours}
            listed &= up | self._kept | requests.established
        self._kept = listed
        return listed

    async def _exempt_links(self) -> frozenset[int]:
        try:
            return frozenset({(await self._links.link(IPVS_LINK)).index})
        except LinkNotFoundError:
            return frozenset()
