"""`extip drain`: move all IPs off a node, or let them come back."""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import suppress

from extip.api.ipcontroller_v1 import IpClaim
from extip.api.names import NODE_LABEL, PREVIOUS_NODE_LABEL, STANDBY_LABEL, label_value
from extip.api.resources import IP_CLAIMS, IP_NODES
from extip.cache.listwatch import MOST_RECENT, Page
from extip.claims.policy.assignment import on_its_node
from extip.clock import LoopClock
from extip.definitions.absent import UNKNOWN, without_claims
from extip.draining.policy import DrainBlocker, drain_blockers, held_before
from extip.errors import (
    ApiError,
    FatalError,
    InterruptedByUserError,
    NotFoundError,
    NotServedError,
    UnansweredError,
)
from extip.kube.client import ApiClient, Scope, connect
from extip.kube.place import Place
from extip.metrics import Metrics

_POLL_S = 0.5
_SHOWN = 3
_PAGE = 500
_UNDO = "to take the drain back: `extip drain --undo"


async def run(place: Place, node: str, *, undo: bool, wait_s: float) -> None:
    """Set or clear `spec.draining` of the IpNode; wait until the node holds nothing.

    Raises FatalError when there is no such node, or when claims are still there after `wait_s`
    seconds (0: do not wait), or at once when a person pinned all that are left; the node goes on
    draining then. It does so after Ctrl-C, too, which raises InterruptedByUserError. When claims
    cannot be read, that raises UnansweredError.
    """
    opened = connect(place.kubeconfig, context=place.context, metrics=Metrics("drain"))
    async with opened as client:
        await _set_draining(client, node, draining=not undo)
        if undo:
            sys.stdout.write(f"{node} may hold IPs again\n")
        elif not wait_s:
            sys.stdout.write(f"{node} is being drained\n")
        else:
            await _emptied(client, node, wait_s)
            sys.stdout.write(f"{node} is drained\n")


async def _set_draining(client: ApiClient, node: str, *, draining: bool) -> None:
    try:
        await client.patch(IP_NODES, {"spec": {"draining": draining}}, name=node)
    except NotServedError as error:
        raise UnansweredError(UNKNOWN) from error
    except NotFoundError as error:
        raise FatalError(
            f"no controller has registered as {node!r}; `extip status` lists them"
        ) from error
    except asyncio.CancelledError:
        raise InterruptedByUserError(
            f"interrupted; {node} may be drained by now: `extip status {node}` tells"
        ) from None


async def _emptied(client: ApiClient, node: str, wait_s: float) -> None:
    try:
        await _wait_until_empty(client, node, wait_s)
    except asyncio.CancelledError:
        raise InterruptedByUserError(
            f"interrupted; the IPs of {node} go on moving and do not come back; {_UNDO} {node}`"
        ) from None
    except ApiError as error:
        lost = isinstance(error, NotFoundError)
        why = await without_claims(client) if lost else str(error)
        raise UnansweredError(
            f"{node} is being drained, and whether it is empty is not known: {why}; {_UNDO} {node}`"
        ) from error


async def _wait_until_empty(client: ApiClient, node: str, wait_s: float) -> None:
    clock = LoopClock()
    until = clock.monotonic() + wait_s
    watched = Emptying(client, node)
    while found := await watched.drain_blockers():
        if clock.monotonic() < until and not all(one.pinned for one in found):
            await clock.sleep(_POLL_S)
            continue
        raise FatalError(f"{node} is not drained: {_described(found)}; {_UNDO} {node}`")


def _described(found: Sequence[DrainBlocker]) -> str:
    count = "1 IP is" if len(found) == 1 else f"{len(found)} IPs are"
    named = (f"{one.cidr} ({one.why})" for one in found[:_SHOWN])
    more = ", ..." if len(found) > _SHOWN else ""
    return f"{count} not up on another node: {', '.join(named)}{more}"


class Emptying:
    """The drain blockers of a node, read again and again.

    The labels of a claim name its node and the former one. When the second node dies, the claim
    moves on to a third one. Then no label names the first node, which still has the IP up. So each
    drain blocker is followed by its name until it is none any more.

    A claim that this node has taken as its standby may name a dead node still.
    """

    def __init__(self, client: ApiClient, node: str) -> None:
        self._client = client
        self._node = node
        self._followed: set[str] | None = None
        """The names of the drain blockers; None before the first read."""

    async def drain_blockers(self) -> list[DrainBlocker]:
        """Return them as they are now. Raises ApiError."""
        if self._followed is None:
            self._followed = await self._held_before()
        # Before claims: IpNodes name claims until those have changed.
        page = await self._client.list(IP_NODES, resource_version=MOST_RECENT)
        records = {one.metadata.name: one for one in page.items}
        keys = [NODE_LABEL, PREVIOUS_NODE_LABEL]
        if any(one.status.failed_over for one in page.items):
            keys.append(STANDBY_LABEL)
        label = label_value(self._node)
        seen = {
            claim.metadata.name: claim
            for key in keys
            for claim in (await self._claims(f"{key}={label}")).items
        }
        for name in sorted(self._followed - seen.keys()):
            with suppress(NotFoundError):
                seen[name] = await self._client.get(IP_CLAIMS, name=name)
        claims = [on_its_node(claim, records) for claim in seen.values()]
        found = drain_blockers(self._node, claims)
        self._followed = {one.name for one in found}
        return found

    async def _held_before(self) -> set[str]:
        names, token = set[str](), ""
        while True:
            page = await self._client.list(
                IP_CLAIMS, resource_version=MOST_RECENT, limit=_PAGE, continue_token=token
            )
            names |= held_before(self._node, page.items)
            token = page.continue_token
            if not token:
                return names

    async def _claims(self, selector: str) -> Page[IpClaim]:
        scope = Scope(label_selector=selector)
        return await self._client.list(IP_CLAIMS, scope, resource_version=MOST_RECENT)
