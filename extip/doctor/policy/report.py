"""Findings → what a person reads. Pure."""

from collections.abc import Iterable, Sequence
from textwrap import fill

from extip.doctor.policy import cluster_checks, node_checks
from extip.doctor.policy.facts import ClusterFacts, NodeFacts
from extip.doctor.policy.finding import Finding, Severity
from extip.printable import printable

_WIDTH = 100
_COLOURS = {Severity.ERROR: "\x1b[31m", Severity.WARNING: "\x1b[33m", Severity.NOTE: ""}
_PLAIN = "\x1b[0m"


def examine(cluster: ClusterFacts | None, nodes: Sequence[NodeFacts] = ()) -> list[Finding]:
    """Return the findings of all checks that have their facts, the gravest first, each once.

    `cluster` is None when nobody asked it. `nodes` are the facts of this machine, for each of its
    interfaces that were named.
    """
    found: list[Finding] = []
    if cluster is not None:
        found += [one for check in cluster_checks.CHECKS for one in check(cluster)]
    known = cluster or ClusterFacts.unknown()
    found += [one for node in nodes for check in node_checks.CHECKS for one in check(node, known)]
    order = tuple(Severity)
    unique = [one for number, one in enumerate(found) if one not in found[:number]]
    return [one for severity in order for one in unique if one.severity is severity]


def as_text(findings: Sequence[Finding], *, unread: Iterable[str], colour: bool) -> str:
    """Return a paragraph for each finding, and a line that counts."""
    parts = [_paragraph(one, colour=colour) for one in findings]
    unchecked = [f"not checked: {printable(text)}\n" for text in unread]
    count = _count(findings) + (" in what was checked" if unchecked and not findings else "")
    return "\n".join((*parts, *unchecked, count + "\n"))


def _paragraph(one: Finding, *, colour: bool) -> str:
    mark = _COLOURS[one.severity] if colour else ""
    head = printable(f"{one.severity.value.upper()} {one.check}: {one.what}")
    painted = f"{mark}{head}{_PLAIN}" if mark else head
    lines = [
        fill(f"{label}{printable(text)}", _WIDTH, initial_indent="  ", subsequent_indent="       ")
        for label, text in (("why: ", one.why), ("do:  ", one.do))
    ]
    return "\n".join((painted, *lines)) + "\n"


def _count(findings: Sequence[Finding]) -> str:
    if not findings:
        return "nothing is wrong"
    counts = {s: sum(one.severity is s for one in findings) for s in Severity}
    return ", ".join(f"{n} {s.value}{'s' * (n != 1)}" for s, n in counts.items() if n)
