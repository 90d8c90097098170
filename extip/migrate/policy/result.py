"""The result of a conversion: objects of extip, and a remark for each thing that differs. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import msgspec

from extip.api.ipcontroller_v1 import IpClaimPool
from extip.api.resources import IP_CLAIM_POOLS
from extip.net.interfaces import IPAddress
from extip.pools.policy.pools import compile_pools
from extip.printable import printable

_SHOWN = 4
"""Names in a list that a remark has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """One thing that is not the same with extip."""

    where: str
    """The object, and the field where there is one."""
    why: str
    """The thing, and the reason for which extip does not have it."""
    do: str = ""
    """The remedy; empty where there is nothing to do."""
    lost: bool = True
    """It could not be carried over. Otherwise it is good to know."""

    def __str__(self) -> str:
        head = "" if self.lost else "note: "
        line = f"{head}{self.where}: {self.why}" + (f"; {self.do}" if self.do else "")
        # A text of a file may break the line, or steer the terminal.
        return printable(" ".join(line.split()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """Labels and annotations to add to an object; its own ones stay."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    cidr: str = ""
    """`spec.cidr` of an IpClaim, without which it cannot be applied."""

    def manifest(self) -> dict[str, object]:
        """Return the object with nothing but what is added."""
        metadata: dict[str, object] = {"name": self.name}
        if self.namespace:
            metadata["namespace"] = self.namespace
        if self.labels:
            metadata["labels"] = self.labels
        if self.annotations:
            metadata["annotations"] = self.annotations
        manifest: dict[str, object] = {"apiVersion": self.api_version, "kind": self.kind}
        manifest["metadata"] = metadata
        if self.cidr:
            manifest["spec"] = {"cidr": self.cidr}
        return manifest


class Result:
    """The objects to apply, and the remarks, each once and in order."""

    def __init__(self) -> None:
        self.pools: list[IpClaimPool] = []
        self._patches: dict[tuple[str, str, str], Patch] = {}
        self._remarks: dict[Remark, int] = {}

    @property
    def patches(self) -> list[Patch]:
        """The patches, one for each object."""
        return list(self._patches.values())

    @property
    def remarks(self) -> list[Remark]:
        """The remarks."""
        return list(self._remarks)

    def add(self, patch: Patch) -> None:
        """Add a patch; one for an object that has one already is joined to it."""
        key = patch.kind, patch.namespace, patch.name
        earlier = self._patches.get(key)
        if earlier is not None:
            patch = replace(patch, annotations={**earlier.annotations, **patch.annotations})
        self._patches[key] = patch

    def lose(self, where: str, why: str, do: str) -> None:
        """Remark on a thing that cannot be carried over."""
        self._remarks[Remark(where=where, why=why, do=do)] = 0

    def note(self, where: str, why: str, do: str = "") -> None:
        """Remark on a thing that is good to know."""
        self._remarks[Remark(where=where, why=why, do=do, lost=False)] = 0

    def put_first(self, earlier: "Result") -> None:
        """Put the remarks of an earlier step before its own."""
        self._remarks = dict.fromkeys((*earlier.remarks, *self._remarks), 0)

    @property
    def complete(self) -> bool:
        """Whether everything could be carried over."""
        return not any(remark.lost for remark in self._remarks)

    def pools_of(self, ips: Iterable[IPAddress]) -> dict[IPAddress, str]:
        """Return the pool of each address; an empty text for that of no pool."""
        pools = compile_pools(self.pools)
        found = ((ip, pools.of(ip)) for ip in ips)
        return {ip: "" if pool is None else pool.name for ip, pool in found}

    def manifests(self) -> list[dict[str, object]]:
        """Return the objects as manifests have them, pools first."""
        return [*map(pool_manifest, self.pools), *(patch.manifest() for patch in self.patches)]


def pool_manifest(pool: IpClaimPool) -> dict[str, object]:
    """Return a pool as a person writes it."""
    fields = msgspec.json.decode(msgspec.json.encode(pool), type=dict[str, object])
    return {"apiVersion": IP_CLAIM_POOLS.api_version, "kind": IP_CLAIM_POOLS.kind, **fields}


def some(names: Iterable[str]) -> str:
    """Return the first few names, and how many more there are."""
    every = sorted(set(names))
    more = len(every) - _SHOWN
    return ", ".join(every[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
