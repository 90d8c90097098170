"""Which addresses the kernel deletes in a node, as `ip monitor` tells."""

from tests.lab.node import Node
from tests.lab.process import Process
from tests.lab.wait import wait_until

_MARKER = "127.77.77.77"


def deletions(node: Node) -> Process:
    """Start to record them; returns once it records."""
    monitor = node.start(["ip", "monitor", "address"], name="ip-monitor")

    def records() -> bool:
        for verb in ("add", "del"):
            node.run(["ip", "address", verb, f"{_MARKER}/32", "dev", "lo"])
        return _MARKER in monitor.output()

    wait_until(records, "ip monitor to record")
    return monitor


def deleted(monitor: Process) -> list[str]:
    """Return what was recorded up to now, a line each."""
    lines = monitor.output().splitlines()
    return [line for line in lines if line.startswith("Deleted") and _MARKER not in line]
