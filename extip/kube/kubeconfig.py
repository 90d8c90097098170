"""The choice of a context among kubeconfig files, as kubectl makes it.

Of several files the first one that says something counts. Those that are missing or empty do not.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_SHOWN = 5
"""Contexts that a message names."""


def choose_context(paths: str, context: str) -> tuple[str, str]:
    """Return the files that say something, with ``:`` in between, and the name of the context.

    An empty `context` is the current one. Names the usual mistakes better than the loader does.
    Raises ValueError and OSError.
    """
    documents = _read(paths)
    found = list(documents.values())
    chosen = context or next((name for d in found if (name := d.get("current-context"))), "")
    if not chosen:
        raise ValueError("no current-context is set (kubectl config use-context NAME)")
    named = _named(found, "contexts", chosen)
    cluster = _named(found, "clusters", named.get("context", {}).get("cluster"))
    server = cluster.get("cluster", {}).get("server", "")
    if not str(server).startswith(("http://", "https://")):
        raise ValueError(f"the server of cluster {cluster['name']!r} is not an http(s) URL")
    return os.pathsep.join(documents), chosen


def _read(paths: str) -> dict[str, dict[str, Any]]:
    """Return the documents by their paths. Raises ValueError and OSError when there is none."""
    each = [path for path in paths.split(os.pathsep) if path]
    documents: dict[str, dict[str, Any]] = {}
    for path in each:
        try:
            document = _document(path, "" if len(each) == 1 else f"{path} ")
        except FileNotFoundError:
            if len(each) == 1:
                raise
            continue
        if document is not None:
            documents[path] = document
    if not documents:
        raise ValueError("empty" if len(each) == 1 else "none of these files says anything")
    return documents


def _document(path: str, name: str) -> dict[str, Any] | None:
    """Read a file. `name` is what an error begins with: one of several files has to be named."""
    import yaml  # noqa: PLC0415 - comes with kubernetes_asyncio

    try:
        document = yaml.safe_load(Path(path).expanduser().read_bytes())
    except yaml.YAMLError as error:
        raise ValueError(f"{name}is not valid YAML: {_where_in_yaml(error)}") from error
    if document is not None and not isinstance(document, dict):
        raise ValueError(f"{name}is not a kubeconfig file")
    return document


def _where_in_yaml(error: Any) -> str:  # noqa: ANN401 - yaml is imported only where needed
    """Say what is wrong and where, without the line itself, as the error's own text does."""
    problem, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
    if problem is None or mark is None:  # not even text
        return type(error).__name__
    return f"{problem}, line {mark.line + 1}, column {mark.column + 1}"


def _named(documents: Iterable[dict[str, Any]], kind: str, name: object) -> dict[str, Any]:
    names: list[str] = []
    for document in documents:
        for entry in document.get(kind) or ():
            if isinstance(entry, dict) and entry.get("name") == name:
                return entry
            names += [str(entry.get("name"))] if isinstance(entry, dict) else []
    more = ", ..." if len(names) > _SHOWN else ""
    known = f" ({', '.join(names[:_SHOWN])}{more})" if names else ""
    raise ValueError(f"there is no {name!r} among its {kind}{known}")
