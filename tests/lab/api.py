"""A small client of the lab's API server, used from outside over sockets of the lab."""

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.lab.errors import LabError
from tests.lab.host import Host
from tests.lab.network import API_SERVER_IP
from tests.lab.wait import wait_until

GROUP = "/apis/ipcontroller.ext/v1"
"""Where the kinds of extip are."""

PORT = 6443
MERGE_PATCH = "application/merge-patch+json"


class ApiStatusError(LabError):
    """The API server answered with a failure."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


class _Connection(http.client.HTTPSConnection):
    """An HTTPS connection whose socket lives in a host of the lab."""

    def __init__(self, host: Host, port: int, context: ssl.SSLContext, timeout: float) -> None:
        super().__init__(API_SERVER_IP, port, context=context, timeout=timeout)
        self._lab_host = host
        self._tls = context

    def connect(self) -> None:
        plain = self._lab_host.connect(API_SERVER_IP, self.port, self.timeout or 10.0)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self._tls.wrap_socket(plain, server_hostname=API_SERVER_IP)


class ApiClient:
    """Requests as the cluster's admin; each on a connection of its own, so none can be stale."""

    def __init__(self, host: Host, certificate: Path, token: str, *, port: int = PORT) -> None:
        self._host = host
        self._port = port
        self._context = ssl.create_default_context(cafile=str(certificate))
        self._token = token

    def raw(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        content_type: str = "application/json",
        timeout: float = 60.0,
    ) -> str:
        """Send a request, return the body's text. ApiStatusError from 400 up, OSError below it."""
        connection = _Connection(self._host, self._port, self._context, timeout)
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": content_type}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read().decode()
        except http.client.HTTPException as error:
            raise ConnectionError(f"API server: {error!r}") from error
        finally:
            connection.close()
        if response.status >= http.HTTPStatus.BAD_REQUEST:
            raise ApiStatusError(response.status, text)
        return text

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        content_type: str = "application/json",
    ) -> Any:
        """Send a request, return the decoded body."""
        return json.loads(self.raw(method, path, body, content_type=content_type))

    def get(self, path: str) -> Any:
        return self.request("GET", path)

    def ensure(self, path: str, body: Mapping[str, Any]) -> None:
        """Create an object; one that is there already is left as it is."""
        try:
            self.request("POST", path, body)
        except ApiStatusError as error:
            if error.status != http.HTTPStatus.CONFLICT:
                raise

    def discard_all(self, path: str, *, label: str = "") -> None:
        """Delete the objects of a kind, or those that have a label; returns when they are gone."""
        path += f"?labelSelector={label}" if label else ""
        self.request("DELETE", path)
        wait_until(lambda: not self.get(path)["items"], f"{path} to be empty")

    def discard(self, path: str) -> None:
        """Delete an object; one that is gone already is no error."""
        try:
            self.request("DELETE", path)
        except ApiStatusError as error:
            if error.status != http.HTTPStatus.NOT_FOUND:
                raise
