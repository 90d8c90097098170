"""Annotations of struct fields beyond their types, for the OpenAPI schemas of extip's kinds.

The API server enforces them. Decoding does not, and reads every object that a server sends. Schemas
are structural (apiextensions.k8s.io/v1). A rule is a format or a pattern where possible, since
every server since 1.16 enforces them. ``x-kubernetes-validations`` use only the CEL of 1.25.
Servers before that drop the field. Functions of later servers (`isCIDR`) would make servers in
between refuse the whole definition.
"""

from collections.abc import Mapping, Sequence

from msgspec import Meta

Json = Mapping[str, "JsonValue"]
JsonValue = str | int | bool | Json | Sequence["JsonValue"]

REQUIRED, DEFAULTED = "required", "defaulted"
"""Keys of `Meta.extra`: a server refuses objects without the field, or fills in its default."""

ATOMIC: Json = {"x-kubernetes-list-type": "atomic"}
"""The list type of a list with one owner."""

ATOMIC_MAP: Json = {"x-kubernetes-map-type": "atomic"}
"""The map type of an object with one owner."""

INT32: Json = {"format": "int32"}
INT64: Json = {"format": "int64"}
TIME: Json = {"format": "date-time"}
"""RFC 3339."""

_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = rf"{_OCTET}(\.{_OCTET}){{3}}"
_IPV6 = r"[0-9A-Fa-f]{0,4}(:[0-9A-Fa-f]{0,4}){2,7}"

LONGEST_CIDR: Json = {"maxLength": 43}
CIDR: Json = {"format": "cidr", **LONGEST_CIDR}
"""Servers read it with Go's ParseCIDR, and refuse anything else in words that people understand."""
IP: Json = {"pattern": f"^({_IPV4}|{_IPV6})$", **LONGEST_CIDR}

LONGEST_NAME: Json = {"maxLength": 253}
"""The length of an object's name."""
NODE: Json = {
    "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$",
    **LONGEST_NAME,
}
LONGEST_LINK: Json = {"maxLength": 15}
LINK: Json = {"pattern": r"^[^/\s]*$", **LONGEST_LINK}


def says(
    description: str = "", *, required: bool = False, defaulted: bool = False, **schema: JsonValue
) -> Meta:
    """Describe a field, or the items of a list, to people and to the API server."""
    told: dict[str, JsonValue] = {"description": description} if description else {}
    told.update(schema)
    marks = {REQUIRED: required, DEFAULTED: defaulted}
    return Meta(extra_json_schema=told, extra=marks)


def keyed(key: str) -> Json:
    """Return what makes a list of objects a map: one of each `key`."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


def rule(expression: str, message: str) -> Json:
    """Return a rule in CEL, and what a person is told who breaks it."""
    return {"x-kubernetes-validations": [{"rule": expression, "message": message}]}
