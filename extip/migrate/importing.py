"""`extip migrate from`: objects of another program are printed as those that extip needs."""

import sys
from collections.abc import Sequence

import msgspec
import yaml

from extip.errors import FatalError
from extip.kube.client import connect
from extip.kube.place import Place
from extip.metrics import Metrics
from extip.migrate.order import Order
from extip.migrate.policy.documents import Document, Documents, group_of, kind_of
from extip.migrate.policy.result import Result
from extip.migrate.policy.software import SOFTWARE, Software
from extip.migrate.sources import read_cluster, read_files, read_segments

_HEAD = """\
# From {title}, by `extip migrate from`. Where it is piped to kubectl:
# kubectl apply --server-side --field-manager=extip-migrate -f -
# Services are patches: without --server-side they are refused.
"""
_ORDER = "the order of the switch-over is in docs/migration.md"


async def run(place: Place, order: Order) -> bool:
    """Print objects, and remarks on the rest; return whether everything could be carried over.

    Raises ApiError, ConfigurationError for a file, and FatalError where there is nothing.
    """
    software, remarks = SOFTWARE[order.software], Result()
    segments = order.networks
    if order.files:
        found = read_files(order.files, remarks)
    else:
        opened = connect(place.kubeconfig, context=place.context, metrics=Metrics("migrate"))
        async with opened as client:
            found = await read_cluster(client, software, remarks)
            segments = segments or await read_segments(client)
    result = software.convert(Documents(found), segments)
    result.put_first(remarks)
    there = _is_there(software, found)
    if order.files or remarks.remarks or there:
        _show(result, software, order.output)
    if not (result.pools or result.patches or (there and result.remarks)):
        raise FatalError(f"there is nothing of {software.title} that extip needs")
    return result.complete


def _is_there(software: Software, found: Sequence[Document]) -> bool:
    """Whether the program has objects: without them, remarks on services mean nothing."""
    kinds = {(kind.group, kind.kind) for kind in software.kinds}
    return any((group_of(one), kind_of(one)) in kinds for one in found)


def _show(result: Result, software: Software, output: str) -> None:
    manifests = result.manifests()
    if output == "json":
        told = {"objects": manifests, "remarks": result.remarks}
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(told), indent=2).decode() + "\n")
        return
    for remark in result.remarks:
        sys.stderr.write(f"extip: {remark}\n")
    sys.stderr.write(f"extip: {_ORDER}\n")
    if manifests:
        sys.stdout.write(_HEAD.format(title=software.title))
        yaml.safe_dump_all(manifests, sys.stdout, sort_keys=False, width=100, explicit_start=True)
