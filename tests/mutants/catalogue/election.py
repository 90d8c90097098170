"""Which scheduler leads: never two at a time."""

from tests.mutants.mutation import Mutation

_ELECTOR = ("unit/election/test_elector.py",)
_POLICY = ("unit/election/test_policy.py", "unit/election/test_elector.py")
_STOP = ("unit/election/test_elector_stop.py",)
_ONE = "With `--leader-elect` schedulers elect one that acts"

MUTATIONS = (
    Mutation(
        name="margin-from-after-the-renewal",
        promise=_ONE,
        file="election/elector.py",
        old="self._renewed_at = started",
        new="self._renewed_at = self._clock.monotonic()",
        tests=_ELECTOR,
    ),
    Mutation(
        name="margin-from-after-the-acquisition",
        promise=_ONE,
        file="election/elector.py",
        old="self._renewed_at, self._objected_at = started, None",
        new="self._renewed_at, self._objected_at = self._clock.monotonic(), None",
        tests=_ELECTOR,
    ),
    Mutation(
        name="leads-through-a-call-that-hangs",
        promise=_ONE,
        file="election/elector.py",
        old="async with asyncio.timeout(bound_s):",
        new="async with asyncio.timeout(None):",
        tests=_ELECTOR,
    ),
    Mutation(
        name="deleted-lease-is-free-at-once",
        promise="A Lease that somebody deletes is still its holder's",
        file="election/elector.py",
        old="is Step.WAIT:\n                return False",
        new="is Step.WAIT and False:\n                return False",
        tests=_ELECTOR,
    ),
    Mutation(
        name="lost-race-counts-as-won",
        promise=_ONE,
        file="election/elector.py",
        old="return False  # another candidate was quicker",
        new="return True  # another candidate was quicker",
        tests=_ELECTOR,
    ),
    Mutation(
        name="lease-taken-while-it-is-held",
        promise=_ONE,
        file="election/policy.py",
        old="return self.changed_at + (self.lease.spec.lease_duration_seconds or 0)",
        new="return self.changed_at",
        tests=_POLICY,
    ),
    Mutation(
        name="times-in-the-lease-are-compared",
        promise=_ONE,
        file="election/policy.py",
        old="previous.lease.spec == lease.spec",
        new='(previous.lease.spec.renew_time or "") >= (lease.spec.renew_time or "")',
        tests=_POLICY,
    ),
    Mutation(
        name="foreign-write-prolongs-the-lease",
        promise="The others know all that it knows and wait",
        file="election/policy.py",
        old="previous.lease.spec == lease.spec",
        new="previous.lease == lease",
        tests=_POLICY,
    ),
    Mutation(
        name="stop-keeps-the-lease",
        promise="it begins at once after an orderly stop of the last scheduler",
        file="election/elector.py",
        old="if not lost:",
        new="if lost:",
        tests=_STOP,
    ),
)
