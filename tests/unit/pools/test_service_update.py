"""Writes to a service carry what they were decided over."""

from ipaddress import ip_address

import pytest

from extip.api.core_v1 import LoadBalancerIngress
from extip.pools.policy.service_update import SetExternalIPs, SetIngress, service_update_patch
from extip.services.policy.requests import Owner

WEB = Owner(kind="Service", namespace="shop", name="web", uid="w")
IP = ip_address("10.0.0.1")


@pytest.mark.parametrize(
    "update",
    [
        SetIngress(owner=WEB, version="7", ingress=(LoadBalancerIngress(ip=str(IP)),)),
        SetIngress(owner=WEB, version="7", ingress=()),
        SetExternalIPs(owner=WEB, version="7", external_ips=(str(IP),), allocated=(IP,)),
        SetExternalIPs(owner=WEB, version="7", external_ips=(), allocated=()),
    ],
)
def test_a_write_fails_when_the_service_has_changed_since(update):
    metadata = service_update_patch(update)["metadata"]
    assert isinstance(metadata, dict)
    assert metadata["resourceVersion"] == "7"


def test_what_is_not_there_any_more_is_taken_out():
    """A merge patch takes nothing out that it does not name."""
    ingress = service_update_patch(SetIngress(owner=WEB, version="7", ingress=()))
    assert ingress["status"] == {"loadBalancer": {"ingress": None}}
    external = service_update_patch(
        SetExternalIPs(owner=WEB, version="7", external_ips=(), allocated=())
    )
    assert external["spec"] == {"externalIPs": None}
