"""A logger that keeps what it is told."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class RecordingLogger:
    """Stands in for `extip.log.Logger`."""

    said: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    bound: dict[str, Any] = field(default_factory=dict)

    def bind(self, **values: Any) -> "RecordingLogger":
        return RecordingLogger(self.said, {**self.bound, **values})

    def debug(self, event: str, **values: Any) -> None:
        self.said.append(("debug", event, self.bound | values))

    def info(self, event: str, **values: Any) -> None:
        self.said.append(("info", event, self.bound | values))

    def warning(self, event: str, **values: Any) -> None:
        self.said.append(("warning", event, self.bound | values))

    def events(self, *levels: str) -> list[str]:
        """Return the names of the events said at those levels (default: all but debug)."""
        wanted = levels or ("info", "warning", "error")
        return [event for level, event, _ in self.said if level in wanted]
