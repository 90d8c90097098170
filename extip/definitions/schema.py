"""Structural OpenAPI v3 schemas (apiextensions.k8s.io/v1) of the structs that objects decode into.

Types and names come from the fields, descriptions from `extip.api.schema.says` and the first
lines of docstrings.
"""

from typing import cast

from msgspec import Struct, inspect

from extip.api.schema import DEFAULTED, REQUIRED, Json

_HEAD = {"type": 0, "description": 1}
"""The order of the first keys in a schema, for its readers."""

_PLAIN: dict[type[inspect.Type], str] = {
    inspect.StrType: "string",
    inspect.IntType: "integer",
    inspect.BoolType: "boolean",
}


def schema_of(struct: type[Struct]) -> Json:
    """Return the schema of a struct."""
    return _schema(inspect.type_info(struct))


def _schema(type_: inspect.Type) -> Json:
    match type_:
        case inspect.Metadata():
            said = cast("Json", type_.extra_json_schema or {})
            schema = {**_schema(type_.type), **said}
            return {key: schema[key] for key in sorted(schema, key=lambda k: _HEAD.get(k, 2))}
        case inspect.UnionType():  # None stands for a nil of Go
            (some,) = (one for one in type_.types if not isinstance(one, inspect.NoneType))
            return _schema(some)
        case inspect.VarTupleType():
            return {"type": "array", "items": _schema(type_.item_type)}
        case inspect.DictType():
            return {"type": "object", "additionalProperties": _schema(type_.value_type)}
        case inspect.StructType():
            return _object(type_)
        case _:
            return {"type": _PLAIN[type(type_)]}


def _object(type_: inspect.StructType) -> Json:
    required = [field.encode_name for field in type_.fields if _marked(field, REQUIRED)]
    return {
        "type": "object",
        "description": (type_.cls.__doc__ or "").partition("\n")[0],
        "properties": {field.encode_name: _field(field) for field in type_.fields},
        **({"required": required} if required else {}),
    }


def _field(field: inspect.Field) -> Json:
    schema = _schema(field.type)
    return {**schema, "default": field.default} if _marked(field, DEFAULTED) else schema


def _marked(field: inspect.Field, mark: str) -> bool:
    type_ = field.type
    return isinstance(type_, inspect.Metadata) and bool((type_.extra or {}).get(mark))
