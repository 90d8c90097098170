"""`extip status`: what the API server knows of every external IP and every controller."""

import sys
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import msgspec

from extip.clock import LoopClock
from extip.errors import FatalError
from extip.kube.client import ApiClient, connect
from extip.kube.place import Place
from extip.metrics import Metrics
from extip.pools.policy.slips import slips
from extip.printable import printable
from extip.status.cluster import Cluster, events_about, read_cluster
from extip.status.policy.explanation import Explanation, explain, who_could_give
from extip.status.policy.overview import (
    Overview,
    in_order,
    leader_of,
    nodes_in_order,
    problems,
)
from extip.status.policy.pending import pending_rows
from extip.status.policy.pools import pool_rows
from extip.status.policy.selection import Selection, plain_ip, select
from extip.status.policy.simple_mode import given_rows, giver_of, is_written, written_rows
from extip.status.policy.table import ClaimRow, claim_rows, node_rows
from extip.status.policy.text import as_text
from extip.status.question import Question
from extip.status.screen import Screen
from extip.terminal import has_colours


async def run(place: Place, question: Question) -> bool:
    """Print the answer; return whether all that was asked for is up.

    Raises FatalError when something of it is not known, and ApiError.
    """
    opened = _connect(place, question)
    async with opened as client:
        overview, notes = await _answer(client, question)
    for note in notes:
        sys.stderr.write(f"extip: {printable(note)}\n")
    sys.stdout.write(_shown(overview, question, colour=has_colours(sys.stdout)))
    return overview.all_up


async def watch(place: Place, question: Question) -> None:
    """Show the answer on the terminal, and keep it up to date until Ctrl-C. Raises FatalError."""
    opened = _connect(place, question)
    async with opened as client:

        async def answer() -> str:
            overview, notes = await _answer(client, question)
            text = _shown(overview, question, colour=has_colours(sys.stdout))
            return "".join((*(f"extip: {printable(note)}\n" for note in notes), text))

        await Screen(clock=LoopClock()).follow(answer)


def _connect(place: Place, question: Question) -> AbstractAsyncContextManager[ApiClient]:
    return connect(
        place.kubeconfig,
        context=place.context,
        instance=question.instance,
        metrics=Metrics("status"),
    )


async def _answer(client: ApiClient, question: Question) -> tuple[Overview, tuple[str, ...]]:
    """Return the overview, and what could not be read for it."""
    cluster = await read_cluster(client, question.lease_namespace, question.instance or "")
    registered = {node.metadata.name for node in cluster.nodes}
    ips = claim_rows(cluster.claims, registered=registered, services=cluster.services)
    ips += given_rows(
        cluster.pools, cluster.claims, cluster.givers, (*cluster.told, *cluster.arrived)
    )
    ips += _without_claim(cluster)
    nodes = node_rows(cluster.nodes, cluster.beats, cluster.claims, missing=cluster.missing)
    found = select(question.about, question.namespace, ips, nodes)
    if found.unknown:
        hints = (who_could_give(plain_ip(word), cluster.pools) for word in question.about)
        raise FatalError("; ".join(found.unknown) + next(filter(None, hints), ""))
    pools = tuple(pool_rows(cluster.pools))
    mistakes = slips(cluster.services, registered)
    leader = leader_of(cluster.elections, unread=cluster.elections_unread, now=LoopClock().utcnow())
    overview = Overview(
        problems=problems(
            leader,
            found.ips,
            found.nodes,
            pools if question.whole else (),
            mistakes if question.whole else {},
        ),
        leader=leader,
        ips=tuple(in_order(found.ips, question.sort)),
        nodes=tuple(nodes_in_order(found.nodes, question.sort)),
        pools=pools if question.whole else (),
        explanation=await _explanation(client, question, cluster, found, mistakes),
    )
    if question.namespace and not found.ips:
        return overview, (*cluster.notes, f"no IP of the namespace {question.namespace} is known")
    return overview, cluster.notes


def _without_claim(cluster: Cluster) -> list[ClaimRow]:
    """Return the rows of IPs that services ask for and that have no claim."""
    node = "" if cluster.scheduled else giver_of(cluster.givers)
    told = (*cluster.told, *cluster.arrived)
    rest = [one for one in cluster.lacking if not (node and is_written(one))]
    return [
        *written_rows(cluster.lacking if node else (), node, told),
        *pending_rows(rest, cluster.told, cluster.arrived),
    ]


async def _explanation(
    client: ApiClient,
    question: Question,
    cluster: Cluster,
    found: Selection,
    mistakes: Mapping[str, str],
) -> Explanation | None:
    """Return it when one IP is asked for."""
    words = {plain_ip(word) for word in question.about}
    if len(words) != 1 or not (word := words.pop()) or all(row.ip != word for row in found.ips):
        return None
    claims = [claim for claim in cluster.claims if plain_ip(claim.spec.cidr) == word]
    asking = {name for row in found.ips for name in row.services}
    events, unread = await events_about(client, claims, sorted(asking))
    told = explain(
        word,
        rows=found.ips,
        claims=claims,
        services=cluster.services,
        events=events,
        unread=unread,
    )
    of_them = (f"{name}: {mistakes[name]}" for name in sorted(asking & mistakes.keys()))
    return replace(told, mistakes=tuple(of_them))


def _shown(overview: Overview, question: Question, *, colour: bool) -> str:
    if question.output == "json":
        return msgspec.json.format(msgspec.json.encode(overview), indent=2).decode() + "\n"
    if question.output == "yaml":
        import yaml  # noqa: PLC0415 - takes time, and is seldom wanted

        dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
        shown = yaml.dump(
            msgspec.to_builtins(overview), Dumper=dumper, sort_keys=False, allow_unicode=True
        )
        return str(shown)
    return as_text(
        overview,
        now=LoopClock().utcnow(),
        wide=question.output == "wide",
        colour=colour,
        whole=question.whole,
    )
