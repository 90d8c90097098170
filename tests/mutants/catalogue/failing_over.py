"""Many claims of a dead node, by one write."""

from tests.mutants.mutation import Mutation

_INPUTS = ("unit/informers/test_controller.py",)
_FAILOVERS = ("unit/scheduling/test_failovers.py",)
_WHOLE = ("simulation/test_failed_over.py",)
_TAKING, _NAMING = "handover/failed_over.py", "scheduling/failovers.py"

MUTATIONS = (
    Mutation(
        name="changed-claim-fails-over",
        promise="A change of such a claim by a person ends its fail-over",
        file="claims/policy/assignment.py",
        old="return generation == claim.metadata.generation and bool(standby_of(claim))",
        new="return generation is not None and bool(standby_of(claim))",
        tests=_INPUTS,
    ),
    Mutation(
        name="node-that-is-back-takes-its-claims",
        promise="leaves the named claims to their standbys",
        file=_TAKING,
        old="return not (lost and standby_of(claim))",
        new="return True",
        tests=_INPUTS,
    ),
    Mutation(
        name="dead-node-is-read-no-more",
        promise="leaves the named claims to their standbys",
        file="informers/controller.py",
        old="return await self._reader.read() if changed else reading",
        new="return reading",
        tests=_INPUTS,
    ),
    Mutation(
        name="cleared-node-trusts-its-watch",
        promise="leaves the named claims to their standbys",
        file=_TAKING,
        old="            if self._lost:\n                self._read_anew()\n",
        new="            self.note_own(None)\n",
        tests=_INPUTS,
    ),
    Mutation(
        name="watch-of-yesterday-takes-claims",
        promise="waits for the claims themselves",
        file=_TAKING,
        old="elif self._settled():",
        new="else:",
        tests=_INPUTS,
    ),
    Mutation(
        name="claims-are-kept-over-a-silence",
        promise="waits for the claims themselves",
        file=_TAKING,
        old="self._let_go({n: right for n, right in self._taken.items() if n not in confirmed})",
        new="self._let_go({n: right for n, right in self._taken.items() if not confirmed})",
        tests=_INPUTS,
    ),
    Mutation(
        name="claim-that-went-elsewhere-is-kept",
        promise="Each standby brings its share up",
        file=_TAKING,
        old="return unchanged and claim.spec.node_name == right.node",
        new="return True",
        tests=_INPUTS,
    ),
    Mutation(
        name="node-that-fails-over-is-eligible",
        promise="A node that is back counts as dead until then",
        file="scheduling/policy/node_facts.py",
        old="alive=alive and not failed_over,",
        new="alive=alive,",
        tests=("unit/scheduling/test_node_facts.py",),
    ),
    Mutation(
        name="claims-are-assigned-beside-the-fail-over",
        promise="also when that write is not answered by then",
        file=_NAMING,
        old="return self._rest_s(node) > 0 and is_failed_over(claim, self._named.get(node))",
        new="return False",
        tests=_FAILOVERS,
    ),
    Mutation(
        name="failed-over-claim-is-changed",
        promise="ends its fail-over",
        file=_NAMING,
        old="return isinstance(write, SetServices | SetWithdrawn) and is_failed_over(",
        new="return isinstance(write, AssignClaim) and is_failed_over(",
        tests=_FAILOVERS,
    ),
    Mutation(
        name="node-is-cleared-too-soon",
        promise="Then the IpNode is cleared",
        file=_NAMING,
        old="(late or not any(_left(record, self._written))):",
        new="(late or record):",
        tests=(*_FAILOVERS, *_WHOLE),
    ),
    Mutation(
        name="node-that-is-back-waits-for-nobody",
        promise="A node that is back counts as dead until then",
        file=_NAMING,
        old="if node in back or claim.spec.standby not in alive",
        new="if claim.spec.standby not in alive",
        tests=(*_FAILOVERS, *_WHOLE),
    ),
    Mutation(
        name="unwritable-claim-holds-the-node-for-ever",
        promise="A node that is back counts as dead until then",
        file=_NAMING,
        old="late = now - self._back_since.get(node, now) >= PATIENCE_S",
        new="late = False",
        tests=_FAILOVERS,
    ),
    Mutation(
        name="node-that-is-heard-again-fails-over",
        promise="claims of a dead node fail over by one write",
        file=_NAMING,
        old="if record is None or len(names) < LEAST or node in alive:",
        new="if record is None or len(names) < LEAST:",
        tests=_FAILOVERS,
    ),
    Mutation(
        name="claim-that-is-given-back-stays-lost",
        promise="leaves the named claims to their standbys",
        file="fencing/claim_reader.py",
        old="if claim.spec.node_name != self._node:  # else its IpNode alone says so",
        new="if True:",
        tests=_WHOLE,
    ),
)
