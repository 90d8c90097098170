"""The report: one HTML file that needs no other, with a timeline as SVG."""

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape

from tests.soak.policy import plan
from tests.soak.policy.outcome import Bar, Outcome
from tests.soak.policy.verdict import Judged

_LEFT, _ROW, _WIDE = 120, 16, 1500
_COLOURS = {"n1": "#4e79a7", "n2": "#59a14f", "n3": "#b07aa1", "n4": "#76b7b2", "n5": "#9c755f"}
_STRANGER = "#000"
_LEGEND = (
    "Rows of IPs: grey where a service wants it, the colour of the node that answers on the wire "
    "(black: another station), red: no answer and no fault to explain it, orange: explained."
)
_STYLE = """
body { font: 14px/1.4 sans-serif; margin: 2em; color: #222; }
table { border-collapse: collapse; margin: 1em 0; }
td, th { border-bottom: 1px solid #ddd; padding: 2px 10px; text-align: left; }
td.n { text-align: right; }
.bad { color: #b00; font-weight: bold; }
.good { color: #070; font-weight: bold; }
svg { background: #fafafa; border: 1px solid #ddd; }
svg text { font: 10px sans-serif; }
"""


def html(outcome: Outcome) -> str:
    """Render a report."""
    verdict = (
        "<p class=good>nothing lost, leaked or double; every outage is explained</p>"
        if outcome.ok
        else "<p class=bad>FAILED</p>"
    )
    title = f"extip soak, seed {outcome.seed}, {outcome.chaos_s / 60:g} minutes"
    parts = [
        f"<!doctype html><html><head><meta charset=utf-8><title>{title}</title>",
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>{verdict}",
        f"<p>Again: <code>{_command(outcome)}</code></p>",
        _list("Failures", [*map(_sentence, outcome.unexplained), *outcome.failures]),
        f"<h2>Timeline</h2>{timeline(outcome)}",
        f"<p>{_LEGEND}</p>",
        *(_told(outcome, one, lines) for one, lines in outcome.told.items()),
        _judged(outcome),
        _faults(outcome),
        _usages(outcome),
        _warnings(outcome),
        "</body></html>",
    ]
    return "\n".join(parts)


def summary(outcome: Outcome) -> str:
    """Render the same for a terminal, in a few lines."""
    kinds = Counter(bar.what for bar in outcome.faults)
    allowed = [one for one in outcome.judged if one.ok]
    longest_s = max((one.duration_s for one in allowed), default=0.0)
    closest = max(allowed, key=lambda one: one.duration_s / one.allowed_s, default=None)
    head = (
        f"seed {outcome.seed}: {sum(kinds.values())} faults of {len(kinds)} kinds, "
        f"{len(allowed)} outages or doubled IPs explained (longest {longest_s:.1f} s)"
    )
    lines = [
        head,
        *(
            [f"closest to its bound: {_sentence(closest)} of {closest.allowed_s:.1f} s"]
            if closest
            else []
        ),
        *(
            f"UNEXPLAINED  {_at(outcome, one.begin_s)}  {_sentence(one)}"
            for one in outcome.unexplained
        ),
        *(f"FAILED  {failure}" for failure in outcome.failures),
    ]
    return "\n".join(lines)


def _command(outcome: Outcome) -> str:
    return f"make soak MINUTES={outcome.chaos_s / 60:g} SEED={outcome.seed}"


def _sentence(one: Judged) -> str:
    return f"{one.ip}: {one.what} for {one.duration_s:.1f} s"


def _at(outcome: Outcome, moment_s: float) -> str:
    return f"{moment_s - outcome.began_s:7.1f} s"


def _list(title: str, items: Sequence[str]) -> str:
    if not items:
        return ""
    return f"<h2 class=bad>{title}</h2><ul>" + "".join(f"<li>{escape(i)}" for i in items) + "</ul>"


def _table(title: str, heads: Iterable[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f"<th>{escape(h)}" for h in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}" for cell in row) for row in rows)
    return f"<h2>{title}</h2><table><tr>{head}{body}</table>"


def _told(outcome: Outcome, judged: Judged, lines: Sequence[str]) -> str:
    head = f"{_at(outcome, judged.begin_s)}: {_sentence(judged)}"
    return f"<h2>Logs around {escape(head)}</h2><pre>{escape(chr(10).join(lines))}</pre>"


def _judged(outcome: Outcome) -> str:
    rows = [
        (
            _at(outcome, one.begin_s),
            f"{one.duration_s:.2f} s",
            f"{one.allowed_s:.2f} s",
            one.ip,
            one.what,
            one.because or "NOTHING",
        )
        for one in outcome.judged
    ]
    heads = ("at", "for", "allowed", "IP", "seen", "explained by")
    return _table("Outages and doubled IPs", heads, rows)


def _faults(outcome: Outcome) -> str:
    counts = Counter(bar.what for bar in outcome.faults)
    kinds = _table("Faults by kind", ("kind", "times"), sorted(counts.items()))
    faults = sorted(outcome.faults, key=lambda bar: bar.begin_s)
    return kinds + _bars(outcome, "Faults", faults) + _bars(outcome, "Changes", outcome.changes)


def _bars(outcome: Outcome, title: str, bars: Sequence[Bar]) -> str:
    rows = [
        (_at(outcome, bar.begin_s), f"{bar.end_s - bar.begin_s:.1f} s", bar.what, bar.row)
        for bar in bars
    ]
    return _table(title, ("at", "for", "kind", "target"), rows)


def _usages(outcome: Outcome) -> str:
    rows = [
        (
            one.process,
            f"{one.lived_s:.0f} s",
            f"{one.memory_mib[0]:.1f} → {one.memory_mib[1]:.1f} MiB",
            f"{one.files[0]:.0f} → {one.files[1]:.0f}",
            "; ".join(one.leaks) or "flat",
        )
        for one in outcome.usages
    ]
    heads = ("process, pid", "lived", "memory, first and last third", "open files", "verdict")
    return _table("Programs that lived for long enough to leak", heads, rows)


def _warnings(outcome: Outcome) -> str:
    rows = sorted(outcome.warnings.items(), key=lambda pair: -pair[1])
    return _table("Warnings in the logs", ("event", "times"), rows)


def timeline(outcome: Outcome) -> str:
    """Draw who had which IP when, and the faults above it."""
    targets = sorted({bar.row for bar in outcome.faults})
    rows = [*targets, *plan.ALL_IPS]
    height = _ROW * (len(rows) + 2)
    canvas = _Canvas(outcome, rows)
    shapes = [canvas.label(row) for row in rows]
    shapes += [
        canvas.bar(row, s.begin_s, s.end_s, "#ddd", "wanted")
        for row, spans in outcome.wanted.items()
        for s in spans
    ]
    for ip, held in outcome.answered.items():
        for one in held:
            colour = _COLOURS.get(one.node, _STRANGER)
            shapes.append(canvas.bar(ip, one.begin_s, one.end_s, colour, one.node, inset=4))
    for bar in outcome.faults:
        shapes.append(canvas.bar(bar.row, bar.begin_s, bar.end_s, "#e15759", bar.what))
    for judged in outcome.judged:
        colour = "#f28e2b" if judged.ok else "#f00"
        tip = f"{judged.what}: {judged.because or 'unexplained'}"
        shapes.append(canvas.bar(judged.ip, judged.begin_s, judged.end_s, colour, tip, inset=1))
    shapes += canvas.scale(height)
    body = "".join(shapes)
    size = f'width="{_LEFT + _WIDE}" height="{height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{body}</svg>'


class _Canvas:
    """Knows where times and rows are."""

    def __init__(self, outcome: Outcome, rows: Sequence[str]) -> None:
        self._rows = {row: number for number, row in enumerate(rows)}
        self._began_s = outcome.began_s
        self._total_s = max(outcome.ended_s - outcome.began_s, 1.0)

    def _x(self, moment_s: float) -> float:
        return _LEFT + _WIDE * (moment_s - self._began_s) / self._total_s

    def label(self, row: str) -> str:
        y = _ROW * (self._rows[row] + 1) - 4
        return f'<text x="4" y="{y}">{escape(row)}</text>'

    def bar(
        self, row: str, begin_s: float, end_s: float, colour: str, tip: str, *, inset: int = 2
    ) -> str:
        x = self._x(begin_s)
        wide = max(self._x(end_s) - x, 1.0)
        y = _ROW * self._rows[row] + inset
        about = f"{tip}, at {begin_s - self._began_s:.1f} s for {end_s - begin_s:.1f} s"
        return (
            f'<rect x="{x:.1f}" y="{y}" width="{wide:.1f}" height="{_ROW - 2 * inset}" '
            f'fill="{colour}"><title>{escape(about)}</title></rect>'
        )

    def scale(self, height: int) -> list[str]:
        """Draw a mark every minute, or every ten seconds of a short run."""
        step_s = 60 if self._total_s > 300 else 10
        return [
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height}" stroke="#bbb" '
            f'stroke-dasharray="2 4"/><text x="{x + 2:.1f}" y="{height - 4}">{at_s} s</text>'
            for at_s in range(0, int(self._total_s), step_s)
            for x in [self._x(self._began_s + at_s)]
        ]
