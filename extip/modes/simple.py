"""`extip simple`: one process brings every external IP up on its node.

::

    run
    ├── informer-services ────► requests ─┐
    ├── informer-nodes ───────► node IPs ─┼──► addresses ──► interface
    ├── informer-namespaces (selector) ───┘        ▲   └──► announcer
    ├── first-sync  nothing is changed before it ──┤
    ├── control-plane  what the cluster itself uses ─┤
    ├── monitor     netlink events ────────────────┤
    ├── prober      is a new IP free? ─────────────┘
    ├── informer-endpointslices   only while a service with external IPs wants local endpoints
    ├── conflicts   other stations with our IPs ◄── wire-watch
    ├── events      refusals, as Kubernetes Events on the services
    └── http        /metrics /livez /readyz
"""

import asyncio
import sys

from extip import __version__, log
from extip.clock import LoopClock
from extip.errors import UnansweredError
from extip.health import HealthServer
from extip.kube.client import connect
from extip.kube.events import EventRecorder
from extip.metrics import Metrics
from extip.modes.address_half import AddressHalf, open_address_half, open_observer
from extip.modes.conflict_events import ConflictEvents
from extip.modes.local_traffic import LocalTraffic
from extip.modes.refusal_events import EventReporter, warn_when_unrestricted
from extip.modes.service_inputs import ServiceInputs
from extip.plan.desire import Desire
from extip.plan.link import IPAddress
from extip.plan.requests import Masks, Owner
from extip.reconcile.observe import Inputs, View
from extip.reconcile.refusals import RefusalLedger
from extip.settings import SimpleSettings
from extip.supervisor import Component, StopSignals, run_beside

_DRY_RUN_S = 15.0
"""How long a dry run waits for the API server."""

_POLL_S = 0.05
"""Between two looks whether it has answered."""


async def run(settings: SimpleSettings) -> None:
    """Run until SIGTERM or SIGINT; raises FatalError, alone or in a group."""
    stop = StopSignals()
    clock, metrics, logger = LoopClock(), Metrics("simple"), log.get_logger("simple")
    logger.info(
        "started",
        version=__version__,
        link=settings.address.iface,
        ttl_s=settings.address.address_ttl_s,
    )
    warn_when_unrestricted(settings.permissions, logger)
    async with stop.ending(connect(settings.kubeconfig, metrics=metrics)) as client:
        events = EventRecorder(client, clock=clock, metrics=metrics)
        ledger = RefusalLedger(EventReporter(events), metrics)

        def current() -> Inputs | None:
            return inputs.current()

        def owners(ip: IPAddress) -> tuple[Owner, ...]:
            return inputs.owners(ip)

        def decided(desire: Desire) -> None:
            ledger.record(desire)
            local.look(desire)

        async with open_address_half(
            settings.address,
            inputs=current,
            decided=decided,
            told=ConflictEvents(events, owners=owners).told,
            clock=clock,
            metrics=metrics,
        ) as half:
            inputs = ServiceInputs(
                client,
                masks=Masks(v4=settings.address.mask, v6=settings.address.mask_v6),
                permissions=settings.permissions,
                service_selector=settings.service_selector,
                namespace_selector=settings.namespace_selector,
                changed=half.reconciler.trigger,
                clock=clock,
                metrics=metrics,
            )
            local = LocalTraffic(
                events,
                endpoints=inputs.local_endpoints,
                wanted=inputs.wanted,
                nodes=inputs.nodes,
                own=half.own,
                clock=clock,
            )
            components = [
                *inputs.components(),
                *half.components,
                Component("events", events.run),
                *_http(settings, half, inputs, metrics),
            ]
            logger.info("stopping", signal=await run_beside(components, stop.next))
            if settings.address.on_exit == "release":
                await half.release()


async def dry_run(settings: SimpleSettings) -> None:
    """Print what a first pass would do now; changes nothing and needs no capability.

    Raises UnansweredError when the API server does not answer in time, ApiAccessError when it may
    not be asked, LinkError when the kernel fails.
    """
    clock, metrics = LoopClock(), Metrics("simple")
    async with connect(settings.kubeconfig, metrics=metrics) as client:
        inputs = ServiceInputs(
            client,
            masks=Masks(v4=settings.address.mask, v6=settings.address.mask_v6),
            permissions=settings.permissions,
            service_selector=settings.service_selector,
            namespace_selector=settings.namespace_selector,
            changed=lambda: None,
            clock=clock,
            metrics=metrics,
        )

        async def look() -> View:
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
            async with open_observer(
                settings.address, inputs=inputs.current, clock=clock
            ) as observer:
                return await observer.observe(refresh=False)

        view = await run_beside(inputs.components(), look)
    sys.stdout.write(render(view))


def render(view: View) -> str:
    """Write a view as a table, a line for each address: what happens to it, and why."""
    lines = [(change.operation.value, str(change.interface), "") for change in view.plan.changes]
    changed = {change.interface.ip for change in view.plan.changes}
    lines += [("keep", str(ip), "") for ip in sorted(view.plan.up - changed, key=str)]
    if view.desire is not None:
        lines += [
            ("refuse", rejection.text, f"{rejection.owner}: {rejection.refusal.message}")
            for rejection in sorted(view.desire.rejected, key=lambda r: (r.text, r.owner))
        ]
    if not lines:
        return f"nothing to do on {view.link.name}: no service asks for an external IP\n"
    return "".join(f"{verb:<8}{what:<44}{why}".rstrip() + "\n" for verb, what, why in lines)


def _http(
    settings: SimpleSettings, half: AddressHalf, inputs: ServiceInputs, metrics: Metrics
) -> list[Component]:
    if settings.http is None:
        return []
    server = HealthServer(
        settings.http,
        live={"addresses": half.reconciler.stuck},
        ready={"caches": inputs.problem, "addresses": half.reconciler.problem},
        registry=metrics.registry,
    )
    return [Component("http", server.run)]
