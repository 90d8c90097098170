"""`python -m tests.bench.scale_curves docs/scale.svg`: draw what the death of a rack costs.

It prints the same figures as a table.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench.rack import SIZES, Rack, died
from tests.bench.sampling import MS

_WIDTH, _HEIGHT, _MARGIN = 330, 210, 46
_FONT = 'font-family="sans-serif" font-size="11"'

Curve = tuple[str, Callable[[Rack], float]]

CURVES: tuple[Curve, ...] = (
    ("A rack dies: all its claims are decided (ms)", lambda rack: MS * rack.decided_s),
    ("The longest step of that (ms)", lambda rack: MS * rack.longest_s),
    ("One heartbeat (ms)", lambda rack: MS * rack.heartbeat_s),
    ("A new leader looks at everything (s)", lambda rack: rack.start_s),
    ("Resident memory (MB)", lambda rack: rack.memory_mb),
    ("Claims that move", lambda rack: rack.moved),
)


def main() -> int:
    """Measure, print and draw; return the exit code."""
    if len(sys.argv) != 2:
        print("usage: python -m tests.bench.scale_curves FILE.svg", file=sys.stderr)
        return 2
    racks = []
    for nodes in SIZES:
        racks.append(died(nodes))
        print(_row(racks[-1]), flush=True)
    Path(sys.argv[1]).write_text(picture(racks))
    return 0


def picture(racks: Sequence[Rack]) -> str:
    """Return the curves as an SVG picture, two beside each other."""
    rows = -(-len(CURVES) // 2)
    width, height = 2 * _WIDTH, rows * _HEIGHT
    panels = [
        f'<g transform="translate({number % 2 * _WIDTH} {number // 2 * _HEIGHT})">'
        f"{_panel(title, [(rack.nodes, value(rack)) for rack in racks])}</g>"
        for number, (title, value) in enumerate(CURVES)
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {_FONT}>'
        f'<rect width="{width}" height="{height}" fill="white"/>'
    )
    return "\n".join([head, *panels, "</svg>", ""])


def _panel(title: str, points: Sequence[tuple[float, float]]) -> str:
    """Return one curve over the number of nodes, each point with its value."""
    most_x, most_y = (max(column) for column in zip(*points, strict=True))
    wide, high = _WIDTH - 2 * _MARGIN, _HEIGHT - 2 * _MARGIN
    at = [
        (_MARGIN + wide * x / most_x, _MARGIN + high * (1 - y / (most_y or 1))) for x, y in points
    ]
    bottom, right = _MARGIN + high, _MARGIN + wide
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    labels = [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="#1f5fa8"/>'
        f'<text x="{x:.1f}" y="{y - 7:.1f}" text-anchor="middle">{value:.3g}</text>'
        f'<text x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{nodes:g}</text>'
        for (x, y), (nodes, value) in zip(at, points, strict=True)
        if nodes in (points[0][0], points[-1][0]) or nodes >= most_x / 5
    ]
    return "\n".join(
        [
            f'<text x="{_MARGIN}" y="20" font-weight="bold">{title}</text>',
            f'<path d="M{_MARGIN} {_MARGIN} V{bottom} H{right}" fill="none" stroke="#999"/>',
            f'<polyline points="{line}" fill="none" stroke="#1f5fa8" stroke-width="2"/>',
            *labels,
            f'<text x="{right}" y="{bottom + 28}" text-anchor="end" fill="#666">nodes</text>',
        ]
    )


def _row(rack: Rack) -> str:
    """Return a row of a table in Markdown."""
    return (
        f"| {rack.nodes:,} | {rack.claims:,} | {rack.dead}, {rack.moved:,} | "
        f"{MS * rack.decided_s:.0f} ms | {MS * rack.longest_s:.0f} ms | "
        f"{MS * rack.heartbeat_s:.2f} ms | {rack.start_s:.1f} s | {rack.memory_mb:.0f} MB |"
    )


if __name__ == "__main__":
    sys.exit(main())
