"""The wish of a person who calls `extip doctor`."""

from dataclasses import dataclass

ROLES = ("person", "controller", "scheduler", "simple")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The machine and the account that are to be looked at."""

    iface: str = ""
    """The interface of this machine; empty: this machine is no node."""
    hostname: str = ""
    """Empty for that of the operating system."""
    role: str = ROLES[0]
    """One of `ROLES`."""
    output: str = "text"
    """``text`` or ``json``."""
