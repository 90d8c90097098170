"""Objects to reports that this node is silent: whoever can still renew its Lease is not dead.

It owns no task: an informer's handler reports IpNodes to it.
"""

from collections.abc import Callable, Mapping

from extip import log
from extip.api.ipcontroller_v1 import IpNode


class Objection:
    """Follows which nodes call this one silent."""

    def __init__(
        self, node: str, records: Mapping[str, IpNode], *, on_accused: Callable[[], None]
    ) -> None:
        """`on_accused` is called when one more node calls this one silent."""
        self._node = node
        self._records = records
        self._on_accused = on_accused
        self._accusers: set[str] = set()
        self._log = log.get_logger("isolation")

    def on_record(self, name: str) -> None:
        """Read an IpNode again."""
        record = self._records.get(name)
        accuses = record is not None and self._node in (record.status.silent or ())
        if not accuses or name == self._node:
            self._accusers.discard(name)
        elif name not in self._accusers:
            self._accusers.add(name)
            self._log.warning("called_silent", by=name)
            self._on_accused()
