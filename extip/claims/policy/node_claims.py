"""The claims of one node → the requests to its interface, and the outcome of each claim. Pure.

An IP has one claim. Of two claims with the same IP the older one holds it; a claim that the
scheduler has refused does not. An address that is handed over to another node stays wanted until
that node has it up.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from extip.api.conditions import find_condition, is_true, with_condition
from extip.api.ipcontroller_v1 import ACCEPTED, ASSIGNED, CONFLICT, UP, IpClaim, IpClaimStatus
from extip.api.meta_v1 import Condition
from extip.claims.policy.claims import has_default_prefix, metadata_patch, parse_cidr
from extip.claims.policy.history import assigned_to
from extip.claims.policy.same_ip import DUPLICATE, refusal, seniority
from extip.guard.policy.admission import Admission
from extip.net.interfaces import IPAddress, IPInterface
from extip.net.link_selection import LinkSelection
from extip.services.policy.no_endpoint import NO_READY_ENDPOINT, NONE_READY
from extip.services.policy.references import owner_of
from extip.services.policy.refusal import TAKEN, Reason, Refusal
from extip.services.policy.requests import Masks, Owner, Requests

KIND = "IpClaim"

_NOTHING_SAID = Masks()


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldClaim:
    """The parts of a claim that its node needs."""

    name: str
    created: str
    cidr: str
    interface: IPInterface | None
    """The IP with the prefix length that it gets here. None when `cidr` is malformed."""
    link: str
    """The interface that the claim names; empty for any."""
    owners: tuple[Owner, ...]
    """The claim itself and its services: each of them gets an Event about a refusal."""
    refused: str = ""
    """The scheduler's reason for which it stays down: a claim on another node holds the IP. This
    node cannot see that claim. Empty when it is not refused."""
    withdrawn: bool = False
    """None of its services has a ready endpoint, so the IP stays down."""
    established: bool = field(default=False, compare=False)
    """A node had its IP up before. It matters only at the moment when the IP comes up, so a change
    of it is no change of the claim."""
    holder: str = field(default="", compare=False)
    """The node that has, or had, its IP up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeClaims:
    """All claims of a node."""

    claims: tuple[HeldClaim, ...] = ()
    requests: Requests = field(default_factory=Requests)
    duplicates: Mapping[str, str] = field(default_factory=dict)
    """Claims whose IP another claim holds, by name, with the name of the other claim."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of a claim on this node."""

    cidr: str
    """The claim's `spec.cidr` at the time of the outcome."""
    accepted: bool
    up: bool
    reason: str
    """The reason for which `accepted` or `up` is False; empty when both are True."""
    message: str
    lost_on_trial: bool = False
    """Another station has the IP, which was new and up for moments only: nobody knows it yet."""
    link: str = ""
    """The interface that the IP is on, when it is up."""
    conflict: str = ""
    """The MAC of another station that announces the IP; empty for none."""


def held_claim(claim: IpClaim, masks: Masks = _NOTHING_SAID) -> HeldClaim:
    """Return the parts of a claim that its node needs.

    `masks` are the controller's flags. A length that a person said for this node counts more than
    one that nobody said to the scheduler.
    """
    meta = claim.metadata
    interface = parse_cidr(claim.spec.cidr)
    if interface is not None and interface.version in masks.explicit:
        interface = masks.of(interface.ip) if has_default_prefix(claim, interface) else interface
    services = map(owner_of, claim.spec.services or ())
    return HeldClaim(
        name=meta.name,
        created=meta.created,
        cidr=claim.spec.cidr,
        interface=interface,
        link=claim.spec.link,
        owners=(Owner(kind=KIND, namespace="", name=meta.name, uid=meta.uid), *services),
        refused=refusal(claim),
        withdrawn=claim.spec.withdrawn,
        established=bool(claim.status.holder),
        holder=claim.status.holder,
    )


def bring_together(
    claims: Iterable[HeldClaim], *, links: LinkSelection, kept: Iterable[HeldClaim] = ()
) -> NodeClaims:
    """Return the requests of the claims to the interfaces, and those of `kept` addresses.

    A claim that names an interface that is not selected requests nothing.
    """
    known = tuple(sorted(claims, key=_age))
    wanted: dict[IPInterface, tuple[Owner, ...]] = {}
    malformed: dict[str, tuple[Owner, ...]] = {}
    holders: dict[IPAddress, str] = {}
    wishes: dict[IPAddress, str] = {}
    duplicates: dict[str, str] = {}
    for claim in known:
        if claim.interface is None:
            malformed[claim.cidr] = (*malformed.get(claim.cidr, ()), *claim.owners)
        elif not links.allows(claim.link) or claim.refused or claim.withdrawn:
            continue
        elif claim.interface.ip in holders:
            duplicates[claim.name] = holders[claim.interface.ip]
        else:
            _request(claim, claim.interface, holders, wanted, wishes)
    for claim in sorted(kept, key=_age):
        if claim.withdrawn or claim.interface is None:
            continue
        if claim.interface.ip not in holders:
            _request(claim, claim.interface, holders, wanted, wishes)
    established = frozenset(
        claim.interface.ip for claim in known if claim.established and claim.interface is not None
    )
    return NodeClaims(
        claims=known,
        requests=Requests(
            wanted=wanted, malformed=malformed, established=established, links=wishes
        ),
        duplicates=duplicates,
    )


def of_another_mask(claims: NodeClaims, masks: Masks) -> HeldClaim | None:
    """Return a claim whose prefix length differs from the controller's explicit flag, if any.

    There somebody else said another length: for the scheduler, the pool or the claim itself.
    """
    for claim in claims.claims:
        interface = claim.interface
        if interface is None or interface.version not in masks.explicit:
            continue
        if interface != masks.of(interface.ip):
            return claim
    return None


def outcomes(
    claims: NodeClaims,
    admission: Admission,
    *,
    up: frozenset[IPAddress],
    links: LinkSelection,
    problem: str,
) -> dict[str, Outcome]:
    """Return the outcome of each claim, by name. A claim that is not decided yet has no entry.

    `up` are the IPs on the interfaces. `problem` is the reason for which the last pass failed.
    """
    refusals = {
        rejection.owner.name: rejection.refusal
        for rejection in admission.rejected
        if rejection.owner.kind == KIND
    }
    found: dict[str, Outcome] = {}
    for claim in claims.claims:
        rejected = refusals.get(claim.name)
        if claim.interface is None:
            message = f"{claim.cidr!r} is no address with a prefix length, such as 10.0.0.2/24"
            found[claim.name] = _refused(claim, "MalformedCidr", message)
        elif (kept_down := _kept_down(claim, links)) is not None:
            found[claim.name] = kept_down
        elif claim.name in claims.duplicates:
            message = f"claim {claims.duplicates[claim.name]} holds the same IP"
            found[claim.name] = _refused(claim, DUPLICATE, message)
        elif claim.refused:
            found[claim.name] = _refused(claim, DUPLICATE, claim.refused)
        elif rejected is not None:
            on_trial = claim.interface.ip in admission.lost_on_trial
            found[claim.name] = _rejected(claim, rejected, on_trial=on_trial)
        else:
            link = admission.links.get(claim.interface, str(links))
            placed = _placed(claim, admission, up=up, link=link, problem=problem)
            if placed is not None:
                found[claim.name] = placed
    return found


def with_conflicts(
    found: Mapping[str, Outcome], claims: NodeClaims, conflicts: Mapping[IPAddress, str]
) -> dict[str, Outcome]:
    """Return the outcomes with the MAC of the other station for each IP in conflict."""
    marked = dict(found)
    for claim in claims.claims if conflicts else ():
        mac = "" if claim.interface is None else conflicts.get(claim.interface.ip, "")
        if mac and claim.name in found and found[claim.name].up:
            marked[claim.name] = replace(found[claim.name], conflict=mac)
    return marked


def stopped(outcome: Outcome) -> Outcome:
    """Return the outcome after the controller has removed its addresses."""
    if not outcome.up:
        return outcome
    return replace(
        outcome,
        up=False,
        reason="ControllerStopped",
        message="the controller was stopped",
        conflict="",
    )


def status_after(claim: IpClaim, outcome: Outcome, *, node: str, now: str) -> IpClaimStatus | None:
    """Return the status that the claim should get; None when it has it already.

    Conditions of other writers stay. Another node stays the holder while this node does not have
    the IP up. But a claim has no holder while a station outside the cluster has the IP. An IP that
    was up before, and that such a station or a pod has now, is in conflict until it is up again. An
    IP that was never free, or lost its first trial, is not. `now` is RFC 3339 in UTC.
    """
    before = claim.status
    holder, where, since = before.holder, before.link, before.since
    if outcome.up:
        if (holder, where) != (node, outcome.link) or not is_true(before.conditions, UP):
            since = now
        holder, where = node, outcome.link
    elif holder == node or (not outcome.accepted and outcome.reason == Reason.IN_USE):
        holder = where = since = ""
    conditions = before.conditions
    generation = claim.metadata.generation
    news = _conditions(outcome, node, generation)
    if outcome.up and find_condition(conditions, ASSIGNED) is None:
        news = (*news, assigned_to(node, generation))
    lost = _is_taken(outcome) and _was_known(before, outcome)
    if lost or outcome.conflict or is_true(conditions, CONFLICT):
        news = (*news, _conflict(outcome, generation, lost=lost))
    for condition in news:
        conditions = with_condition(conditions, condition, now=now)
    after = IpClaimStatus(conditions=conditions, holder=holder, link=where, since=since)
    return None if after == before else after


def status_patch(claim: IpClaim, status: IpClaimStatus) -> dict[str, object]:
    """Return the merge patch that writes the status.

    It fails with a conflict when the claim has changed since it was read. The list of conditions
    replaces the whole list, and other writers have conditions in it.
    """
    # Encoding leaves empty fields out, and a merge patch removes a field only by null.
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


def _was_known(before: IpClaimStatus, outcome: Outcome) -> bool:
    """Return whether the IP was up for so long that clients may know it.

    An IP in conflict had been up before that, also when it is on trial now.
    """
    if is_true(before.conditions, CONFLICT):
        return True
    is_new = outcome.lost_on_trial and find_condition(before.conditions, CONFLICT) is None
    return bool(before.holder) and not is_new


def _is_taken(outcome: Outcome) -> bool:
    return not outcome.accepted and outcome.reason in TAKEN


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


def _kept_down(claim: HeldClaim, links: LinkSelection) -> Outcome | None:
    """Return the outcome of a claim that does not ask for the IP on these interfaces now."""
    if not links.allows(claim.link):
        message = f"the claim asks for interface {claim.link}; this controller has {links}"
        return _down(claim, "LinkMismatch", message)
    if claim.withdrawn:
        return _down(claim, NO_READY_ENDPOINT, NONE_READY)
    return None


def _placed(
    claim: HeldClaim, admission: Admission, *, up: frozenset[IPAddress], link: str, problem: str
) -> Outcome | None:
    """Return the outcome of a claim that is not refused; None while its probe runs."""
    if claim.interface in admission.waiting:
        message = f"{link} has no carrier; the IP is probed and comes up when that is back"
        return _down(claim, "NoCarrier", message)
    if claim.interface in admission.unasked:
        message = f"{link} does not send the IP's probes; they are tried again every second"
        return _down(claim, "ProbeNotSent", message)
    if claim.interface is None or claim.interface not in admission.wanted:
        return None
    if claim.interface.ip in up:
        return _up(claim, link)
    return _down(claim, "AddressMissing", problem or "it was removed")


def _up(claim: HeldClaim, link: str) -> Outcome:
    return Outcome(cidr=claim.cidr, accepted=True, up=True, reason="", message="", link=link)


def _request(
    claim: HeldClaim,
    interface: IPInterface,
    holders: dict[IPAddress, str],
    wanted: dict[IPInterface, tuple[Owner, ...]],
    wishes: dict[IPAddress, str],
) -> None:
    """Note that a claim holds its IP here."""
    holders[interface.ip] = claim.name
    wanted[interface] = claim.owners
    if claim.link:
        wishes[interface.ip] = claim.link


def _down(claim: HeldClaim, reason: str, message: str) -> Outcome:
    return Outcome(cidr=claim.cidr, accepted=True, up=False, reason=reason, message=message)


def _refused(claim: HeldClaim, reason: str, message: str) -> Outcome:
    return Outcome(cidr=claim.cidr, accepted=False, up=False, reason=reason, message=message)


def _rejected(claim: HeldClaim, refusal: Refusal, *, on_trial: bool) -> Outcome:
    if refusal.reason is Reason.NO_LINK:  # nothing is wrong with the IP, and another node may do
        return _down(claim, refusal.reason.value, refusal.message)
    outcome = _refused(claim, refusal.reason.value, refusal.message)
    return replace(outcome, lost_on_trial=on_trial)


def _age(claim: HeldClaim) -> tuple[str, str]:
    return seniority(claim.created, claim.name)
