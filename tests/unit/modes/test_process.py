"""What a process serves, where, and to whom."""

from ipaddress import ip_network

import pytest
from prometheus_client import CollectorRegistry

from extip.modes.process import Process, _may_read
from extip.net.networks import Networks
from extip.settings.process import ProcessSettings

READERS = Networks(frozenset({ip_network("10.244.0.0/16"), ip_network("fd00:244::/32")}))
ELSEWHERE = ("10.0.0.1", 9189)


def names(**flags):
    process = Process(mode="test", components=(), ready={})
    served = process.serving(ProcessSettings(**flags), CollectorRegistry())
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
