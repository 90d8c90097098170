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


MUTATIONS = (
    _of_facts(
        "one-node-costs-all",
        "a change of a node costs the facts of that node",
        "        if known is None:\n            due |=",
        "        if due or known is None:\n            due |=",
    ),
    _of_facts(
        "verdict-is-overlooked",
        "a node is found dead after `--monitor`",
        "        self._facts.note(node)\n",
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
)
