"""What an event costs the scheduler, and what that leaves out."""

from tests.mutants.mutation import Mutation


def _of_facts(
    name: str,
    promise: str,
    old: str,
    new: str,
    *,
    file: str = "informers/cluster_facts.py",
    test: str = "unit/informers/test_cluster_facts.py",
) -> Mutation:
    return Mutation(name=name, promise=promise, file=file, old=old, new=new, tests=(test,))


def _of_steps(
    name: str,
    promise: str,
    old: str,
    new: str,
    *,
    test: str = "unit/scheduling/test_rebalance_steps.py",
) -> Mutation:
    return Mutation(
        name=name,
        promise=promise,
        file="scheduling/policy/rebalance_steps.py",
        old=old,
        new=new,
        tests=(test,),
    )


MUTATIONS = (
    Mutation(
        name="one-dead-node-has-all-filtered-anew",
        promise="a change of a node costs the facts of that node",
        file="scheduling/policy/node_filters.py",
        old="NodeFilters(cluster, cache=self._cache, preferred=preferred)",
        new="NodeFilters(cluster, preferred=preferred)",
        tests=("unit/scheduling/test_filter_cache.py",),
    ),
    Mutation(
        name="filter-result-of-yesterday",
        promise="a change of a node costs the facts of that node",
        file="scheduling/policy/filter_cache.py",
        old="            self.unfit.pop(name, None)\n",
        new="",
        tests=("unit/scheduling/test_filter_cache.py",),
    ),
    Mutation(
        name="preferred-nodes-of-yesterday",
        promise="a change of a node costs the facts of that node",
        file="scheduling/policy/node_filters.py",
        old="keeps = same_pools and self.preferred.labels == _labels(cluster)",
        new="keeps = same_pools",
        tests=("unit/scheduling/test_state.py",),
    ),
    _of_steps(
        "rebalancing-in-one-step",
        "a rebalancing is planned in small steps",
        "now[at : at + self._most] for at in range(0, len(now), self._most)",
        "now[at:] for at in range(0, min(1, len(now)))",
    ),
    _of_steps(
        "rebalancing-looks-at-all-claims",
        "looks at the fullest nodes first",
        "if placement.load(source) - least <= 1:",
        "if placement.load(source) < least:",
    ),
    _of_steps(
        "move-of-yesterday-is-made",
        "in quiet times IPs are balanced",
        "return counted and self._load(move.source) - self._load(move.target) > 1",
        "return counted",
    ),
    _of_steps(
        "move-counts-on-writes-of-yesterday",
        "in quiet times IPs are balanced",
        "counted = self._unmade <= state.writes.keys()",
        "counted = True",
    ),
    _of_steps(
        "claim-that-never-comes-counts",
        "compares with a plan in one piece",
        "for _ in range(-self._elsewhere[node]):",
        "for _ in range(0):",
        test="unit/scheduling/test_scheduler.py::"
        "test_what_cannot_be_written_keeps_nothing_else_waiting",
    ),
    _of_steps(
        "claim-that-is-home-moves-on",
        "in quiet times IPs are balanced",
        "return placement.is_astray(candidate)",
        "return True",
    ),
    _of_steps(
        "addresses-of-a-service-are-counted-anew",
        "several addresses of a service are on different nodes",
        "            self._placement.spread.adopt(apart.group, counts)\n",
        "            _ = counts\n",
    ),
    Mutation(
        name="fact-about-all-ips-that-changes-again-is-overlooked",
        promise="a new leader, or a change of pools, is worked on in small steps",
        file="scheduling/wanted_ips.py",
        old="        self._anew |= found is None",
        new="        self._anew |= found is None and not self._rest",
        tests=("unit/scheduling/test_wanted_ips.py",),
    ),
    Mutation(
        name="step-looks-at-all-ips-of-the-cluster",
        promise="a new leader, or a change of pools, is worked on in small steps",
        file="scheduling/policy/due.py",
        old="            looks -= 1\n",
        new="",
        tests=("unit/scheduling/test_due.py",),
    ),
    Mutation(
        name="change-of-a-pool-notes-each-ip",
        promise="a new leader, or a change of pools, is worked on in small steps",
        file="scheduling/policy/state.py",
        old="            self._due.gather(Crowd((kind, word), partial(index.of, word)), urgency)\n",
        new="            [self._due.touch(key, urgency) for key in index.of(word)]\n",
        tests=("unit/scheduling/test_due.py",),
    ),
    Mutation(
        name="status-of-one-pool-starves-the-others",
        promise="a new leader, or a change of pools, is worked on in small steps",
        file="pools/pool_statuses.py",
        old="        self._turns[name] = self._turns.pop(name)\n",
        new="",
        tests=("unit/pools/test_pool_statuses.py",),
    ),
    Mutation(
        name="all-statuses-in-one-step",
        promise="a new leader, or a change of pools, is worked on in small steps",
        file="pools/pool_statuses.py",
        old="if looked_at >= MAX_LISTED:",
        new="if looked_at < 0:",
        tests=("unit/pools/test_pool_statuses.py",),
    ),
    Mutation(
        name="all-dicts-of-claims-grow-in-one-step",
        promise="a new leader, or a change of pools, is worked on in small steps",
        file="scheduling/scheduler.py",
        old="if more := self._claims.pending:",
        new="if (more := self._claims.pending) and False:",
        tests=("unit/scheduling/test_scheduler_steps.py",),
    ),
    _of_facts(
        "one-node-costs-all",
        "a change of a node costs the facts of that node",
        "        if self._cluster is None:\n",
        "        if self._due or self._cluster is None:\n",
    ),
    _of_facts(
        "new-leader-reads-all-nodes-in-one-step",
        "a new leader, or a change of pools, is worked on in small steps",
        "names = list(islice(self._due, most))",
        "names = list(self._due)",
    ),
    _of_facts(
        "nodes-that-are-read-ahead-are-lost",
        "a new leader, or a change of pools, is worked on in small steps",
        "        self._stale |= bool(names)\n",
        "",
    ),
    _of_facts(
        "verdict-is-overlooked",
        "a node is found dead after `--monitor`",
        "        self.facts.note(node)\n",
        "",
        file="informers/scheduler.py",
    ),
    _of_facts(
        "record-is-overlooked",
        "neither leaving nor drained",
        "    records.add_handler(found.note)\n",
        "",
    ),
    _of_facts(
        "kubernetes-node-is-overlooked",
        "its Kubernetes node is ready and stays",
        "    nodes.add_handler(found.note)\n",
        "",
    ),
    _of_facts(
        "what-nobody-told-of-is-never-found",
        "also finds, a few nodes a second, what nobody told of",
        "due |= dict.fromkeys(self._sweep())",
        "pass",
    ),
    _of_facts(
        "node-is-steady-when-somebody-tells",
        "alive for `--rebalance-after`",
        "            due[heappop(self._steady_soon)[1]] = None\n",
        "            heappop(self._steady_soon)\n",
    ),
    _of_facts(
        "interface-that-fell-is-settled-at-once",
        "`extip/uplink/policy/settling.py` waits for a common cause",
        "self._fallen = set(found)",
        "self._fallen.clear()",
        file="uplink/policy/settling.py",
        test="unit/uplink/test_settling.py",
    ),
    Mutation(
        name="thousands-of-names-count",
        promise="these very addresses, all of them, 128 at most",
        file="pools/policy/address_request.py",
        old="named = asked[:MAX_NAMED]",
        new="named = asked",
        tests=("unit/pools/test_many_addresses.py",),
    ),
    Mutation(
        name="addresses-are-compared-each-with-each",
        promise="these very addresses, all of them, 128 at most",
        file="pools/policy/allocation_index.py",
        old="        if ip in request.written:\n",
        new="        if ip in request.external and ip not in request.recorded:\n",
        tests=("unit/pools/test_many_addresses.py",),
    ),
)
