"""What a process serves, where, and to whom."""

import json
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import cast

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from extip.errors import ConfigurationError
from extip.kube.client import ApiClient, Transport
from extip.modes import process as process_module
from extip.modes.process import Process, _may_read
from extip.net.networks import Networks
from extip.settings.process import ProcessSettings
from tests.fakes.certificates import NAME, make
from tests.unit.test_health import free_address, listening

READERS = Networks(frozenset({ip_network("10.244.0.0/16"), ip_network("fd00:244::/32")}))
ELSEWHERE = ("10.0.0.1", 9189)
GOOD = "good-token"
NO_API = cast("ApiClient", None)


def names(**flags):
    process = Process(mode="test", components=(), ready={})
    served = process.serving(ProcessSettings(**flags), CollectorRegistry(), NO_API)
    return [component.name for component in served.components]


def test_health_is_served_by_default_and_metrics_alone_where_told():
    allowed = {"metrics_allow_cidr": tuple(READERS.members)}
    assert names() == ["http"]
    assert names(http=None) == []
    assert names(metrics=ELSEWHERE, **allowed) == ["http", "metrics"]
    assert names(http=None, metrics=ELSEWHERE, **allowed) == ["metrics"]


@pytest.mark.parametrize(
    ("client", "may"),
    [
        ("10.244.3.4", True),
        ("fd00:244::1", True),
        ("10.88.0.100", False),
        ("fd00:88::1", False),
        ("127.0.0.1", True),
        ("::1", True),
        ("", False),
    ],
)
def test_named_networks_and_the_machine_itself_may_read_metrics(client, may):
    assert _may_read(READERS, client) is may


def test_without_named_networks_whoever_reaches_the_port_may_read():
    assert _may_read(Networks(), "10.88.0.100")


# With TLS.


class Api:
    """An API server that knows one token; its account may read metrics."""

    async def read(self, request):
        spec = json.loads(request.body)["spec"]
        status: dict[str, object] = {"allowed": True}
        if "token" in spec:
            status = {"authenticated": spec["token"] == GOOD, "user": {"username": "u"}}
        return json.dumps({"status": status}).encode()


@asynccontextmanager
async def secured(folder, **flags):
    """Serve with TLS and yield what is asked: the port of --http or of --metrics."""
    pair = make(folder, "tls")
    http, metrics = free_address(), free_address()
    settings = ProcessSettings(
        http=http,
        metrics=metrics,
        metrics_allow_cidr=(ip_network("127.0.0.0/8"),),
        metrics_tls_cert_file=str(pair.certificate),
        metrics_tls_private_key_file=str(pair.key),
        **flags,
    )
    kube = ApiClient(cast("Transport", Api()))
    process = Process(mode="test", components=(), ready={})
    served = process.serving(settings, CollectorRegistry(), kube).components

    async def ask(url, token=None):
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession() as session:
            tls = pair.client() if url.startswith("https") else True
            request = session.get(url, headers=headers, ssl=tls, server_hostname=NAME)
            async with request as answer:
                return answer.status, await answer.text()

    async with listening(served[0], http), listening(served[1], metrics):
        yield ask, f"http://{http[0]}:{http[1]}", f"https://{metrics[0]}:{metrics[1]}"


async def test_tokens_are_for_the_port_of_metrics_and_health_stays_as_it_is(tmp_path):
    async with secured(tmp_path, metrics_auth=True) as (ask, http, metrics):
        assert (await ask(f"{metrics}/metrics"))[0] == 401
        assert (await ask(f"{metrics}/metrics", "bad"))[0] == 401
        assert (await ask(f"{metrics}/metrics", GOOD))[0] == 200
        assert (await ask(f"{metrics}/livez", GOOD))[0] == 404
        assert await ask(f"{http}/livez") == (200, "ok\n")
        assert await ask(f"{http}/readyz") == (200, "ok\n")
        assert (await ask(f"{http}/metrics"))[0] == 200


async def test_tls_alone_asks_for_no_token(tmp_path):
    async with secured(tmp_path) as (ask, _, metrics):
        assert (await ask(f"{metrics}/metrics"))[0] == 200


async def test_what_has_tls_elsewhere_is_shown_in_plain_text_to_this_machine_alone(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(process_module, "_is_loopback", lambda client: client == "127.0.0.9")
    async with secured(tmp_path) as (ask, http, metrics):
        status, text = await ask(f"{http}/metrics")
        assert (status, "metrics are on --metrics, with TLS" in text) == (403, True)
        assert (await ask(f"{http}/livez"))[0] == 200
        assert (await ask(f"{metrics}/metrics"))[0] == 200


async def test_a_certificate_that_is_not_there_ends_the_process_with_the_name_of_its_flag(tmp_path):
    settings = ProcessSettings(
        metrics=free_address(),
        metrics_allow_cidr=(ip_network("127.0.0.0/8"),),
        metrics_tls_cert_file=str(tmp_path / "a"),
        metrics_tls_private_key_file=str(tmp_path / "b"),
    )
    process = Process(mode="test", components=(), ready={})
    served = process.serving(settings, CollectorRegistry(), NO_API).components
    with pytest.raises(ConfigurationError, match=r"--metrics-tls-cert-file: .*cannot be read"):
        await served[-1].run()


@pytest.mark.parametrize(
    ("client", "is_loopback"),
    [("127.0.0.1", True), ("::1", True), ("10.244.3.4", False), ("", False)],
)
def test_this_machine_is_known_by_loopback(client, is_loopback):
    assert process_module._is_loopback(client) is is_loopback
