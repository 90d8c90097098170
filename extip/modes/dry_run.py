"""`extip simple --dry-run`: what a first pass over the interface would do; changes nothing."""

import asyncio
import sys
from collections.abc import Iterable
from dataclasses import replace
from random import Random

from extip.addresses.observation import AddressObserver, NodeObservation
from extip.addresses.ports import LinkTable
from extip.clock import LoopClock
from extip.endpoints.policy.unanswered import unanswered
from extip.errors import LinkNotFoundError, UnansweredError
from extip.kube.client import connect
from extip.metrics import Metrics
from extip.modes.addresses import address_options
from extip.modes.simple import service_inputs
from extip.net.interfaces import IPInterface
from extip.net.routes import RouteTable
from extip.net.rtnetlink import AddressSocket
from extip.services.policy.no_endpoint import NONE_READY
from extip.settings.simple import SimpleSettings
from extip.supervisor import run_beside

_DRY_RUN_S = 15.0
"""How long a dry run waits for the API server."""

_POLL_S = 0.05
"""Between two looks whether it has answered."""

_SHOWN = 8
"""The number of interfaces that an error names."""


async def run(settings: SimpleSettings) -> None:
    """Print it; needs no capability.

    Raises UnansweredError when the API server does not answer in time, ApiAccessError when it may
    not be asked, LinkError when the kernel fails.
    """
    clock, metrics, rng = LoopClock(), Metrics("simple"), Random()  # noqa: S311 - jitter
    async with (
        connect(settings.kubeconfig, metrics=metrics, instance=settings.instance) as kube,
        AddressSocket(clock=clock) as table,
        RouteTable(clock=clock) as links,
    ):
        inputs = service_inputs(settings, kube, lambda: None, clock=clock, rng=rng, metrics=metrics)

        async def look() -> tuple[NodeObservation, tuple[IPInterface, ...]]:
            try:
                async with asyncio.timeout(_DRY_RUN_S):
                    while inputs.problem():
                        if denied := inputs.denied():
                            raise denied
                        await clock.sleep(_POLL_S)
            except TimeoutError:
                raise UnansweredError(
                    f"the API server did not answer within {_DRY_RUN_S:.0f} s: {inputs.problem()}"
                ) from None
            current = inputs.current()
            down = unanswered(current.requests.wanted, inputs.unready()) if current else {}
            if current is not None:
                wanted = {i: who for i, who in current.requests.wanted.items() if i not in down}
                current = replace(current, requests=replace(current.requests, wanted=wanted))
            observer = AddressObserver(
                address_options(settings), inputs=lambda: current, links=links, table=table
            )
            return await observe(observer, links), tuple(down)

        observation, down = await run_beside(inputs.components(), look)
    sys.stdout.write(render(observation, down))


async def observe(observer: AddressObserver, links: LinkTable) -> NodeObservation:
    """Return what a first pass would see and do. Raises LinkError.

    Where the interface is missing, the error names those that there are.
    """
    try:
        return await observer.observe(refresh=False)
    except LinkNotFoundError as error:
        names = [link.name for link in await links.links()]
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        shown = ", ".join(names[:_SHOWN])
        raise LinkNotFoundError(f"{error}; there are {shown}{more}") from None


def render(observation: NodeObservation, down: Iterable[IPInterface] = ()) -> str:
    """Write a view as a table, a line for each address: what happens to it, and why.

    `down` are IPs that do not come up while none of their services has a ready endpoint.
    """
    plan, admission = observation.plan, observation.admission
    lines = [(change.operation.value, str(change.interface), "") for change in plan.changes]
    changed = {change.interface.ip for change in plan.changes}
    lines += [("keep", str(ip), "") for ip in sorted(plan.up - changed, key=str)]
    lines += [("down", str(interface), NONE_READY) for interface in sorted(down, key=str)]
    if admission is not None:
        lines += [
            ("refuse", rejection.text, f"{rejection.owner}: {rejection.refusal.message}")
            for rejection in sorted(admission.rejected, key=lambda r: (r.text, r.owner))
        ]
    if not lines:
        names = ", ".join(one.link.name for one in observation.on)
        return f"nothing to do on {names}: no service asks for an external IP\n"
    return "".join(f"{verb:<8}{what:<44}{why}".rstrip() + "\n" for verb, what, why in lines)
