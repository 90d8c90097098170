"""Workloads of the manifests as pods on the lab's hosts.

Nothing here runs containers. `start` makes what matters of one: the ServiceAccount's files where
the kubelet mounts them, the manifest's user, arguments and capabilities and no way to gain others,
the system calls that its seccomp profile leaves, and nothing writable, `/proc/sys` least of all.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.lab.anchor import python
from tests.lab.cluster import Lab
from tests.lab.host import SERVICE_ACCOUNT_FILES, Host
from tests.lab.process import Process
from tests.meta.manifests import MANIFESTS, WORKLOADS, Workload, workloads

HTTP_PORT = 9188
DENIALS = {"401", "403"}
DENIED = "RBAC does not allow it"
"""What extip's messages say of a request that was denied."""

_CONTAINER = """
for mount in / /run /tmp /var/tmp; do
  if mountpoint -q $mount; then mount -o remount,bind,ro $mount; fi
done
mount -o bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
exec "$@"
"""

OF_THE_OPERATOR = {"PodMonitor": "podmonitors", "PrometheusRule": "prometheusrules"}
"""Kinds of the Prometheus operator, with their plurals."""

_NOT_IN_THE_LAB = {"PodDisruptionBudget", *OF_THE_OPERATOR, *WORKLOADS}
"""Nothing here evicts pods, servers before 1.21 do not know policy/v1, and there is no operator."""


def apply(lab: Lab, manifests: Sequence[dict[str, Any]]) -> None:
    """Apply objects, without kubectl's own check, for the reason in claims/kustomization.yaml."""
    lab.kubectl("apply", "--validate=false", "-f", "-", stdin=yaml.safe_dump_all(manifests))


def delete(lab: Lab, manifests: Sequence[dict[str, Any]]) -> None:
    """Delete objects and wait until they are gone, a namespace with all that is in it."""
    lab.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=yaml.safe_dump_all(manifests))


@contextmanager
def installed(lab: Lab, folder: str | Path) -> Iterator[dict[str, Workload]]:
    """Install a folder of manifests, by name or elsewhere, but for its workloads.

    Yields these by their commands.

    Definitions stay after it: other tests have theirs in the same lab.
    """
    found = workloads(MANIFESTS / folder)
    beside = [m for m in found[0].beside if m["kind"] not in _NOT_IN_THE_LAB]
    apply(lab, beside)
    try:
        yield {workload.command: workload for workload in found}
    finally:
        delete(lab, [m for m in beside if m["kind"] != "CustomResourceDefinition"])


def start(lab: Lab, host: Host, workload: Workload, *flags: str) -> Process:
    """Start the workload's container on a host, with flags added, as the kubelet would."""
    context = workload.container["securityContext"]
    environment = lab.mount_service_account(host, workload.namespace, workload.service_account)
    user = f"{context['runAsUser']}:{context['runAsGroup']}"
    host.run(["chown", "-R", user, SERVICE_ACCOUNT_FILES])
    argv = ["extip", *workload.arguments(host.name, getattr(host, "ip", "")), *flags]
    return host.start(
        ["unshare", "--mount", "sh", "-ec", _CONTAINER, "sh", *_confinement(context), *argv],
        env=environment,
        name=f"extip-{workload.command}",
    )


def _confinement(context: dict[str, Any]) -> list[str]:
    """Return the command that takes from root what the manifest does not let a container have.

    And before it the system calls that a container runtime refuses by default.
    Files of an image may be read by everybody; extip and Python here may be in a private folder.
    So another user than root gets the capability to read, as an ambient one.
    """
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    confined = python("confined.py")
    added = [name.lower() for name in context["capabilities"].get("add", [])]
    if not context["runAsUser"]:
        only = ",".join(["-all", *(f"+{name}" for name in added)])
        return [
            *confined,
            "setpriv",
            f"--bounding-set={only}",
            f"--inh-caps={only}",
            "--no-new-privs",
        ]
    assert not added, "of no effect: Kubernetes has no ambient capabilities"
    only = "-all,+dac_read_search"
    return [
        *confined,
        "setpriv",
        f"--reuid={context['runAsUser']}",
        f"--regid={context['runAsGroup']}",
        "--clear-groups",
        f"--bounding-set={only}",
        f"--inh-caps={only}",
        f"--ambient-caps={only}",
        "--no-new-privs",
    ]


def serves(host: Host, workload: Workload, probe: str, *, port: int = 0, ip: str = "") -> str:
    """Probe as the kubelet does, or at another port or address; OSError when nothing listens."""
    action = workload.container[probe]["httpGet"]
    (declared,) = (
        declared["containerPort"]
        for declared in workload.container["ports"]
        if declared["name"] == action["port"]
    )
    return host.http_get(ip or action["host"], port or declared, path=action["path"])


def answers(host: Host, *, port: int = HTTP_PORT) -> set[str]:
    """Return the HTTP codes that the API server has answered extip with."""
    text = host.http_get("127.0.0.1", port, path="/metrics")
    return set(re.findall(r'(?m)^extip_api_requests_total{.*code="(\d+)"', text))


def denied_nothing(host: Host, *, port: int = HTTP_PORT) -> bool:
    """Tell whether all that extip asked for was granted."""
    codes = answers(host, port=port)
    return "200" in codes and not codes & DENIALS
