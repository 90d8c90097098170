"""The same thousand addresses for extip and for `ip -batch`."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path

from extip.net.ifaddr import MARK_METRIC
from extip.net.interfaces import Change, IPInterface, Operation
from tests.bench.segment import IFACE

TTL_S = 600
"""Long enough that no lifetime ends while something else is measured."""


def interfaces(version: int, count: int) -> list[IPInterface]:
    """Return that many /32 or /128 addresses."""
    if version == 4:
        first = int(IPv4Interface("10.100.0.1").ip)
        return [IPv4Interface((first + n, 32)) for n in range(count)]
    first = int(IPv6Interface("fd00:100::1").ip)
    return [IPv6Interface((first + n, 128)) for n in range(count)]


def additions(wanted: Sequence[IPInterface], link_index: int) -> list[Change]:
    return [Change(Operation.ADD, link_index, interface) for interface in wanted]


@contextmanager
def batch_file(wanted: Sequence[IPInterface]) -> Iterator[Path]:
    """Yield a file for `ip -batch` that adds the same with the same attributes.

    But for the mark, which Debian 12's `ip` does not know.
    """
    with tempfile.NamedTemporaryFile("w", prefix="extip-bench-") as file:
        for interface in wanted:
            nodad = " nodad" if interface.version == 6 else ""
            file.write(
                f"addr add {interface} dev {IFACE} valid_lft {TTL_S} preferred_lft 0 "
                f"metric {MARK_METRIC}{nodad}\n"
            )
        file.flush()
        yield Path(file.name)
