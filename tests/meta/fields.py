"""Writes docs/fields.md, the reference of all fields: `python -m tests.meta.fields`.

It comes from the definitions that the API server gets, so it cannot say anything else than they.
"""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from extip.definitions.documents import definitions
from tests.meta.manifests import ROOT

PAGE = ROOT / "docs/fields.md"

_HEAD = """# Fields of extip's objects

Made from the definitions by `python -m tests.meta.fields`; do not edit. `kubectl explain
ipclaimpool.spec` says the same. In lists, `[]` stands for each item, in maps `{}` for each value.
People write `spec`; extip writes `status`.
"""


def page() -> str:
    """Return the page as it must be."""
    return "\n".join([_HEAD, *(_section(definition) for definition in definitions())])


def _section(definition: Any) -> str:
    names = definition["spec"]["names"]
    version = definition["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    columns = ", ".join(
        f"{column['name']}{' (`-o wide`)' if column.get('priority') else ''}"
        for column in version["additionalPrinterColumns"]
    )
    rows = [
        row
        for part in ("spec", "status")
        if part in schema["properties"]
        for row in _rows(part, schema["properties"][part])
    ]
    about = f"{schema['description']} Short name `{names['shortNames'][0]}`."
    return "\n".join(
        [
            f"## {names['kind']}",
            "",
            f"{about} Columns of `kubectl get`: {columns}.",
            "",
            "| field | type | meaning |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    )


def _rows(path: str, schema: Mapping[str, Any]) -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        here = f"{path}.{name}"
        needed = " Required." if name in schema.get("required", ()) else ""
        default = f" Default: `{_written(field['default'])}`." if "default" in field else ""
        choices = field.get("enum")
        among = f" One of {', '.join(f'`{one}`' for one in choices)}." if choices else ""
        text = f"{field.get('description', '')}{among}{default}{needed}".strip()
        yield f"| `{here}` | {_type(field)} | {text.replace('|', chr(92) + '|')} |"
        yield from _inside(here, field)


def _inside(path: str, field: Mapping[str, Any]) -> Iterator[str]:
    if field["type"] == "object" and "properties" in field:
        yield from _rows(path, field)
    elif field["type"] == "array":
        yield from _inside(f"{path}[]", field["items"])
    elif isinstance(field.get("additionalProperties"), Mapping):
        yield from _inside(f"{path}{{}}", field["additionalProperties"])


def _type(field: Mapping[str, Any]) -> str:
    if field["type"] == "array":
        return f"list of {_type(field['items'])}"
    if isinstance(field.get("additionalProperties"), Mapping):
        return f"map of {_type(field['additionalProperties'])}"
    return str(field.get("format") or field["type"])


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.stderr.write(f"{PAGE.relative_to(ROOT)} written\n")
