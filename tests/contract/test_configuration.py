"""A configuration comes to the same, read by extip and by the whole of kubernetes_asyncio."""

import asyncio
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import kubernetes_asyncio
import pytest
from kubernetes_asyncio.config import incluster_config

from extip.clock import LoopClock
from extip.errors import ConfigurationError
from extip.kube.config import _CONNECTIONS, InCluster, Kubeconfig, open_endpoint
from extip.kube.credentials import REFRESH_S
from extip.kube.loaders import loaders
from tests.fakes.virtual_time import run_virtually
from tests.unit.kube.conftest import kubeconfig

FILES = ("ssl_ca_cert", "cert_file", "key_file")
PLUGIN = '{"apiVersion": "v1", "kind": "ExecCredential", "status": {"token": "given"}}'


@pytest.fixture(scope="module", autouse=True)
def _alone():
    """Let extip import the loaders as in a process of its own, beside the whole library here."""
    whole = {name: sys.modules[name] for name in list(sys.modules) if is_of_library(name)}
    for name in whole:
        del sys.modules[name]
    loaders.cache_clear()
    loaders()
    left = {name for name in sys.modules if is_of_library(name)}
    sys.modules.update(whole)
    assert not left
    yield
    loaders.cache_clear()


def is_of_library(name):
    return name.partition(".")[0] == "kubernetes_asyncio"


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Make a certificate that is its own authority, and its key."""
    directory = tmp_path_factory.mktemp("keys")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", directory / "key", "-out", directory / "crt"]
    subprocess.run(
        ["openssl", "req", "-x509", "-subj", "/CN=here", *key, *files],
        check=True,
        capture_output=True,
    )
    return directory


def test_the_loaders_come_without_the_kinds_of_the_api():
    assert loaders() is not kubernetes_asyncio.config
    script = (
        "import asyncio, sys\n"
        "from extip.kube.config import InCluster, Kubeconfig\n"
        "from pathlib import Path\n"
        "for source in (InCluster(Path('/nowhere')), Kubeconfig('/nowhere')):\n"
        "    try: asyncio.run(source.reload())\n"
        "    except Exception as error: print(error)\n"
        "print([name for name in sys.modules if name.startswith('kubernetes_asyncio')])\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert len(said.splitlines()) == 3
    assert said.endswith("[]\n")


@pytest.mark.parametrize(
    "user",
    [
        "{token: t}",
        "{token: ''}",
        "{tokenFile: token}",
        "{tokenFile: empty}",
        "{tokenFile: /nowhere/token}",
        "{username: u, password: 5}",
        "{client-certificate: KEYS/crt, client-key: KEYS/key}",
        "{client-certificate: KEYS/crt}",
        "{client-certificate-data: aGVsbG8=, client-key-data: aGVsbG8=}",
        "{client-certificate: /nowhere/crt, client-key: /nowhere/key}",
        "{exec: {apiVersion: v1, command: cat, args: [PLUGIN]}}",
        "{exec: {apiVersion: v2, command: cat, args: [PLUGIN]}}",
        "{exec: {command: cat}}",
        "{auth-provider: {name: oidc, config: {id-token: a.b}}}",
        "{auth-provider: {name: gcp, config: {}}}",
        "{}",
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the library
def test_users_of_a_kubeconfig(tmp_path, keys, user):
    (tmp_path / "token").write_text("read\n")
    (tmp_path / "empty").write_text("")
    (tmp_path / "plugin").write_text(PLUGIN)
    user = user.replace("KEYS", str(keys)).replace("PLUGIN", str(tmp_path / "plugin"))
    compare(kubeconfig(tmp_path, "https://127.0.0.1:6443/", user))


@pytest.mark.parametrize(
    "cluster",
    [
        {},
        {"certificate_authority": "KEYS/crt"},
        {"certificate_authority": "/nowhere/ca"},
        {"certificate_authority_data": "aGVsbG8="},
        {"insecure_skip_tls_verify": "true"},
        {"tls_server_name": "api.lan", "proxy_url": '"http://proxy.lan:3128"'},
    ],
)
def test_clusters_of_a_kubeconfig(tmp_path, keys, cluster):
    cluster = {name: value.replace("KEYS", str(keys)) for name, value in cluster.items()}
    compare(kubeconfig(tmp_path, "https://[fd00::1]:6443", **cluster))


def compare(path):
    source = Kubeconfig(path)

    async def by_extip():
        header = await source.reload()
        return source.configuration, header, source.configuration.tls()

    async def by_library():
        configuration = kubernetes_asyncio.client.Configuration()
        await kubernetes_asyncio.config.load_kube_config(
            config_file=path, client_configuration=configuration
        )
        return await of_library(configuration)

    assert outcome(by_extip) == outcome(by_library)


ACCOUNT = {"token": "t\n", "ca.crt": "KEYS/crt"}


@pytest.mark.parametrize("host", ["10.96.0.1", "fd00::1", "fe80::1%eth0", "api.lan", "", None])
@pytest.mark.parametrize("port", ["443", "", None])
def test_the_server_of_a_pod(tmp_path, keys, monkeypatch, host, port):
    compare_in_cluster(tmp_path, keys, monkeypatch, ACCOUNT, host=host, port=port)


@pytest.mark.parametrize(
    "files",
    [
        ACCOUNT,
        {**ACCOUNT, "token": ""},
        {**ACCOUNT, "ca.crt": ""},
        {**ACCOUNT, "ca.crt": "no certificate"},
        {"ca.crt": "KEYS/crt"},
        {"token": "t"},
        {},
    ],
)
def test_the_service_account_of_a_pod(tmp_path, keys, monkeypatch, files):
    compare_in_cluster(tmp_path, keys, monkeypatch, files)


def compare_in_cluster(directory, keys, monkeypatch, files, *, host="10.96.0.1", port="443"):
    lay_out(directory, keys, monkeypatch, files, host=host, port=port)
    source = InCluster(directory)

    async def by_extip():
        header = await source.reload()
        return source.configuration, header, source.configuration.tls()

    async def by_library():
        configuration = kubernetes_asyncio.client.Configuration()
        of_account(directory).load_and_set(configuration)
        return await of_library(configuration)

    assert outcome(by_extip) == outcome(by_library)


def test_a_token_that_rotates_is_read_as_often(tmp_path, keys, monkeypatch):
    lay_out(tmp_path, keys, monkeypatch, ACCOUNT)

    async def by_extip():
        seen = []
        async with open_endpoint("", clock=LoopClock(), service_account=tmp_path) as endpoint:
            (tmp_path / "token").write_text("new\n")
            for pause_s in (0, REFRESH_S - 1, 1):
                await asyncio.sleep(pause_s)
                seen.append(await endpoint.credentials.header())
        return seen

    async def by_library():
        (tmp_path / "token").write_text("t\n")
        configuration, loader = kubernetes_asyncio.client.Configuration(), of_account(tmp_path)
        loader.load_and_set(configuration)
        (tmp_path / "token").write_text("new\n")
        period = timedelta(seconds=REFRESH_S)
        assert period == incluster_config.TOKEN_REFRESH_PERIOD
        seen = []
        for pause_s in (0, REFRESH_S - 1, 1):
            loader.token_expires_at -= timedelta(seconds=pause_s)
            seen.append(await header_of(configuration))
        return seen

    assert (
        run_virtually(by_extip()) == asyncio.run(by_library()) == ["Bearer t"] * 2 + ["Bearer new"]
    )


def lay_out(directory, keys, monkeypatch, files, *, host="10.96.0.1", port="443"):
    """Give what a kubelet gives to a pod, or less."""
    certificate = (keys / "crt").read_text()
    for name, content in files.items():
        (directory / name).write_text(content.replace("KEYS/crt", certificate))
    for name, value in (("HOST", host), ("PORT", port)):
        if value is None:
            monkeypatch.delenv(f"KUBERNETES_SERVICE_{name}", raising=False)
        else:
            monkeypatch.setenv(f"KUBERNETES_SERVICE_{name}", value)


def of_account(directory):
    return incluster_config.InClusterConfigLoader(
        token_filename=str(directory / "token"), cert_filename=str(directory / "ca.crt")
    )


async def of_library(configuration):
    client = kubernetes_asyncio.client.ApiClient(configuration)
    async with client:
        connector: Any = client.rest_client.pool_manager.connector
        return configuration, await header_of(configuration), connector._ssl


async def header_of(configuration):
    return (await configuration.get_api_key_with_prefix("BearerToken") or "").strip()


def outcome(load):
    """Return what is told of a configuration, or why there is none."""
    try:
        configuration, header, tls = asyncio.run(load())
    except ConfigurationError as error:
        return reason(error.__cause__)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is to be the same
        return reason(error)
    given = {name: getattr(configuration, name) for name in FILES}
    return {
        "host": configuration.host,
        "header": header,
        "files": {name: Path(path).read_bytes() for name, path in given.items() if path},
        "name": configuration.tls_server_name,
        "proxy": configuration.proxy,
        "connections": getattr(configuration, "connection_pool_maxsize", _CONNECTIONS),
        "tls": (tls.verify_mode, tls.check_hostname, tls.verify_flags, tls.options),
        "authorities": tls.get_ca_certs(),
    }


def reason(error):
    return type(error).__name__, str(error)
