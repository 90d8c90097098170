"""The watch cache: it becomes right again after any fault, and unknown is not absent."""

from tests.mutants.mutation import Mutation

_REFLECTOR = ("unit/cache/test_reflector.py",)
_STORE = ("unit/cache/test_store.py",)
_VANISHED = ("unit/cache/test_vanished.py",)
_CONVERGES = "The interface converges"
_LOST = "a restart, a lost watch, an address that somebody removed"

MUTATIONS = (
    Mutation(
        name="deletion-between-two-lists-is-missed",
        promise=_LOST,
        file="cache/store.py",
        old="changed += [key for key in old if key not in new]",
        new="changed += ()",
        tests=_STORE,
    ),
    Mutation(
        name="nameless-object-counts-as-deleted",
        promise=_CONVERGES,
        file="cache/reflector.py",
        old="keep = set(self._store) if self._missed else unreadable_keys",
        new="keep = unreadable_keys",
        tests=_REFLECTOR,
    ),
    Mutation(
        name="unreadable-object-counts-as-deleted",
        promise=_CONVERGES,
        file="cache/reflector.py",
        old="unreadable_keys = {u.key for u in page.unreadable}",
        new="unreadable_keys = set()",
        tests=_REFLECTOR,
    ),
    Mutation(
        name="silent-watch-is-believed",
        promise="A connection to the API server may die without a word",
        file="cache/reflector.py",
        old="idle = asyncio.timeout(IDLE_TIMEOUT_S)",
        new="idle = asyncio.timeout(None)",
        tests=_REFLECTOR,
    ),
    Mutation(
        name="expired-watch-lists-from-a-cache",
        promise=_LOST,
        file="cache/reflector.py",
        old="                return MOST_RECENT  # a list",
        new="                return FROM_CACHE  # a list",
        tests=_REFLECTOR,
    ),
    Mutation(
        name="busy-server-is-asked-for-the-same-version-for-ever",
        promise="The API server may go away",
        file="cache/reflector.py",
        old="        self._ended_at_once += 1\n",
        new="",
        tests=_REFLECTOR,
    ),
    Mutation(
        name="stream-that-ends-at-once-is-no-failure",
        promise="The API server may go away",
        file="cache/reflector.py",
        old='if end != "ended" or self._heard',
        new='if end == "ended" or self._heard',
        tests=_REFLECTOR,
    ),
    Mutation(
        name="deleted-definition-takes-all-down",
        promise="A deleted definition takes no IP down",
        file="cache/vanished.py",
        old="if uid and uid == self._uid:",
        new="if self._uid:",
        tests=_VANISHED,
    ),
    Mutation(
        name="deletion-younger-than-the-read-counts",
        promise="A definition gets its deletion timestamp before the first of its objects goes",
        file="cache/vanished.py",
        old="self.drop(self._gone & gone - self._left)",
        new="self.drop(self._gone - self._left)",
        tests=_VANISHED,
    ),
    Mutation(
        name="retry-after-is-ignored",
        promise="The API server may go away",
        file="cache/recovery.py",
        old="delay_s = max(delay_s, min(retry_after_s, MAX_RETRY_AFTER_S))",
        new="delay_s = max(delay_s, 0.0)",
        tests=_REFLECTOR,
    ),
    Mutation(
        name="node-forgotten-while-it-is-recorded",
        promise="A refusal that concerns a node that is gone comes from its record",
        file="nodes/garbage.py",
        old="self._forget(dead.difference(self._records, beating))",
        new="self._forget(dead.difference(beating))",
        tests=("unit/nodes/test_garbage.py",),
    ),
)
