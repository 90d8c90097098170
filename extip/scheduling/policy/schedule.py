"""The decision about some IPs: the writes to their claims, and why other claims wait."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from extip.api.ipcontroller_v1 import IpClaim, ServiceReference
from extip.claims.policy.claims import Delete, SetServices
from extip.net.interfaces import IPInterface
from extip.scheduling.policy.snapshot import Snapshot

_NOBODY: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateClaim:
    """Write a new claim, with a node when one may hold it."""

    claim: IpClaim


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignClaim:
    """Give a claim to another node."""

    claim: IpClaim
    node: str
    why: str
    """The reason for which it did not stay, in the past tense: it is read later."""


@dataclass(frozen=True, slots=True)
class SetWithdrawn:
    """Have the node of a claim take its IP down, or bring it up again."""

    claim: IpClaim
    withdrawn: bool


Write = CreateClaim | AssignClaim | SetServices | SetWithdrawn | Delete


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The writes of a pass, and the claims that have no place."""

    writes: tuple[Write, ...]
    waiting: Mapping[str, str]
    """The reason for which no node may hold a claim, by the claim's name."""
    in_the_way: Mapping[str, IPInterface]
    """IPs whose claim cannot be created, by its name: a person gave that name to another claim."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """The reason for which a claim is refused, by name: its IP is on another node."""
    not_served: Mapping[str, tuple[ServiceReference, ...]] = field(default_factory=dict)
    """Services with local traffic policy that have no endpoint on the claim's node, by the claim's
    name. Another service that shares the IP has one there."""
    second_choice: Mapping[str, str] = field(default_factory=dict)
    """A clause about nodes that a claim prefers to its own, by the claim's name."""
    astray: frozenset[str] = _NOBODY
    """Claims, by name, that rebalancing is to bring to a node that they prefer."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """The group of a claim that is to be apart from other claims, by the claim's name."""
    absent: frozenset[str] = _NOBODY
    """Nodes in claims that have no controller: no IpNode and no heartbeats."""
    on_every_node: frozenset[str] = _NOBODY
    """Claims of IPs of which each node has one, by name."""
    counted: Mapping[str, str] = field(default_factory=dict)
    """The node whose load counts a claim, by the claim's name."""
    uneasy: frozenset[str] = _NOBODY
    """Claims whose decision may change when any node does, by name."""
    standbys: Mapping[str, str] = field(default_factory=dict)
    """The standby of each claim that has a node and stays there, by the claim's name; empty where
    there is none that may take its IP."""
    holders: Mapping[str, str] = field(default_factory=dict)
    """The node of each claim that placement decides about, before the plan; empty for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """The decision about some IPs."""

    claims: tuple[IpClaim, ...]
    """All claims of those IPs."""
    schedule: Schedule
    before: frozenset[str]
    """Claims, by name, for which earlier decisions about these IPs had writes, or that are gone."""
    unprepared: frozenset[str] = frozenset()
    """Claims, by name, that are to get a standby in quiet times."""


def absent(claims: Iterable[IpClaim], snapshot: Snapshot) -> frozenset[str]:
    """Return the nodes in claims that have no controller."""
    return frozenset({c.spec.node_name for c in claims if c.spec.node_name} - snapshot.present)


def joined(one: Schedule, other: Schedule) -> Schedule:
    """Return the schedule of different IPs together."""
    return Schedule(
        writes=one.writes + other.writes,
        waiting={**one.waiting, **other.waiting},
        in_the_way={**one.in_the_way, **other.in_the_way},
        refused={**one.refused, **other.refused},
        not_served={**one.not_served, **other.not_served},
        second_choice={**one.second_choice, **other.second_choice},
        astray=one.astray | other.astray,
        groups={**one.groups, **other.groups},
        absent=one.absent | other.absent,
        on_every_node=one.on_every_node | other.on_every_node,
        counted={**one.counted, **other.counted},
        uneasy=one.uneasy | other.uneasy,
        standbys={**one.standbys, **other.standbys},
        holders={**one.holders, **other.holders},
    )
