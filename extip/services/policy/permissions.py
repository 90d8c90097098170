"""The external IPs that services may write themselves, as `--allow-cidr` and `--allow` say. Pure.

Each permission adds to the others. With the first permission, every other IP is refused. Addresses
from pools need no permission: a pool has selectors of its own, and gives only addresses of
`networks`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

from extip.net.interfaces import IPAddress
from extip.net.networks import IPNetwork, Networks
from extip.services.policy.refusal import Reason, Refusal


@dataclass(frozen=True, kw_only=True)
class Permissions:
    """Networks for all namespaces, and networks for some of them."""

    everyone: Networks = field(default_factory=Networks)
    by_namespace: Mapping[str, Networks] = field(default_factory=dict)

    @classmethod
    def of(
        cls, allowed: Iterable[IPNetwork], by_namespace: Iterable[tuple[str, IPNetwork]] = ()
    ) -> Self:
        """Build the permissions from flags; `by_namespace` has pairs of namespace and network."""
        found: dict[str, Networks] = {}
        for namespace, network in by_namespace:
            found[namespace] = found.get(namespace, Networks()) | Networks(frozenset({network}))
        return cls(everyone=Networks(frozenset(allowed)), by_namespace=found)

    @property
    def restrictive(self) -> bool:
        """Whether any IP is refused at all."""
        return bool(self.everyone or self.by_namespace)

    def networks(self) -> tuple[IPNetwork, ...]:
        """Return every network that some namespace may use; none when no IP is refused."""
        return tuple(sorted((self.everyone | self._somebody).members, key=_order))

    def refuse(self, namespace: str, ip: IPAddress) -> Refusal | None:
        """Return why services of the namespace may not have `ip`, or None when they may.

        Also None when no namespace may have it: the guard refuses such an IP.
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
