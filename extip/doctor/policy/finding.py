"""A thing that is wrong, or may be. Pure."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """The urgency of a finding, the greatest first."""

    ERROR = "error"
    """Something does not work, or will not."""
    WARNING = "warning"
    """Something may stop working, or hide a fault."""
    NOTE = "note"
    """Good to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing, for a person who has not met it before."""

    check: str
    """The check that found it."""
    severity: Severity
    what: str
    why: str
    """Its consequence."""
    do: str
    """The remedy."""
