"""Writes a folder for `kubectl apply -k`: the base of extip, and an overlay of the user's own.

The base is replaced each time, also by a later version. The overlay is written once and then
belongs to the user.
"""

import json
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
METRICS_PORT = 9189
"""Port of programs on the host's network; that of their probes stays on loopback."""
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
_PORT = {"name": "metrics", "containerPort": METRICS_PORT, "hostPort": METRICS_PORT}

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
    kubernetes: int = NEWEST_CHANGE
    """Minor version of the oldest API server."""
    monitoring: bool = False
    """Whether the folder has what the Prometheus operator takes, too."""


def write(folder: Path, choices: Choices) -> None:
    """Write base and overlay, and print the next step; raises ConfigurationError."""
    overlay, base = folder / OVERLAY, folder / choices.mode
    again = overlay.exists() and (base / MARKER).exists()
    with_monitoring = (folder / MONITORING / MARKER).exists() if again else choices.monitoring
    try:
        if not again and folder.exists() and any(folder.iterdir()):
            raise ConfigurationError(
                f"{folder} has other files, and none of {choices.mode} mode: name a new folder"
            )
        if not again and not (choices.image and choices.iface):
            raise ConfigurationError("--image and --iface are needed for a new folder")
        if choices.monitoring and not choices.metrics_allow_cidr:
            raise ConfigurationError(
                "--monitoring needs --metrics-allow-cidr: the network that Prometheus asks from"
            )
        _replace_base(base, source_of(choices.mode), choices.kubernetes)
        if with_monitoring:
            _replace_base(folder / MONITORING, source_of(MONITORING), choices.kubernetes)
        if not again:
            overlay.write_text(_HEADER + _render(_overlay(choices)))
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be written: {error}") from None
    kept = f" {overlay} is yours and stayed as it is: set its newTag, then" if again else ""
    servers = f"Kubernetes 1.{choices.kubernetes} and later"
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
        (new / MARKER).write_text(f"Written by extip {__version__}. Put nothing of yours here.\n")
        if base.exists():
            shutil.rmtree(base)
        new.rename(base)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def source_of(mode: str) -> Path:
    """Return the folder with the manifests of a mode, in a wheel or in a checkout."""
    of_wheel = _OF_WHEEL / mode
    return of_wheel if of_wheel.is_dir() else _OF_CHECKOUT / mode


def _overlay(choices: Choices) -> dict[str, object]:
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [choices.mode, *([MONITORING] if choices.monitoring else [])],
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
    readers = _flags("--metrics-allow-cidr", choices.metrics_allow_cidr)
    if choices.mode == "simple":
        opened = [_add("env", [_NODE_IP]), *_metrics()] if readers else []
        flags = [_replace(1, iface), _replace(2, mask), *networks, *opened, *readers]
        yield "Deployment", "extip-simple", flags
    else:
        opened = [_add("env/-", _NODE_IP), *_metrics()] if readers else []
        yield "DaemonSet", "extip-controller", [_replace(1, iface), *opened, *readers]
        yield "Deployment", "extip-scheduler", [_replace(1, mask), *networks, *readers]


def _metrics() -> list[Operation]:
    """Serve them on the node's own address. All addresses would be the external IPs, too."""
    return [_add("args/-", f"--metrics=$(NODE_IP):{METRICS_PORT}"), _add("ports/-", _PORT)]


def _replace(position: int, flag: str) -> Operation:
    return {"op": "replace", "path": f"{_ARGUMENTS}/{position}", "value": flag}


def _flags(name: str, networks: Sequence[IPNetwork]) -> list[Operation]:
    return [_add("args/-", f"{name}={network}") for network in networks]


def _add(place: str, value: object) -> Operation:
    return {"op": "add", "path": f"{_CONTAINER}/{place}", "value": value}
