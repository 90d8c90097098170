"""A death is noticed on the segment: who is missed, whose word is enough, who may object."""

from tests.mutants.mutation import Mutation

_CUT_OFF = "a node that is cut off, accuses nobody"
_LEASES = "with no heartbeat since"
_COMMON = "A common cause moves nothing"
_ONE = "a fault between two nodes moves nothing"
_MINUTE = "the node is not suspected for a minute, then for two, up to an hour"
_READ = "A fresh read of the Leases has to confirm that"
_OBJECTS = "Every controller reads these reports. A live one renews its Lease at once"


def _of_watch(name: str, promise: str, old: str, new: str) -> Mutation:
    return Mutation(
        name=name,
        promise=promise,
        file="uplink/policy/silence.py",
        old=old,
        new=new,
        tests=("unit/uplink/test_silence.py",),
    )


def _of_verdict(name: str, promise: str, old: str, new: str) -> Mutation:
    return Mutation(
        name=name,
        promise=promise,
        file="uplink/policy/suspicion.py",
        old=old,
        new=new,
        tests=("unit/uplink/test_suspicion.py",),
    )


def _of_suspects(name: str, promise: str, old: str, new: str) -> Mutation:
    return Mutation(
        name=name,
        promise=promise,
        file="liveness/suspects.py",
        old=old,
        new=new,
        tests=("unit/liveness/test_suspects.py",),
    )


def _of_objection(name: str, old: str, new: str) -> Mutation:
    return Mutation(
        name=name,
        promise=_OBJECTS,
        file="uplink/objection.py",
        old=old,
        new=new,
        tests=("unit/uplink/test_objection.py",),
    )


def _of_takeover(name: str, promise: str, old: str, new: str) -> Mutation:
    return Mutation(
        name=name,
        promise=promise,
        file="handover/takeovers.py",
        old=old,
        new=new,
        tests=("unit/handover/test_takeovers.py",),
    )


MUTATIONS = (
    _of_verdict(
        "word-of-the-dead-protects-who-is-silent",
        "A dead node is noticed on the segment",
        "not self._was_heard(suspect, by)",
        "not self._was_heard(suspect, self._against[suspect])",
    ),
    _of_watch(
        "one-question-is-silence",
        "Ten in a row without an answer are silence",
        "node.missed >= node.needed",
        "node.missed >= 1",
    ),
    _of_watch(
        "who-is-cut-off-misses-others",
        _CUT_OFF,
        "elif ip in self._judged and answers:",
        "elif ip in self._judged:",
    ),
    _of_watch(
        "who-could-not-ask-misses-others",
        "a process that stood still",
        "            node.missed = 0\n",
        "            _ = node\n",
    ),
    _of_watch(
        "false-silence-teaches-nothing",
        "A neighbour that comes back is given twice as many questions next time",
        "min(2 * node.needed, _MOST)",
        "min(node.needed, _MOST)",
    ),
    _of_watch(
        "false-silence-is-never-forgiven",
        "A neighbour that comes back is given twice as many questions next time",
        "max(SILENT, node.needed // 2)",
        "max(SILENT, node.needed)",
    ),
    _of_watch(
        "silent-nodes-stay-the-watched-ones",
        "each asks the next two that answer it",
        "(pair for pair in in_order if not pair[1].silent)",
        "in_order",
    ),
    _of_watch(
        "half-the-ring-is-watched",
        "each asks the next two that answer it",
        "WATCHED = 2\n",
        "WATCHED = 4\n",
    ),
    _of_watch(
        "node-that-is-back-is-not-asked",
        "or when its neighbours hear it again",
        "if self._rounds % every == 0:",
        "if self._rounds < every:",
    ),
    _of_verdict(
        "one-witness-is-enough",
        _ONE,
        "len(witnesses) < min(WITNESSES, len(others))",
        "len(witnesses) < 1",
    ),
    _of_verdict(
        "suspect-has-no-time-to-object",
        "150 ms after the first report",
        "patient = now >= min(a.at for a in by.values()) + PATIENCE_S",
        "patient = now > 0",
    ),
    _of_verdict(
        "heartbeat-of-a-suspect-does-not-count",
        _LEASES,
        "patient and not node.bound and not self._was_heard(suspect, by)",
        "patient and not node.bound",
    ),
    _of_verdict(
        "heartbeat-just-before-the-reports-does-not-count",
        _LEASES,
        "node.heard_at > first_at - SILENT_S",
        "node.heard_at > first_at",
    ),
    _of_verdict(
        "order-of-the-api-server-does-not-count",
        _LEASES,
        " or node.version > version > 0",
        "",
    ),
    _of_verdict(
        "releasing-node-is-given-no-time",
        "With `--on-api-loss release` the TTL has to run out",
        "patient and not node.bound and",
        "patient and",
    ),
    _of_verdict(
        "other-trouble-does-not-count",
        _COMMON,
        "alone = trouble == {suspect} and suspect not in done",
        "alone = suspect not in done",
    ),
    _of_verdict(
        "second-death-follows-at-once",
        "for five seconds after a node was taken for dead, the Leases decide",
        "if now - known.convicted_at < COMMON_S}",
        "if now < known.convicted_at}",
    ),
    _of_verdict(
        "isolated-witness-counts",
        _CUT_OFF,
        "for w in by.keys() - isolated if",
        "for w in by.keys() if",
    ),
    _of_verdict(
        "dead-witness-counts",
        "The scheduler takes the node for dead when two others say so",
        "for w, a in self._against[suspect].items() if w in others}",
        "for w, a in self._against[suspect].items()}",
    ),
    _of_verdict(
        "old-reports-count",
        "the Leases decide",
        "now - by[w].at < _RECENT_S",
        "now - by[w].at >= 0",
    ),
    _of_verdict(
        "reports-of-unknown-age-count",
        "150 ms after the first report",
        "        if before is None:\n            return False\n",
        "        before = before or frozenset()\n",
    ),
    _of_verdict(
        "report-that-is-taken-back-stays",
        "or when its neighbours hear it again",
        "        for suspect in before - report.silent:\n",
        "        for suspect in before & frozenset():\n",
    ),
    _of_verdict(
        "wrongly-suspected-node-is-suspected-again",
        _MINUTE,
        "if node is None or now < node.damped_until:",
        "if node is None:",
    ),
    _of_verdict(
        "each-wrong-suspicion-counts-the-same",
        _MINUTE,
        "_DAMPED_S * 2.0 ** min(known.wrong, 16)",
        "_DAMPED_S * 1.0",
    ),
    _of_suspects(
        "heartbeat-withdraws-nothing",
        "A wrong suspicion is withdrawn by the node's next heartbeat",
        'self._withdraw(node, "a heartbeat came")',
        "pass",
    ),
    _of_suspects(
        "node-that-is-heard-again-stays-dead",
        "or when its neighbours hear it again",
        'if self._withdraw(node, "its neighbours hear it again"):',
        'if not self._withdraw(node, "its neighbours hear it again"):',
    ),
    _of_suspects(
        "node-that-nobody-accuses-any-more-is-alive-however-long-it-was-dead",
        "A node that is overdue by then is dead until its next heartbeat",
        """            return False
        damped_s""",
        """            return True
        damped_s""",
    ),
    _of_suspects(
        "node-is-dead-though-it-is-accused-no-more",
        "or when its neighbours hear it again",
        "if not self._policy.accused(node):  # its",
        "if not node:  # its",
    ),
    _of_suspects(
        "wrong-suspicion-is-not-remembered",
        _MINUTE,
        "damped_s = self._policy.was_wrong(node, now)",
        "damped_s = 60.0",
    ),
    _of_suspects(
        "every-return-is-a-wrong-suspicion",
        "A wrong suspicion is withdrawn",
        "if self._condemned.pop(node) <= now:",
        "if self._condemned.pop(node) < 0:",
    ),
    _of_suspects(
        "refuted-suspicion-is-told",
        _READ,
        "        if due_at is None:\n            return\n",
        "        due_at = due_at or 0.0\n",
    ),
    _of_suspects(
        "word-of-a-node-that-is-gone-stays",
        _ONE,
        "            self._policy.forget(name)\n",
        "",
    ),
    Mutation(
        name="suspect-is-dead-without-a-read",
        promise=_READ,
        file="liveness/node_monitor.py",
        old="if known is not None and beat_of(known).token == beat.token:",
        new="if known is not None:",
        tests=("unit/liveness/test_node_monitor.py",),
    ),
    Mutation(
        name="suspect-is-dead-though-it-was-heard-during-the-read",
        promise=_READ,
        file="liveness/node_monitor.py",
        old="return self._condemn(node) if beat.version <= watched else None",
        new="return self._condemn(node)",
        tests=("unit/liveness/test_node_monitor.py",),
    ),
    Mutation(
        name="suspect-is-dead-while-nobody-is-heard",
        promise="When no node is heard, nothing moves",
        file="liveness/policy.py",
        old="if node is None or not sighted or node.verdict is not Verdict.ALIVE:",
        new="if node is None or node.verdict is not Verdict.ALIVE:",
        tests=("unit/liveness/test_policy.py",),
    ),
    _of_objection("suspect-does-not-object", "self._on_accused()", "pass"),
    _of_objection(
        "suspect-objects-to-each-look",
        "elif name not in self._accusers:",
        "else:",
    ),
    _of_objection(
        "suspect-objects-once-in-its-life",
        "self._accusers.discard(name)",
        "pass",
    ),
    _of_takeover(
        "suspected-holder-is-not-asked",
        "The next holder asks first",
        "self._from[claim.name] = turn.begun[claim.name] = entry",
        "turn.begun[claim.name] = entry",
    ),
    _of_takeover(
        "suspected-holder-is-in-the-way-for-ever",
        "that ends after two heartbeats and half a second",
        "            del self._from[name]\n",
        "            pass\n",
    ),
    _of_takeover(
        "earlier-takeover-ends-the-next-one",
        "that ends after two heartbeats and half a second",
        "if self._from.get(name) is entry]",
        "if name in self._from]",
    ),
    _of_takeover(
        "every-holder-is-in-the-way",
        "fail-over takes `--monitor` from the last heartbeat",
        "self._macs(holder) if self._is_suspected(holder) else None",
        "self._macs(holder)",
    ),
    _of_takeover(
        "silence-of-another-turn-counts",
        "fail-over takes `--monitor` from the last heartbeat",
        "        self._turn = None\n\n    def end(",
        "        pass\n\n    def end(",
    ),
)
