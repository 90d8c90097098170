"""Tokens rotate under a running process, and nothing but the header changes."""

import asyncio
import json
import stat

import aiohttp
import pytest
from kubernetes_asyncio.config.kube_config import KubeConfigLoader

from extip.api.resources import SERVICES
from extip.clock import LoopClock
from extip.errors import ApiAccessError, ConfigurationError
from extip.kube.config import open_endpoint
from extip.kube.credentials import Credentials
from tests.fakes import http_api
from tests.fakes.http_api import HttpApiServer
from tests.unit.kube.conftest import kubeconfig


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "token"
    path.write_text("old\n")
    return path


def test_a_rotated_token_file_is_read_at_once_when_the_old_token_is_refused(rig, token_file, run):
    rig.user = f"{{tokenFile: {token_file}}}"
    rig.server.accepts = "old"

    async def main():
        async with rig.informing():
            await rig.informer.wait_synced()
            token_file.write_text("new\n")
            rig.server.accepts = "new"
            rig.server.api.create("a")
            page = await rig.client.list(SERVICES)
            assert len(page.items) == 1
            assert len(rig.server.requests) >= 3
            assert rig.logger.events("warning") == []

    run(main())
    assert rig.sample("extip_api_requests_total", verb="list", code="401") == 1


def test_a_rotated_token_file_is_read_within_a_minute_anyway(rig, token_file, run):
    rig.user = f"{{tokenFile: {token_file}}}"

    async def main():
        async with rig.connected():
            await rig.client.list(SERVICES)
            token_file.write_text("new\n")
            await asyncio.sleep(61)
            await rig.client.list(SERVICES)

    run(main())
    sent = [request.headers["authorization"] for request in rig.server.requests]
    assert sent == ["Bearer old", "Bearer new"]


def test_a_token_file_that_is_gone_for_a_while_does_not_take_the_token_away(rig, token_file, run):
    rig.user = f"{{tokenFile: {token_file}}}"

    async def main():
        async with rig.connected():
            token_file.unlink()
            for _ in range(5):
                await asyncio.sleep(61)
                await rig.client.list(SERVICES)
            token_file.write_text("new")
            await asyncio.sleep(61)
            await rig.client.list(SERVICES)

    run(main())
    sent = [request.headers["authorization"] for request in rig.server.requests]
    assert sent == ["Bearer old"] * 5 + ["Bearer new"]


def test_a_token_that_is_refused_and_stays_the_same_is_not_tried_again(rig, run):
    rig.server.accepts = "another"

    async def main():
        async with rig.connected():
            with pytest.raises(ApiAccessError, match="does not accept the credentials"):
                await rig.client.list(SERVICES)
            assert len(rig.server.requests) == 1

    run(main())


def test_many_requests_refused_together_read_the_token_once(run):
    reads = []

    async def read():
        reads.append("new")
        await asyncio.sleep(1)
        return "new"

    async def main():
        credentials = Credentials("old", refresh=read, reload=read, clock=LoopClock())
        tries = await asyncio.gather(*(credentials.rejected("old") for _ in range(10)))
        assert tries == [True] * 10
        assert reads == ["new"]

    run(main())


def test_an_exec_plugin_is_run_for_the_token_and_again_when_that_is_refused(tmp_path, rig):
    answer = tmp_path / "answer"
    plugin = tmp_path / "plugin"
    plugin.write_text(f"#!/bin/sh\necho run >> {tmp_path}/runs\ncat {answer}\n")
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    rig.user = f"{{exec: {{apiVersion: client.authentication.k8s.io/v1, command: {plugin}}}}}"

    def give(token):
        credential = {
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "status": {"token": token, "expirationTimestamp": "2099-01-01T00:00:00Z"},
        }
        answer.write_text(json.dumps(credential))

    async def main():  # in real time: the plugin is a process
        give("old")
        rig.server.accepts = "old"
        async with rig.connected():
            await rig.client.list(SERVICES)
            give("new")
            await rig.client.list(SERVICES)
            rig.server.accepts = "new"
            await rig.client.list(SERVICES)

    asyncio.run(main())
    assert (tmp_path / "runs").read_text() == "run\nrun\n"


OIDC = """\
{auth-provider: {name: oidc, config: {
  client-id: c, client-secret: s, refresh-token: r, idp-issuer-url: "URL"}}}"""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of how the library uses aiohttp
def test_an_identity_provider_that_hangs_up_is_said_in_one_line(rig, tmp_path):
    async def main():  # in real time: a thread reads ~/.netrc
        rig.server.always = http_api.closed
        async with rig.server.listening():
            path = kubeconfig(tmp_path, "https://127.0.0.1:1", OIDC.replace("URL", rig.server.url))
            with pytest.raises(ConfigurationError, match="no credentials: Server disconnected"):
                async with open_endpoint(path, clock=LoopClock()):
                    pass

    asyncio.run(main())


@pytest.mark.parametrize(
    "error",
    [RuntimeError("Unable to read stdout"), aiohttp.ServerDisconnectedError(), OSError(24, "full")],
)
def test_a_refresh_that_fails_in_any_way_ends_nothing(rig, token_file, run, monkeypatch, error):
    rig.user = f"{{tokenFile: {token_file}}}"

    async def fails(*_):
        raise error

    async def main():
        async with rig.connected():
            monkeypatch.setattr(KubeConfigLoader, "load_and_set", fails)
            await asyncio.sleep(61)
            await rig.client.list(SERVICES)
            rig.server.accepts = "another"
            with pytest.raises(ApiAccessError):
                await rig.client.list(SERVICES)

    run(main())
    assert rig.server.requests[0].headers["authorization"] == "Bearer old"


def in_cluster(tmp_path, monkeypatch, server):
    """Lay out what a kubelet gives to a pod."""
    account = tmp_path / "serviceaccount"
    account.mkdir()
    (account / "token").write_text("old\n")
    host, _, port = server.removeprefix("http://").partition(":")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    return account


def test_the_token_of_a_service_account_rotates(tmp_path, monkeypatch, run, certificates):
    async def main():
        server = HttpApiServer()
        server.objects["/api/v1/nodes"] = {"items": []}
        async with server.listening():
            account = in_cluster(tmp_path, monkeypatch, server.url)
            (account / "ca.crt").write_bytes(certificates.read_bytes())
            async with open_endpoint("", clock=LoopClock(), service_account=account) as endpoint:
                assert endpoint.server == server.url.replace("http", "https")
                seen = [await endpoint.credentials.header()]
                (account / "token").write_text("new\n")
                assert await endpoint.credentials.rejected("Bearer old")
                seen.append(await endpoint.credentials.header())
                assert seen == ["Bearer old", "Bearer new"]

    run(main())


@pytest.fixture
def certificates():
    """Any bundle will do: nothing is sent."""
    import ssl
    from pathlib import Path

    path = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
    if not Path(path).exists():
        pytest.skip("no CA bundle on this machine")
    return Path(path)
