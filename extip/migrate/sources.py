"""Reads the objects of other programs: from files, or from the cluster. It writes nothing."""

import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import cast

import msgspec
import yaml

from extip.api.meta_v1 import FullObject
from extip.api.resources import IP_NODES, Resource
from extip.claims.policy.claims import parse_cidr
from extip.errors import ApiAccessError, ConfigurationError, NotFoundError
from extip.kube.client import ApiClient, Scope
from extip.migrate.policy.documents import Document, flatten
from extip.migrate.policy.result import Result
from extip.migrate.policy.software import Kind, Software
from extip.net.networks import IPNetwork

STDIN = "-"


class _Anything(FullObject, frozen=True):
    """An object of any kind, with the rest of it as the JSON that it is."""

    spec: msgspec.Raw = msgspec.Raw(b"{}")
    status: msgspec.Raw = msgspec.Raw(b"{}")
    data: dict[str, str] | None = None


def read_files(names: Iterable[str], result: Result) -> tuple[Document, ...]:
    """Return the objects in some files. Raises ConfigurationError when one cannot be read."""
    found: list[Document] = []
    for name in names:
        source = "standard input" if name == STDIN else name
        try:
            text = sys.stdin.read() if name == STDIN else Path(name).read_text(encoding="utf-8")
            documents = list(yaml.safe_load_all(text))  # in C, deep nesting kills the process
        except OSError as error:
            raise ConfigurationError(f"cannot read {source}: {error.strerror}") from error
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            at = f", line {mark.line + 1}" if mark else ""
            text = error.problem or error.context or "it cannot be read"
            raise ConfigurationError(f"{source} is no YAML{at}: {text}") from error
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            text = " ".join(str(error).split())
            raise ConfigurationError(f"{source} is no YAML: {text}") from error
        found += flatten(cast("list[object]", documents), result, source)
    return tuple(found)


async def read_cluster(
    client: ApiClient, software: Software, result: Result
) -> tuple[Document, ...]:
    """Return the program's objects in the cluster, and all services. Raises ApiError.

    What may not be read is a remark.
    """
    services = Kind(group="", versions=("v1",), plural="services", kind="Service", namespaced=True)
    found: list[Document] = []
    for kind in (*software.kinds, services):
        try:
            found += [document async for document in _objects(client, kind, result)]
        except ApiAccessError as error:
            result.lose(kind.plural, f"they are not read: {error}", "use an account that may")
    return tuple(found)


async def _objects(client: ApiClient, kind: Kind, result: Result) -> AsyncIterator[Document]:
    """Yield the objects of a kind; none where its definition is missing."""
    scope = Scope(field_selector=f"metadata.name={kind.name}") if kind.name else Scope()
    for version in kind.versions:
        resource = Resource(
            group=kind.group,
            version=version,
            plural=kind.plural,
            kind=kind.kind,
            namespaced=kind.namespaced,
            type=_Anything,
        )
        try:
            page = await client.list(resource, scope)
        except NotFoundError:
            continue
        for bad in page.unreadable:
            result.lose(f"{kind.kind} {bad.key}", bad.reason, "correct it, and run this again")
        for one in page.items:
            yield _document(one, resource)
        return


def _document(one: _Anything, resource: Resource[_Anything]) -> Document:
    """Return the object as a manifest has it."""
    parts = {"spec": one.spec, "status": one.status}
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": msgspec.to_builtins(one.metadata),
        **{name: msgspec.json.decode(part) for name, part in parts.items()},
        "data": one.data,
    }


async def read_segments(client: ApiClient) -> tuple[IPNetwork, ...]:
    """Return the networks of nodes where a controller runs already, as their IpNodes tell them."""
    try:
        page = await client.list(IP_NODES)
    except (NotFoundError, ApiAccessError):
        return ()
    links = [link for node in page.items for link in node.status.links or ()]
    found = (parse_cidr(text) for link in links for text in link.addresses or ())
    return tuple(dict.fromkeys(one.network for one in found if one is not None))
