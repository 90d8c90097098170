"""An admission webhook that never answers: what it is asked about hangs until it is gone."""

import base64
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.lab.cluster import Lab
from tests.lab.network import API_SERVER_IP

_PORT = 9443
_PATH = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
_NAME = "never-answers"


@contextmanager
def hanging(
    lab: Lab, *resources: str, group: str = "", labels: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Have updates of these resources hang, of objects with all the labels: for 30 s each."""
    certificate = lab.control_plane.credentials.certificate.read_bytes()
    with lab.switch.open_socket(socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((API_SERVER_IP, _PORT))
        listener.listen(1024)  # the kernel accepts, nobody reads
        webhook = {
            "name": f"{_NAME}.lab.example",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": "Ignore",
            "timeoutSeconds": 30,
            "clientConfig": {
                "url": f"https://{API_SERVER_IP}:{_PORT}/",
                "caBundle": base64.b64encode(certificate).decode(),
            },
            "objectSelector": {"matchLabels": dict(labels or {})},
            "rules": [
                {
                    "apiGroups": [group],
                    "apiVersions": ["v1"],
                    "operations": ["UPDATE"],
                    "resources": list(resources),
                }
            ],
        }
        lab.api.request(
            "POST",
            _PATH,
            {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "ValidatingWebhookConfiguration",
                "metadata": {"name": _NAME},
                "webhooks": [webhook],
            },
        )
        try:
            yield
        finally:
            lab.api.discard(f"{_PATH}/{_NAME}")
