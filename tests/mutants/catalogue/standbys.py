"""Which node takes the IPs of which other one."""

from tests.mutants.mutation import Mutation

_PREPARATION = ("unit/scheduling/test_preparation.py",)
_POLICY = "scheduling/policy/standbys.py"
_FILTERS = "scheduling/policy/node_filters.py"

MUTATIONS = (
    Mutation(
        name="standby-is-passed-over",
        promise="the node that takes the IP when its own node dies",
        file="scheduling/policy/placement.py",
        old="candidate.apart is None and candidate.standby in placement.best(candidate):",
        new="candidate.apart is None and candidate.standby and not candidate.eligible:",
        tests=("unit/scheduling/test_standbys.py", *_PREPARATION),
    ),
    Mutation(
        name="one-standby-takes-all",
        promise="spreads the standbys of a node over all others that may hold its IPs",
        file=_POLICY,
        old="placement.entry(node, takes.get(node, 0))",
        new="placement.entry(node, 0 * takes.get(node, 0))",
        tests=_PREPARATION,
    ),
    Mutation(
        name="standby-of-yesterday",
        promise="A standby that may not take the IP any more is replaced",
        file=_FILTERS,
        old="takes = node in self.filter_nodes(needs).nodes and not self._refuses(node, needs)",
        new="takes = bool(node)",
        tests=_PREPARATION,
    ),
    Mutation(
        name="standby-that-refuses",
        promise="A standby checks beforehand whether it would refuse the IP",
        file=_FILTERS,
        old="if n != holder and not self._refuses(n, needs)",
        new="if n != holder",
        tests=_PREPARATION,
    ),
    Mutation(
        name="refusal-is-forgotten-with-the-claim",
        promise="A standby checks beforehand whether it would refuse the IP",
        file="handover/standby_check.py",
        old="| self._refused.keys()",
        new="| set()",
        tests=("unit/handover/test_standby_check.py",),
    ),
    Mutation(
        name="new-node-without-a-share",
        promise="A new node gets its share after",
        file=_POLICY,
        old='return worst if score(best)[0] < without_one else ""',
        new='return worst if score(best)[0] < 0 * without_one else ""',
        tests=_PREPARATION,
    ),
    Mutation(
        name="older-definition-is-written-to-for-ever",
        promise="Where the definition of IpClaim is older",
        file="scheduling/preparation.py",
        old="max(self._next_at, self._writer.pruned_at + _PRUNED_S)",
        new="max(self._next_at, 0 * _PRUNED_S)",
        tests=_PREPARATION,
    ),
    Mutation(
        name="standby-under-way-does-not-count",
        promise="`fair` spreads the standbys of a node over all others",
        file=_POLICY,
        old="if begun.node and at_rest and claims[name].spec.node_name == node:",
        new="if not begun.node and at_rest and claims[name].spec.node_name == node:",
        tests=_PREPARATION,
    ),
    Mutation(
        name="definition-is-read-for-each-claim",
        promise="cost the old one two reads a second, however many they are",
        file="informers/controller.py",
        old="patience_s=0.5",
        new="patience_s=0.0",
        tests=("unit/informers/test_controller.py",),
    ),
)
