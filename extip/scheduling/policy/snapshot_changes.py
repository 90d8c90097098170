"""Two snapshots → the nodes, services and pools of which facts have changed. Pure."""

from collections.abc import Iterable

from extip.cache.changes import differing
from extip.scheduling.policy.snapshot import Snapshot


def changed_nodes(old: Snapshot, new: Snapshot) -> list[str]:
    """Return the nodes of which some fact has changed, in the order of names."""
    changed = {
        *differing(old.by_name, new.by_name),
        *(one.node for one in differing(old.successors, new.successors)),
        *differing(old.registered, new.registered),
        *(old.unknown ^ new.unknown),
        *(old.unsettled ^ new.unsettled),
    }
    return sorted(changed)


def changed_wishes(
    old: Snapshot, new: Snapshot, nodes: Iterable[str]
) -> tuple[list[str], list[str]]:
    """Return the services, and the pools by `label_value`, whose wishes about nodes have changed.

    `nodes` have changed. With other labels they may be others that a pool prefers.
    """
    services = differing(old.local_endpoints, new.local_endpoints)
    services += differing(old.unready, new.unready)
    services += differing(old.service_links, new.service_links)
    services += differing(old.preferred_nodes, new.preferred_nodes)
    services += differing(old.spread, new.spread)
    pools = differing(old.node_selectors, new.node_selectors)
    pools += differing(old.preferring_pools, new.preferring_pools)
    pools += differing(old.pool_links, new.pool_links)
    pools += old.every_node ^ new.every_node
    if new.preferring_pools and _labels_differ(old, new, nodes):
        pools += new.preferring_pools
    return services, pools


def _labels_differ(old: Snapshot, new: Snapshot, nodes: Iterable[str]) -> bool:
    """Whether one of these nodes has other labels than before."""
    changed = frozenset(nodes)
    before, after = (
        {
            facts.name: facts.kubernetes.labels
            for facts in one.nodes
            if facts.name in changed and facts.kubernetes is not None
        }
        for one in (old, new)
    )
    return before != after
