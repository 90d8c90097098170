"""Names that a shell completes: those of nodes and external IPs, as the cluster has them now.

A shell waits for it, and shows what it writes in the middle of a line. So it is short, and silent
about whatever goes wrong.
"""

from collections.abc import Awaitable, Callable

from extip.kube.place import Place

_MOST_S = 2.0
"""A person waits no longer for it."""


def complete_names(place: Place, begin: str, *, ips: bool) -> list[str]:
    """Return the names of nodes, and IPs if wanted, that begin so; none where nobody answers."""
    from extip.status.names import read_names  # noqa: PLC0415

    return _begin_so(begin, lambda: read_names(place, ips=ips))


def complete_services(place: Place, begin: str) -> list[str]:
    """Return services to migrate, or back, whose names begin so; none where nobody answers."""
    from extip.status.names import read_services  # noqa: PLC0415

    return _begin_so(begin, lambda: read_services(place))


def _begin_so(begin: str, read: Callable[[], Awaitable[list[str]]]) -> list[str]:
    import asyncio  # noqa: PLC0415 - only for a person who presses the tab key

    from extip.errors import ExtipError  # noqa: PLC0415
    from extip.supervisor import run_process  # noqa: PLC0415

    async def patiently() -> list[str]:
        async with asyncio.timeout(_MOST_S):
            return await read()

    try:
        names = run_process(patiently())
    except (ExtipError, TimeoutError):
        return []
    return [name for name in names if name.startswith(begin)]
