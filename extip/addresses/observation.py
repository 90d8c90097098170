"""Reads the node and plans, without a change: the first half of a pass, and a dry run.

It owns no task: the reconciler calls it.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from extip.addresses.other_links import OtherLinks
from extip.addresses.policy.changes import AddressPlan, plan_addresses
from extip.addresses.ports import AddressTable, LinkTable
from extip.errors import LinkNotFoundError, NetlinkError
from extip.guard.policy.admission import Admission, admit
from extip.guard.policy.reserved import Reserved
from extip.guard.policy.rules import Guard, Surroundings, Verdicts, surroundings
from extip.net.interfaces import IPVS_LINK, IPAddress, IPInterface, Link, ObservedAddress
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

    iface: str
    guard: Guard
    ttl_s: int
    refresh_s: float
    resync_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The state of the node, and what follows from it."""

    link: Link
    observed: Sequence[ObservedAddress]
    admission: Admission | None
    """None while the inputs are not known."""
    plan: AddressPlan
    requests: Requests = field(default_factory=Requests)
    """The requests that the admission decides about."""
    problem: str = ""
    """The failure of a read; the plan then rests on the read before. Empty for none."""


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
        self._gateways: frozenset[IPAddress] | None = None
        self._gateways_read = -1
        self._generation = 0
        self._verdicts = Verdicts(options.guard, Surroundings())
        self._admission: tuple[Requests, Verdicts, Admission] | None = None
        self._listed: tuple[Requests, Reserved, frozenset[IPAddress]] | None = None
        self._kept: frozenset[IPAddress] = frozenset()

    @property
    def own(self) -> frozenset[IPAddress]:
        """The node's own addresses as of the last observation."""
        return self._verdicts.around.foreign

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
    ) -> Observation:
        """Read the node and plan (see `plan_addresses`); change nothing.

        `up` are the external IPs that were on the interface after the last pass.

        Addresses are read last, except the routes to new ones: the changes that are planned are
        made right after that. Where routes cannot be read, the gateways of the last read count.
        Where there are none yet, the plan keeps the addresses that are up. Raises LinkError.
        """
        link = await self._links.link(self._options.iface)
        problem = await self._read_gateways()
        exempt = await self._exempt_links()
        observed = await self._table.dump()
        inputs = self._inputs()
        planned = partial(
            plan_addresses,
            observed=observed,
            link_index=link.index,
            refresh=refresh,
            extend=extend,
            yielded=yielded,
        )
        admission = None
        if inputs is None or self._gateways is None:
            plan = planned(wanted=None)
        else:
            around = surroundings(
                observed,
                gateways=self._gateways,
                reserved=inputs.reserved,
                exempt_links=exempt,
                kept=self._keep(inputs, observed),
                stations=self._others.known,
            )
            admission = self._decide(inputs, around)
            plan = planned(wanted=admission.wanted)
            wanted = inputs.requests.wanted
            if extend and await self._others.look_up(plan, link=link, wanted=wanted, up=up):
                admission = self._decide(inputs, replace(around, stations=self._others.known))
                plan = planned(wanted=admission.wanted)
        return Observation(
            link=link,
            observed=observed,
            admission=admission,
            plan=plan,
            requests=Requests() if inputs is None else inputs.requests,
            problem=problem,
        )

    async def refusals(self, asked: Sequence[IPInterface]) -> dict[IPInterface, Refusal]:
        """Return those that this node would refuse if it were given them, each with the reason.

        Only what the node itself knows counts, as of the last observation. The addresses that the
        cluster uses are left to the scheduler. Raises LinkError.
        """
        link = await self._links.link(self._options.iface)
        behind = await self._others.behind_others(asked, link)
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
