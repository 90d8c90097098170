"""No error text holds a secret, whatever is wrong with the file it stands in: they are logged."""

import asyncio
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from extip.api.resources import SERVICES
from extip.clock import LoopClock
from extip.errors import ApiUnavailableError, ConfigurationError, ExtipError
from extip.kube import credentials
from extip.kube.client import connect
from extip.kube.credentials import Credentials, load_in_time
from extip.metrics import Metrics
from tests.fakes.recorder import RecordingLogger
from tests.unit.kube.conftest import kubeconfig

SECRET = "s3cret"  # noqa: S105
SERVER = "https://127.0.0.1:1"


async def attempt(path):
    async with connect(str(path), metrics=Metrics("test")) as client:
        await client.list(SERVICES)


def complaint(path):
    with pytest.raises(ExtipError) as caught:
        asyncio.run(attempt(path))
    return str(caught.value)


@pytest.mark.parametrize(
    "line", [f"    token: {SECRET}: x", f"\ttoken: {SECRET}", f'"{SECRET}', f"{SECRET}: [", "\0"]
)
def test_a_line_that_is_not_yaml_is_told_by_its_number(tmp_path, line):
    path = tmp_path / "kubeconfig"
    path.write_text(f"users:\n- name: x\n  user:\n{line}\n")
    text = complaint(path)
    assert "not valid YAML" in text
    assert SECRET not in text
    assert line == "\0" or "line " in text


@pytest.mark.parametrize(
    ("server", "proxy"),
    [
        (f"https://u:{SECRET}@a..b:6443", ""),
        (f"https://u:{SECRET}@127.0.0.1:99999", ""),
        (f"https://u:{SECRET}@127.0.0.1:6443", ""),
        (SERVER, f"socks5://u:{SECRET}@127.0.0.1:1080"),
        (SERVER, f"http://u:{SECRET}@a..b:3128"),
        (SERVER, f"http://u:{SECRET}@127.0.0.1:99999"),
        (SERVER, f"u:{SECRET}@127.0.0.1:3128"),
        (SERVER, f"u:x://{SECRET}@127.0.0.1:3128"),
        (SERVER, f"http://u:{SECRET}@127.0.0.1:1"),
        (SERVER, f"http://u:{SECRET}@proxy.extip.invalid:3128"),
    ],
)
def test_a_url_is_named_without_its_password(tmp_path, server, proxy):
    more = {"proxy_url": f'"{proxy}"'} if proxy else {}
    text = complaint(kubeconfig(tmp_path, server, **more))
    assert SECRET not in text
    assert "127.0.0.1" in text or "a..b" in text or "invalid" in text


def test_a_proxy_that_does_not_resolve_is_what_is_named(tmp_path):
    path = kubeconfig(tmp_path, SERVER, proxy_url='"http://proxy.extip.invalid:3128"')
    assert "the name of the proxy proxy.extip.invalid:3128 does not resolve" in complaint(path)


@asynccontextmanager
async def proxy_that_answers(status):
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status} Sorry\r\nContent-Length: 0\r\n\r\n".encode())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://u:{SECRET}@127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("status", [407, 502])
def test_a_proxy_that_refuses_is_said_to(tmp_path, status):
    async def main():
        async with proxy_that_answers(status) as proxy:
            with pytest.raises(ApiUnavailableError) as caught:
                await attempt(kubeconfig(tmp_path, SERVER, proxy_url=f'"{proxy}"'))
            return str(caught.value)

    text = asyncio.run(main())
    assert f"the proxy before {SERVER} answers {status}" in text
    assert SECRET not in text


@pytest.mark.parametrize(
    "user",
    [
        f"{{exec: {{apiVersion: v1, command: /bin/echo, args: [{SECRET}]}}}}",
        f"{{exec: {{apiVersion: v1, command: /bin/false, env: [{{name: A, value: {SECRET}}}]}}}}",
        f"{{exec: {{apiVersion: v1, command: /nowhere, args: [{SECRET}]}}}}",
        f"{{client-certificate-data: {SECRET}!, client-key-data: {SECRET}!}}",
        f"{{auth-provider: {{name: oidc, config: {{id-token: {SECRET}}}}}}}",
    ],
)
def test_what_a_user_authenticates_with_is_not_repeated(tmp_path, user):
    assert SECRET not in complaint(kubeconfig(tmp_path, SERVER, user))


# A plugin that hangs.


START = """
import sys
from extip.cli import main
from extip.kube import credentials

credentials.LOAD_TIMEOUT_S = 3.0
sys.argv = ["extip", "simple", "--dry-run", "--kubeconfig", sys.argv[1]]
main()
"""


def test_an_exec_plugin_that_hangs_ends_the_start_with_a_clear_line(tmp_path):
    plugin = tmp_path / "plugin"
    plugin.write_text(f"#!/bin/sh\necho $$ >> {tmp_path}/pids\nexec sleep 1000\n")
    plugin.chmod(0o700)
    path = kubeconfig(tmp_path, SERVER, f"{{exec: {{apiVersion: v1, command: {plugin}}}}}")
    run = subprocess.run(
        [sys.executable, "-c", START, path], check=False, capture_output=True, text=True
    )
    assert run.stderr == (
        f"extip: kubeconfig {path}: no credentials within 3 s: its exec plugin or identity "
        "provider does not answer\n"
    )
    assert run.returncode == ConfigurationError.exit_code
    (pid,) = (tmp_path / "pids").read_text().split()
    deadline = time.monotonic() + 40
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, "the plugin still runs"
        time.sleep(0.01)


async def test_what_was_started_before_is_not_touched(monkeypatch):
    monkeypatch.setattr(credentials, "LOAD_TIMEOUT_S", 2.0)
    other = await asyncio.create_subprocess_exec("sleep", "1000")

    started = []

    async def hang():
        started.append(await asyncio.create_subprocess_exec("sleep", "1000"))
        await asyncio.get_running_loop().create_future()

    before = credentials._children()
    assert other.pid in before
    with pytest.raises(ConfigurationError):
        await load_in_time(hang, source="kubeconfig x")
    assert started[0].returncode == -signal.SIGKILL, "the loop does not know yet that it ended"
    assert other.returncode is None
    other.kill()
    await other.wait()


async def test_a_refresh_that_hangs_keeps_the_last_credentials(monkeypatch):
    monkeypatch.setattr(credentials, "LOAD_TIMEOUT_S", 0.1)
    monkeypatch.setattr(credentials, "REFRESH_S", 0.0)

    async def hang():
        await asyncio.get_running_loop().create_future()

    async def load():
        return await load_in_time(hang, source="kubeconfig x")

    kept = Credentials("old", refresh=load, reload=load, clock=LoopClock())
    logger = RecordingLogger()
    monkeypatch.setattr(kept, "_logger", logger)
    assert [await kept.header() for _ in range(3)] == ["old"] * 3
    (warned,) = logger.events("warning")
    assert warned == "credentials_unreadable"
    assert "does not answer" in logger.said[0][2]["error"]
