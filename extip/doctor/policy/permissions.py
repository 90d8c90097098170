"""The permissions that each role needs at the API server. Pure.

They are those of the manifests; a test compares both.
"""

from typing import NamedTuple

from extip.api.names import GROUP

_DEFAULT = "default"
_KUBERNETES = "kubernetes"
_CRDS = "apiextensions.k8s.io"
_SLICES = "discovery.k8s.io"
_NETWORKING = "networking.k8s.io"
_LEASES = "coordination.k8s.io"


class Permission(NamedTuple):
    """One verb on one resource."""

    group: str
    resource: str
    """With its subresource, where it has one: ``services/status``."""
    verb: str
    namespace: str = ""
    """Empty for all namespaces, and for what has none; ``.`` for that of the Leases."""
    name: str = ""
    """The one object that it is needed for; empty for all."""

    def __str__(self) -> str:
        resource = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{self.verb} {resource}{f' {self.name}' if self.name else ''}"


def needed(role: str) -> tuple[Permission, ...]:
    """Return the permissions of one of the `ROLES` of `extip.doctor.wish`."""
    return _NEEDED[role]


def _each(group: str, resources: str, verbs: str, namespace: str = "") -> list[Permission]:
    return [
        Permission(group, resource, verb, namespace)
        for resource in resources.split()
        for verb in verbs.split()
    ]


_API_SERVERS = [
    Permission("", "services", "get", _DEFAULT, _KUBERNETES),
    Permission("", "endpoints", "get", _DEFAULT, _KUBERNETES),
    Permission(_SLICES, "endpointslices", "get", _DEFAULT, _KUBERNETES),
]
_EVENTS = _each("", "events", "create get patch")
_SERVICE_NETWORKS = _each(_NETWORKING, "servicecidrs", "list")
_KINDS = [
    Permission(_CRDS, "customresourcedefinitions", "get", "", f"{plural}.{GROUP}")
    for plural in ("ipclaims", "ipnodes", "ipclaimpools")
]
_ALWAYS = [*_API_SERVERS, *_SERVICE_NETWORKS, *_EVENTS]

_NEEDED = {
    "person": (
        *_each(GROUP, "ipclaims ipnodes ipclaimpools", "list"),
        *_each(GROUP, "ipnodes", "patch"),
        *_each("", "services events nodes", "list"),
        *_each(_LEASES, "leases", "list"),
    ),
    "controller": (
        *_each(GROUP, "ipclaims", "get list watch"),
        *_each(GROUP, "ipnodes", "get list watch create"),
        *_each(GROUP, "ipclaims/status ipnodes/status", "patch"),
        *_each(GROUP, "ipclaimpools", "list"),
        *_each("", "nodes", "list watch"),
        *_each(_LEASES, "leases", "get create update", "."),
        *_KINDS,
        *_ALWAYS,
    ),
    "scheduler": (
        *_each(GROUP, "ipclaims", "list watch create patch delete"),
        *_each(GROUP, "ipclaimpools ipnodes", "list watch"),
        *_each(GROUP, "ipclaims/status ipnodes/status ipclaimpools/status", "patch"),
        *_each("", "services", "get list watch patch"),
        *_each("", "services/status", "patch"),
        *_each("", "nodes namespaces", "list watch"),
        *_each(_SLICES, "endpointslices", "list watch"),
        *_each(_LEASES, "leases", "list watch get create update", "."),
        *_KINDS,
        *_ALWAYS,
    ),
    "simple": (
        *_each("", "services nodes namespaces", "list watch"),
        *_each("", "services", "get patch"),
        *_each("", "services/status", "patch"),
        *_each(GROUP, "ipclaimpools", "list watch"),
        *_each(GROUP, "ipclaimpools/status", "patch"),
        *_each(_SLICES, "endpointslices", "list watch"),
        *_each(_LEASES, "leases", "get create update", "."),
        *_ALWAYS,
    ),
}
