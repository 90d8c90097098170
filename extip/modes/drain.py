"""`extip drain`: move all IPs off a node, or let them come back."""

import asyncio
import sys
from collections.abc import Sequence

from extip.api.ipcontroller_v1 import IpClaim
from extip.api.names import NODE_LABEL, PREVIOUS_NODE_LABEL, label_value
from extip.api.resources import IP_CLAIMS, IP_NODES
from extip.cache.listwatch import MOST_RECENT
from extip.clock import LoopClock
from extip.errors import (
    FatalError,
    InterruptedByUserError,
    NotFoundError,
    NotServedError,
    UnansweredError,
)
from extip.kube.client import ApiClient, Scope, connect
from extip.metrics import Metrics
from extip.modes.definitions import UNKNOWN
from extip.plan.draining import Left, left

_POLL_S = 0.5
_SHOWN = 3
_UNDO = "to take the drain back: `extip drain --undo"


async def run(kubeconfig: str, node: str, *, undo: bool, wait_s: float) -> None:
    """Set or clear `spec.draining` of the IpNode; wait until the node holds nothing.

    Raises FatalError when there is no such node, or when claims are still there after `wait_s`
    seconds (0: do not wait), or at once when a person pinned all that are left; the node goes on
    draining then. It does so after Ctrl-C, too, which raises InterruptedByUserError.
    """
    async with connect(kubeconfig, metrics=Metrics("drain")) as client:
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


async def _wait_until_empty(client: ApiClient, node: str, wait_s: float) -> None:
    clock = LoopClock()
    until = clock.monotonic() + wait_s
    while found := await _left(client, node):
        if clock.monotonic() < until and not all(one.pinned for one in found):
            await clock.sleep(_POLL_S)
            continue
        raise FatalError(f"{node} is not drained: {_described(found)}; {_UNDO} {node}`")


def _described(found: Sequence[Left]) -> str:
    count = "1 IP is" if len(found) == 1 else f"{len(found)} IPs are"
    named = (f"{one.cidr} ({one.why})" for one in found[:_SHOWN])
    more = ", ..." if len(found) > _SHOWN else ""
    return f"{count} not up on another node: {', '.join(named)}{more}"


async def _left(client: ApiClient, node: str) -> list[Left]:
    """Return the IPs that the node has, is to have, or had until their next holder is up."""
    label = label_value(node)
    mine = await _claims(client, f"{NODE_LABEL}={label}")
    former = await _claims(client, f"{PREVIOUS_NODE_LABEL}={label}")
    return left(node, (*mine, *former))


async def _claims(client: ApiClient, selector: str) -> tuple[IpClaim, ...]:
    scope = Scope(label_selector=selector)
    return (await client.list(IP_CLAIMS, scope, resource_version=MOST_RECENT)).items
