"""Which external IPs services may write themselves, as the operator says. Pure.

Each permission adds to the others; as soon as there is one, everything else is refused. Addresses
from pools are another matter: a pool has selectors of its own.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

from extip.plan.link import IPAddress
from extip.plan.networks import IPNetwork, Networks
from extip.plan.refusal import Reason, Refusal


@dataclass(frozen=True, kw_only=True)
class Permissions:
    """Networks that all may use, and networks of some namespaces."""

    everyone: Networks = field(default_factory=Networks)
    by_namespace: Mapping[str, Networks] = field(default_factory=dict)

    @classmethod
    def of(
        cls, allowed: Iterable[IPNetwork], by_namespace: Iterable[tuple[str, IPNetwork]] = ()
    ) -> Self:
        """Gather what flags say, those of a namespace with its name."""
        found: dict[str, Networks] = {}
        for namespace, network in by_namespace:
            found[namespace] = found.get(namespace, Networks()) | Networks(frozenset({network}))
        return cls(everyone=Networks(frozenset(allowed)), by_namespace=found)

    @property
    def restrictive(self) -> bool:
        """Whether anything is refused at all."""
        return bool(self.everyone or self.by_namespace)

    def networks(self) -> tuple[IPNetwork, ...]:
        """Return every network that somebody may use; none when nothing is refused."""
        return tuple(sorted((self.everyone | self._somebody).members, key=_order))

    def refuse(self, namespace: str, ip: IPAddress) -> Refusal | None:
        """Return why services of the namespace may not have `ip`, or None when they may.

        None as well when nobody may: that is for the guard to say.
        """
        if not self.by_namespace or ip in self.everyone:
            return None
        if ip in self.by_namespace.get(namespace, _NOTHING):
            return None
        if ip not in self._somebody:
            return None
        return Refusal(
            Reason.NOT_ALLOWED, f"{ip} is in none of the networks of namespace {namespace}"
        )

    @cached_property
    def _somebody(self) -> Networks:
        of_each = (networks.members for networks in self.by_namespace.values())
        return Networks(frozenset[IPNetwork]().union(*of_each))


_NOTHING = Networks()


def _order(network: IPNetwork) -> tuple[int, int, int]:
    return network.version, int(network.network_address), network.prefixlen
