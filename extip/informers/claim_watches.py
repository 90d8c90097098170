"""The watches of claims that concern this node: its own, those that left, and those to take."""

from collections.abc import Callable, Mapping
from functools import partial
from random import Random

from extip.api.ipcontroller_v1 import IpClaim, IpNode
from extip.api.names import NODE_LABEL, PREVIOUS_NODE_LABEL, STANDBY_LABEL, label_value
from extip.api.resources import IP_CLAIMS, IP_NODES
from extip.cache.informer import Informer
from extip.cache.listwatch import MOST_RECENT, ListerWatcher
from extip.cache.vanished import Vanished
from extip.clock import Clock
from extip.errors import NotFoundError
from extip.handover.failed_over import FailedOver
from extip.handover.policy import version_of
from extip.kube.client import ApiClient, Scope
from extip.metrics import Metrics


class ClaimWatches:
    """Knows the newest version of each claim that is this node's, from whichever watch."""

    def __init__(  # noqa: PLR0913 - a composition of parts
        self,
        client: ApiClient,
        *,
        node: str,
        records: Mapping[str, IpNode],
        vanished: Vanished[IpClaim],
        vanished_to_take: Vanished[IpClaim],
        settled: Callable[[], bool],
        look: Callable[[str], None],
        read_anew: Callable[[], None],
        clock: Clock,
        rng: Random,
        metrics: Metrics,
    ) -> None:
        """Compose; `settled` and what follows it are those of `FailedOver`.

        `vanished_to_take` are the claims whose standby this node is, also when their kind is gone.
        """
        self._node = node
        self._client = client
        self._records = records

        def lister_watcher(label: str) -> ListerWatcher[IpClaim]:
            return client.lister_watcher(IP_CLAIMS, label_selector=f"{label}={label_value(node)}")

        informer = partial(Informer[IpClaim], clock=clock, rng=rng, metrics=metrics)
        self.scope = Scope(label_selector=f"{NODE_LABEL}={label_value(node)}")
        self.own = informer("ipclaims", lister_watcher(NODE_LABEL), vanished=vanished)
        self.former = informer("former-ipclaims", lister_watcher(PREVIOUS_NODE_LABEL))
        self.to_take = informer(
            "standby-ipclaims", lister_watcher(STANDBY_LABEL), vanished=vanished_to_take
        )
        self.failed_over = FailedOver(
            node,
            records,
            self.own.store,
            self.to_take.store,
            settled=settled,
            look=look,
            read_anew=read_anew,
        )

    def claim(self, name: str) -> IpClaim | None:
        """Return a claim that is this node's; None when it is not."""
        claim = self.own.store.get(name)
        if claim is not None and self.failed_over.is_ours(claim) and not self.is_elsewhere(claim):
            self.failed_over.arrived(name)
            return claim
        return self.failed_over.taken(name)

    async def confirm(self) -> bool:
        """Read what became of fail-overs: claims that others took, and claims that this node took.

        Return whether this node's IpNode differs from the one in the cache. Raises ApiError.
        IpNodes are read before claims: they name claims until those have changed.
        """
        known, own = self._records.get(self._node), await self._record(self._node)
        self.failed_over.note_own(own)
        changed = _version(own) != _version(known)
        nodes = self.failed_over.dead_nodes()
        if not nodes:
            return changed
        found = {node: await self._record(node) for node in nodes}
        scope = Scope(label_selector=f"{STANDBY_LABEL}={label_value(self._node)}")
        page = await self._client.list(IP_CLAIMS, scope, resource_version=MOST_RECENT)
        records = {node: record for node, record in found.items() if record is not None}
        self.failed_over.confirm(records, page.items)
        return changed

    async def _record(self, node: str) -> IpNode | None:
        try:
            return await self._client.get(IP_NODES, name=node)
        except NotFoundError:
            return None

    def is_elsewhere(self, claim: IpClaim) -> bool:
        """Whether the claim is another node's, by this version or a newer one of the other watch.

        Two watches tell of a claim that leaves. After an outage the one that is opened again later
        tells of the past. It must not bring back a claim that the other one has shown to be gone.
        """
        if claim.spec.node_name != self._node:
            return True
        now = self.former.store.get(claim.metadata.name)
        if now is None or now.spec.node_name == self._node:
            return False
        return version_of(now) > version_of(claim)


def _version(record: IpNode | None) -> str:
    return "" if record is None else record.metadata.resource_version
