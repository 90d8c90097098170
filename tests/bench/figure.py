"""One line of the table: what was measured, against what, and what it may be at most."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["ratio", "difference", "value"]

_HEADINGS = ("figure", "measured", "baseline", "compared", "bound", "")
_RATIO_DIGITS_BELOW = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A measured value with its bound.

    `kind` says what the bound is about: the ratio to the baseline, the difference from it, or the
    value itself.
    """

    what: str
    measured: float
    unit: str
    at_most: float | None
    """None for a figure that is only told."""
    kind: Kind = "ratio"
    baseline: float = 0.0
    baseline_name: str = ""

    @property
    def compared(self) -> float:
        """What the bound applies to."""
        if self.kind == "ratio":
            return self.measured / self.baseline
        if self.kind == "difference":
            return self.measured - self.baseline
        return self.measured

    @property
    def ok(self) -> bool:
        """Whether the bound holds."""
        return self.at_most is None or self.compared <= self.at_most

    def cells(self) -> tuple[str, ...]:
        """Write the line's cells, in the order of the headings."""
        baseline = f"{self.baseline_name} {self._amount(self.baseline)}"
        compared = {
            "ratio": f"{_short(self.compared)} x",
            "difference": f"{self.compared:+.1f} {self.unit}",
            "value": "",
        }[self.kind]
        return (
            self.what,
            self._amount(self.measured),
            baseline if self.baseline_name else "",
            compared,
            *self._verdict(),
        )

    def _verdict(self) -> tuple[str, str]:
        if self.at_most is None:
            return "", ""
        bound = f"{_short(self.at_most)} x" if self.kind == "ratio" else self._amount(self.at_most)
        return f"<= {bound}", "ok" if self.ok else "MISSED"

    def _amount(self, value: float) -> str:
        return f"{_short(value)} {self.unit}"


def _short(value: float) -> str:
    """Write three digits that matter."""
    if value == int(value):
        return f"{value:.0f}"
    if abs(value) < _RATIO_DIGITS_BELOW:
        return f"{value:.3f}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


class Table:
    """Writes figures below each other as they come."""

    _WIDTHS = (52, 11, 34, 11, 12, 6)

    def heading(self) -> str:
        """Return the first line."""
        return self._row(_HEADINGS)

    def row(self, figure: Figure) -> str:
        """Return the line of a figure."""
        return self._row(figure.cells())

    def _row(self, cells: Iterable[str]) -> str:
        padded = (f"{cell:<{width}}" for cell, width in zip(cells, self._WIDTHS, strict=True))
        return "  ".join(padded).rstrip()
