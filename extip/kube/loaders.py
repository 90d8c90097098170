"""The configuration loaders of kubernetes_asyncio, without the rest of that library.

``import kubernetes_asyncio`` runs some 850 modules, for most kinds of the Kubernetes API one: 36 MB
and 0.4 s of processor time for classes that extip never uses. The loaders take 0.3 MB and 5 ms, but
an import of them runs the whole package first. They want two names of it, and only for callers that
hand in no configuration of their own. So they are imported below a package that is empty but for
these names.

That relies on what the loaders import, which the library does not promise. When it does not
work, with some later release, the whole library is imported: it costs memory and nothing else, and
a test tells of it.
"""

import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

_LIBRARY = "kubernetes_asyncio"


@dataclass(kw_only=True)
class ClientConfiguration:
    """The part of the library's `Configuration` that its loaders set, with the same defaults."""

    host: str = "http://localhost"
    """URL of the API server."""
    api_key: dict[str, str] = field(default_factory=dict)
    ssl_ca_cert: str | None = None
    """File of certificates; none: those that the operating system trusts."""
    cert_file: str | None = None
    key_file: str | None = None
    verify_ssl: bool = True
    tls_server_name: str | None = None
    proxy: str | None = None

    def header(self) -> str:
        """Return the ``Authorization`` header; empty: send none.

        Token files often end in a newline, which no header may have.
        """
        return (self.api_key.get("BearerToken") or "").strip()

    def tls(self) -> ssl.SSLContext:
        """Read the certificates, as the library's client does. Raises OSError and SSLError."""
        context = ssl.create_default_context(cafile=self.ssl_ca_cert)
        if self.cert_file:
            context.load_cert_chain(self.cert_file, keyfile=self.key_file)
        if not self.verify_ssl:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


@cache
def loaders() -> Any:  # noqa: ANN401 - untyped library
    """Return ``kubernetes_asyncio.config`` with its modules `incluster_config` and `kube_config`.

    They fill in a `ClientConfiguration`, and raise the library's `ConfigException`.
    """
    try:
        with _bare_package():
            return _import_loaders()
    except (ImportError, AttributeError, TypeError):
        return _import_loaders()


def _import_loaders() -> ModuleType:
    from kubernetes_asyncio import config  # noqa: PLC0415 - see above
    from kubernetes_asyncio.config import incluster_config, kube_config  # noqa: F401, PLC0415

    return config


@contextmanager
def _bare_package() -> Iterator[None]:
    """Let imports within the block find the package empty, and forget all of them after it."""
    spec = None if _LIBRARY in sys.modules else find_spec(_LIBRARY)
    if spec is None:
        yield  # it is there already, as in tests; or not at all, as the import will say
        return
    client = ModuleType(f"{_LIBRARY}.client")
    client.__dict__.update(ApiClient=object, Configuration=ClientConfiguration)
    sys.modules.update({_LIBRARY: module_from_spec(spec), client.__name__: client})
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == _LIBRARY]:
            del sys.modules[name]
