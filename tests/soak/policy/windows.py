"""From single observations to windows of time: when an IP was out, when two nodes had it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf

from tests.lab.observe import LeaseFencing
from tests.lab.probe import Answer
from tests.soak.policy import bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A time, open at its end where nobody has seen the end."""

    begin_s: float
    end_s: float

    def overlap(self, other: "Span") -> "Span | None":
        """Return the time that both have in common, None when there is none."""
        begin_s, end_s = max(self.begin_s, other.begin_s), min(self.end_s, other.end_s)
        return Span(begin_s=begin_s, end_s=end_s) if begin_s < end_s else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """An IP that a service wanted, and that did not answer a client."""

    ip: str
    begin_s: float
    end_s: float
    errors: tuple[str, ...]
    blind_s: float = 0.0
    """For so long of it the prober stood still, and nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A node, or another station, that had an IP for a time."""

    node: str
    begin_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubled:
    """An IP for which more than one station answered."""

    ip: str
    stations: tuple[str, ...]
    begin_s: float
    end_s: float


class Presence:
    """Names that were there when somebody looked, and so in between of two such looks."""

    def __init__(self) -> None:
        self._spans: dict[str, list[Span]] = {}
        self._last: frozenset[str] = frozenset()

    def see(self, at_s: float, names: Iterable[str]) -> None:
        """Note all that is there now."""
        now = frozenset(names)
        for name in now:
            spans = self._spans.setdefault(name, [])
            begin_s = spans.pop().begin_s if name in self._last else at_s
            spans.append(Span(begin_s=begin_s, end_s=at_s))
        self._last = now

    def spans(self) -> dict[str, list[Span]]:
        """Return the times in which each was there."""
        return {name: list(spans) for name, spans in self._spans.items()}


def outages(
    ip: str, answers: Sequence[Answer], wanted: Iterable[Span], *, standstill_s: float
) -> list[Outage]:
    """Return the times in which an IP did not answer though it was wanted, from sorted answers.

    A prober that sends nothing for `standstill_s` stood still.
    """
    found = []
    failing = _failing(ip, answers, standstill_s)
    for span in _merged(wanted):
        for outage in failing:
            common = span.overlap(Span(begin_s=outage.begin_s, end_s=outage.end_s))
            if common is not None:
                found.append(replace(outage, begin_s=common.begin_s, end_s=common.end_s))
    return found


def _merged(spans: Iterable[Span]) -> list[Span]:
    """Return the same time without overlaps: several services may want an IP."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda span: span.begin_s):
        if found and span.begin_s < found[-1].end_s:
            end_s = max(found[-1].end_s, span.end_s)
            found[-1] = Span(begin_s=found[-1].begin_s, end_s=end_s)
        else:
            found.append(span)
    return found


def _failing(ip: str, answers: Sequence[Answer], standstill_s: float) -> list[Outage]:
    found: list[Outage] = []
    errors: set[str] = set()
    begin_s, last_s, blind_s = 0.0, 0.0, 0.0
    for answer in answers:
        if errors and answer.sent_s - last_s > standstill_s:
            blind_s += answer.sent_s - last_s
        if answer.error:
            begin_s = begin_s if errors else answer.sent_s
            errors.add(answer.error)
        elif errors:
            found.append(_outage(ip, begin_s, answer.sent_s, errors, blind_s))
            errors, blind_s = set(), 0.0
        last_s = answer.sent_s
    if errors:
        found.append(_outage(ip, begin_s, last_s, errors, blind_s))
    return found


def _outage(ip: str, begin_s: float, end_s: float, errors: set[str], blind_s: float) -> Outage:
    told = tuple(sorted(errors))
    return Outage(ip=ip, begin_s=begin_s, end_s=end_s, errors=told, blind_s=blind_s)


def holdings(owners: Iterable[LeaseFencing]) -> list[Holding]:
    """Name the stations that answered; one that is no node is named by its MAC."""
    return [Holding(node=o.node or o.mac, begin_s=o.first_s, end_s=o.last_s) for o in owners]


def silent_from_s(held: Iterable[Holding], begin_s: float, end_s: float) -> float:
    """Return from when on nobody answered for an IP within a time; infinity: somebody always did.

    Gaps that are too short to be noticed do not count.
    """
    reached_s = begin_s
    for one in sorted(held, key=lambda one: one.begin_s):
        if one.begin_s > reached_s + bounds.NOTICED_S:
            break
        reached_s = max(reached_s, one.end_s)
    return inf if reached_s + bounds.NOTICED_S >= end_s else reached_s


def doubled(ip: str, held: Sequence[Holding]) -> list[Doubled]:
    """Return the times in which more than one station answered for an IP."""
    moments = sorted({moment for one in held for moment in (one.begin_s, one.end_s)})
    found: list[Doubled] = []
    for begin_s, end_s in pairwise(moments):
        there = {one.node for one in held if one.begin_s <= begin_s and one.end_s >= end_s}
        if len(there) < 2:
            continue
        if found and found[-1].end_s == begin_s:
            there |= set(found[-1].stations)
            begin_s = found.pop().begin_s  # noqa: PLW2901 - the same time goes on
        found.append(Doubled(ip=ip, stations=tuple(sorted(there)), begin_s=begin_s, end_s=end_s))
    return found
