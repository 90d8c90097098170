"""Which requests a mode can send to the API server, read off the source: what RBAC must grant.

Every request goes through a method of `ApiClient` whose first argument is one of the constants of
`extip.api.resources`; so its verb and its resource stand in the source, side by side. Requests that
count are those in the functions and classes that a mode's `run` reaches: by the names that it says,
by those that these say, and so on. A class counts as a whole.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from extip.api import resources
from extip.api.meta_v1 import KubernetesObject

ROOT = Path(__file__).parents[2]
CLIENT = "extip.kube.client"
VERBS = {
    "lister_watcher": ("list", "watch"),
    "list": ("list",),
    "watch": ("watch",),
    "get": ("get",),
    "create": ("create",),
    "replace": ("update",),
    "patch": ("patch",),
    "delete": ("delete",),
}

Request = tuple[str, str, str]
"""API group, resource and verb."""


def api_requests(module: str) -> set[Request]:
    """Return the requests that the module's `run` can send."""
    found: set[Request] = set()
    for name, definition in _reached(module, "run"):
        if name != CLIENT:  # where the methods themselves are
            found |= set(_requests_in(definition, _source(name)))
    return found


# What is reached.


class _Source:
    """A module: its top-level definitions, and where its other names come from."""

    def __init__(self, path: Path) -> None:
        self.definitions: dict[str, ast.stmt] = {}
        self.imports: dict[str, tuple[str, str]] = {}
        """Module and name for each name that is imported from extip."""
        for statement in ast.parse(path.read_text()).body:
            for name in _defined(statement):
                self.definitions[name] = statement
            if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith(
                "extip"
            ):
                assert statement.module is not None
                for alias in statement.names:
                    self.imports[alias.asname or alias.name] = statement.module, alias.name


@cache
def _source(module: str) -> _Source:
    path = ROOT / module.replace(".", "/")
    return _Source(path / "__init__.py" if path.is_dir() else path.with_suffix(".py"))


def _is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").exists()


def _defined(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    return [
        node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)
    ]


def _reached(module: str, name: str) -> Iterator[tuple[str, ast.stmt]]:
    """Yield every top-level definition, with its module, that one definition leads to."""
    assert name in _source(module).definitions, f"{module} has no {name}"
    found, waiting = {(module, name)}, [(module, name)]
    while waiting:
        where, what = waiting.pop()
        definition = _source(where).definitions.get(what)
        if definition is None:
            continue
        yield where, definition
        said = {node.id for node in ast.walk(definition) if isinstance(node, ast.Name)}
        for new in {pair for word in said for pair in _meanings(where, word)} - found:
            found.add(new)
            waiting.append(new)


def _meanings(module: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield what a name stands for in a module: a definition, or all of a module's."""
    source = _source(module)
    if name in source.definitions:
        yield module, name
    elif name in source.imports:
        origin, original = source.imports[name]
        inner = f"{origin}.{original}"
        if _is_module(inner):
            yield from ((inner, definition) for definition in _source(inner).definitions)
        else:
            yield from [(origin, original), *_meanings_again(origin, original)]


def _meanings_again(module: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield what a name stands for that its module itself has from another one."""
    if name not in _source(module).definitions:
        yield from _meanings(module, name)


# What is asked for.


def _requests_in(definition: ast.stmt, source: _Source) -> Iterator[Request]:
    for node in ast.walk(definition):
        if not (isinstance(node, ast.Call) and _is_request(node.func)):
            continue
        assert isinstance(node.func, ast.Attribute)
        for resource in _resources(node, source):
            for subresource in _subresources(node):
                plural = "/".join(part for part in (resource.plural, subresource) if part)
                yield from ((resource.group, plural, verb) for verb in VERBS[node.func.attr])


def _is_request(function: ast.expr) -> bool:
    """Tell whether it is `client.VERB` or `self._client.VERB`."""
    if not isinstance(function, ast.Attribute) or function.attr not in VERBS:
        return False
    receiver = ast.unparse(function.value)
    return receiver == "client" or receiver.endswith("._client")


def _resources(call: ast.Call, source: _Source) -> list[resources.Resource[KubernetesObject]]:
    """Return what a request is for: a constant, or for `kind` any of the module's `_KINDS`."""
    text = ast.unparse(call.args[0])
    names = [text]
    if text == "kind" and "_KINDS" in source.definitions:
        said = ast.walk(source.definitions["_KINDS"])
        names = [node.id for node in said if isinstance(node, ast.Name) and node.id.isupper()]
        names.remove("_KINDS")
    found = [getattr(resources, name, None) for name in names]
    known = [resource for resource in found if isinstance(resource, resources.Resource)]
    assert known, f"nothing is in _KINDS that {ast.unparse(call)!r} asks for"
    assert len(known) == len(names), (
        f"cannot tell what {ast.unparse(call)!r} asks for: it is not a constant of "
        "extip.api.resources"
    )
    return known


def _subresources(call: ast.Call) -> list[str]:
    """Return the subresources that a request may be for; "" is the object itself."""
    for keyword in call.keywords:
        if keyword.arg == "subresource":
            value = keyword.value
            either = [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]
            found = [ast.literal_eval(one) for one in either]
            assert all(isinstance(one, str) for one in found)
            return found
    return [""]
