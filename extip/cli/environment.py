"""Variables of the environment that look like flags of extip and are none."""

import re
from collections.abc import Collection, Iterable, Mapping

import click

IGNORED_VARIABLES = "extip.ignored_variables"
"""Where click's context keeps what is to be said of them."""

_PREFIX = "EXTIP_"

_OF_A_SERVICE = re.compile(
    r"_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)?)$"
)
"""Variables that kubelet sets in each pod for each service: one may be called extip-scheduler."""

_OF_THE_MAKEFILE = ("EXTIP_KUBE_BIN", "EXTIP_BENCH_")
"""Variables of this project's tests and benchmarks; README and docs/performance.md name them."""


def unknown_variables(
    command: str,
    params: Iterable[click.Parameter],
    commands: Collection[str],
    environment: Mapping[str, str],
) -> list[str]:
    """Return a sentence for each variable that is ignored, though it may be meant for `command`.

    Those of another command are left alone: all may be given the same environment.
    """
    own = f"{_PREFIX}{command.upper()}_"
    others = tuple(f"{_PREFIX}{name.upper()}_" for name in commands if name != command)
    known = {
        f"{own}{param.name.upper()}"
        for param in params
        if param.name and isinstance(param, click.Option) and not param.envvar
    }
    return [
        f"{name} is no flag's variable and is ignored{_hint(name, own, known)}"
        for name in sorted(environment)
        if name.startswith(_PREFIX)
        and name not in known
        and not name.startswith((*others, *_OF_THE_MAKEFILE))
        and not _OF_A_SERVICE.search(name)
    ]


def _hint(name: str, own: str, known: Collection[str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - only for a mistake

    flag = name.removeprefix(own).removeprefix(_PREFIX)
    near = get_close_matches(flag, [one.removeprefix(own) for one in known], n=1)
    return f"; did you mean {own}{near[0]}?" if near else ""
