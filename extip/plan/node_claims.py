"""The claims of one node → what to ask of its interface, and what became of each claim.

One claim an IP: of two claims that name the same one the older holds it, and the one that the
scheduler has refused does not. Addresses that are handed over to another node are kept beside the
claims until that node has them up.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from extip.api.ipcontroller_v1 import ACCEPTED, CONFLICT, UP, IpClaim, IpClaimStatus
from extip.api.meta_v1 import Condition
from extip.plan.claims import metadata_patch, parse_cidr
from extip.plan.conditions import is_true, with_condition
from extip.plan.desire import Desire
from extip.plan.duplicates import DUPLICATE, refusal, seniority
from extip.plan.link import IPAddress, IPInterface
from extip.plan.refusal import Reason
from extip.plan.requests import Masks, Owner, Requests

KIND = "IpClaim"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldClaim:
    """What matters of a claim to the node that it is assigned to."""

    name: str
    created: str
    cidr: str
    interface: IPInterface | None
    """None when `cidr` is no address with a prefix length."""
    link: str
    """The interface that it asks for; empty for any."""
    owners: tuple[Owner, ...]
    """The claim itself, and the services behind it: whoever is to hear of a refusal."""
    refused: str = ""
    """Why it stays down, as the scheduler told it: a claim on another node, which this one cannot
    see, holds the IP. Empty for nothing."""
    established: bool = field(default=False, compare=False)
    """A node had its IP up before. Counts when the IP comes up, so a change is no news."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeClaims:
    """All claims of a node."""

    claims: tuple[HeldClaim, ...] = ()
    requests: Requests = field(default_factory=Requests)
    duplicates: Mapping[str, str] = field(default_factory=dict)
    """By name, claims whose IP another claim holds: the name of that one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a claim here."""

    cidr: str
    """That of the claim when this was found."""
    accepted: bool
    up: bool
    reason: str
    """Of the one that is not True; empty when both are."""
    message: str
    conflict: str = ""
    """MAC of another station that announces the IP, too; empty for none."""


def held_claim(claim: IpClaim) -> HeldClaim:
    """Take apart what the API server says."""
    meta = claim.metadata
    services = (
        Owner(kind="Service", namespace=s.namespace, name=s.name, uid=s.uid)
        for s in claim.spec.services or ()
    )
    return HeldClaim(
        name=meta.name,
        created=meta.created,
        cidr=claim.spec.cidr,
        interface=parse_cidr(claim.spec.cidr),
        link=claim.spec.link,
        owners=(Owner(kind=KIND, namespace="", name=meta.name, uid=meta.uid), *services),
        refused=refusal(claim),
        established=bool(claim.status.holder),
    )


def bring_together(
    claims: Iterable[HeldClaim], *, iface: str, kept: Iterable[HeldClaim] = ()
) -> NodeClaims:
    """Return what the claims ask of `iface`, next to the addresses in `kept`.

    Claims that ask for another interface ask nothing of this one.
    """
    known = tuple(sorted(claims, key=_age))
    wanted: dict[IPInterface, tuple[Owner, ...]] = {}
    malformed: dict[str, tuple[Owner, ...]] = {}
    holders: dict[IPAddress, str] = {}
    duplicates: dict[str, str] = {}
    for claim in known:
        if claim.interface is None:
            malformed[claim.cidr] = (*malformed.get(claim.cidr, ()), *claim.owners)
        elif claim.link not in ("", iface) or claim.refused:
            continue
        elif claim.interface.ip in holders:
            duplicates[claim.name] = holders[claim.interface.ip]
        else:
            holders[claim.interface.ip] = claim.name
            wanted[claim.interface] = claim.owners
    for claim in sorted(kept, key=_age):
        if claim.interface is not None and claim.interface.ip not in holders:
            holders[claim.interface.ip] = claim.name
            wanted[claim.interface] = claim.owners
    established = frozenset(
        claim.interface.ip for claim in known if claim.established and claim.interface is not None
    )
    return NodeClaims(
        claims=known,
        requests=Requests(wanted=wanted, malformed=malformed, established=established),
        duplicates=duplicates,
    )


def of_another_mask(claims: NodeClaims, told: Masks) -> HeldClaim | None:
    """Return a claim whose prefix length is not the one that this controller was told, if any.

    The claim's counts: two nodes must not differ about it. Full lengths are the defaults, so nobody
    need have told them.
    """
    for claim in claims.claims:
        if claim.interface is not None:
            network = claim.interface.network
            length = told.v4 if network.version == 4 else told.v6  # noqa: PLR2004
            if length not in (network.max_prefixlen, network.prefixlen):
                return claim
    return None


def outcomes(
    claims: NodeClaims, desire: Desire, *, up: frozenset[IPAddress], iface: str, problem: str
) -> dict[str, Outcome]:
    """Return by name what became of each claim; those not decided about yet are left out.

    `up` are the addresses on the interface, `problem` is what was in the way of the last pass.
    """
    refusals = {
        rejection.owner.name: rejection.refusal
        for rejection in desire.rejected
        if rejection.owner.kind == KIND
    }
    found: dict[str, Outcome] = {}
    for claim in claims.claims:
        rejected = refusals.get(claim.name)
        if claim.interface is None:
            message = f"{claim.cidr!r} is no address with a prefix length, such as 10.0.0.2/24"
            found[claim.name] = _refused(claim, "MalformedCidr", message)
        elif claim.link not in ("", iface):
            message = f"the claim asks for interface {claim.link}; this controller has {iface}"
            found[claim.name] = _down(claim, "LinkMismatch", message)
        elif claim.name in claims.duplicates:
            message = f"claim {claims.duplicates[claim.name]} holds the same IP"
            found[claim.name] = _refused(claim, DUPLICATE, message)
        elif claim.refused:
            found[claim.name] = _refused(claim, DUPLICATE, claim.refused)
        elif rejected is not None:
            found[claim.name] = _refused(claim, rejected.reason.value, rejected.message)
        else:
            outcome = _placed(claim, desire, up=up, iface=iface, problem=problem)
            if outcome is not None:
                found[claim.name] = outcome
    return found


def with_conflicts(
    found: Mapping[str, Outcome], claims: NodeClaims, conflicts: Mapping[IPAddress, str]
) -> dict[str, Outcome]:
    """Return the outcomes, with the MAC of the other station for each IP that is in conflict."""
    marked = dict(found)
    for claim in claims.claims if conflicts else ():
        mac = "" if claim.interface is None else conflicts.get(claim.interface.ip, "")
        if mac and claim.name in found and found[claim.name].up:
            marked[claim.name] = replace(found[claim.name], conflict=mac)
    return marked


def stopped(outcome: Outcome) -> Outcome:
    """Return what is left of an outcome once the controller has removed its addresses."""
    if not outcome.up:
        return outcome
    return replace(
        outcome,
        up=False,
        reason="ControllerStopped",
        message="the controller was stopped",
        conflict="",
    )


def reported(
    claim: IpClaim, outcome: Outcome, *, node: str, link: str, now: str
) -> IpClaimStatus | None:
    """Return the status that the claim should have; None when it has it already.

    Conditions of others are left as they are, and so is another node as the holder while this one
    does not have the IP up; but where a station that is no node of the cluster has it, nobody else
    does. An IP that was up, and then turned out to be such a station's, is in conflict until it is
    up again: it is not one that was never free. `now` is RFC 3339 in UTC.
    """
    before = claim.status
    holder, where, since = before.holder, before.link, before.since
    if outcome.up:
        if (holder, where) != (node, link) or not is_true(before.conditions, UP):
            since = now
        holder, where = node, link
    elif holder == node or _is_in_use(outcome):
        holder = where = since = ""
    conditions = before.conditions
    news = _conditions(outcome, node, claim.metadata.generation)
    lost = _is_in_use(outcome) and bool(before.holder or is_true(conditions, CONFLICT))
    if lost or outcome.conflict or is_true(conditions, CONFLICT):
        news = (*news, _conflict(outcome, claim.metadata.generation, lost=lost))
    for condition in news:
        conditions = with_condition(conditions, condition, now=now)
    after = IpClaimStatus(conditions=conditions, holder=holder, link=where, since=since)
    return None if after == before else after


def status_patch(claim: IpClaim, status: IpClaimStatus) -> dict[str, object]:
    """Return the merge patch that writes the status.

    It fails with a conflict when the claim has changed since: a list of conditions replaces the
    one that is there, and others write into it too.
    """
    # The fields that are empty are left out when encoding; a merge patch removes by null.
    return {
        "metadata": metadata_patch(claim),
        "status": {
            "conditions": status.conditions,
            "holder": status.holder or None,
            "link": status.link or None,
            "since": status.since or None,
        },
    }


def _conditions(outcome: Outcome, node: str, generation: int) -> tuple[Condition, ...]:
    accepted = Condition(
        type=ACCEPTED,
        status="True" if outcome.accepted else "False",
        reason="Accepted" if outcome.accepted else outcome.reason,
        message="" if outcome.accepted else outcome.message,
        observed_generation=generation,
    )
    up = Condition(
        type=UP,
        status="True" if outcome.up else "False",
        reason="AddressUp" if outcome.up else outcome.reason,
        message=f"on {node}" if outcome.up else f"on {node}: {outcome.message}",
        observed_generation=generation,
    )
    return accepted, up


def _is_in_use(outcome: Outcome) -> bool:
    return not outcome.accepted and outcome.reason == Reason.IN_USE.value


def _conflict(outcome: Outcome, generation: int, *, lost: bool) -> Condition:
    other = outcome.conflict
    message = f"the station with the MAC {other} announces the IP, too" if other else ""
    return Condition(
        type=CONFLICT,
        status="True" if other or lost else "False",
        reason="AddressConflict" if other or lost else "NoConflict",
        message=outcome.message if lost else message,
        observed_generation=generation,
    )


def _placed(
    claim: HeldClaim, desire: Desire, *, up: frozenset[IPAddress], iface: str, problem: str
) -> Outcome | None:
    """Return what became of a claim that nothing forbids; None while that is being found out."""
    if claim.interface in desire.waiting:
        message = f"{iface} has no carrier; the IP is probed and comes up when that is back"
        return _down(claim, "NoCarrier", message)
    if claim.interface in desire.unasked:
        message = f"{iface} does not send the IP's probes; they are tried again every second"
        return _down(claim, "ProbeNotSent", message)
    if claim.interface is None or claim.interface not in desire.wanted:
        return None
    if claim.interface.ip in up:
        return _up(claim)
    return _down(claim, "AddressMissing", problem or "it was removed")


def _up(claim: HeldClaim) -> Outcome:
    return Outcome(cidr=claim.cidr, accepted=True, up=True, reason="", message="")


def _down(claim: HeldClaim, reason: str, message: str) -> Outcome:
    return Outcome(cidr=claim.cidr, accepted=True, up=False, reason=reason, message=message)


def _refused(claim: HeldClaim, reason: str, message: str) -> Outcome:
    return Outcome(cidr=claim.cidr, accepted=False, up=False, reason=reason, message=message)


def _age(claim: HeldClaim) -> tuple[str, str]:
    return seniority(claim.created, claim.name)
