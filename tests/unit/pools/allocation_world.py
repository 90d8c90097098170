"""Services, pools and claims as an API server holds them, and a scheduler that may die anywhere."""

from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import ip_address

import msgspec

from extip.api.core_v1 import DetailedService
from extip.api.ipcontroller_v1 import IpClaim, IpClaimPool, IpClaimPoolSpec
from extip.api.meta_v1 import FullObjectMeta
from extip.api.pool_parts import IpClaimPoolNetwork
from extip.claims.policy.claims import (
    Create,
    Delete,
    index_claims,
    new_claim,
    plan_claims,
    services_patch,
)
from extip.claims.policy.names import claim_name
from extip.net.interfaces import IPAddress
from extip.pools.policy.address_request import address_request
from extip.pools.policy.allocation import plan_allocation
from extip.pools.policy.allocation_index import Facts
from extip.pools.policy.freed import Freed
from extip.pools.policy.pools import compile_pools
from extip.pools.policy.service_update import SetIngress, service_update_patch
from extip.pools.policy.set_aside import NOTHING
from extip.services.policy.requests import Masks, Owner, collect, service_owner


def on_the_wire(patch):
    """Encode and decode a patch, so that what is left out of it is left out here."""
    return msgspec.json.decode(msgspec.json.encode(patch))


def merged(old, patch):
    """Apply a merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    new = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            new.pop(key, None)
        else:
            new[key] = merged(new.get(key), value)
    return new


def service_json(name, *, created="", namespace="default", **spec):
    """Describe a service; `annotations` and `labels` go to its metadata."""
    metadata = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "resourceVersion": "1"}
    for key in ("annotations", "labels"):
        if key in spec:
            metadata[key] = spec.pop(key)
    spec.setdefault("ports", [{"port": 80}])
    return {"metadata": {**metadata, "creationTimestamp": created}, "spec": spec, "status": {}}


def pool(name, cidr, *ranges, **spec):
    return IpClaimPool(
        metadata=FullObjectMeta(name=name, resource_version="1"),
        spec=IpClaimPoolSpec(cidr=cidr, ranges=ranges or None, **spec),
    )


def network(cidr, *ranges):
    return IpClaimPoolNetwork(cidr=cidr, ranges=ranges or None)


class World:
    """The truth, and passes over it."""

    def __init__(self, *pools, lb_class=""):
        self.pools = {p.metadata.name: p for p in pools}
        self.services = {}
        self.claims = {}
        self.freed = Freed()
        self.node_ips: frozenset[IPAddress] = frozenset()
        self.namespaces = {}
        self.lb_class = lb_class
        self.used: dict[IPAddress, object] = {}
        self.aside = NOTHING
        self.decided: Mapping[Owner, frozenset[IPAddress]] = {}
        """The addresses that the last plan gave before there are claims."""
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.down: set[str] = set()
        """IPs that no node brings up."""

    def add(self, name, **spec):
        self.services[name] = service_json(name, **spec)

    def change(self, name, patch):
        old = self.services[name]
        version = int(old["metadata"]["resourceVersion"]) + 1
        self.services[name] = merged(
            merged(old, patch), {"metadata": {"resourceVersion": str(version)}}
        )

    def decoded(self):
        return [
            msgspec.json.decode(msgspec.json.encode(s), type=DetailedService)
            for s in self.services.values()
        ]

    def facts(self):
        """Return what a plan looks at."""
        services = self.decoded()
        by_owner = {service_owner(s): s for s in services}
        address_requests = [
            d for s in services if (d := address_request(s, lb_class=self.lb_class))
        ]
        requests = collect(
            [(service_owner(s), s.spec.external_ips or ()) for s in services],
            Masks(v4=32, v6=128).parse,
        )
        pools = compile_pools(self.pools.values())
        self.freed.regroup(pools)
        facts = Facts(
            requests=requests,
            node_ips=self.node_ips,
            namespaces=self.namespaces,
            freed=self.freed,
            aside=self.aside,
            decided=self.decided,
            now=self.now,
            ports=lambda owner: frozenset(
                (p.protocol, p.port) for p in by_owner[owner].spec.ports or ()
            ),
        )
        return address_requests, pools, facts

    def plan(self):
        address_requests, pools, facts = self.facts()
        allocation = plan_allocation(address_requests, pools, self.claims.values(), facts)
        self.decided = {owner: one.unclaimed for owner, one in allocation.upcoming.items()}
        return allocation, allocation.extend(facts.requests)

    def writes(self):
        """Return the allocation and everything that a pass would write, in order."""
        allocation, requests = self.plan()
        actions = plan_claims(
            requests.wanted, index_claims(self.claims.values()), allocation.pools()
        )
        return allocation, [*actions, *allocation.service_updates]

    def write(self, action):
        """Write as the API server would: what was decided over another version is refused."""
        if isinstance(action, Create):
            claim = new_claim(action)
            self.claims.setdefault(claim.metadata.name, claim)
        elif isinstance(action, Delete):
            self.claims.pop(action.claim.metadata.name, None)
        elif hasattr(action, "claim"):
            name = action.claim.metadata.name
            if self.claims.get(name) is action.claim:
                self.claims[name] = self._patched(action)
        else:
            name = action.owner.name
            found = self.services.get(name)
            if found and found["metadata"]["resourceVersion"] == action.version:
                self.change(name, on_the_wire(service_update_patch(action)))
                if isinstance(action, SetIngress):
                    assert "spec" not in service_update_patch(action)

    def step(self, upto=None):
        """Make a pass that dies after `upto` writes; return how many it wanted."""
        allocation, writes = self.writes()
        for action in writes[:upto]:
            self.write(action)
        self.report()
        now = dict(allocation.users)
        for ip in now:
            self.freed.drop(ip)
        for ip in sorted(self.used.keys() - now, key=lambda ip: (ip.version, int(ip))):
            self.freed.put(ip, str(self.used[ip]))
        self.used = now
        return len(writes)

    def report(self):
        """Have all claims up, as controllers do a moment after they were made."""
        for name, claim in self.claims.items():
            if not claim.status.holder and claim.spec.cidr.split("/")[0] not in self.down:
                since = self.now.strftime("%Y-%m-%dT%H:%M:%SZ")
                status = msgspec.structs.replace(claim.status, holder="n1", since=since)
                self.claims[name] = msgspec.structs.replace(claim, status=status)

    def settle(self):
        """Pass until there is nothing to write."""
        for _ in range(12):
            if not self.step():
                return
        raise AssertionError(f"it does not settle: {self.writes()[1]}")

    def shown(self, name):
        """Return the addresses that a service shows to its users."""
        found = self.services[name]
        ways = found["status"].get("loadBalancer", {}).get("ingress", [])
        return [way["ip"] for way in ways] + found["spec"].get("externalIPs", [])

    def claimed(self):
        """Return the services of each claimed IP."""
        return {
            str(ip_address(c.spec.cidr.split("/")[0])): [s.name for s in c.spec.services or ()]
            for c in self.claims.values()
        }

    def claim_by_hand(self, interface):
        claim = IpClaim(
            metadata=FullObjectMeta(name=f"mine-{claim_name(interface)}"),
            spec=msgspec.structs.replace(IpClaim().spec, cidr=interface.with_prefixlen),
        )
        self.claims[claim.metadata.name] = claim

    def _patched(self, action):
        patch = merged(
            {
                "metadata": {
                    "labels": dict(action.claim.metadata.labels or {}),
                    "annotations": dict(action.claim.metadata.annotations or {}),
                }
            },
            on_the_wire(services_patch(action)),
        )
        changed = {key: patch["metadata"].get(key) for key in ("labels", "annotations")}
        return msgspec.structs.replace(
            action.claim,
            metadata=msgspec.structs.replace(action.claim.metadata, **changed),
            spec=msgspec.structs.replace(action.claim.spec, services=action.services),
        )
