"""Whether what happened to IPs is explained by faults, each with its documented bound.

A cause may take IPs down from its begin on, for so long. While nobody can decide (no scheduler
leads, the API server is away), a move waits: the bound counts anew from the end of that. An outage
is explained when causes cover it without a gap, each of them one that concerns this IP.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.soak.policy import bounds
from tests.soak.policy.windows import Doubled, Holding, Outage, Span, silent_from_s

_BEFORE_S = 6.0
"""A node that had an IP so long before an outage may be its cause: clients remember it."""

_EARLY_S = 0.6
"""An outage may seem to begin before its cause: a probe waits for its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Something that may take IPs down."""

    what: str
    begin_s: float
    until_s: float
    """When it is over: as long as it lasts, and not longer, decisions that are blocked delay it."""
    bound_s: float
    nodes: frozenset[str] = frozenset()
    """The IPs of these nodes; the causes of single IPs have none."""
    ips: frozenset[str] = frozenset()
    errors: frozenset[str] = frozenset()
    """It explains only outages with one of these errors; empty: any."""
    up_on_wire: bool = False
    """It explains an outage only for as long as a node answers for the IP on the wire."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A time in which nobody decides where IPs are."""

    what: str
    begin_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All that happened, as far as it matters for a verdict."""

    causes: Sequence[Cause]
    blocks: Sequence[Block]
    stalls: Sequence[Span]
    """Times in which the machine gave this process no processor."""
    held: Mapping[str, Sequence[Holding]]
    """By IP: the nodes that had it, by the wire, or should have, by its claim."""
    answered: Mapping[str, Sequence[Holding]] = field(default_factory=dict)
    """By IP: the nodes that had it, by the wire alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """An outage or a doubled IP, and why it was allowed to be; empty: it was not."""

    ip: str
    begin_s: float
    end_s: float
    what: str
    because: str
    allowed_s: float = 0.0
    """For so long it would have been explained, slack and standstills of the machine included."""

    @property
    def ok(self) -> bool:
        return bool(self.because)

    @property
    def duration_s(self) -> float:
        return self.end_s - self.begin_s


def deadline_s(cause: Cause, blocks: Sequence[Block]) -> float:
    """Return until when a cause may keep an IP down, without slack."""
    at_s = cause.begin_s + cause.bound_s
    for block in sorted(blocks, key=lambda block: block.begin_s):
        if block.begin_s <= max(at_s, cause.until_s) and block.end_s >= cause.begin_s:
            at_s = max(at_s, block.end_s + max(cause.bound_s, bounds.DEAD_S))
    return at_s


def judge_outage(outage: Outage, history: History) -> Judged:
    """Explain an outage, or find that nothing does."""
    stalled_s = _stalled_s(history.stalls, outage.begin_s, outage.end_s) + outage.blind_s
    mine = [c for c in history.causes if _concerns(c, outage, history.held.get(outage.ip, ()))]
    ends = [(cause, _end_s(cause, history.blocks, stalled_s)) for cause in mine]
    answered = history.answered.get(outage.ip, ())
    reached_s, because = outage.begin_s, []
    while reached_s < outage.end_s:
        silent_s = silent_from_s(answered, reached_s, outage.end_s)
        upto = [(c, min(e, silent_s) if c.up_on_wire else e) for c, e in ends]
        going_on = [(c, e) for c, e in upto if c.begin_s - _EARLY_S <= reached_s < e]
        if not going_on:
            break
        cause, reached_s = max(going_on, key=lambda pair: pair[0].begin_s)  # the nearest tells most
        because.append(cause.what)
    explained = reached_s >= outage.end_s
    return Judged(
        ip=outage.ip,
        begin_s=outage.begin_s,
        end_s=outage.end_s,
        what=f"no answer ({', '.join(outage.errors)})",
        because=", then ".join(because) if explained else "",
        allowed_s=reached_s - outage.begin_s,
    )


def _end_s(cause: Cause, blocks: Sequence[Block], stalled_s: float) -> float:
    """Return the deadline with slack; `never` is never, and has nothing to be late with."""
    end_s = deadline_s(cause, blocks)
    return end_s + stalled_s + (bounds.SLACK_S if end_s > cause.begin_s else 0)


def _concerns(cause: Cause, outage: Outage, held: Sequence[Holding]) -> bool:
    if cause.errors and cause.errors.isdisjoint(outage.errors):
        return False
    if outage.ip in cause.ips:
        return True
    around = Span(begin_s=outage.begin_s - _BEFORE_S, end_s=outage.end_s)
    return any(
        one.node in cause.nodes and one.begin_s <= around.end_s and one.end_s >= around.begin_s
        for one in held
    )


def judge_doubled(doubled: Doubled, history: History, *, strangers: Sequence[Cause]) -> Judged:
    """Explain why two stations answered; `strangers` are the times of stations that are no nodes.

    Two nodes may, for the documented time. A stranger may for as long as it is there: the node
    defends the IP.
    """
    duration_s = doubled.end_s - doubled.begin_s
    stalled_s = _stalled_s(history.stalls, doubled.begin_s, doubled.end_s)
    because, allowed_s = "", bounds.DOUBLE_S + bounds.SLACK_S + stalled_s
    if duration_s <= allowed_s:
        because = f"within {bounds.DOUBLE_S:g} s of a move"
    for stranger in strangers:
        end_s = stranger.until_s + bounds.SLACK_S + stalled_s
        if doubled.ip in stranger.ips and doubled.end_s <= end_s:
            because, allowed_s = stranger.what, end_s - doubled.begin_s
    return Judged(
        ip=doubled.ip,
        begin_s=doubled.begin_s,
        end_s=doubled.end_s,
        what=f"two answered: {', '.join(doubled.stations)}",
        because=because,
        allowed_s=allowed_s,
    )


def _stalled_s(stalls: Sequence[Span], begin_s: float, end_s: float) -> float:
    around = Span(begin_s=begin_s - _BEFORE_S, end_s=end_s)
    common = [around.overlap(stall) for stall in stalls]
    return sum(span.end_s - span.begin_s for span in common if span is not None)
