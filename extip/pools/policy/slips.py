"""Services → what their annotations say in vain, for a person who looks for it. Pure."""

from collections.abc import Collection, Iterable

from extip.api.core_v1 import DetailedService
from extip.pools.policy.address_request import misunderstood
from extip.services.policy.preferred_nodes import unknown_nodes


def slips(services: Iterable[DetailedService], nodes: Collection[str]) -> dict[str, str]:
    """Return a sentence for each service (``namespace/name``) with an annotation to mend.

    `nodes` are those that have a controller; empty when they are not known.
    """
    found: dict[str, str] = {}
    for service in services:
        if service.metadata.annotations:
            sentences = misunderstood(service), unknown_nodes(service, nodes)
            if text := "; ".join(filter(None, sentences)):
                found[f"{service.metadata.namespace}/{service.metadata.name}"] = text
    return found
