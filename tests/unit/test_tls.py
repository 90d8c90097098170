"""With TLS whoever reaches the port gets no more, holds nothing for longer, and sees no old key."""

import asyncio
import ssl
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest

from extip import http_server
from extip.errors import ConfigurationError
from extip.metrics import Metrics
from extip.tls import Certificate
from tests.fakes.certificates import NAME, Pair, make
from tests.fakes.recorder import RecordingLogger
from tests.unit.test_health import free_address, listening, server_of
from tests.unit.test_health_limits import GET, asked, connected

HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
"""The beginning of a ClientHello, and no more of it."""


WEAK = "ec_paramgen_curve:prime192v1"


def certificate_of(pair, logger=None):
    logger = logger or RecordingLogger()
    return Certificate(pair.certificate, pair.key, flag="--metrics-tls-cert-file", logger=logger)


@pytest.fixture
def pair(tmp_path):
    return make(tmp_path, "first")


@pytest.fixture
def certificate(pair):
    return certificate_of(pair)


@pytest.fixture
async def address(certificate):
    chosen = free_address()
    server = server_of(chosen, registry=Metrics("test").registry, certificate=certificate)
    async with listening(server, chosen):
        yield chosen


@asynccontextmanager
async def in_tls(address, context):
    reader, writer = await asyncio.open_connection(*address, ssl=context, server_hostname=NAME)
    try:
        yield reader, writer
    finally:
        writer.close()


async def answer_in_tls(address, context, request=GET + b"\r\n"):
    async with in_tls(address, context) as (reader, writer):
        writer.write(request)
        async with asyncio.timeout(40):
            return (await reader.read()).decode()


async def test_a_client_that_trusts_the_certificate_is_answered(address, pair):
    request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = await answer_in_tls(address, pair.client(), request)
    assert answer.startswith("HTTP/1.1 200 ")
    assert answer.endswith("\n")
    assert "extip_addresses_up" in answer


async def test_a_client_that_trusts_another_one_ends_the_handshake(address, tmp_path):
    with pytest.raises(ssl.SSLCertVerificationError):
        await answer_in_tls(address, make(tmp_path, "other").client())


@pytest.mark.parametrize("spoken", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_versions_that_are_safe_are_spoken(address, pair, spoken):
    context = pair.client()
    context.minimum_version = context.maximum_version = spoken
    assert (await answer_in_tls(address, context)).startswith("HTTP/1.1 200 ")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
async def test_older_versions_are_not(address, pair):
    context = pair.client()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await answer_in_tls(address, context)


async def test_without_tls_there_is_no_answer(address):
    answer = await asked(address, GET + b"\r\n")
    assert "HTTP/1" not in answer
    assert "ok" not in answer


# The files.


async def test_the_next_connection_has_the_renewed_certificate(address, pair, tmp_path):
    old = pair.client()
    assert (await answer_in_tls(address, old)).startswith("HTTP/1.1 200 ")
    renewed = make(tmp_path, "second")
    new = renewed.client()
    renewed.put_in_place_of(pair)
    assert (await answer_in_tls(address, new)).startswith("HTTP/1.1 200 ")
    with pytest.raises(ssl.SSLCertVerificationError):
        await answer_in_tls(address, old)


def test_a_link_to_other_files_is_followed_as_a_kubelet_changes_it(tmp_path):
    for version in ("..1", "..2"):
        (tmp_path / version).mkdir()
        make(tmp_path / version, "tls")
    (tmp_path / "..data").symlink_to("..1")
    certificate = certificate_of(Pair(tmp_path / "..data/tls.crt", tmp_path / "..data/tls.key"))
    certificate.load()
    before = certificate.context()
    assert certificate.context() is before
    (tmp_path / "..tmp").symlink_to("..2")
    (tmp_path / "..tmp").replace(tmp_path / "..data")
    assert certificate.context() is not before


def test_the_former_certificate_counts_until_both_files_belong_together(pair, tmp_path):
    logger = RecordingLogger()
    certificate = certificate_of(pair, logger)
    certificate.load()
    before = certificate.context()
    renewed = make(tmp_path, "second")
    renewed.certificate.replace(pair.certificate)
    assert certificate.context() is before
    assert certificate.context() is before
    assert logger.events() == ["certificate_not_renewed"]
    assert "do not belong together" in logger.said[0][2]["reason"]
    renewed.key.replace(pair.key)
    assert certificate.context() is not before
    assert logger.events("info") == ["certificate_renewed"]


def test_files_that_are_gone_for_a_while_end_nothing(pair):
    logger = RecordingLogger()
    certificate = certificate_of(pair, logger)
    certificate.load()
    before = certificate.context()
    pair.key.rename(pair.key.with_suffix(".away"))
    assert certificate.context() is before
    assert f"{pair.key} cannot be read: No such file" in logger.said[0][2]["reason"]
    pair.key.with_suffix(".away").rename(pair.key)
    assert certificate.context() is not before


def refused(certificate):
    with pytest.raises(ConfigurationError) as caught:
        certificate.load()
    text = str(caught.value)
    assert text.startswith("--metrics-tls-cert-file: ")
    assert "\n" not in text
    assert "None" not in text
    return text


def test_files_that_cannot_work_are_told_in_one_line(pair, tmp_path):
    other = make(tmp_path, "other")
    missing, empty = tmp_path / "missing", tmp_path / "empty"
    empty.write_text("")
    locked = make(tmp_path, "locked", "-passout", "pass:secret")
    assert f"{missing} cannot be read" in refused(certificate_of(Pair(missing, pair.key)))
    assert f"{tmp_path} cannot be read" in refused(certificate_of(Pair(pair.certificate, tmp_path)))
    assert "in PEM" in refused(certificate_of(Pair(empty, pair.key)))
    assert "in PEM" in refused(certificate_of(Pair(pair.certificate, empty)))
    swapped = Pair(pair.certificate, other.key)
    assert "do not belong together" in refused(certificate_of(swapped))
    assert "passphrase" in refused(certificate_of(locked))
    weak = certificate_of(make(tmp_path, "weak", "-nodes", "-pkeyopt", WEAK))
    assert refused(weak).endswith(" are refused by OpenSSL: EE_KEY_TOO_SMALL")


# Those who keep a connection and ask nothing.


async def test_a_handshake_that_hangs_is_cut_off(address, monkeypatch):
    monkeypatch.setattr(http_server, "CONNECTION_S", 1.0)
    for said in (b"", HELLO):
        async with connected(address) as client:
            await client.say(said)
            assert await client.hear() == ""


async def test_a_handshake_that_goes_on_slowly_is_cut_off_as_well(address, monkeypatch):
    monkeypatch.setattr(http_server, "CONNECTION_S", 1.0)
    async with connected(address) as client:
        await client.say(HELLO)
        async with asyncio.timeout(40):
            while not client.is_cut_off():
                try:
                    await client.say(b"x")
                except ConnectionError:
                    break
                await asyncio.sleep(0.05)


async def test_who_says_nothing_after_the_handshake_is_cut_off(address, pair, monkeypatch):
    monkeypatch.setattr(http_server, "CONNECTION_S", 1.0)
    async with in_tls(address, pair.client()) as (reader, _), asyncio.timeout(40):
        with suppress(ConnectionError):
            assert await reader.read() == b""


async def test_handshakes_that_hang_do_not_keep_a_scrape_out(address, pair):
    """However many there are: only the last few of them are kept."""
    async with AsyncExitStack() as stack:
        hanging = []
        for _ in range(4 * http_server.MAX_CONNECTIONS):
            client = await stack.enter_async_context(connected(address))
            await client.say(HELLO)
            hanging.append(client)
        assert (await answer_in_tls(address, pair.client())).startswith("HTTP/1.1 200 ")
        first, last = (
            hanging[: -http_server.MAX_CONNECTIONS],
            hanging[1 - http_server.MAX_CONNECTIONS :],
        )
        async with asyncio.timeout(40):
            while not all(client.is_cut_off() for client in first):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert not any(client.is_cut_off() for client in last)


async def test_the_end_of_the_server_cuts_a_handshake_off(certificate, pair):
    chosen = free_address()
    async with AsyncExitStack() as stack:
        async with listening(server_of(chosen, certificate=certificate), chosen):
            client = await stack.enter_async_context(connected(chosen))
            await client.say(HELLO)
            await answer_in_tls(chosen, pair.client())  # it took the former one on before
        assert await client.hear() == ""
