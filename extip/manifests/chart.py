"""Writes a Helm chart of claims mode, from the manifests that `kubectl apply -k` takes.

The manifests are the one source. Each place that differs from cluster to cluster becomes a value
of the chart; all else stays as it is, comments included.
"""

import shutil
import sys
from pathlib import Path

from extip import __version__
from extip.errors import ConfigurationError
from extip.manifests.folder import METRICS_PORT, MONITORING, source_of
from extip.manifests.old_servers import as_taken

DASHBOARD = "dashboard.json"
DEFINITIONS = "crds.yaml"
"""Helm makes what is in ``crds/`` before all else, and never deletes it."""

_NOT_IN_A_CHART = {DEFINITIONS, "kustomization.yaml", "namespace.yaml"}
"""Helm has a namespace for each release, and its own way with definitions."""

_READERS = """\
        {{- range .Values.metrics.allowCidr }}
        - --metrics-allow-cidr={{ . }}
        {{- end }}
"""
_SCHEDULER = f"""\
        - --log-format=json
        {{{{- range .Values.allowCidr }}}}
        - --allow-cidr={{{{ . }}}}
        {{{{- end }}}}
{_READERS}\
        {{{{- range .Values.scheduler.args }}}}
        - {{{{ . | quote }}}}
        {{{{- end }}}}
"""
_CONTROLLER = f"""\
        - --log-format=json
        {{{{- if .Values.metrics.allowCidr }}}}
        - --metrics=$(NODE_IP):{METRICS_PORT}
        {{{{- end }}}}
{_READERS}\
        {{{{- range .Values.controller.args }}}}
        - {{{{ . | quote }}}}
        {{{{- end }}}}
"""
_METRICS_PORT = f"""\
          hostIP: 127.0.0.1
        {{{{- if .Values.metrics.allowCidr }}}}
        - name: metrics
          containerPort: {METRICS_PORT}
          hostPort: {METRICS_PORT}
        {{{{- end }}}}
"""
_NODE_IP = """\
            fieldRef: {fieldPath: spec.nodeName}
        {{- if .Values.metrics.allowCidr }}
        - name: NODE_IP
          valueFrom:
            fieldRef: {fieldPath: status.hostIP}
        {{- end }}
"""
_NODES = """\
      dnsPolicy: ClusterFirstWithHostNet
      {{- with .Values.controller.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
"""
_IMAGE = (
    "image: extip    # name and tag: kustomization.yaml",
    "image: {{ .Values.image | quote }}",
)
_BUDGET = """\
apiVersion: {{ .Capabilities.APIVersions.Has "policy/v1" | ternary "policy/v1" "policy/v1beta1" }}
"""
_SUBJECT = ("  namespace: extip-system\n", "  namespace: {{ .Release.Namespace }}\n")

_VALUES: dict[str, tuple[tuple[str, str], ...]] = {
    "controller.yaml": (
        _IMAGE,
        ("--iface=eth0    #", "--iface={{ .Values.iface }}    #"),
        ("        - --log-format=json\n", _CONTROLLER),
        ("          hostIP: 127.0.0.1\n", _METRICS_PORT),
        ("            fieldRef: {fieldPath: spec.nodeName}\n", _NODE_IP),
        ("      dnsPolicy: ClusterFirstWithHostNet\n", _NODES),
    ),
    "scheduler.yaml": (
        _IMAGE,
        ("--mask=32    #", "--mask={{ .Values.mask }}    #"),
        ("        - --log-format=json\n", _SCHEDULER),
        ("apiVersion: policy/v1\n", _BUDGET),
    ),
    "rbac-controller.yaml": (_SUBJECT,),
    "rbac-scheduler.yaml": (_SUBJECT,),
    "networkpolicy.yaml": (
        (
            "metadata.name: monitoring    #",
            "metadata.name: {{ .Values.monitoring.namespace }}    #",
        ),
    ),
}
"""By file: texts of the manifests, and what stands in their place in the chart."""


def write_chart(folder: Path, kubernetes: int) -> None:
    """Write the chart into a new or empty folder; raises ConfigurationError.

    `kubernetes` is the minor version of the oldest API server.
    """
    try:
        if folder.exists() and any(folder.iterdir()):
            raise ConfigurationError(f"{folder} has other files: name a new folder")
        shutil.copytree(source_of("helm"), folder, dirs_exist_ok=True)
        chart = folder / "Chart.yaml"
        chart.write_text(chart.read_text().replace("VERSION", __version__))
        (folder / "crds").mkdir()
        definitions = (source_of("claims") / DEFINITIONS).read_text(encoding="utf-8")
        (folder / "crds" / DEFINITIONS).write_text(as_taken(definitions, kubernetes))
        shutil.copy(source_of(MONITORING) / DASHBOARD, folder)
        _write_templates(folder / "templates")
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be written: {error}") from None
    sys.stdout.write(f"{folder} is the chart of extip {__version__}\n")


def _write_templates(folder: Path) -> None:
    for part in ("claims", MONITORING):
        for file in sorted(source_of(part).glob("*.yaml")):
            if file.name not in _NOT_IN_A_CHART:
                (folder / file.name).write_text(template_of(file))
    for file in (*source_of(MONITORING).glob("*.yaml"), folder / "dashboard.yaml"):
        made = folder / file.name
        if made.exists():
            made.write_text(
                f"{{{{- if .Values.monitoring.enabled }}}}\n{made.read_text()}{{{{- end }}}}\n"
            )


def template_of(file: Path) -> str:
    """Return the template that a manifest becomes; raises ValueError when a text is not there."""
    text = file.read_text(encoding="utf-8").replace("{{", '{{ "{{" }}')
    for old, new in _VALUES.get(file.name, ()):
        if old not in text:
            raise ValueError(f"{file.name} has no {old!r}")
        text = text.replace(old, new)
    return text
