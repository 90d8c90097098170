"""Claims mode on a lab whose services get addresses from pools."""

from tests.lab.api import GROUP
from tests.lab.wait import wait_until
from tests.system.claims_cluster import ClaimsCluster

ADDRESSES = "ipcontroller.ext/addresses"
LOAD_BALANCER = {"type": "LoadBalancer"}
SINGLE = {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}
DUAL = {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": None}


def pool(name, cidr, *ranges, **spec):
    return {
        "apiVersion": "ipcontroller.ext/v1",
        "kind": "IpClaimPool",
        "metadata": {"name": name},
        "spec": {"cidr": cidr, **({"ranges": [list(r) for r in ranges]} if ranges else {}), **spec},
    }


class PooledCluster(ClaimsCluster):
    """A cluster whose services get addresses from pools."""

    def add(self, name, *, metadata=None, port=80, **spec):
        self.lab.add_service(
            name, namespace=self.namespace, port=port, spec={**SINGLE, **spec}, metadata=metadata
        )

    def path(self, name=""):
        return f"/api/v1/namespaces/{self.namespace}/services/{name}".rstrip("/")

    def service(self, name):
        return self.lab.api.get(self.path(name))

    def ingress(self, name):
        status = self.service(name)["status"]
        return [way["ip"] for way in status["loadBalancer"].get("ingress", [])]

    def wait_ingress(self, name, *ips):
        wait_until(lambda: self.ingress(name) == list(ips), f"ingress {ips} of {name}")

    def merge(self, name, patch, *, subresource=""):
        path = self.path(name) + (f"/{subresource}" if subresource else "")
        self.lab.api.request("PATCH", path, patch, content_type="application/merge-patch+json")

    def pool_status(self, name):
        return self.lab.api.get(f"{GROUP}/ipclaimpools/{name}").get("status", {})

    def wait_allocated(self, pool_name, allocated):
        wait_until(
            lambda: self.pool_status(pool_name).get("allocated", {}) == allocated,
            f"pool {pool_name} to say {allocated}",
        )

    def events(self, name):
        found = self.lab.api.get(f"/api/v1/namespaces/{self.namespace}/events")["items"]
        return {
            (e["reason"], e["message"]): e["count"]
            for e in found
            if e["involvedObject"]["name"] == name
        }
