"""A workload of Kubernetes → the daemon of extip that it runs, with what its flags say."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from extip.api.apps_v1 import Workload
from extip.doctor.policy.facts import Daemon
from extip.errors import ConfigurationError
from extip.settings.controller import ControllerSettings
from extip.settings.flags import BOOLEAN, SWITCH, Flag, flags_of
from extip.settings.process import ProcessSettings
from extip.settings.scheduler import SchedulerSettings
from extip.settings.simple import SimpleSettings

_KINDS: Mapping[str, type[ProcessSettings]] = {
    "controller": ControllerSettings,
    "scheduler": SchedulerSettings,
    "simple": SimpleSettings,
}


def daemon_of(workload: Workload) -> Daemon | None:
    """Return the daemon in one of its containers; None for another program."""
    for container in workload.spec.template.spec.containers or ():
        words = [*(container.command or ()), *(container.args or ())]
        command = next((word for word in words if word in _KINDS), "")
        if command and any("extip" in text for text in (container.image, *words)):
            return _daemon(workload, command, words[words.index(command) + 1 :])
    return None


def _daemon(workload: Workload, command: str, arguments: Sequence[str]) -> Daemon:
    name = workload.metadata.key
    try:
        settings = _settings(_KINDS[command], arguments)
    except ConfigurationError as error:
        return Daemon(command=command, name=name, refused=str(error))
    told = any(word.partition("=")[0] == "--namespace" for word in arguments)
    scheduler = settings if isinstance(settings, SchedulerSettings) else None
    own = "" if command == "simple" else workload.metadata.namespace
    return Daemon(
        command=command,
        name=name,
        namespace=getattr(settings, "namespace", "") if told else own,
        lb_class="" if scheduler is None else scheduler.lb_class,
        monitor_s=0.0 if scheduler is None else scheduler.monitor_s,
    )


def _settings(kind: type[ProcessSettings], arguments: Sequence[str]) -> ProcessSettings:
    """Return the settings that the flags make. Raises ConfigurationError as the daemon would."""
    flags = {flag.name: (field, flag) for field, flag in flags_of(kind).items()}
    values: dict[str, Any] = {}
    for name, text in _pairs(arguments, {n for n, (_, flag) in flags.items() if _is_bare(flag)}):
        if name not in flags:
            raise ConfigurationError(f"there is no flag {name!r}")
        field, flag = flags[name]
        if "$(" in text:
            continue  # a variable of the pod, which Kubernetes fills in
        try:
            value = text != "false" if _is_bare(flag) else flag.kind.parse(text)
        except ValueError as error:
            raise ConfigurationError(f"{name}: {error}") from None
        values[field] = (*values.get(field, ()), value) if flag.repeatable else value
    return kind(**values)


def _is_bare(flag: Flag) -> bool:
    return flag.kind in (SWITCH, BOOLEAN)


def _pairs(arguments: Sequence[str], bare: set[str]) -> Iterator[tuple[str, str]]:
    """Yield flags and their values, which may follow ``=`` or be the next word."""
    words = iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        yield name, value if equals or name in bare else next(words, "")
