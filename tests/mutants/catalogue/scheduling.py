"""Which node has which claim."""

from tests.mutants.mutation import Mutation

_FILTERS = ("unit/scheduling/test_filters.py",)
_PLANNER = ("unit/scheduling/test_planner.py",)
_CLAIMS = ("unit/claims/test_claims.py",)
_STORE = ("unit/scheduling/test_claim_store.py",)


def _of_state(name: str, promise: str, old: str, new: str) -> Mutation:
    return Mutation(
        name=name,
        promise=promise,
        file="scheduling/policy/state.py",
        old=old,
        new=new,
        tests=("unit/scheduling/test_state.py",),
    )


def _of_snapshot(name: str, promise: str, old: str, new: str) -> Mutation:
    return Mutation(
        name=name,
        promise=promise,
        file="scheduling/policy/snapshot_changes.py",
        old=old,
        new=new,
        tests=("unit/scheduling/test_state.py",),
    )


def _of_trial(name: str, promise: str, old: str, new: str) -> Mutation:
    return Mutation(
        name=name,
        promise=promise,
        file="scheduling/policy/moves_on_trial.py",
        old=old,
        new=new,
        tests=("unit/scheduling/test_moves_on_trial.py",),
    )


def _of_standing(name: str, promise: str, old: str, new: str) -> Mutation:
    return Mutation(
        name=name,
        promise=promise,
        file="scheduling/policy/standing.py",
        old=old,
        new=new,
        tests=("unit/scheduling/test_state.py",),
    )


def _rule(name: str, promise: str, old: str, new: str) -> Mutation:
    return Mutation(
        name=name,
        promise=promise,
        file="scheduling/policy/filters.py",
        old=old,
        new=new,
        tests=_FILTERS,
    )


MUTATIONS = (
    _of_trial(
        "refused-move-stands",
        "A node that cannot bring such an IP up gives it back within seconds",
        "elif trial.report and move.source in steady:",
        "elif trial.report and move.source == move.target:",
    ),
    _of_trial(
        "lost-write-back-is-not-made-again",
        "A write back that fails is made again, for 5 minutes",
        "_TAKEN_BACK_S if trial.report else",
        "0.0 if trial.report else",
    ),
    _of_trial(
        "late-report-of-a-refusal-is-ignored",
        "A node that cannot bring such an IP up gives it back within seconds",
        "now - trial.since < JUDGED_S:",
        "not JUDGED_S <= now - trial.since <= _PATIENCE_S:",
    ),
    _of_trial(
        "node-that-refuses-gets-the-next-one",
        "No more IPs are moved there for 10 minutes",
        "self._avoided[trial.move.target] = now + AVOIDED_S",
        "self._avoided[trial.move.target] = now",
    ),
    _of_trial(
        "old-report-takes-a-move-back",
        "A move breaks open connections",
        "told.observed_generation == claim.metadata.generation",
        "told.observed_generation >= 0",
    ),
    Mutation(
        name="ip-goes-where-it-would-be-refused",
        promise="no IP that it would refuse goes there while another node may have it",
        file="scheduling/policy/node_filters.py",
        old="return nodes.difference(refusing - {holder}) or nodes",
        new="return nodes",
        tests=("unit/scheduling/test_refusing_nodes.py",),
    ),
    Mutation(
        name="chore-beside-the-report",
        promise="A chore waits until the node of a new claim has reported",
        file="scheduling/backlog.py",
        old="if not urgent and self._writer.newcomers.is_new(name):",
        new="if not urgent and not name and self._writer.newcomers.is_new(name):",
        tests=("unit/scheduling/test_scheduler.py::test_a_new_claim_is_left_to_its_node_at_first",),
    ),
    Mutation(
        name="chores-while-many-claims-are-created",
        promise="While many claims are created, chores wait for a pause, for up to a minute",
        file="scheduling/newcomers.py",
        old="least = max(created_at + _NEW_S, held_until)",
        new="least = created_at + _NEW_S",
        tests=("unit/scheduling/test_newcomers.py",),
    ),
    _rule(
        "dead-node-gets-claims",
        "its controller sends no heartbeats, or was stopped",
        "if not node.alive:",
        "if not node.name:",
    ),
    _rule(
        "drained-node-gets-claims",
        "its controller is leaving, or somebody ran `extip drain`",
        "if node.draining:",
        "if not node.name:",
    ),
    _rule(
        "unread-node-gets-claims",
        "its controller may not, or cannot, read its claims",
        "if node.unread:",
        "if not node.name:",
    ),
    _rule(
        "unready-node-gets-claims",
        "its Kubernetes node says that it is not ready",
        "if not kubernetes.ready:",
        "if False:",
    ),
    _rule(
        "deleted-node-gets-claims",
        "its Kubernetes node is being deleted",
        "if kubernetes.deleted:",
        "if False:",
    ),
    _rule(
        "evicting-node-gets-claims",
        "its Kubernetes node has a taint of a node that goes, or has gone",
        "if kubernetes.evicting:",
        "if False:",
    ),
    _rule(
        "excluded-node-gets-claims",
        "its Kubernetes node has the label",
        "if kubernetes.excluded:",
        "if False:",
    ),
    _rule(
        "node-selector-ignored",
        "the `nodeSelector` of the IP's pool does not match its labels",
        "if not selects(needs.node_selector, labels):",
        "if labels is None:",
    ),
    Mutation(
        name="local-traffic-policy-ignored",
        promise="the IP is on a node with a ready endpoint",
        file="scheduling/policy/filter_cache.py",
        old="unfit = {**self.unfit, **dict.fromkeys(lacking, Unfit.NO_ENDPOINT)}",
        new="unfit = {**self.unfit}",
        tests=_FILTERS,
    ),
    Mutation(
        name="local-traffic-policy-ignored-where-it-rests",
        promise="the IP is on a node with a ready endpoint",
        file="scheduling/policy/filters.py",
        old="if known and needs.endpoint_nodes and not needs.served_by(node.name):",
        new="if known and needs.endpoint_nodes and not node.name:",
        tests=("unit/scheduling/test_filter_cache.py",),
    ),
    _rule(
        "wrong-interface-fits",
        "the claim names an interface that it does not have",
        "nowhere = bool(node.links) and not link",
        "nowhere = bool(node.links) and link is None",
    ),
    Mutation(
        name="wish-of-pool-counts-more",
        promise="the service counts more",
        file="scheduling/policy/snapshot.py",
        old='return wish or cluster.pool_links.get(label_value(pool), "")',
        new='return cluster.pool_links.get(label_value(pool), "") or wish',
        tests=("unit/scheduling/test_wished_links.py",),
    ),
    Mutation(
        name="preferred-nodes-ignored",
        promise="A new IP goes to one of its best nodes",
        file="scheduling/policy/placement.py",
        old="return candidate.eligible if candidate.preferred is None else candidate.preferred",
        new="return candidate.eligible if candidate.preferred is None else candidate.eligible",
        tests=("unit/scheduling/test_preference.py",),
    ),
    Mutation(
        name="addresses-of-a-service-are-together",
        promise="They are on different nodes, as far as there are nodes that may hold them",
        file="scheduling/policy/spread.py",
        old="others = Counter(self._groups.get(apart.group))",
        new="others = Counter[str]()",
        tests=("unit/scheduling/test_spread.py",),
    ),
    Mutation(
        name="siblings-are-not-looked-at-again",
        promise="In quiet times (`--rebalance-after`) they part again",
        file="scheduling/policy/spread.py",
        old="for old, new in changed if old != new for group",
        new="for old, new in changed if old != new and new for group",
        tests=("unit/scheduling/test_state.py",),
    ),
    Mutation(
        name="ips-go-back-though-their-pool-says-never",
        promise="With `rebalance: Never`, or `--rebalance-after=0`, it stays",
        file="scheduling/policy/preference.py",
        old="self.pool.rebalance == NEVER",
        new="self.pool.rebalance == NEVER * 2",
        tests=("unit/scheduling/test_preference.py",),
    ),
    Mutation(
        name="well-placed-claims-move",
        promise="nothing moves when an older node comes back",
        file="scheduling/policy/placement.py",
        old="if candidate.node in candidate.eligible:\n            placement.keep(candidate)\n"
        "        elif",
        new="if candidate.node == min(candidate.eligible, default=None):\n"
        "            placement.keep(candidate)\n        elif",
        tests=_PLANNER,
    ),
    Mutation(
        name="balancing-never-ends",
        promise="Balance is for quiet times",
        file="scheduling/policy/rebalance_steps.py",
        old="placement.load(source) - placement.load(best[0]) <= 1:",
        new="placement.load(source) - placement.load(best[0]) <= 0:",
        tests=("unit/scheduling/test_placement.py",),
    ),
    Mutation(
        name="replaced-claim-goes-first",
        promise="Claims of the same IP",
        file="scheduling/policy/planner.py",
        old="if one.claim.metadata.name not in placed.parting]",
        new="if one.claim.metadata.name]",
        tests=_PLANNER,
    ),
    Mutation(
        name="refused-claim-comes-up",
        promise="A claim that is pinned to another node stays down",
        file="claims/policy/same_ip.py",
        old='return told.message or "another claim holds the same IP"',
        new='return ""',
        tests=("unit/claims/test_same_ip.py", "unit/claims/test_node_claims.py"),
    ),
    Mutation(
        name="claim-by-hand-is-deleted",
        promise="A claim made by hand is honoured and never deleted",
        file="claims/policy/claims.py",
        old="made = [claim for claim in existing if claim.managed]",
        new="made = list(existing)",
        tests=_CLAIMS,
    ),
    Mutation(
        name="pinned-claim-moves",
        promise="With `spec.nodeName` it stays on that node",
        file="claims/policy/claims.py",
        old="        bool(claim.spec.node_name)\n        and not claim.managed",
        new="        bool(claim.spec.node_name)\n        and claim.managed",
        tests=_CLAIMS + _PLANNER,
    ),
    Mutation(
        name="patch-without-precondition",
        promise="No IP is given, moved or taken away",
        file="claims/policy/claims.py",
        old='{"resourceVersion": claim.metadata.resource_version}',
        new="{}",
        tests=_CLAIMS,
    ),
    Mutation(
        name="status-of-an-ipnode-without-precondition",
        promise="The scheduler that leads writes its conclusion into the condition `Ready`",
        file="nodes/policy/verdict.py",
        old='{"metadata": {"resourceVersion": record.metadata.resource_version}, "status": status}',
        new='{"metadata": {"resourceVersion": ""}, "status": status}',
        tests=("unit/nodes/test_verdict.py",),
    ),
    Mutation(
        name="deletion-without-precondition",
        promise="A service that is replaced keeps its IPs",
        file="scheduling/claim_store.py",
        old="name=claim.metadata.name, seen=claim)",
        new="name=claim.metadata.name, seen=None)",
        tests=_STORE,
    ),
    Mutation(
        name="deletion-by-a-cache-that-is-behind",
        promise="A service that is replaced keeps its IPs",
        file="scheduling/claim_store.py",
        old="if known is None or known.metadata.resource_version",
        new="if known is not None and known.metadata.resource_version",
        tests=_STORE,
    ),
    Mutation(
        name="unanswered-confirmation-deletes",
        promise="A service that is replaced keeps its IPs",
        file="scheduling/claim_store.py",
        old="            raise failures[0]",
        new="            failures.clear()",
        tests=_STORE,
    ),
    Mutation(
        name="news-of-a-node-decide-nothing",
        promise="fail-over takes `--monitor` from the last heartbeat",
        file="scheduling/policy/state.py",
        old='self._touch_all("node", self._by_node, nodes, Urgency.LEAVING)',
        new="_ = nodes",
        tests=("unit/scheduling/test_state.py",),
    ),
    Mutation(
        name="news-of-endpoints-decide-nothing",
        promise="the IP is on a node with a ready endpoint",
        file="scheduling/policy/state.py",
        old='self._touch_all("service", self._by_service, services, Urgency.COSMETIC)',
        new="_ = services",
        tests=("unit/scheduling/test_state.py",),
    ),
    Mutation(
        name="last-node-of-every-node-lets-go",
        promise="its claim goes as soon as another node has the IP up",
        file="scheduling/policy/every_node.py",
        old="return dead or others or place_of(claim) is None",
        new="return True",
        tests=("unit/scheduling/test_every_node.py",),
    ),
    Mutation(
        name="rolling-restart-withdraws",
        promise="a rolling restart takes nothing down",
        file="scheduling/policy/withdrawal.py",
        old="lasted = all(services)",
        new="lasted = None not in services",
        tests=("unit/scheduling/test_withdrawal.py",),
    ),
    Mutation(
        name="load-of-a-former-decision-stays",
        promise="`fair` also counts claims that people pinned to a node",
        file="scheduling/policy/state.py",
        old="standing.placement.release(node)",
        new="_ = node",
        tests=("unit/scheduling/test_state.py",),
    ),
    Mutation(
        name="balancing-moves-to-a-node-that-has-just-come",
        promise="to nodes that have been alive for `--rebalance-after`",
        file="scheduling/policy/rebalancing.py",
        old="nodes = candidate.eligible & steady",
        new="nodes = candidate.eligible",
        tests=_PLANNER,
    ),
    Mutation(
        name="ended-write-is-not-decided-anew",
        promise="The interface converges",
        file="scheduling/scheduler.py",
        old="            self._state.touch_claim(claim)",
        new="            _ = claim",
        tests=("unit/scheduling/test_scheduler.py",),
    ),
    Mutation(
        name="chores-are-decided-first",
        promise="the most urgent first",
        file="scheduling/policy/due.py",
        old="        for rank in self._ranks:\n            found",
        new="        for rank in reversed(self._ranks):\n            found",
        tests=("unit/scheduling/test_state.py",),
    ),
    _of_snapshot(
        "carrier-that-settles-decides-nothing",
        "the IPs of a node without carrier stay for half a second",
        "        *(old.unsettled ^ new.unsettled),\n",
        "",
    ),
    _of_snapshot(
        "reached-neighbours-decide-nothing",
        "Its IPs go to nodes that have said since then that they are reached",
        "        *(one.node for one in differing(old.successors, new.successors)),\n",
        "",
    ),
    _of_state(
        "end-of-a-return-decides-nothing",
        "For 5 s after a node is back it takes nothing from nodes that are not back yet",
        "if nodes or old.returning != new.returning:",
        "if nodes:",
    ),
    _of_state(
        "unsettled-places-are-not-looked-at",
        "A node may hold an IP",
        "            self._touch_uneasy()\n        services",
        "            pass\n        services",
    ),
    _of_state(
        "pools-for-other-nodes-decide-nothing",
        "the `nodeSelector` of the IP's pool does not match its labels",
        'self._touch_all("pool", self._by_pool, pools, Urgency.COSMETIC)',
        "_ = pools",
    ),
    _of_state(
        "name-that-is-free-again-decides-nothing",
        "claims that people pinned to a node",
        "self.touch(self.in_the_way[name].ip, Urgency.NEW)",
        "pass",
    ),
    _of_state(
        "name-that-is-taken-decides-nothing",
        "claims that people pinned to a node",
        "self.touch(self._creating[name], Urgency.NEW)",
        "pass",
    ),
    _of_state(
        "first-alive-counts-holders-that-left",
        "puts all IPs on the node that has most of them",
        "standing.holding[node] -= 1",
        "_ = node",
    ),
    _of_standing(
        "filters-of-yesterday",
        "its controller is alive and neither leaving nor drained",
        "self.filters = self._of_new = self.filters.among(snapshot)",
        "self._of_new = self.filters",
    ),
    _of_standing(
        "order-of-registration-of-yesterday",
        "the node that registered first gets them",
        "self.placement.reregister(snapshot.registered)",
        "_ = snapshot.registered",
    ),
    _of_standing(
        "late-holder-is-not-waited-for",
        "also while a heartbeat of that one is late",
        "if self.holding[name] > 0",
        "if self.holding[name] < 0",
    ),
    _of_standing(
        "node-that-lives-again-is-waited-for",
        "also while a heartbeat of that one is late",
        "if awaited != self._awaited:",
        "if awaited and not self._awaited:",
    ),
    Mutation(
        name="claim-with-another-pool-is-at-rest",
        promise="kubectl get ipclaims",
        file="scheduling/policy/at_rest.py",
        old="        and pool_of(claim) == label_value(pool)\n",
        new="",
        tests=("unit/scheduling/test_at_rest.py",),
    ),
    Mutation(
        name="claim-on-a-bad-node-is-at-rest",
        promise="the node gets no IPs, and loses those that it has, when",
        file="scheduling/policy/at_rest.py",
        old=" and standing.filters.is_plain(needs, node)",
        new="",
        tests=("unit/scheduling/test_at_rest.py",),
    ),
    Mutation(
        name="node-of-another-lan-is-as-good",
        promise="the IP is in a subnet of another node",
        file="scheduling/policy/filter_cache.py",
        old="            eligible -= stray\n",
        new="",
        tests=("unit/scheduling/test_filters.py",),
    ),
    Mutation(
        name="first-node-of-a-lan-gets-nothing",
        promise="the IP is in a subnet of another node",
        file="scheduling/policy/state.py",
        old="            self._due.gather(among, Urgency.NEW)\n",
        new="",
        tests=(
            "unit/scheduling/test_state.py::test_the_first_node_of_a_lan_gets_the_ips_of_that_lan",
        ),
    ),
    Mutation(
        name="ip-rests-on-a-node-of-another-lan",
        promise="In the way only while another node may have the IP",
        file="scheduling/policy/node_filters.py",
        old="and not (strays(facts, needs) and any(needs.ip in one for one in self.subnets))",
        new="",
        tests=("unit/scheduling/test_reached.py",),
    ),
)
