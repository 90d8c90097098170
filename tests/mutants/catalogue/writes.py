"""Writes to the API server, and what counts until the watch has caught up."""

from tests.mutants.mutation import Mutation

_LANES = ("unit/writes/test_lanes.py",)
_BACKOFF = ("unit/writes/test_backoff.py",)
_OVERLAY = ("unit/cache/test_mutation.py",)
_CONTESTED = ("unit/scheduling/test_scheduler_contested.py",)
_REPORTS = ("unit/claims/test_status.py",)
_RARELY = "extip writes them back ever more rarely"
_ALONE = "A write that is not answered delays only its own object"

MUTATIONS = (
    Mutation(
        name="write-outlives-leadership",
        promise="With `--leader-elect` schedulers elect one that acts",
        file="writes/lanes.py",
        old="async with asyncio.timeout(WRITE_S):",
        new="async with asyncio.timeout(None):",
        tests=_LANES,
    ),
    Mutation(
        name="hung-write-keeps-its-place",
        promise=_ALONE,
        file="writes/lanes.py",
        old="held = len(self._in_flight) - min(len(self._slow), _MOST_SLOW)",
        new="held = len(self._in_flight)",
        tests=_LANES,
    ),
    Mutation(
        name="hung-writes-without-bound",
        promise=_ALONE,
        file="writes/lanes.py",
        old="min(len(self._slow), _MOST_SLOW)",
        new="len(self._slow)",
        tests=_LANES,
    ),
    Mutation(
        name="suspects-take-all-places",
        promise=_ALONE,
        file="writes/lanes.py",
        old="len(self._retried) < max(1, places // _SUSPECTS)",
        new="len(self._retried) < places",
        tests=_LANES,
    ),
    Mutation(
        name="object-is-written-twice-at-once",
        promise=_ALONE,
        file="writes/lanes.py",
        old="return self._in_flight.keys() | self.backoff.names()",
        new="return self.backoff.names()",
        tests=_LANES,
    ),
    Mutation(
        name="server-that-is-away-gets-all-writes",
        promise="The API server may go away",
        file="writes/lanes.py",
        old="narrow = self._contact.away or self._behind()",
        new="narrow = self._behind()",
        tests=_LANES,
    ),
    Mutation(
        name="urgent-lane-waits-for-the-others",
        promise="Of many claims the last one waits for all writes before its own",
        file="writes/lanes.py",
        old="narrow = self._contact.away or self._behind()",
        new="narrow = self._contact.away",
        tests=_LANES,
    ),
    Mutation(
        name="refused-write-is-repeated-at-once",
        promise=_ALONE,
        file="writes/backoff.py",
        old="REFUSED = Backoff(initial_s=0.2, cap_s=60.0)",
        new="REFUSED = Backoff(initial_s=0.0, cap_s=60.0)",
        tests=_BACKOFF,
    ),
    Mutation(
        name="one-failure-delays-another-object",
        promise=_ALONE,
        file="writes/backoff.py",
        old="return known is not None and known.until > self._clock.monotonic()",
        new="return bool(self.names())",
        tests=_BACKOFF + _LANES,
    ),
    Mutation(
        name="two-programs-fight-at-full-speed",
        promise="writes them back at once the first time, and then ever more rarely",
        file="writes/policy/rewrites.py",
        old="due_s = 0.0 if count < _AT_ONCE else",
        new="due_s = 0.0 if count else",
        tests=("unit/writes/test_rewrites.py", "unit/pools/test_contention.py"),
    ),
    Mutation(
        name="older-answer-undoes-a-newer-one",
        promise="An address is never given twice",
        file="cache/mutation.py",
        old="_version(known) > _version(new)",
        new="_version(known) < 0",
        tests=_OVERLAY,
    ),
    Mutation(
        name="own-write-forgotten-before-the-watch-has-it",
        promise="An address is never given twice",
        file="cache/mutation.py",
        old="found is not None and _version(found) >= _version(ours)",
        new="found is not None",
        tests=_OVERLAY,
    ),
    Mutation(
        name="own-write-believed-for-ever",
        promise="The interface converges",
        file="cache/mutation.py",
        old="if now > until or self._has(ours)",
        new="if self._has(ours)",
        tests=_OVERLAY,
    ),
    Mutation(
        name="deleted-claim-lives-on-in-our-write",
        promise="The interface converges",
        file="cache/mutation.py",
        old="if ours is not None and self._has(ours[0]):",
        new="if ours is not None and not ours:",
        tests=_OVERLAY,
    ),
    Mutation(
        name="cleared-conditions-come-back-without-a-pause",
        promise=_RARELY,
        file="scheduling/backlog.py",
        old="held |= self._writer.wait_s(chore) > 0",
        new="",
        tests=_CONTESTED,
    ),
    Mutation(
        name="cleared-conditions-never-come-back",
        promise=_RARELY,
        file="scheduling/backlog.py",
        old="self._writer.wait_s(self._chores[name]) for name in self._later",
        new="0.0 for name in self._later",
        tests=_CONTESTED,
    ),
    Mutation(
        name="new-ips-are-reported-while-many-come-up",
        promise="Reports of new IPs wait until no more come up, for up to a minute",
        file="claims/status.py",
        old="if name in new and hold_s > 0:",
        new="if name in new and hold_s > 60:",
        tests=_REPORTS,
    ),
    Mutation(
        name="report-that-a-drained-node-waits-for-is-held-back",
        promise="Reports of new IPs wait until no more come up, for up to a minute",
        file="claims/status.py",
        old="return PREVIOUS_NODE_LABEL not in (claim.metadata.labels or {})",
        new="return True",
        tests=_REPORTS,
    ),
    Mutation(
        name="node-leaves-assigned-to-the-scheduler",
        promise="The first report of the node says `Assigned`, too",
        file="claims/policy/node_claims.py",
        old="if outcome.up and find_condition(conditions, ASSIGNED) is None:",
        new="if outcome.up and find_condition(conditions, ASSIGNED) is not None:",
        tests=("unit/claims/test_node_claims.py",),
    ),
    Mutation(
        name="overwritten-reports-come-back-without-a-pause",
        promise=_RARELY,
        file="claims/status.py",
        old="if wait_s > 0:",
        new="if False:",
        tests=_REPORTS,
    ),
)
