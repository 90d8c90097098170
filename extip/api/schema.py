"""Pieces of structural OpenAPI v3 schemas (apiextensions.k8s.io/v1), as plain JSON values."""

from collections.abc import Mapping, Sequence

Json = Mapping[str, "JsonValue"]
JsonValue = str | int | bool | Json | Sequence["JsonValue"]

MAX_EXPRESSIONS = 64
"""Expressions in a selector, and values in one of them."""


def text(description: str, **more: JsonValue) -> Json:
    """Describe a string."""
    return {"type": "string", "description": description, **more}


def integer(description: str, **more: JsonValue) -> Json:
    """Describe an integer."""
    return {"type": "integer", "description": description, **more}


def boolean(description: str, **more: JsonValue) -> Json:
    """Describe a boolean."""
    return {"type": "boolean", "description": description, **more}


def array(description: str, items: Json, **more: JsonValue) -> Json:
    """Describe an array."""
    return {"type": "array", "description": description, "items": items, **more}


def struct(description: str, properties: Json, **more: JsonValue) -> Json:
    """Describe an object with known fields."""
    return {"type": "object", "description": description, "properties": properties, **more}


def mapping(description: str, values: Json) -> Json:
    """Describe an object with any keys."""
    return {"type": "object", "description": description, "additionalProperties": values}


def time(description: str) -> Json:
    """Describe a time in RFC 3339."""
    return text(description, format="date-time")


def conditions(description: str) -> Json:
    """Describe conditions, one of each type."""
    condition = struct(
        "One observation.",
        {
            "type": text("What was observed.", maxLength=316),
            "status": text("Whether it is so.", enum=["True", "False", "Unknown"]),
            "reason": text("Why, in one CamelCase word.", maxLength=1024),
            "message": text("Why, for a person.", maxLength=32768),
            "lastTransitionTime": time("When the status last changed."),
            "observedGeneration": integer(
                "Generation of the object that was looked at.", format="int64", minimum=0
            ),
        },
        required=["type", "status", "reason", "lastTransitionTime"],
    )
    return array(
        description,
        condition,
        **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )


def selector(description: str) -> Json:
    """Describe a label selector."""
    requirement = struct(
        "One expression over a label.",
        {
            "key": text("The label."),
            "operator": text("How it is compared.", enum=["In", "NotIn", "Exists", "DoesNotExist"]),
            "values": array(
                "Values for In and NotIn.",
                {"type": "string"},
                maxItems=MAX_EXPRESSIONS,
                **{"x-kubernetes-list-type": "atomic"},
            ),
        },
        required=["key", "operator"],
    )
    return struct(
        description,
        {
            "matchLabels": mapping("Labels that must have these values.", {"type": "string"}),
            "matchExpressions": array(
                "Expressions that must all hold.",
                requirement,
                maxItems=MAX_EXPRESSIONS,
                **{"x-kubernetes-list-type": "atomic"},
            ),
        },
        **{"x-kubernetes-map-type": "atomic"},
    )
