"""Writes a Helm chart of claims mode, from the manifests that `kubectl apply -k` takes.

The manifests are the one source. Each place that differs from cluster to cluster becomes a value
of the chart; all else stays as it is, comments included.
"""

import shutil
import sys
from pathlib import Path

from extip import __version__
from extip.errors import ConfigurationError
from extip.manifests.folder import (
    METRICS_AUTH,
    METRICS_FILES,
    METRICS_NAME,
    METRICS_PORT,
    METRICS_READER,
    METRICS_VOLUME,
    MONITORING,
    source_of,
)
from extip.manifests.old_servers import as_taken

DASHBOARD = "dashboard.json"
DEFINITIONS = "crds.yaml"
"""Helm makes what is in ``crds/`` before all else, and never deletes it."""

_NOT_IN_A_CHART = {DEFINITIONS, "kustomization.yaml", "namespace.yaml"}
"""Helm has a namespace for each release, and its own way with definitions."""

_READERS = f"""\
        {{{{- range .Values.metrics.allowCidr }}}}
        - --metrics-allow-cidr={{{{ . }}}}
        {{{{- end }}}}
        {{{{- if .Values.metrics.tlsSecret }}}}
        - --metrics-tls-cert-file={METRICS_FILES}/tls.crt
        - --metrics-tls-private-key-file={METRICS_FILES}/tls.key
        {{{{- end }}}}
        {{{{- if .Values.metrics.auth }}}}
        - --metrics-auth
        {{{{- end }}}}
"""
_SCHEDULER = f"""\
        - --log-format=json
        {{{{- range .Values.allowCidr }}}}
        - --allow-cidr={{{{ . }}}}
        {{{{- end }}}}
        {{{{- if .Values.metrics.tlsSecret }}}}
        - --metrics=:{METRICS_PORT}
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
_POD_PORT = f"""\
          containerPort: 9188
        {{{{- if .Values.metrics.tlsSecret }}}}
        - name: metrics
          containerPort: {METRICS_PORT}
        {{{{- end }}}}
"""
_MOUNT = (
    "        resources:\n",
    f"""\
        {{{{- if .Values.metrics.tlsSecret }}}}
        volumeMounts:
        - name: {METRICS_VOLUME}
          mountPath: {METRICS_FILES}
          readOnly: true
        {{{{- end }}}}
        resources:
""",
)
_VOLUME = (
    "      containers:\n",
    f"""\
      {{{{- with .Values.metrics.tlsSecret }}}}
      volumes:
      - name: {METRICS_VOLUME}
        secret: {{secretName: {{{{ . }}}}}}
      {{{{- end }}}}
      containers:
""",
)
_ENDPOINT = f"""\
  podMetricsEndpoints:
  {{{{- if .Values.metrics.tlsSecret }}}}
  - port: metrics
    interval: 15s
    scheme: https
    tlsConfig:
      ca:
        secret: {{name: {{{{ .Values.metrics.tlsSecret }}}}, key: ca.crt}}
      serverName: {METRICS_NAME}
    {{{{- if .Values.metrics.auth }}}}
    authorization:
      credentials: {{name: {METRICS_READER}, key: token}}
    {{{{- end }}}}
  {{{{- else }}}}
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
        _MOUNT,
        _VOLUME,
    ),
    "scheduler.yaml": (
        _IMAGE,
        ("--mask=32    #", "--mask={{ .Values.mask }}    #"),
        ("        - --log-format=json\n", _SCHEDULER),
        ("apiVersion: policy/v1\n", _BUDGET),
        ("          containerPort: 9188\n", _POD_PORT),
        _MOUNT,
        _VOLUME,
    ),
    "rbac-controller.yaml": (_SUBJECT,),
    "rbac-scheduler.yaml": (_SUBJECT,),
    "rbac-metrics.yaml": (_SUBJECT,),
    "podmonitor.yaml": (
        ("  podMetricsEndpoints:\n", _ENDPOINT),
        ("      regex: scheduler\n", "      regex: scheduler\n  {{- end }}\n"),
    ),
    "networkpolicy.yaml": (
        (
            "metadata.name: monitoring    #",
            "metadata.name: {{ .Values.monitoring.namespace }}    #",
        ),
        (
            "- port: http\n",
            '- port: {{ .Values.metrics.tlsSecret | empty | ternary "http" "metrics" }}\n',
        ),
    ),
}
"""By file: texts of the manifests, and what stands in their place in the chart."""


_PARTS = {
    "claims": "",
    MONITORING: ".Values.monitoring.enabled",
    METRICS_AUTH: ".Values.metrics.auth",
}
"""Folders of the manifests, each with the value that switches it on."""


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
        reason = error.strerror or error
        raise ConfigurationError(f"{folder} cannot be written: {reason}") from None
    sys.stdout.write(f"{folder} is the chart of extip {__version__}\n")


def _write_templates(folder: Path) -> None:
    for part, condition in _PARTS.items():
        for file in sorted(source_of(part).glob("*.yaml")):
            if file.name not in _NOT_IN_A_CHART:
                (folder / file.name).write_text(_if(condition, template_of(file)))
    dashboard = folder / "dashboard.yaml"
    dashboard.write_text(_if(_PARTS[MONITORING], dashboard.read_text()))


def _if(condition: str, text: str) -> str:
    return f"{{{{- if {condition} }}}}\n{text}{{{{- end }}}}\n" if condition else text


def template_of(file: Path) -> str:
    """Return the template that a manifest becomes; raises ValueError when a text is not there."""
    text = file.read_text(encoding="utf-8").replace("{{", '{{ "{{" }}')
    for old, new in _VALUES.get(file.name, ()):
        if old not in text:
            raise ValueError(f"{file.name} has no {old!r}")
        text = text.replace(old, new)
    return text
