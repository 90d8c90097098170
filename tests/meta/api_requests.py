"""Which requests a mode can send to the API server, read off the source: what RBAC must grant.

Every request goes through a method of `ApiClient` whose first argument is one of the constants of
`extip.api.resources`; so its verb and its resource stand in the source, side by side.
"""

import ast
from pathlib import Path

import grimp

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


def api_requests(module: str) -> set[tuple[str, str, str]]:
    """Return API group, resource and verb of all requests in a module and all that it imports."""
    graph = grimp.build_graph("extip", cache_dir=None)
    found: set[tuple[str, str, str]] = set()
    for name in graph.find_upstream_modules(module) | {module}:
        if name != CLIENT:  # where the methods themselves are
            found |= _requests_in(_source_of(name))
    return found


def _source_of(module: str) -> str:
    path = ROOT / module.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return file.read_text()


def _requests_in(source: str) -> set[tuple[str, str, str]]:
    found: set[tuple[str, str, str]] = set()
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and _is_request(node.func)):
            continue
        assert isinstance(node.func, ast.Attribute)
        resource = _resource(node)
        plural = "/".join(part for part in (resource.plural, _subresource(node)) if part)
        found |= {(resource.group, plural, verb) for verb in VERBS[node.func.attr]}
    return found


def _is_request(function: ast.expr) -> bool:
    """Tell whether it is `client.VERB` or `self._client.VERB`."""
    if not isinstance(function, ast.Attribute) or function.attr not in VERBS:
        return False
    receiver = ast.unparse(function.value)
    return receiver == "client" or receiver.endswith("._client")


def _resource(call: ast.Call) -> resources.Resource[KubernetesObject]:
    text = ast.unparse(call.args[0])
    resource = getattr(resources, text, None)
    assert isinstance(resource, resources.Resource), (
        f"cannot tell what {ast.unparse(call)!r} asks for: it is not a constant of "
        "extip.api.resources"
    )
    return resource


def _subresource(call: ast.Call) -> str:
    for keyword in call.keywords:
        if keyword.arg == "subresource":
            value = ast.literal_eval(keyword.value)
            assert isinstance(value, str)
            return value
    return ""
