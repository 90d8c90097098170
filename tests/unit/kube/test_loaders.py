"""Some later release of kubernetes_asyncio may be built in another way."""

import importlib
import sys

import pytest

from extip.kube.loaders import ClientConfiguration, loaders


@pytest.fixture
def release(tmp_path, monkeypatch):
    """Return a function that installs a library whose loaders have these first lines."""

    def is_of_library(name):
        return name.partition(".")[0] == "kubernetes_asyncio"

    installed = {name: sys.modules.pop(name) for name in list(sys.modules) if is_of_library(name)}
    package = tmp_path / "kubernetes_asyncio"

    def install(first_lines):
        files = {
            "__init__.py": "import kubernetes_asyncio.client\n",
            "client/__init__.py": (
                "class ApiClient:\n"
                "  timeout_s = 5\n"
                "  def __init__(self, name): pass\n"
                "class Configuration: pass\n"
                "class Session: pass\n"
            ),
            "client/rest.py": "class Response: pass\n",
            "config/__init__.py": "class ConfigException(Exception): pass\n",
            "config/incluster_config.py": "",
            "config/kube_config.py": f"{first_lines}\n",
        }
        for name, content in files.items():
            (package / name).parent.mkdir(parents=True, exist_ok=True)
            (package / name).write_text(content)
        monkeypatch.syspath_prepend(tmp_path)
        importlib.invalidate_caches()
        loaders.cache_clear()
        return loaders()

    yield install
    for name in [name for name in sys.modules if is_of_library(name)]:
        del sys.modules[name]
    sys.modules.update(installed)
    loaders.cache_clear()


def test_loaders_that_want_no_more_come_alone(release):
    found = release("from kubernetes_asyncio.client import ApiClient, Configuration")
    assert found.kube_config.Configuration is ClientConfiguration
    assert "kubernetes_asyncio" not in sys.modules
    assert "kubernetes_asyncio.client" not in sys.modules


@pytest.mark.parametrize(
    "first_line",
    [
        "from kubernetes_asyncio.client.rest import Response",
        "from kubernetes_asyncio.client import ApiClient, Session",
        "from kubernetes_asyncio.client import ApiClient; timeout_s = ApiClient.timeout_s",
        "from kubernetes_asyncio.client import ApiClient; client = ApiClient('here')",
    ],
)
def test_loaders_that_want_more_come_with_the_whole_library(release, first_line):
    found = release(first_line)
    assert found is sys.modules["kubernetes_asyncio.config"]
    assert "kubernetes_asyncio.client" in sys.modules


def test_a_library_that_cannot_be_imported_at_all_says_so(release):
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        release("import no_such_module")
