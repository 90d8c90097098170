"""The terminal of a person."""

import os
from typing import TextIO


def has_colours(stream: TextIO) -> bool:
    """Whether a person reads this on a terminal that knows colours, and has not said no to them.

    https://no-color.org: any text in ``NO_COLOR`` says so.
    """
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not plain
