"""Filter: for each claim, the nodes that may hold it.

The result is what placement chooses from. Claims that a person pinned to a node are no candidates:
they count as load, and nothing moves them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from extip.api.ipcontroller_v1 import IpClaim
from extip.claims.policy.claims import is_pinned, parse_cidr
from extip.claims.policy.same_ip import SameIPGroups, group_by_ip
from extip.scheduling.policy.filters import Needs
from extip.scheduling.policy.node_filters import NodeFilters
from extip.scheduling.policy.placement import Candidate, Strategy
from extip.scheduling.policy.snapshot import Snapshot, needs_of
from extip.scheduling.policy.spread import Apart
from extip.scheduling.policy.standing import Standing

_NO_STANDBYS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Filtered:
    """The claims that placement decides about, and their nodes."""

    holders: Mapping[str, str]
    """The node of each claim, by the claim's name; empty for a claim without a node."""
    eligible: Mapping[str, frozenset[str]]
    """The nodes that may hold a claim, by the claim's name; pinned claims have no entry."""
    needs: Mapping[str, Needs]
    """The needs of the same claims."""
    groups: SameIPGroups
    """Claims that share their IP with another claim."""
    filters: NodeFilters
    """The filters, with the results that they know by now."""

    def candidates(self, standbys: Mapping[str, str] = _NO_STANDBYS) -> list[Candidate]:
        """Return the claims that get a node of their own: all but those that follow another.

        `standbys` has the standby of each claim that has one, by the claim's name.
        """
        return [
            Candidate(
                claim=name,
                node=self.holders[name],
                eligible=nodes,
                preferred=self._preferred(name, nodes),
                standby=standbys.get(name, ""),
                apart=self._apart(name, nodes),
            )
            for name, nodes in self.eligible.items()
            if name not in self.groups.followers
        ]

    def _preferred(self, name: str, nodes: frozenset[str]) -> frozenset[str] | None:
        needs = self.needs[name]
        willing = self.filters.willing(nodes, needs, self.holders[name])
        if needs.preference is None:
            return None if willing is nodes else willing
        return self.filters.preferred.among(willing, needs.preference)

    def _apart(self, name: str, nodes: frozenset[str]) -> Apart | None:
        group, preference = self.needs[name].group, self.needs[name].preference
        if not group:
            return None
        ranks = {} if preference is None else self.filters.preferred.ranks(nodes, preference)
        return Apart(group, ranks)

    def staying(self) -> frozenset[str]:
        """Return the claims, by name, that move only when they must."""
        preferences = ((name, need.preference) for name, need in self.needs.items())
        return frozenset(name for name, one in preferences if one is not None and one.stays)


def needs_by_name(claims: Iterable[IpClaim], snapshot: Snapshot) -> dict[str, Needs]:
    """Return the needs of the claims that placement decides about, by the claim's name.

    A claim whose `spec.cidr` is malformed, and a claim that a person pinned, have no entry.
    """
    return {
        claim.metadata.name: needs
        for claim in claims
        if not is_pinned(claim) and (needs := needs_of(claim, snapshot)) is not None
    }


def filter_claims(
    needs: Mapping[str, Needs],
    holders: Mapping[str, str],
    groups: Iterable[Sequence[IpClaim]],
    standing: Standing,
) -> Filtered:
    """Filter the nodes for each claim of `needs`. `groups` are the claims that share an IP."""
    for_new = standing.filters_of_new(holders[name] for name in needs)
    return filter_with(needs, holders, groups, standing.filters, for_new)


def filter_with(
    needs: Mapping[str, Needs],
    holders: Mapping[str, str],
    groups: Iterable[Sequence[IpClaim]],
    filters: NodeFilters,
    for_new: NodeFilters,
) -> Filtered:
    """Do the same with other filters for claims that have no node."""
    eligible = {
        name: (filters if holders[name] else for_new).eligible(need, holders[name])
        for name, need in needs.items()
    }
    return Filtered(
        holders=holders,
        eligible=eligible,
        needs=needs,
        groups=group_by_ip(
            groups,
            eligible,
            serves=filters.serves,
            ifaces=filters.ifaces,
        ),
        filters=filters,
    )


def pinned_load(
    claims: Mapping[str, IpClaim], filtered: Filtered, strategy: Strategy
) -> list[Candidate]:
    """Return the pinned claims as load that nothing moves.

    *First alive* ignores them: a person pins a claim to have it elsewhere than the others.
    """
    if strategy is not Strategy.FAIR:
        return []
    names = claims.keys() - filtered.eligible.keys() - filtered.groups.conflicting.keys()
    return [
        Candidate(claim=name, node=node, eligible=frozenset({node}))
        for name in names
        if is_pinned(claims[name]) and parse_cidr(claims[name].spec.cidr) is not None
        for node in (claims[name].spec.node_name,)
    ]
