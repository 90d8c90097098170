"""The order in which IPs are decided."""

from enum import IntEnum


class Urgency(IntEnum):
    """The most urgent one first."""

    LEAVING = 0
    """Something about the node of a claim has changed."""
    NEW = 1
    """There is no claim, or a claim without a certain place."""
    COSMETIC = 2
