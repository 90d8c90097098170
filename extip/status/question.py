"""The wish of a person who calls `extip status`."""

from dataclasses import dataclass

OUTPUTS = ("table", "wide", "json", "yaml")
SORTS = ("problems", "ip", "node", "state", "since", "service")
"""The orders of IPs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The part of the cluster that is to be shown, and the form."""

    about: tuple[str, ...] = ()
    """IPs, services, names of nodes; empty for everything."""
    namespace: str = ""
    """The namespace of services; empty for all."""
    lease_namespace: str = ""
    """Where Leases are looked for; empty for all namespaces."""
    instance: str | None = None
    """The instance of extip that is shown; None for all."""
    output: str = OUTPUTS[0]
    sort: str = SORTS[0]

    @property
    def whole(self) -> bool:
        """Whether it is about the whole cluster."""
        return not self.about and not self.namespace
