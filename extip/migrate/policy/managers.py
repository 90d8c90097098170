"""A service → the programs that manage it, and may change it back. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from extip.api.meta_v1 import FieldOwnership
from extip.api.names import FIELD_MANAGER
from extip.api.whole_service import WholeService

_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_MANAGED_BY = "app.kubernetes.io/managed-by"
_HELM = "Helm"

_STANDING_MARKS = {
    "argocd.argoproj.io/tracking-id": "Argo CD",
    "argocd.argoproj.io/instance": "Argo CD",
    "kustomize.toolkit.fluxcd.io/name": "Flux",
    "helm.toolkit.fluxcd.io/name": "Flux",
    "objectset.rio.cattle.io/id": "Rancher Fleet or K3s",
    "addonmanager.kubernetes.io/mode": "the addon manager",
}
"""Labels and annotations of programs that compare again and again."""

_STANDING_MANAGERS = {
    "argocd": "Argo CD",
    "kustomize-controller": "Flux",
    "helm-controller": "Flux",
    "fleetagent": "Rancher Fleet",
    "crossplane": "Crossplane",
}
"""The begins of their names as field managers."""

_OCCASIONAL_MANAGERS = {"helm": _HELM, "terraform": "Terraform", "ansible": "Ansible"}
_RUN_BY_HAND = frozenset({"helm", "kustomize", "kubectl", "terraform", "pulumi", "ansible"})
"""Values of the label in small letters, of programs that do not compare by themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Managers:
    """The programs that wrote a service, as far as it shows them."""

    standing: tuple[str, ...] = ()
    """They compare it with their source again and again."""
    occasional: tuple[str, ...] = ()
    """They write when a person runs them."""


def managers_of(service: WholeService) -> Managers:
    """Return the programs that manage a service."""
    standing = tuple(dict.fromkeys(_standing(service), 0))
    occasional = dict.fromkeys(_occasional(service), 0)
    return Managers(standing=standing, occasional=() if standing else tuple(occasional))


def _standing(service: WholeService) -> Iterator[str]:
    meta = service.metadata
    for owner in meta.owner_references or ():
        yield f"{owner.kind} {owner.name}"
    for mark in (*(meta.labels or {}), *(meta.annotations or {})):
        if mark in _STANDING_MARKS:
            yield _STANDING_MARKS[mark]
    for entry in meta.managed_fields or ():
        yield from _named(entry, _STANDING_MANAGERS)
    manager = (meta.labels or {}).get(_MANAGED_BY, "")
    if manager not in ("", FIELD_MANAGER) and manager.lower() not in _RUN_BY_HAND:
        yield manager


def _occasional(service: WholeService) -> Iterator[str]:
    meta = service.metadata
    manager = (meta.labels or {}).get(_MANAGED_BY, "")
    if manager.lower() in _RUN_BY_HAND:
        yield manager
    if _APPLIED in (meta.annotations or {}):
        yield "kubectl apply"
    for entry in meta.managed_fields or ():
        yield from _named(entry, _OCCASIONAL_MANAGERS)
        if entry.manager == "kubectl" and entry.operation == "Apply":
            yield "kubectl apply"


def _named(entry: FieldOwnership, known: dict[str, str]) -> Iterator[str]:
    for begin, name in known.items():
        if entry.manager.lower().startswith(begin):
            yield name
