"""Claims made, moved and deleted by hand, where no scheduler runs."""

from tests.lab.api import GROUP
from tests.lab.wait import wait_until


class Claims:
    """Claims as a person makes them."""

    def __init__(self, lab):
        self._lab = lab

    def create(self, ip, node, *, prefix=32, name="", **spec):
        """Create a claim; returns its name."""
        name = name or f"{ip.replace('.', '-').replace(':', '-')}-{prefix}"
        self._lab.api.request(
            "POST",
            f"{GROUP}/ipclaims",
            {
                "apiVersion": "ipcontroller.ext/v1",
                "kind": "IpClaim",
                "metadata": {"name": name, "labels": {"ipnode": node}},
                "spec": {"cidr": f"{ip}/{prefix}", "nodeName": node, **spec},
            },
        )
        return name

    def move(self, name, node, *, before):
        """Give a claim to another node, as the scheduler does."""
        patch = {
            "metadata": {"labels": {"ipnode": node, "ip-previous-node": before}},
            "spec": {"nodeName": node},
        }
        self.merge(name, patch)

    def report_up(self, name, node):
        """Say in the name of a controller that it has the IP up."""
        now = "2026-01-01T00:00:00Z"
        up = {
            "type": "Up",
            "status": "True",
            "reason": "AddressUp",
            "message": f"on {node}",
            "lastTransitionTime": now,
            "observedGeneration": self.get(name)["metadata"]["generation"],
        }
        patch = {"status": {"holder": node, "since": now, "conditions": [up]}}
        self.merge(f"{name}/status", patch)

    def merge(self, path, patch):
        self._lab.api.request(
            "PATCH",
            f"{GROUP}/ipclaims/{path}",
            patch,
            content_type="application/merge-patch+json",
        )

    def delete(self, name):
        self._lab.api.discard(f"{GROUP}/ipclaims/{name}")

    def get(self, name):
        return self._lab.api.get(f"{GROUP}/ipclaims/{name}")

    def status(self, name):
        return self.get(name).get("status", {})

    def is_held_by(self, name, node):
        return self.status(name).get("holder") == node

    def condition(self, name, kind):
        conditions = self.status(name).get("conditions", [])
        return next((c for c in conditions if c["type"] == kind), {})

    def wait_for(self, name, kind, status, reason):
        def reached():
            found = self.condition(name, kind)
            return (found.get("status"), found.get("reason")) == (status, reason)

        wait_until(reached, f"{kind}={status} {reason} on {name}")
        return self.condition(name, kind)
