"""A server that still has claims that nobody can read: older definitions let them in."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.lab.api import GROUP, ApiStatusError
from tests.lab.cluster import Lab
from tests.lab.wait import wait_until

_FORMAT = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/cidr/format"


@contextmanager
def lenient_definition(lab: Lab) -> Iterator[None]:
    """Have the server take any text for the IP of a claim, until the end of the test."""
    removal = json.dumps([{"op": "remove", "path": _FORMAT}])
    lab.kubectl("patch", "crd", "ipclaims.ipcontroller.ext", "--type=json", "-p", removal)
    wait_until(lambda: _takes_anything(lab), "the definition to be in force")
    try:
        yield
    finally:
        flags = ("--apply", f"--kubeconfig={lab.kubeconfig}")
        for claim in lab.api.get(f"{GROUP}/ipclaims")["items"]:
            lab.api.discard(f"{GROUP}/ipclaims/{claim['metadata']['name']}")
        lab.switch.run(["extip", "crds", *flags])
        wait_until(lambda: not _takes_anything(lab), "the definition to be as it was")


def _takes_anything(lab: Lab) -> bool:
    claim = {
        "apiVersion": "ipcontroller.ext/v1",
        "kind": "IpClaim",
        "metadata": {"name": "anything"},
        "spec": {"cidr": "anything"},
    }
    try:
        lab.api.request("POST", f"{GROUP}/ipclaims?dryRun=All", claim)
    except ApiStatusError:
        return False
    return True
