"""Faults of the API server in memory, and which calls they hit."""

from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from random import Random

WRITES = frozenset({"create", "update", "patch", "delete"})


@dataclass(frozen=True, slots=True)
class Call:
    """A request, as rules look at it."""

    who: str
    verb: str
    plural: str
    namespace: str = ""
    name: str = ""
    sent: bytes = b""
    """The body of a write."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer with that status, and do nothing."""

    status: int
    reason: str
    message: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Hang:
    """Do nothing, and never answer."""


@dataclass(frozen=True, slots=True)
class LoseAnswer:
    """Carry it out, and break the connection, or let the client wait."""

    silently: bool = False


@dataclass(frozen=True, slots=True)
class Delay:
    """Carry it out later."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Hold:
    """Carry it out when it is let go, also when nobody waits for it any more."""

    held: list[Callable[[], None]] = field(default_factory=list)

    def let_go(self) -> None:
        for carry_out in self.held:
            carry_out()
        self.held.clear()


@dataclass(frozen=True, slots=True)
class Overtake:
    """Somebody else changes the object a moment before."""


Effect = Refuse | Hang | LoseAnswer | Delay | Hold | Overtake

TOO_MANY = Refuse(HTTPStatus.TOO_MANY_REQUESTS, "TooManyRequests", "too many requests", 2.0)
FORBIDDEN = Refuse(HTTPStatus.FORBIDDEN, "Forbidden", "it may not do that any more")
DENIED = Refuse(HTTPStatus.FORBIDDEN, "Forbidden", 'admission webhook "x" denied the request')
WEBHOOK_DOWN = Refuse(
    HTTPStatus.INTERNAL_SERVER_ERROR, "InternalError", "failed calling webhook: deadline exceeded"
)
ETCD_DOWN = Refuse(
    HTTPStatus.INTERNAL_SERVER_ERROR, "InternalError", "etcdserver: request timed out"
)


@dataclass(frozen=True, slots=True)
class Rule:
    """The calls that an effect hits, and how often; an empty field means all."""

    effect: Effect
    who: frozenset[str] = frozenset()
    verbs: frozenset[str] = frozenset()
    plurals: frozenset[str] = frozenset()
    namespace: str = ""
    name: str = ""
    chance: float = 1.0

    def hits(self, call: Call) -> bool:
        return (
            (not self.who or call.who in self.who)
            and (not self.verbs or call.verb in self.verbs)
            and (not self.plurals or call.plural in self.plurals)
            and (not self.namespace or call.namespace == self.namespace)
            and (not self.name or call.name == self.name)
        )


@dataclass(eq=False)
class ApiFaults:
    """The faults that are there now."""

    rng: Random = field(default_factory=lambda: Random(0))  # noqa: S311 - a simulation's chance
    rules: list[Rule] = field(default_factory=list)
    refusing: bool = False
    """Nobody listens: it is down, or starts anew."""
    standing_still: bool = False
    """It takes connections, and does nothing: SIGSTOP, or a disk that hangs."""
    watch_lag_s: float = 0.0
    """How far its watch caches are behind etcd; so are lists at a resourceVersion."""
    deaf: frozenset[str] = frozenset()
    """Whose watches are dead, with something in between that keeps the connection up."""
    observed: Callable[[Call], None] = lambda _: None
    """Is told of each call when it arrives."""

    def on(self, call: Call) -> Effect | None:
        """Return what happens to a call; None for nothing."""
        self.observed(call)
        for rule in self.rules:
            if rule.hits(call) and (rule.chance >= 1 or self.rng.random() < rule.chance):
                return rule.effect
        return None
