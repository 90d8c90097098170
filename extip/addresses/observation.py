"""Reads the node and plans, without a change: the first half of a pass, and a dry run.

It owns no task: the reconciler calls it.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from extip.addresses.other_links import OtherLinks
from extip.addresses.policy.changes import AddressPlan, plan_addresses, removals
from extip.addresses.policy.places import placed, split
from extip.addresses.ports import AddressTable, LinkTable
from extip.errors import LinkNotFoundError, NetlinkError
from extip.guard.policy.admission import Admission, admit, combined
from extip.guard.policy.reserved import Reserved
from extip.guard.policy.rules import Guard, Surroundings, Verdicts, surroundings
from extip.net.interfaces import (
    IPVS_LINK,
    Change,
    IPAddress,
    IPInterface,
    Link,
    ObservedAddress,
    Operation,
)
from extip.net.link_selection import Fitting, LinkSelection
from extip.services.policy.refusal import Refusal
from extip.services.policy.requests import Requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Everything that comes from the API server."""

    requests: Requests
    reserved: Reserved = field(default_factory=Reserved)
    """The addresses that the cluster itself uses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressOptions:
    """The choices of the operator."""

    links: LinkSelection
    guard: Guard
    ttl_s: int
    refresh_s: float
    resync_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The state of the node, and what follows from it for one interface."""

    link: Link
    observed: Sequence[ObservedAddress]
    admission: Admission | None
    """None while the inputs are not known. Its wanted IPs are those of this interface."""
    plan: AddressPlan
    requests: Requests = field(default_factory=Requests)
    """The requests that the admission decides about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeObservation:
    """The state of the node, and what follows from it for each selected interface."""

    on: tuple[Observation, ...]
    """One for each interface, the first one first."""
    problem: str = ""
    """The failure of a read; the plan then rests on the read before. Empty for none."""

    @property
    def plan(self) -> AddressPlan:
        """The changes on all interfaces, deletes first: an IP that moves leaves before it comes."""
        if len(self.on) == 1:
            return self.on[0].plan
        changes = [change for one in self.on for change in one.plan.changes]
        changes.sort(key=_rank)  # stable
        up = frozenset[IPAddress]().union(*(one.plan.up for one in self.on))
        return AddressPlan(changes=tuple(changes), up=up)

    @property
    def admission(self) -> Admission | None:
        """The admission of all requests; None while the inputs are not known."""
        return combined([one.admission for one in self.on])


class AddressObserver:
    """Combines the inputs from the API server with the state of the kernel."""

    def __init__(
        self,
        options: AddressOptions,
        *,
        inputs: Callable[[], Inputs | None],
        links: LinkTable,
        table: AddressTable,
    ) -> None:
        self._options = options
        self._inputs = inputs
        self._links = links
        self._table = table
        self._others = OtherLinks(links)
        self._fitting: tuple[Fitting, ...] = ()
        self._selected: frozenset[int] = frozenset()
        self._gateways: frozenset[IPAddress] | None = None
        self._gateways_read = -1
        self._generation = 0
        self._verdicts = Verdicts(options.guard, Surroundings())
        self._admission: tuple[Requests, Verdicts, Admission] | None = None
        self._listed: tuple[Requests, Reserved, frozenset[IPAddress]] | None = None
        self._kept: frozenset[IPAddress] = frozenset()
        self._own: frozenset[IPAddress] = frozenset()
        self._observed: Sequence[ObservedAddress] = ()

    @property
    def own(self) -> frozenset[IPAddress]:
        """The node's own addresses as of the last look, also of one that waits for the inputs."""
        return self._own

    @property
    def external(self) -> frozenset[IPAddress]:
        """The external IPs on the node's interfaces as of the last look, before its plan."""
        return frozenset(a.interface.ip for a in self._observed if a.ours)

    def forget(self) -> None:
        """Have the next observation read the gateways anew.

        They are kept between passes, since a node may have many routes. A changed route alone
        causes no pass.
        """
        self._generation += 1

    async def observe(
        self,
        *,
        refresh: bool,
        extend: bool = True,
        yielded: Collection[IPAddress] = (),
        up: Collection[IPAddress] = (),
    ) -> NodeObservation:
        """Read the node and plan (see `plan_addresses`); change nothing.

        `up` are the external IPs that were on the interface after the last pass.

        Addresses are read last, except the routes to new ones: the changes that are planned are
        made right after that. Where routes cannot be read, the gateways of the last read count.
        Where there are none yet, the plan keeps the addresses that are up. Raises LinkError.
        """
        links = await self._read_links()
        problem = await self._read_gateways()
        exempt = await self._exempt_links()
        observed = self._observed = await self._table.dump()
        own = (a for a in observed if not a.ours and a.link_index not in exempt)
        self._own = frozenset(a.interface.ip for a in own)
        inputs = self._inputs()
        links = self._select(links, observed)
        self._selected = frozenset(link.index for link in links)
        planned = partial(
            _plan, links, observed=observed, refresh=refresh, extend=extend, yielded=yielded
        )
        if inputs is None or self._gateways is None:
            on = planned(admission=None, requests=Requests() if inputs is None else inputs.requests)
        else:
            around = surroundings(
                observed,
                gateways=self._gateways,
                reserved=inputs.reserved,
                exempt_links=exempt,
                kept=self._keep(inputs, observed),
                stations=self._others.known,
            )
            requests = inputs.requests
            on = planned(admission=self._decide(inputs, around), requests=requests)
            if extend and await self._look_behind(on, requests, up):
                admission = self._decide(inputs, replace(around, stations=self._others.known))
                on = planned(admission=admission, requests=requests)
        return NodeObservation(on=on, problem=problem)

    async def _read_links(self) -> Sequence[Link]:
        """Return the interfaces to select from; raises LinkNotFoundError without the only one."""
        only = self._options.links.only
        return [await self._links.link(only)] if only else await self._links.links()

    def _select(self, links: Sequence[Link], observed: Sequence[ObservedAddress]) -> list[Link]:
        """Return the selected interfaces, in order; raises LinkNotFoundError without any."""
        selection = self._options.links
        if selection.only:
            return list(links)
        fitting = selection.fitting(links, observed)
        if fitting != self._fitting:
            self._fitting, self._admission = fitting, None
        by_name = {link.name: link for link in links}
        if not fitting:
            raise LinkNotFoundError(f"no interface fits --iface {selection}; waiting for one")
        return [by_name[one.name] for one in fitting]

    async def _look_behind(
        self, on: tuple[Observation, ...], requests: Requests, up: Collection[IPAddress]
    ) -> bool:
        """Look up which IPs are stations behind other interfaces; return whether that differs."""
        plan = NodeObservation(on=on).plan
        wanted = requests.wanted
        return await self._others.look_up(plan, links=self._selected, wanted=wanted, up=up)

    async def left_behind(self) -> list[Change]:
        """Return what removes our addresses from all interfaces: for when none is selected.

        Nothing while the inputs are not known. Raises LinkError.
        """
        if self._inputs() is None:
            return []
        return removals(a for a in await self._table.dump() if a.ours)

    async def refusals(self, asked: Sequence[IPInterface]) -> dict[IPInterface, Refusal]:
        """Return those that this node would refuse if it were given them, each with the reason.

        Only what the node itself knows counts, as of the last observation. The addresses that the
        cluster uses are left to the scheduler. Raises LinkError.
        """
        behind = await self._others.behind_others(asked, self._selected)
        around = replace(
            self._verdicts.around,
            reserved=Reserved(),
            stations={interface.ip: name for interface, name in behind.items()},
        )
        found = {one: self._options.guard.refuse(one, around) for one in asked}
        return {one: refusal for one, refusal in found.items() if refusal is not None}

    async def _read_gateways(self) -> str:
        """Read the gateways when they may have changed; return why that failed, empty if not."""
        generation = self._generation
        if self._gateways_read == generation:
            return ""
        try:
            self._gateways = (await self._links.gateways()).every
        except NetlinkError as error:
            return f"cannot read the routes: {error}"
        self._gateways_read = generation  # a change since then makes this read stale
        return ""

    def _decide(self, inputs: Inputs, around: Surroundings) -> Admission:
        verdicts = self._verdicts = self._verdicts.within(around)
        if self._admission is not None:
            requests, before, admission = self._admission
            if requests is inputs.requests and before is verdicts:
                return admission
        admission = admit(inputs.requests, verdicts)
        if not self._options.links.only:
            admission = placed(admission, inputs.requests, self._fitting, self._options.links)
        self._admission = (inputs.requests, verdicts, admission)
        return admission

    def _keep(self, inputs: Inputs, observed: Sequence[ObservedAddress]) -> frozenset[IPAddress]:
        """Return the wanted IPs that stay although Node objects list them.

        These are IPs that are up here, or that another node has up according to its claim. An IP
        that stays goes on to stay while it is wanted.
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


def _plan(  # noqa: PLR0913 - all that a plan rests on
    links: Sequence[Link],
    *,
    observed: Sequence[ObservedAddress],
    admission: Admission | None,
    requests: Requests,
    refresh: bool,
    extend: bool,
    yielded: Collection[IPAddress],
) -> tuple[Observation, ...]:
    """Plan for each interface; addresses that are left on others go with the first plan."""
    several = len(links) > 1
    elsewhere = {a.link_index for a in observed}.difference(link.index for link in links[1:])
    parts = split(admission, [link.name for link in links]) if several and admission else {}
    found = []
    for link in links:
        indexes = elsewhere if link is links[0] else {link.index}
        seen = [a for a in observed if a.link_index in indexes] if several else observed
        here = parts.get(link.name, admission)
        plan = plan_addresses(
            wanted=None if here is None else here.wanted,
            observed=seen,
            link_index=link.index,
            refresh=refresh,
            extend=extend,
            yielded=yielded,
        )
        found.append(
            Observation(link=link, observed=observed, admission=here, plan=plan, requests=requests)
        )
    return tuple(found)


_ORDER = (Operation.DELETE, Operation.ADD, Operation.MOVE, Operation.REFRESH)


def _rank(change: Change) -> int:
    return _ORDER.index(change.operation)
