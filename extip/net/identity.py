"""The identity of a network namespace: the same for all its processes until it ends.

By it a restarted controller is recognised at once. Two controllers with one name are told apart, on
different machines and in different pods of one machine.
"""

from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_NETWORK_NAMESPACE = Path("/proc/self/ns/net")
_DIGITS = 8


def place(name: str) -> str:
    """Return `name` with the machine's boot and the network namespace, for a Lease's holder."""
    boot = _BOOT_ID.read_text(encoding="ascii").strip().replace("-", "")
    return f"{name}_{boot[:_DIGITS]}-{_NETWORK_NAMESPACE.stat().st_ino}"
