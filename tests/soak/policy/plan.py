"""Which faults and changes there will be, drawn from a seed: the same seed, the same plan.

A fault never comes while its target has another one, or has just had one. Most nodes have none at
any time, so that there is always somewhere for an IP to go.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.soak.policy.kinds import KINDS, Kind

NODES = ("n1", "n2", "n3", "n4", "n5")
HOME = "n5"
"""Where the pods of most services are; its controller lives from begin to end."""

SCHEDULERS = ("s1", "s2", "s3")
ON_NODES = {"s2": "n1", "s3": "n2"}
"""Schedulers that share the fate of a node; the others run beside the API server."""

OLDEST = "s1"
"""This scheduler lives from begin to end, so that what it leaks is seen."""

STEADY = (*(f"10.88.3.{n}" for n in range(1, 7)), "fd00:88::1:1", "fd00:88::1:2")
"""IPs of services that are there from begin to end; persons and foreign stations meddle with
them."""

SERVICES = {f"steady-{number // 2}": STEADY[number : number + 2] for number in range(0, 8, 2)}
"""The services that are there from begin to end, with their IPs."""

CHURNED = tuple(f"10.88.3.{n}" for n in range(21, 25))
"""IPs of services that come and go."""

POOLED = tuple(f"10.88.4.{n}" for n in range(1, 7))
"""All addresses of the pool."""

LOCAL = POOLED[:2]
"""Those of services whose traffic stays on the node where it arrives."""

ALIEN = "10.88.9.9"
"""An address that a person puts on a node, and that no service asks for."""

LASTING = (*STEADY, *LOCAL)
"""IPs that services want from begin to end."""

BALANCED = tuple(f"lb-{n}" for n in range(4))
"""Services that come and go, and get an address of the pool each time."""

ALL_IPS = (*STEADY, *CHURNED, *POOLED)

_MOST = {"node": 2, "scheduler": 1, "plane": 1, "ip": 6}
"""Targets with a fault at a time, by scope."""

_REST_S = {"node": 8.0, "scheduler": 8.0, "plane": 40.0, "ip": 15.0}
"""Between two faults of the same target."""

_PAUSE_S = (0.2, 3.5)
"""Between the begins of two faults."""

_CHANGE_S = (1.0, 5.0)
"""Between two changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A fault that is to be, in seconds from the begin of the chaos."""

    kind: Kind
    target: str
    begin_s: float
    end_s: float
    about: str = ""
    """What the API server misbehaves about: requests whose path contains this."""
    by: float = 0.0
    """How far it goes, from -1 to 1."""

    @property
    def concerned(self) -> frozenset[str]:
        """Return all that must have no other fault meanwhile: a node with its scheduler."""
        guests = (name for name, node in ON_NODES.items() if node == self.target)
        return frozenset({self.target, ON_NODES.get(self.target, self.target), *guests})


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something that a person changes: `what` toggles with each change of the same subject."""

    at_s: float
    what: str
    subject: str


_CHANGES = (
    *((("service"), ip) for ip in CHURNED),
    *(("balanced", name) for name in BALANCED),
    *(("endpoint", node) for node in NODES if node != HOME),
    ("pool", POOLED[-1]),
    ("shared", STEADY[0]),
    *(("replaced", name) for name in SERVICES),
)
_ABOUT = ("", "", "ipclaims", "leases", "ipnodes", "services", "/leases/extip-n3")


def faults(seed: int, duration_s: float, kinds: Sequence[Kind] = KINDS) -> list[Planned]:
    """Draw the faults of so many seconds; the last of them is over when these are."""
    chance = random.Random(f"faults {seed}")  # noqa: S311 - not for secrets
    drawn: list[Planned] = []
    for at_s in _moments(chance, duration_s, _PAUSE_S):
        kind = chance.choices(kinds, [kind.weight for kind in kinds])[0]
        end_s = at_s + chance.uniform(*kind.lasts_s)
        about, by = chance.choice(_ABOUT), chance.uniform(-1, 1)
        target = chance.choice(_targets(kind))
        one = Planned(kind=kind, target=target, begin_s=at_s, end_s=end_s, about=about, by=by)
        if end_s < duration_s and _may(drawn, one):
            drawn.append(one)
    return drawn


def changes(seed: int, duration_s: float) -> list[Change]:
    """Draw the changes of so many seconds."""
    chance = random.Random(f"changes {seed}")  # noqa: S311 - not for secrets
    drawn = []
    for at_s in _moments(chance, duration_s, _CHANGE_S):
        what, subject = chance.choice(_CHANGES)
        drawn.append(Change(at_s=at_s, what=what, subject=subject))
    return drawn


def _moments(
    chance: random.Random, duration_s: float, pause_s: tuple[float, float]
) -> Iterator[float]:
    at_s = chance.uniform(*pause_s)
    while at_s < duration_s:
        yield at_s
        at_s += chance.uniform(*pause_s)


def _targets(kind: Kind) -> Sequence[str]:
    match kind.scope:
        case "node":
            spared = kind.spares_home or kind.ends_process
            return [node for node in NODES if node != HOME or not spared]
        case "scheduler":
            return [name for name in SCHEDULERS if name != OLDEST or not kind.ends_process]
        case "plane":
            return ["API server"]
        case "ip":
            return [ip for ip in STEADY if ":" not in ip]


def _may(drawn: Sequence[Planned], one: Planned) -> bool:
    recent = [f for f in drawn if f.end_s + _REST_S[f.kind.scope] > one.begin_s]
    if any(one.concerned & other.concerned for other in recent):
        return False
    alike = sum(other.kind.scope == one.kind.scope for other in recent)
    return alike < _MOST[one.kind.scope]
