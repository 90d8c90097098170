"""Writes a folder for `kubectl apply -k`: the base of extip, and an overlay of the user's own.

The base is replaced each time, also by a later version. The overlay is written once and then
belongs to the user.
"""

import json
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from extip import __version__
from extip.errors import ConfigurationError
from extip.manifests.old_servers import NEWEST_CHANGE, as_taken
from extip.net.networks import IPNetwork

OVERLAY = "kustomization.yaml"
MONITORING = "monitoring"
METRICS_AUTH = "metrics-auth"
METRICS_PORT = 9189
"""Port of programs on the host's network; that of their probes stays on loopback."""
METRICS_READER = "extip-metrics-reader"
"""Account that may read metrics, and the Secret with its token."""
METRICS_NAME = "extip-metrics"
"""Name that the certificate for metrics has to have: the addresses of pods and nodes change."""
METRICS_FILES = "/run/secrets/extip-metrics"
"""Where a pod finds certificate and key for metrics."""
METRICS_VOLUME = "metrics-tls"
MARKER = "replaced-by-extip-manifests"
"""A file of the base. Without it a folder of the same name is somebody else's, and stays."""

_HEADER = """\
# Yours: `extip manifests` writes this file once, and later replaces only the folder beside it. The
# files in that folder say what else can be set.
"""
_OF_WHEEL = Path(__file__).parent
_OF_CHECKOUT = Path(__file__).parents[2] / "manifests"
_CONTAINER = "/spec/template/spec/containers/0"
_ARGUMENTS = f"{_CONTAINER}/args"
_NODE_IP = {"name": "NODE_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}
_POD_PORT = {"name": "metrics", "containerPort": METRICS_PORT}
_PORT = {**_POD_PORT, "hostPort": METRICS_PORT}

Operation = dict[str, object]
"""One of a JSON patch (RFC 6902)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The settings that differ from cluster to cluster; the overlay has them."""

    mode: str
    """``claims`` or ``simple``."""
    image: str
    """Name of the image, with a tag or digest; empty when nobody said one."""
    iface: str
    """The same holds for the interface."""
    mask: int
    allow_cidr: Sequence[IPNetwork] = ()
    metrics_allow_cidr: Sequence[IPNetwork] = ()
    """Where Prometheus asks from; none: only from the node itself, and the schedulers' network."""
    metrics_tls_secret: str = ""
    """The Secret with the certificate for metrics; empty: no TLS."""
    metrics_auth: bool = False
    """Whether metrics are for bearer tokens alone."""
    kubernetes: int | None = None
    """Minor version of the oldest API server; None: as the folder was written for."""
    monitoring: bool = False
    """Whether the folder has what the Prometheus operator takes, too."""

    def options(self) -> list[str]:
        """Return the folders that are put beside that of the mode."""
        chosen = {MONITORING: self.monitoring, METRICS_AUTH: self.metrics_auth}
        return [name for name, is_chosen in chosen.items() if is_chosen]

    def check(self) -> None:
        """Raise ConfigurationError for an option that lacks another one."""
        for option, is_chosen in (
            ("--monitoring", self.monitoring),
            ("--metrics-tls-secret", self.metrics_tls_secret),
        ):
            if is_chosen and not self.metrics_allow_cidr:
                raise ConfigurationError(
                    f"{option} needs --metrics-allow-cidr: the network that Prometheus asks from"
                )
        if self.metrics_auth and not self.metrics_tls_secret:
            raise ConfigurationError(
                "--metrics-auth needs --metrics-tls-secret: a token must not cross the network in "
                "plain text"
            )


def write(folder: Path, choices: Choices, given: Sequence[str] = ()) -> None:
    """Write base and overlay, and print the next step; raises ConfigurationError.

    `given` are the flags of the command that belong into the overlay: one that is there already
    does not get them, and the person is told so.
    """
    overlay, base = folder / OVERLAY, folder / choices.mode
    again = overlay.exists() and (base / MARKER).exists()
    options = choices.options()
    if again:
        options = [one for one in (MONITORING, METRICS_AUTH) if (folder / one / MARKER).exists()]
    kubernetes = choices.kubernetes or _servers_of(base) or NEWEST_CHANGE
    try:
        if not again and folder.exists() and any(folder.iterdir()):
            raise ConfigurationError(
                f"{folder} has other files, and none of {choices.mode} mode: name a new folder"
            )
        if not again and not (choices.image and choices.iface):
            raise ConfigurationError("--image and --iface are needed for a new folder")
        choices.check()
        for name in (choices.mode, *options):
            _replace_base(folder / name, source_of(name), kubernetes)
        if not again:
            overlay.write_text(_HEADER + _render(_overlay(choices)))
    except OSError as error:
        reason = error.strerror or error
        raise ConfigurationError(f"{folder} cannot be written: {reason}") from None
    lost = f", without {', '.join(given)}" if given else ""
    kept = f" {overlay} is yours and stayed as it is{lost}: set its newTag, then" if again else ""
    servers = f"Kubernetes 1.{kubernetes} and later"
    said = f"{base} is that of extip {__version__}, for {servers}.{kept} kubectl apply -k {folder}"
    sys.stdout.write(f"{said}\n")


class _BlockDumper(yaml.SafeDumper):
    """Writes text of several lines as a block, for a person to change."""


def _text(dumper: _BlockDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_BlockDumper.add_representer(str, _text)


def _render(overlay: dict[str, object]) -> str:
    text: str = yaml.dump(overlay, Dumper=_BlockDumper, sort_keys=False)
    return text


def _lines(operations: Sequence[Operation]) -> str:
    """Return a JSON patch as YAML, a line for each operation."""
    return "".join(f"- {json.dumps(operation)}\n" for operation in operations)


def _replace_base(base: Path, source: Path, kubernetes: int) -> None:
    """Replace the base as a whole; after an OSError the former one is still there."""
    new = base.with_name(f".{base.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    try:
        shutil.copytree(source, new)
        for file in new.glob("*.yaml"):
            file.write_text(as_taken(file.read_text(encoding="utf-8"), kubernetes))
        (new / MARKER).write_text(
            f"Written by extip {__version__} for Kubernetes 1.{kubernetes} and later. "
            "Put nothing of yours here.\n"
        )
        if base.exists():
            shutil.rmtree(base)
        new.rename(base)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _servers_of(base: Path) -> int | None:
    """Return for which minor version of servers a base was written; None: it does not tell."""
    try:
        found = re.search(r"for Kubernetes 1\.(\d+) ", (base / MARKER).read_text())
    except OSError:
        return None
    return int(found[1]) if found else None


def source_of(mode: str) -> Path:
    """Return the folder with the manifests of a mode, in a wheel or in a checkout."""
    of_wheel = _OF_WHEEL / mode
    return of_wheel if of_wheel.is_dir() else _OF_CHECKOUT / mode


def _overlay(choices: Choices) -> dict[str, object]:
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [choices.mode, *choices.options()],
        "images": [{"name": "extip", **_image(choices.image)}],
        "patches": [
            {"target": {"kind": kind, "name": name}, "patch": _lines(operations)}
            for kind, name, operations in _patches(choices)
        ],
    }


def _image(text: str) -> dict[str, str]:
    """Return name and tag, or name and digest, as kustomize wants them.

    A colon before the last slash belongs to the port of a registry.
    """
    name, at, digest = text.partition("@")
    if at:
        return {"newName": name, "digest": digest}
    path, slash, last = text.rpartition("/")
    last, _, tag = last.partition(":")
    return {"newName": f"{path}{slash}{last}", "newTag": tag or __version__}


def _patches(choices: Choices) -> Iterator[tuple[str, str, list[Operation]]]:
    iface, mask = f"--iface={choices.iface}", f"--mask={choices.mask}"
    networks = _flags("--allow-cidr", choices.allow_cidr)
    readers = [*_flags("--metrics-allow-cidr", choices.metrics_allow_cidr), *_tls(choices)]
    if choices.mode == "simple":
        opened = [_add("env", [_NODE_IP]), *_metrics("$(NODE_IP)", _PORT)] if readers else []
        flags = [_replace(1, iface), _replace(2, mask), *networks, *opened, *readers]
        yield "Deployment", "extip-simple", flags
    else:
        opened = [_add("env/-", _NODE_IP), *_metrics("$(NODE_IP)", _PORT)] if readers else []
        yield "DaemonSet", "extip-controller", [_replace(1, iface), *opened, *readers]
        opened = _metrics("", _POD_PORT) if choices.metrics_tls_secret else []
        yield "Deployment", "extip-scheduler", [_replace(1, mask), *networks, *opened, *readers]
    if choices.monitoring and choices.metrics_tls_secret:
        endpoints, port = "/spec/podMetricsEndpoints", "/spec/ingress/0/ports/0/port"
        yield "PodMonitor", "extip", [_set(endpoints, [_endpoint(choices)])]
        yield "NetworkPolicy", "extip-scheduler", [_set(port, "metrics")]


def _metrics(address: str, port: object) -> list[Operation]:
    """Serve them on the node's own address. All addresses would be the external IPs, too.

    A pod has no external IPs: there it is each of its addresses.
    """
    return [_add("args/-", f"--metrics={address}:{METRICS_PORT}"), _add("ports/-", port)]


def _tls(choices: Choices) -> list[Operation]:
    """Mount the certificate, and serve metrics with it, where one is named."""
    secret = choices.metrics_tls_secret
    if not secret:
        return []
    volume = {"name": METRICS_VOLUME, "secret": {"secretName": secret}}
    mount = {"name": METRICS_VOLUME, "mountPath": METRICS_FILES, "readOnly": True}
    return [
        _add("args/-", f"--metrics-tls-cert-file={METRICS_FILES}/tls.crt"),
        _add("args/-", f"--metrics-tls-private-key-file={METRICS_FILES}/tls.key"),
        *([_add("args/-", "--metrics-auth")] if choices.metrics_auth else []),
        _add("volumeMounts", [mount]),
        {"op": "add", "path": "/spec/template/spec/volumes", "value": [volume]},
    ]


def _endpoint(choices: Choices) -> dict[str, object]:
    """Return what a PodMonitor scrapes with TLS: the same port of all pods."""
    authority = {"secret": {"name": choices.metrics_tls_secret, "key": "ca.crt"}}
    endpoint: dict[str, object] = {
        "port": "metrics",
        "interval": "15s",
        "scheme": "https",
        "tlsConfig": {"ca": authority, "serverName": METRICS_NAME},
    }
    if choices.metrics_auth:
        token = {"name": METRICS_READER, "key": "token"}
        endpoint["authorization"] = {"credentials": token}
    return endpoint


def _set(path: str, value: object) -> Operation:
    return {"op": "replace", "path": path, "value": value}


def _replace(position: int, flag: str) -> Operation:
    return _set(f"{_ARGUMENTS}/{position}", flag)


def _flags(name: str, networks: Sequence[IPNetwork]) -> list[Operation]:
    return [_add("args/-", f"{name}={network}") for network in networks]


def _add(place: str, value: object) -> Operation:
    return {"op": "add", "path": f"{_CONTAINER}/{place}", "value": value}
