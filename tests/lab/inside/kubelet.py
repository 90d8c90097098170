"""A stub kubelet: keeps a Node Ready with its Lease, and reports its pods as running.

Containers are not run: every pod of the node is reported with the addresses of the node's pod
network, where one HTTP backend listens; a pod on the host network gets the node's own. A pod whose
annotation `lab/ready` is "false" is reported as running but not ready. A node with the annotation
`lab/shutting-down` is reported as a kubelet does during a graceful shutdown (KEP-2000). Standard
library only.
"""

import http.client
import json
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

TIMEOUT_S = 5.0
RETRY_S = 0.2
MERGE_PATCH = "application/merge-patch+json"
SHUTTING_DOWN = "lab/shutting-down"


class StatusError(Exception):
    """The API server answered with a failure."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status} {text}")
        self.status = status


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def condition(kind: str, *, true: bool) -> dict[str, str]:
    stamp = now()[:19] + "Z"
    return {
        "type": kind,
        "status": "True" if true else "False",
        "reason": "Lab",
        "lastTransitionTime": stamp,
    }


class Kubelet:
    """Two threads: heartbeat and pods."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._server: str = settings["server"]
        self._token: str = settings["token"]
        self._name: str = settings["node"]
        self._node_ips: list[str] = settings["node_ips"]
        self._pod_ips: list[str] = settings["pod_ips"]
        self._interval_s: float = settings["heartbeat_s"]
        self._tls = ssl.create_default_context(cafile=settings["certificate"])

    def _open(
        self, method: str, path: str, body: object, content_type: str, timeout: float
    ) -> tuple[http.client.HTTPSConnection, http.client.HTTPResponse]:
        connection = http.client.HTTPSConnection(self._server, context=self._tls, timeout=timeout)
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": content_type}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
        except BaseException:
            connection.close()
            raise
        if response.status >= 400:
            text = response.read().decode()
            connection.close()
            raise StatusError(response.status, text)
        return connection, response

    def request(
        self, method: str, path: str, body: object = None, content_type: str = "application/json"
    ) -> Any:
        connection, response = self._open(method, path, body, content_type, TIMEOUT_S)
        try:
            return json.loads(response.read())
        finally:
            connection.close()

    def beat_for_ever(self) -> None:
        """Register, then renew the Lease; a failed beat is tried again soon."""
        while True:
            started = time.monotonic()
            try:
                self._beat()
            except (OSError, http.client.HTTPException, StatusError, ValueError) as error:
                print("heartbeat:", error, flush=True)
                time.sleep(RETRY_S)
                continue
            time.sleep(max(0.0, self._interval_s - (time.monotonic() - started)))

    def _beat(self) -> None:
        leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        spec = {
            "holderIdentity": self._name,
            "leaseDurationSeconds": max(1, int(self._interval_s * 4)),
            "renewTime": now(),
        }
        lease = {"metadata": {"name": self._name, "namespace": "kube-node-lease"}, "spec": spec}
        try:
            self.request("PATCH", f"{leases}/{self._name}", {"spec": spec}, MERGE_PATCH)
        except StatusError as error:
            if error.status != 404:
                raise
            self.request("POST", leases, lease)
        self._report_node()

    def _report_node(self) -> None:
        path = f"/api/v1/nodes/{self._name}"
        try:
            node = self.request("GET", path)
        except StatusError as error:
            if error.status != 404:
                raise
            labels = {"kubernetes.io/hostname": self._name, "kubernetes.io/os": "linux"}
            node = self.request(
                "POST", "/api/v1/nodes", {"metadata": {"name": self._name, "labels": labels}}
            )
        conditions = node.get("status", {}).get("conditions", [])
        ready = condition("Ready", true=True)
        if SHUTTING_DOWN in node["metadata"].get("annotations", {}):
            why = {"reason": "KubeletNotReady", "message": "node is shutting down"}
            ready = condition("Ready", true=False) | why
        if any(c["type"] == "Ready" and c["status"] == ready["status"] for c in conditions):
            return
        addresses = [{"type": "InternalIP", "address": ip} for ip in self._node_ips]
        addresses.append({"type": "Hostname", "address": self._name})
        status = {"addresses": addresses, "conditions": [ready]}
        self.request("PATCH", f"{path}/status", {"status": status}, MERGE_PATCH)

    def watch_pods_for_ever(self) -> None:
        """List and watch this node's pods; list anew after any error."""
        while True:
            try:
                for pod in self._pods():
                    self._report_pod(pod)
            except (OSError, http.client.HTTPException, StatusError, ValueError) as error:
                print("pods:", error, flush=True)
                time.sleep(RETRY_S)

    def _pods(self) -> Iterator[dict[str, Any]]:
        path = f"/api/v1/pods?fieldSelector=spec.nodeName%3D{self._name}"
        listed = self.request("GET", path)
        yield from listed["items"]
        version = listed["metadata"]["resourceVersion"]
        watch = f"{path}&watch=1&resourceVersion={version}&timeoutSeconds=20"
        connection, response = self._open("GET", watch, None, "application/json", 30.0)
        try:
            for line in response:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise StatusError(event["object"].get("code", 500), line.decode())
                if event["type"] != "DELETED":
                    yield event["object"]
        finally:
            connection.close()

    def _report_pod(self, pod: dict[str, Any]) -> None:
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        try:
            if metadata.get("deletionTimestamp"):
                self.request("DELETE", path, {"gracePeriodSeconds": 0})
                return
            ready = metadata.get("annotations", {}).get("lab/ready") != "false"
            if not self._reported(pod, ready=ready):
                status = self._pod_status(pod, ready=ready)
                self.request("PATCH", f"{path}/status", {"status": status}, MERGE_PATCH)
        except StatusError as error:
            if error.status not in (404, 409):  # gone, or changed: the next event tells
                raise

    @staticmethod
    def _reported(pod: dict[str, Any], *, ready: bool) -> bool:
        status = pod.get("status", {})
        wanted = "True" if ready else "False"
        return status.get("phase") == "Running" and any(
            c["type"] == "Ready" and c["status"] == wanted for c in status.get("conditions", [])
        )

    def _pod_status(self, pod: dict[str, Any], *, ready: bool) -> dict[str, Any]:
        on_host = bool(pod["spec"].get("hostNetwork"))
        ips = self._node_ips if on_host else self._pod_ips
        stamp = now()[:19] + "Z"
        containers = [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": "",
                "ready": ready,
                "started": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": stamp}},
            }
            for container in pod["spec"]["containers"]
        ]
        conditions = [
            condition("Initialized", true=True),
            condition("PodScheduled", true=True),
            condition("ContainersReady", true=ready),
            condition("Ready", true=ready),
        ]
        return {
            "phase": "Running",
            "startTime": stamp,
            "hostIP": self._node_ips[0],
            "podIP": ips[0],
            "podIPs": [{"ip": ip} for ip in ips],
            "conditions": conditions,
            "containerStatuses": containers,
        }


def main() -> None:
    kubelet = Kubelet(json.loads(sys.argv[1]))
    threading.Thread(target=kubelet.beat_for_ever, daemon=True).start()
    kubelet.watch_pods_for_ever()


main()
