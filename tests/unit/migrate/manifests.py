"""Manifests as people have them, and the outcome of a conversion in few words."""

from ipaddress import ip_network

import yaml

from extip.migrate.policy.documents import Documents, flatten
from extip.migrate.policy.result import Result
from extip.migrate.policy.software import SOFTWARE
from extip.pools.policy.pools import compile_pools


def service(name, namespace="shop", *, annotations=None, ips=(), **spec):
    """Return a load balancer, with the addresses that its status shows."""
    metadata = {"name": name, "namespace": namespace}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata | ({"annotations": annotations} if annotations else {}),
        "spec": {"type": "LoadBalancer", **spec},
        "status": {"loadBalancer": {"ingress": [{"ip": ip} for ip in ips]} if ips else {}},
    }


def converted(program, *manifests, segments=()):
    """Convert texts with YAML, and objects."""
    result = Result()
    documents: list[object] = []
    for manifest in manifests:
        documents += yaml.safe_load_all(manifest) if isinstance(manifest, str) else [manifest]
    found = Documents(tuple(flatten(documents, result, "a file")))
    outcome = SOFTWARE[program].convert(found, [ip_network(one) for one in segments])
    outcome.put_first(result)
    return outcome


def spec_of(result, name):
    """Return the spec of a pool as its manifest has it."""
    found = {one["metadata"]["name"]: one["spec"] for one in result.manifests() if "spec" in one}
    return found[name]


def annotations_of(result):
    """Return the annotations of each service that is patched."""
    return {
        f"{one.namespace}/{one.name}": one.annotations
        for one in result.patches
        if one.kind == "Service"
    }


def addresses_of(result, name):
    """Return the addresses that a pool gives as text, as far as they are few."""
    pool = compile_pools(result.pools).by_name[name]
    assert pool.problem == ""
    return [str(ip) for version in sorted(pool.versions) for ip in pool.free(version, set(), [])]


def lost(result):
    """Return the lines about all that could not be carried over."""
    return [str(remark) for remark in result.remarks if remark.lost]


def notes(result):
    """Return the other lines."""
    return [str(remark) for remark in result.remarks if not remark.lost]
