"""Which addresses the kernel deletes in a node, as `ip monitor` tells."""

import itertools

from tests.lab.errors import LabError
from tests.lab.node import Node
from tests.lab.wait import wait_until

_MARKERS = "127.77."


class Deletions:
    """Records from its construction on."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._numbers = itertools.count()
        self._monitor = node.start(["ip", "monitor", "address"], name="ip-monitor")
        wait_until(self._is_up_to_date, "ip monitor to record")

    def so_far(self) -> list[str]:
        """Return what was deleted until now, a line each; nothing is still on its way."""
        wait_until(self._is_up_to_date, "ip monitor to catch up")
        return [line for line in self._lines() if _MARKERS not in line]

    def _is_up_to_date(self) -> bool:
        """Delete an address of no use, and tell whether that is seen."""
        number = next(self._numbers)
        marker = f"{_MARKERS}{number // 250}.{1 + number % 250}/32"
        for verb in ("add", "del"):
            self._node.run(["ip", "address", verb, marker, "dev", "lo"])
        try:
            wait_until(lambda: any(marker in line for line in self._lines()), marker, timeout=0.5)
        except LabError:
            return False  # it does not record yet, or the machine is slow
        return True

    def _lines(self) -> list[str]:
        lines = self._monitor.lines().splitlines()
        return [line for line in lines if line.startswith("Deleted")]
