"""The settings of every mode, and the flags that several modes have."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from extip.errors import ConfigurationError
from extip.net.networks import IPNetwork, Networks
from extip.settings.flags import (
    GRANT,
    INSTANCE,
    LISTEN,
    NAMESPACE,
    NETWORK,
    SWITCH,
    TEXT,
    choice,
    flag,
    flags_of,
    optional_flag,
    repeatable_flag,
    whole,
    written_duration,
)

_NAMESPACE_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"


def own_namespace() -> str:
    """Return the namespace of the pod that this process runs in, or ``kube-system``."""
    try:
        return Path(_NAMESPACE_FILE).read_text().strip() or "kube-system"
    except OSError:
        return "kube-system"


def mask_flag(of: str) -> int | None:
    """Declare the prefix length in IPv4; None when nobody said one."""
    return optional_flag("--mask", whole(1, 32), f"Prefix length of IPv4 {of}.", shown="32")


def mask_v6_flag(of: str) -> int | None:
    """Declare the same for IPv6."""
    return optional_flag("--mask-v6", whole(1, 128), f"Prefix length of IPv6 {of}.", shown="128")


def allow_cidr_flag(what: str) -> tuple[IPNetwork, ...]:
    """Declare the networks that all may use; `what` is done for IPs inside them."""
    text = f"{what} external IPs inside this network. Repeatable."
    return repeatable_flag("--allow-cidr", NETWORK, text)


def allow_flag() -> tuple[tuple[str, IPNetwork], ...]:
    """Declare the networks of one namespace, for modes that read what services ask for."""
    return repeatable_flag(
        "--allow",
        GRANT,
        "Services of this namespace may ask for IPs inside this network as well as inside those of"
        " --allow-cidr, for example ns/web=10.1.0.0/24. Repeatable.",
        metavar="ns/NAMESPACE=NETWORK",
    )


def without_endpoints_flag() -> str:
    """Declare whether IPs go down for which no service can answer."""
    return flag(
        "--without-endpoints",
        choice("keep", "withdraw"),
        "keep",
        "Keep IPs up whose services have no ready endpoint, or withdraw them until one is ready.",
    )


def namespace_flag(text: str) -> str:
    """Declare the namespace of Leases."""
    return flag("--namespace", NAMESPACE, own_namespace, text, shown="the pod's, else kube-system")


def instance_flag() -> str:
    """Declare the instance, for modes of which a cluster may have several side by side."""
    text = (
        "Only services, pools and claims with the label ipcontroller.ext/instance of this value;"
        " without it, only those that do not have the label."
    )
    return flag("--instance", INSTANCE, "", text, shown="none")


def http_flag(default: str) -> tuple[str, int] | None:
    """Declare where a mode serves HTTP; both kinds of process may be on the network of a node."""
    text = "Where /metrics, /livez and /readyz are served; empty: nowhere."
    return flag("--http", LISTEN, default, text)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings:
    """The settings of every mode."""

    kubeconfig: str = flag(
        "--kubeconfig",
        TEXT,
        "",
        "Kubeconfig file; empty: the pod's ServiceAccount.",
        shown="in-cluster",
    )
    http: tuple[str, int] | None = http_flag("127.0.0.1:9188")
    metrics: tuple[str, int] | None = flag(
        "--metrics",
        LISTEN,
        "",
        "Where /metrics alone is served as well, for those of --metrics-allow-cidr.",
        shown="nowhere",
    )
    metrics_allow_cidr: tuple[IPNetwork, ...] = repeatable_flag(
        "--metrics-allow-cidr",
        NETWORK,
        "Show metrics only to clients inside this network and on this machine's loopback."
        " Repeatable.",
    )
    metrics_tls_cert_file: str = flag(
        "--metrics-tls-cert-file",
        TEXT,
        "",
        "PEM file with certificate and chain, for TLS on --metrics; read again when it changes."
        " Then --http shows metrics only to this machine's loopback.",
        shown="no TLS",
    )
    metrics_tls_private_key_file: str = flag(
        "--metrics-tls-private-key-file", TEXT, "", "PEM file with its private key.", shown="no TLS"
    )
    metrics_auth: bool = flag(
        "--metrics-auth",
        SWITCH,
        "",
        "Show metrics on --metrics only for a bearer token that may get /metrics; the API server"
        " reviews it. Needs TLS.",
    )
    log_format: Literal["console", "json"] = flag(
        "--log-format", choice("console", "json"), "console", "How log events are written."
    )
    log_level: Literal["debug", "info", "warning", "error"] = flag(
        "--log-level",
        choice("debug", "info", "warning", "error"),
        "info",
        "Least severe events that are written.",
    )

    def __post_init__(self) -> None:
        """Raise ConfigurationError for values that cannot work, alone or together."""
        for name, declared in flags_of(type(self)).items():
            value, least = getattr(self, name), declared.at_least
            if least is not None and value is not None and value < least:
                raise ConfigurationError(
                    f"{declared.name} must be at least {written_duration(least)}"
                )
        if self.metrics is not None and not self.metrics_allow_cidr:
            raise ConfigurationError(
                "--metrics needs --metrics-allow-cidr: the network that Prometheus asks from"
            )
        self._check_tls()

    def _check_tls(self) -> None:
        certificate, key = self.metrics_tls_cert_file, self.metrics_tls_private_key_file
        both = "--metrics-tls-cert-file and --metrics-tls-private-key-file"
        if bool(certificate) != bool(key):
            raise ConfigurationError(f"{both} go together: give both")
        if self.metrics_auth and not certificate:
            raise ConfigurationError(
                f"--metrics-auth needs {both}: a token must not cross the network in plain text"
            )
        if certificate and self.metrics is None:
            raise ConfigurationError(f"{both} are for --metrics: say where it is served")

    @property
    def metrics_readers(self) -> Networks:
        """The networks that may read the metrics; none for all."""
        return Networks(frozenset(self.metrics_allow_cidr))
