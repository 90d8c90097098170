"""A configuration that cannot work is named in one line, with what to do."""

import asyncio
import socket

import pytest

from extip.api.resources import SERVICES
from extip.clock import LoopClock
from extip.errors import ApiUnavailableError, ConfigurationError
from extip.kube.client import connect
from extip.kube.config import _proxy_from_environment, open_endpoint
from extip.metrics import Metrics
from tests.unit.kube.conftest import kubeconfig


async def attempt(path):
    async with connect(str(path), metrics=Metrics("test")) as client:
        await client.list(SERVICES)


def explained(run, path):
    with pytest.raises(ConfigurationError) as caught:
        run(attempt(path))
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 500
    return text


def test_a_missing_file(run, tmp_path):
    path = tmp_path / "none"
    assert explained(run, path) == f"kubeconfig {path}: No such file or directory"


def test_a_directory(run, tmp_path):
    assert "Is a directory" in explained(run, tmp_path)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "empty"),
        ("just text", "not a kubeconfig file"),
        ("a: [1, 2", "not valid YAML"),
        ("\0", "not valid YAML"),
        ("clusters: []", "no current-context is set"),
        ("current-context: x", "there is no 'x' among its contexts"),
        ("current-context: x\ncontexts: [{name: y}, 5]", "there is no 'x' among its contexts"),
        (
            "current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]",
            "there is no 'c' among its clusters",
        ),
        (
            (
                "{current-context: x, contexts: [{name: x, context: {cluster: c}}],"
                " clusters: [{name: c, cluster: {server: 'ftp://x'}}]}"
            ),
            "the server of cluster 'c' is not an http(s) URL",
        ),
        ("current-context: x\ncontexts: [{name: x, context: 5}]", "malformed"),
    ],
)
def test_a_file_that_is_no_kubeconfig(run, tmp_path, content, text):
    path = tmp_path / "kubeconfig"
    path.write_text(content)
    assert text in explained(run, path)
    assert str(path) in explained(run, path)


@pytest.mark.parametrize(
    ("user", "cluster", "text"),
    [
        ("{tokenFile: /nowhere/token}", {}, "/nowhere/token: No such file"),
        ("{client-certificate: /nowhere/crt}", {}, "/nowhere/crt"),
        ("{}", {"certificate_authority": "/nowhere/ca"}, "/nowhere/ca"),
        ("{}", {"certificate_authority_data": "aGVsbG8="}, "certificates or keys are unusable"),
        ("{exec: {apiVersion: v1, command: /nowhere/plugin}}", {}, "/nowhere/plugin"),
        ("{exec: {apiVersion: v1, command: /bin/false}}", {}, "exec: process returned 1"),
        ("{exec: {apiVersion: v1, command: /bin/echo}}", {}, "exec: failed to decode"),
    ],
)
def test_credentials_that_are_not_there(tmp_path, user, cluster, text):
    path = kubeconfig(tmp_path, "https://127.0.0.1:1", user, **cluster)
    assert text in explained(asyncio.run, path)


def test_outside_a_cluster_it_says_which_flag_is_missing(run, monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    text = explained(run, "")
    assert "is not set - not in a pod? Give --kubeconfig PATH" in text
    assert "--kubeconfig" in text


@pytest.mark.parametrize(
    "server",
    [
        "https://a..b:6443",
        f"https://{'a' * 64}.lan:6443",
        "http://[::1",
        "https://127.0.0.1:99999",
        "https://127.0.0.1:0",
        "https://127.0.0.1:x",
        "https://:6443",
    ],
)
def test_a_server_that_can_never_be_reached(run, tmp_path, server):
    path = kubeconfig(tmp_path, server)
    assert f"kubeconfig {path}: the server {server!r}" in explained(run, path)


@pytest.mark.parametrize("name", ["5", "a..b", "''"])
def test_a_server_name_that_no_certificate_can_have(run, tmp_path, name):
    path = kubeconfig(tmp_path, "https://127.0.0.1:6443", tls_server_name=name)
    assert "the tls-server-name" in explained(run, path)


def test_a_password_in_the_url_is_refused_and_not_repeated(run, tmp_path):
    text = explained(run, kubeconfig(tmp_path, "https://u:secret@127.0.0.1:6443"))
    assert "the server 'https://127.0.0.1:6443': user and password belong" in text


def test_a_server_without_a_host(run, tmp_path):
    assert "the server 'https:' is not" in explained(run, kubeconfig(tmp_path, "https://"))


@pytest.mark.parametrize("port", ["99999", "http"])
def test_a_server_in_the_environment_that_can_never_be_reached(run, tmp_path, monkeypatch, port):
    (tmp_path / "token").write_text("t")
    (tmp_path / "ca.crt").write_text("c")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)

    async def main():
        async with open_endpoint("", clock=LoopClock(), service_account=tmp_path):
            pass

    with pytest.raises(ConfigurationError, match=f"the server 'https://10.96.0.1:{port}'"):
        run(main())


@pytest.mark.parametrize("proxy", ["http://a..b:3128", "localhost:3128", "socks5://p:1080"])
def test_a_proxy_that_can_never_be_reached(run, tmp_path, proxy):
    path = kubeconfig(tmp_path, "https://127.0.0.1:6443", proxy_url=f'"{proxy}"')
    assert f"the proxy {proxy!r}" in explained(run, path)


@pytest.mark.parametrize(
    "server",
    [
        "https://[fd00::1]:6443",
        "https://[fe80::1%eth0]:6443",
        "https://api.example.com",
        "https://bücher.example:6443/k8s/clusters/c-1/",
        "http://a_b.lan:8080",
    ],
)
def test_any_other_server_is_tried(run, tmp_path, server):
    async def main():
        path = kubeconfig(tmp_path, server)
        async with open_endpoint(path, clock=LoopClock()) as endpoint:
            assert endpoint.server == server.rstrip("/")

    run(main())


def unanswered(path):
    with pytest.raises(ApiUnavailableError) as caught:
        asyncio.run(attempt(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_refused_connection_names_the_server(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    text = unanswered(kubeconfig(tmp_path, url))
    assert text.startswith(f"list services: cannot connect to {url}: ")
    assert "refused" in text


def test_a_name_that_does_not_resolve_is_said_so(tmp_path):
    text = unanswered(kubeconfig(tmp_path, "https://api.extip.invalid:6443"))
    assert text.startswith(
        "list services: the name of https://api.extip.invalid:6443 does not resolve"
    )


def test_tls_to_a_server_without_it_is_said_so(tmp_path):
    async def plain(reader, writer):
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async def main():
        async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
            url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            with pytest.raises(ApiUnavailableError, match=r"TLS with https://127.0.0.1:.* failed"):
                await attempt(kubeconfig(tmp_path, url))

    asyncio.run(main())


@pytest.mark.parametrize(
    ("environment", "server", "proxy"),
    [
        ({}, "https://10.0.0.1:6443", None),
        ({"https_proxy": "http://p:3128"}, "https://10.0.0.1:6443", "http://p:3128"),
        ({"http_proxy": "http://p:3128"}, "https://10.0.0.1:6443", None),
        ({"https_proxy": "http://p:3128", "no_proxy": "api.lan"}, "https://api.lan", None),
        ({"https_proxy": "http://p:3128", "no_proxy": ".lan"}, "https://api.lan:6443", None),
        ({"https_proxy": "http://p:3128", "no_proxy": "10.0.0.1"}, "https://10.0.0.1:6443", None),
        ({"https_proxy": "http://p:3128", "no_proxy": "a,10.0.0.0/8"}, "https://10.0.0.1", None),
        (
            {"https_proxy": "http://p:3128", "no_proxy": "10.0.0.0/8"},
            "https://11.0.0.1",
            "http://p:3128",
        ),
        ({"https_proxy": "http://p:3128", "no_proxy": "fd00::/8"}, "https://[fd00::1]:443", None),
        ({"https_proxy": "http://p:3128", "no_proxy": "*"}, "https://10.0.0.1:6443", None),
    ],
)
def test_a_proxy_from_the_environment(monkeypatch, environment, server, proxy):
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert _proxy_from_environment(server) == proxy


def context_of(server, name="x"):
    return (
        f"contexts: [{{name: {name}, context: {{cluster: c-{name}, user: u}}}}]\n"
        f'clusters: [{{name: c-{name}, cluster: {{server: "{server}"}}}}]\n'
    )


@pytest.mark.parametrize(
    ("contents", "context", "server"),
    [
        (["current-context: x", context_of("http://one:1")], "", "http://one:1"),
        (["current-context: x\n" + context_of("http://one:1"), "current-context: y"], "", "one"),
        ([context_of("http://one:1"), context_of("http://two:1"), "current-context: x"], "", "one"),
        (["", context_of("http://one:1") + "current-context: x"], "", "one"),
        ([None, context_of("http://one:1") + "current-context: x"], "", "one"),
        (
            [
                "current-context: x\n" + context_of("http://one:1"),
                context_of("http://two:1", "y"),
            ],
            "y",
            "two",
        ),
        ([context_of("http://one:1")], "x", "one"),
    ],
)
def test_of_several_files_the_first_that_says_something_counts(
    run, tmp_path, contents, context, server
):
    """As kubectl merges them; missing (None) and empty ones do not count."""
    paths = [tmp_path / str(n) for n in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        if content is not None:
            path.write_text(content)

    async def main():
        named = ":".join(map(str, paths))
        async with open_endpoint(named, context=context, clock=LoopClock()) as endpoint:
            assert server in endpoint.server

    run(main())


def test_a_context_that_is_not_there_is_told_with_those_that_are(run, tmp_path):
    path = tmp_path / "kubeconfig"
    path.write_text(context_of("http://one:1"))

    async def main(paths):
        async with open_endpoint(paths, context="prod", clock=LoopClock()):
            pass

    with pytest.raises(ConfigurationError, match=r"there is no 'prod' among its contexts \(x\)"):
        run(main(str(path)))
    with pytest.raises(ConfigurationError, match="none of these files says anything"):
        run(main(f"{tmp_path}/a:{tmp_path}/b"))
    with pytest.raises(ConfigurationError, match="there is no kubeconfig"):
        run(main(""))
