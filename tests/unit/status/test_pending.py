"""What services ask for and do not have, each with what is in its way."""

import pytest
from msgspec.structs import replace

from extip.api.core_v1 import (
    DetailedService,
    DetailedServiceMeta,
    DetailedServiceSpec,
    Event,
    LoadBalancerIngress,
    LoadBalancerStatus,
    ObjectReference,
    ServiceStatus,
)
from extip.api.ipcontroller_v1 import IpClaim, IpClaimSpec, ServiceReference
from extip.api.meta_v1 import FullObjectMeta
from extip.api.names import MANAGED_BY, MANAGED_BY_LABEL, POOL_LABEL
from extip.services.policy.no_endpoint import (
    NO_READY_ENDPOINT,
    NONE_READY,
    told_of_withdrawal,
)
from extip.services.policy.refusal import NOT_ALLOCATED
from extip.status.policy.pending import pending_rows, pending_services
from extip.status.policy.table import ClaimState

KEYS = {
    "external_ip": "external-ip",
    "addresses": "ipcontroller.ext/addresses",
    "pool": "ipcontroller.ext/pool",
    "allocated": "ipcontroller.ext/allocated",
}
REFUSED, WAITING = ClaimState.REFUSED, ClaimState.WAITING
BALANCER = DetailedServiceSpec(type="LoadBalancer", ip_families=("IPv4",))


def service(name="web", *, ips=(), spec=None, ingress=(), **annotations):
    return DetailedService(
        metadata=DetailedServiceMeta(
            namespace="shop",
            name=name,
            uid=name,
            annotations={KEYS.get(key, key): value for key, value in annotations.items()},
        ),
        spec=spec or DetailedServiceSpec(external_ips=ips or None),
        status=ServiceStatus(
            load_balancer=LoadBalancerStatus(
                ingress=tuple(LoadBalancerIngress(ip=ip) for ip in ingress) or None
            )
        ),
    )


def claim(ip, *services, managed=True):
    return IpClaim(
        metadata=FullObjectMeta(
            name=ip, labels={MANAGED_BY_LABEL: MANAGED_BY} if managed else None
        ),
        spec=IpClaimSpec(
            cidr=f"{ip}/32",
            services=tuple(
                ServiceReference(namespace=namespace, name=name)
                for namespace, _, name in (s.partition("/") for s in services)
            ),
        ),
    )


def event(message, *, reason="AddressNotAllowed", name="web", at="2026-01-01T00:00:00Z", uid=""):
    return Event(
        involved_object=ObjectReference(kind="Service", namespace="shop", name=name, uid=uid),
        type="Warning",
        reason=reason,
        message=message,
        first_timestamp=at,
        last_timestamp=at,
    )


def rows(services, claims=(), events=()):
    return pending_rows(pending_services(services, claims), events)


def test_what_has_a_claim_is_no_matter():
    claims = [claim("10.0.0.1", "shop/web"), claim("10.0.0.2", managed=False)]
    asked = service(ips=("10.0.0.1", "10.0.0.2"))
    assert rows([asked, service("quiet")], claims, [event("10.0.0.1 is a gateway")]) == []


def test_a_refused_ip_has_its_own_reason():
    told = [
        event("10.0.0.10 is a gateway", at="2026-01-01T00:00:05Z"),
        event("10.0.0.1 is not allowed", at="2026-01-01T00:00:02Z"),
        event("10.0.0.1 is a gateway", at="2026-01-01T00:00:03Z"),
        event("10.0.0.1 is that of a service of the same name before", uid="other"),
        event("10.0.0.1 is another service's matter", name="db"),
    ]
    (row,) = rows([service(ips=("10.0.0.1",))], [], told)
    assert (row.ip, row.node, row.state, row.services) == ("10.0.0.1", "", REFUSED, ("shop/web",))
    assert (row.why, row.since) == ("10.0.0.1 is a gateway", "2026-01-01T00:00:03Z")


def test_an_ip_that_no_service_can_answer_at_is_down_and_not_refused():
    told = event(told_of_withdrawal("10.0.0.1"), reason=NO_READY_ENDPOINT)
    (row,) = rows([service(ips=("10.0.0.1",))], [], [told])
    assert (row.state, row.why) == (ClaimState.DOWN, NONE_READY)


def test_without_an_event_it_is_said_who_knows():
    (row,) = rows([service(ips=("fd00:0::1",))])
    assert (row.ip, row.state) == ("fd00::1", WAITING)
    assert "address_refused" in row.why


def test_what_is_no_address_is_refused():
    (row,) = rows([service(ips=("10.0.0.300",))])
    assert (row.ip, row.state, row.why) == (
        "10.0.0.300",
        REFUSED,
        "'10.0.0.300' is not an IP address",
    )


def test_an_ip_of_another_namespace():
    (row,) = rows([service(ips=("10.0.0.1",))], [claim("10.0.0.1", "bank/web")])
    assert (row.state, row.why) == (REFUSED, "services of namespace bank have it")


@pytest.mark.parametrize(
    "asking",
    [
        service(spec=BALANCER),
        service(external_ip="auto"),
        service(spec=BALANCER, addresses="10.0.0.7", ingress=("10.0.0.1",)),
        service(
            spec=DetailedServiceSpec(
                type="LoadBalancer",
                ip_families=("IPv4", "IPv6"),
                ip_family_policy="RequireDualStack",
            ),
            ingress=("10.0.0.1",),
        ),
    ],
)
def test_a_service_that_waits_for_a_pool(asking):
    claims = [claim("10.0.0.1", "shop/web")]
    (row,) = rows([asking], claims)
    assert (row.ip, row.state, row.services) == ("", WAITING, ("shop/web",))
    assert "ipclaimpools" in row.why
    told = [event("no IPv4 address is free in pool a", reason=NOT_ALLOCATED), event("10.0.0.9 is")]
    (row,) = rows([asking], claims, told)
    assert (row.state, row.why) == (WAITING, "no IPv4 address is free in pool a")


@pytest.mark.parametrize(
    "asking",
    [
        service(spec=BALANCER, ingress=("10.0.0.1",)),
        service(spec=BALANCER, ingress=("192.0.2.1",)),  # another load balancer's
        service(
            spec=DetailedServiceSpec(
                type="LoadBalancer",
                ip_families=("IPv4", "IPv6"),
                ip_family_policy="PreferDualStack",
            ),
            ingress=("10.0.0.1",),
        ),
        service(ips=("10.0.0.1",), external_ip="auto"),
    ],
)
def test_a_service_that_has_its_address(asking):
    assert rows([asking], [claim("10.0.0.1", "shop/web")]) == []


def test_a_service_that_keeps_an_address_until_its_pool_can_give_it_one_waits():
    asking = service(spec=BALANCER, ingress=("10.0.0.1",), pool="edge, lab")
    for pool, waits in (("edge", False), ("lab", False), ("old", True), ("", False)):
        held = claim("10.0.0.1", "shop/web")
        labels = {**(held.metadata.labels or {}), POOL_LABEL: pool}
        held = replace(held, metadata=replace(held.metadata, labels=labels))
        assert bool(rows([asking], [held])) is waits


@pytest.mark.parametrize(
    ("asking", "why"),
    [
        (service(external_ip="true"), "annotation external-ip is 'true'"),
        (service(addresses="10.0.0.7"), "means nothing without external-ip: auto"),
        (service(**{"ipcontroller.ext/adresses": "x"}), "there is no annotation"),
        (service(spec=BALANCER, addresses="10.0.0.700"), "'10.0.0.700' is no IP address"),
    ],
)
def test_a_service_that_cannot_be_understood_says_so_without_an_event_as_well(asking, why):
    (row,) = rows([asking])
    assert row.state is WAITING
    assert why in row.why


def test_a_load_balancer_of_a_class_is_ours_when_we_said_something_of_it():
    spec = DetailedServiceSpec(type="LoadBalancer", load_balancer_class="example.com/x")
    assert rows([service(spec=spec)]) == []
    told = event("no pool of IPv4 addresses serves it", reason=NOT_ALLOCATED)
    assert [row.why for row in rows([service(spec=spec)], [], [told])] == [told.message]


def test_a_service_that_kube_proxy_does_not_serve_says_so_of_each_ip():
    alias = DetailedServiceSpec(type="ExternalName", external_ips=("10.0.0.1",))
    headless = DetailedServiceSpec(cluster_ips=("None",))
    services = [service("a", spec=alias), service("b", spec=headless, external_ip="auto")]
    found = rows(services)
    assert [(row.ip, row.services) for row in found] == [
        ("10.0.0.1", ("shop/a",)),
        ("", ("shop/b",)),
    ]
    assert all("kube-proxy does not serve" in row.why for row in found)
    assert rows([service("c", spec=headless)]) == []


def test_the_address_of_another_load_balancer_is_told_where_a_scheduler_told_of_it():
    asking = service(spec=BALANCER, ingress=("192.0.2.1",))
    told = event("192.0.2.1 in its status is of another load balancer", reason=NOT_ALLOCATED)
    (row,) = rows([asking], [], [told])
    assert (row.ip, row.why) == ("", told.message)
