"""`extip migrate services`: from external IPs to load balancers with the same addresses."""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace

import msgspec
import yaml

from extip.clock import LoopClock
from extip.errors import InterruptedByUserError
from extip.kube.client import ApiClient, connect
from extip.kube.place import Place
from extip.metrics import Metrics
from extip.migrate.policy.missing_pools import missing_pools
from extip.migrate.policy.plan import Cluster, Planner, ServicePlan, Wish
from extip.migrate.policy.report import THROUGH, Report, Row, as_text, line_of, row_of, summary
from extip.migrate.policy.result import pool_manifest
from extip.migrate.reading import chosen_services, read_cluster
from extip.migrate.writing import Migration, with_refusals
from extip.terminal import has_colours


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The services, and the way in which a person wants to be told."""

    services: tuple[str, ...]
    """Names; empty for all."""
    namespace: str
    instance: str
    output: str


async def show(place: Place, question: Question, wish: Wish) -> bool:
    """Print what would be done; return whether nothing stands in the way. Raises ApiError."""
    async with _connect(place, question) as client:
        cluster, plans = await _planned(client, question, wish)
    report = _report(cluster, plans, wish, question.instance)
    if question.output == "json":
        _write_json(report)
    else:
        text = as_text(report.services, colour=has_colours(sys.stdout)) + "\n" if plans else ""
        sys.stdout.write(text + summary(report.services, undo=wish.undo) + _pools(report))
    return report.is_fine


async def apply(place: Place, question: Question, wish: Wish, *, wait_s: float) -> bool:
    """Do what `show` prints; return whether all services are through.

    Raises ApiError, and InterruptedByUserError after Ctrl-C.
    """

    def tell(row: Row) -> None:
        if question.output == "text":
            sys.stdout.write(line_of(row))
            sys.stdout.flush()

    async with _connect(place, question) as client:
        cluster, plans = await _planned(client, question, wish)
        migration = Migration(client, wish, wait_s=wait_s, clock=LoopClock(), on_end=tell)
        try:
            await migration.run(plans)
        except asyncio.CancelledError:
            through = sum(row.state in THROUGH for row in migration.ended.values())
            raise InterruptedByUserError(
                f"interrupted; {through} of {len(plans)} are through, and no service lost an IP: "
                "run it again to go on, or with --undo"
            ) from None
    report = replace(
        _report(cluster, plans, wish, question.instance),
        services=tuple(migration.ended[plan.name] for plan in plans),
    )
    if question.output == "json":
        _write_json(report)
    else:
        sys.stdout.write(_pools(report))
    return report.is_fine


async def _planned(
    client: ApiClient, question: Question, wish: Wish
) -> tuple[Cluster, list[ServicePlan]]:
    cluster = await read_cluster(client, instance=question.instance)
    chosen = chosen_services(
        cluster.services, question.services, question.namespace, undo=wish.undo
    )
    plans = Planner(cluster, chosen, wish).plan()
    return cluster, await with_refusals(client, plans, wish)


def _connect(place: Place, question: Question) -> AbstractAsyncContextManager[ApiClient]:
    return connect(
        place.kubeconfig,
        context=place.context,
        instance=question.instance,
        metrics=Metrics("migrate"),
    )


def _write_json(report: Report) -> None:
    encoded = msgspec.json.format(msgspec.json.encode(report), indent=2)
    sys.stdout.write(encoded.decode() + "\n")


def _report(cluster: Cluster, plans: Sequence[ServicePlan], wish: Wish, instance: str) -> Report:
    taken = {pool.metadata.name for pool in cluster.pools}
    pools = missing_pools((one for plan in plans for one in plan.missing), taken, instance)
    return Report(
        services=tuple(row_of(plan, undo=wish.undo) for plan in plans),
        pools=tuple(map(pool_manifest, pools)),
    )


def _pools(report: Report) -> str:
    """Return the missing pools as a manifest."""
    if not report.pools:
        return ""
    shown: str = yaml.safe_dump_all(report.pools, sort_keys=False)
    return f"\nApply this, or have one of your pools contain these IPs:\n---\n{shown}"
