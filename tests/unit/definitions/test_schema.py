"""A struct and what it says of its fields make a schema that an API server takes."""

from typing import Annotated

from extip.api.meta_v1 import Wire
from extip.api.schema import ATOMIC, says
from extip.definitions.schema import schema_of


class Inner(Wire, frozen=True):
    """What is inside.

    This is for whoever reads the code.
    """

    is_up: bool = False


class Outer(Wire, frozen=True):
    """What is outside."""

    node_name: Annotated[str, says("Its node.", required=True, maxLength=3)] = ""
    inner: Annotated[Inner | None, says("Another text.")] = None
    many: Annotated[tuple[Annotated[str, says(pattern="^a")], ...] | None, says(**ATOMIC)] = None
    by_name: dict[str, int] | None = None
    weight: Annotated[int, says("How heavy.", defaulted=True, minimum=0)] = 7


def test_a_struct_as_a_schema():
    assert schema_of(Outer) == {
        "type": "object",
        "description": "What is outside.",
        "properties": {
            "nodeName": {"type": "string", "description": "Its node.", "maxLength": 3},
            "inner": {
                "type": "object",
                "description": "Another text.",
                "properties": {"isUp": {"type": "boolean"}},
            },
            "many": {
                "type": "array",
                "items": {"type": "string", "pattern": "^a"},
                "x-kubernetes-list-type": "atomic",
            },
            "byName": {"type": "object", "additionalProperties": {"type": "integer"}},
            "weight": {"type": "integer", "description": "How heavy.", "minimum": 0, "default": 7},
        },
        "required": ["nodeName"],
    }


def test_the_first_line_of_a_docstring_is_the_description():
    assert schema_of(Inner)["description"] == "What is inside."


def test_type_and_description_come_first():
    assert list(schema_of(Outer))[:2] == ["type", "description"]
