"""A logger and a recorder of Events that keep what they are told."""

from dataclasses import dataclass, field
from typing import Any

from extip.kube.events import EventRecorder


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


class RecordedEvents(EventRecorder):
    """Keeps Events, each as the name of its object and its reason, and sends none."""

    def __init__(self) -> None:
        self.recorded: list[tuple[str, str]] = []

    def record(self, reference, *, type, reason, message):  # noqa: A002 - the API's word
        assert type == "Warning"
        assert message
        self.recorded.append((reference.name, reason))
