"""Ten thousand services into the cache, and ten thousand watch events, against other clients.

A process of its own for each run of each client, all on the switch of the lab, where the API server
is too. They reach it by loopback, since across a network extip asks for a compressed list, as
kubernetes_asyncio does: that is for another bottleneck.

Lists come from the real API server. It cannot write watch events as fast as extip reads them, so
those are replayed: captured from its own watch, each in a TLS record of its own, as it sends them.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.bench import program
from tests.bench.figure import Figure
from tests.bench.sampling import MS, alternate, median
from tests.lab.api import PORT
from tests.lab.cluster import Lab
from tests.lab.control_plane import write_kubeconfig
from tests.lab.network import API_SERVER_IP

_COUNT = 10_000
_LIST_ROUNDS, _WATCH_ROUNDS = 7, 3
_CLIENTS = ("with_extip", "with_lightkube", "with_kubernetes_asyncio")
_CAPTURE_S = 10

_BY_LOOPBACK = f"""
table ip bench {{
  chain output {{
    type nat hook output priority -100;
    ip daddr 127.0.0.1 tcp dport {PORT} dnat to {API_SERVER_IP}
  }}
}}
"""

Result = dict[str, float]


def measure() -> Iterator[Figure]:
    """List from the real API server, then watch what was captured from it."""
    with Lab(nodes=0) as lab:
        lab.control_plane.controller_manager.process.terminate()
        program.run(lab.switch, "fill", lab.kubeconfig, _COUNT, 1)
        lab.switch.run(["nft", "-f", "-"], stdin=_BY_LOOPBACK)
        yield from _lists(lab, _kubeconfig(lab, PORT))
        lines, count = _capture(lab)
        with _replay(lab, lines) as port:
            yield from _watches(lab, _kubeconfig(lab, port), count)


def _lists(lab: Lab, kubeconfig: Path) -> Iterator[Figure]:
    count = len(lab.api.get("/api/v1/services?resourceVersion=0")["items"])
    assert count >= _COUNT
    clients = [partial(_run, lab, name, "list", kubeconfig, count) for name in _CLIENTS]
    curl, extip, lightkube, typed = alternate(_LIST_ROUNDS, partial(_curl, lab), *clients)
    for name, runs, bound in (
        ("curl", curl, 2.5),
        ("lightkube", lightkube, 0.5),
        ("kubernetes_asyncio typed", typed, 0.2),
    ):
        yield Figure(
            what=f"list of {_COUNT:,} services into the cache",
            measured=MS * _median(extip, "wall_s"),
            unit="ms",
            baseline=MS * _median(runs, "wall_s"),
            baseline_name=name,
            at_most=bound,
        )
    yield Figure(
        what="memory for that at its peak, above the imports",
        measured=_median(extip, "peak_mb"),
        unit="MB",
        baseline=_median(typed, "peak_mb"),
        baseline_name="kubernetes_asyncio typed",
        at_most=40,
        kind="value",
    )


def _watches(lab: Lab, kubeconfig: Path, count: int) -> Iterator[Figure]:
    clients = [partial(_run, lab, name, "watch", kubeconfig, count) for name in _CLIENTS]
    extip, lightkube, typed = alternate(_WATCH_ROUNDS, *clients)
    for name, runs, bound in (
        ("kubernetes_asyncio typed", typed, 1 / 15),
        ("lightkube", lightkube, 1 / 4),
    ):
        yield Figure(
            what="processor time for a watch event",
            measured=1e6 * _median(extip, "cpu_s") / count,
            unit="µs",
            baseline=1e6 * _median(runs, "cpu_s") / count,
            baseline_name=name,
            at_most=bound,
        )


def _run(lab: Lab, name: str, what: str, kubeconfig: Path, count: int) -> Result:
    result: Result = program.run(lab.switch, name, what, kubeconfig, count)
    assert result["count"] == count
    return result


def _curl(lab: Lab) -> Result:
    """Let curl read the list on a warm connection and throw it away."""
    server = f"https://127.0.0.1:{PORT}"
    credentials = lab.control_plane.credentials
    # By its own name, curl would get indented JSON.
    headers = ["-A", "bench", "-H", f"Authorization: Bearer {credentials.admin_token}"]
    urls = ["/api/v1/namespaces/default", "/api/v1/services?resourceVersion=0"]
    outputs = [word for url in urls for word in ("-o", "/dev/null", server + url)]
    command = ["curl", "-sS", "--fail", "--cacert", str(credentials.certificate), *headers]
    command += ["-w", "%{time_total}\n", *outputs]
    return {"wall_s": float(lab.switch.run(command).stdout.split()[-1])}


def _kubeconfig(lab: Lab, port: int) -> Path:
    credentials = lab.control_plane.credentials
    return write_kubeconfig(
        lab.kubeconfig.parent / f"bench-{port}",
        server=f"https://127.0.0.1:{port}",
        certificate=credentials.certificate,
        token=credentials.admin_token,
    )


def _capture(lab: Lab) -> tuple[Path, int]:
    """Write what a watch of all services says to a file; returns it and the number of lines."""
    query = f"watch=1&resourceVersion=0&timeoutSeconds={_CAPTURE_S}"
    lines = lab.api.raw("GET", f"/api/v1/services?{query}", timeout=3 * _CAPTURE_S).splitlines()
    events = [json.loads(line) for line in lines]
    assert len(events) >= _COUNT
    assert {event["type"] for event in events} == {"ADDED"}
    path = lab.anchor.directory / "watch-lines"
    changed = (line.replace('"type":"ADDED"', '"type":"MODIFIED"', 1) for line in lines)
    path.write_text("".join(f"{line}\n" for line in changed))
    return path, len(events)


@contextmanager
def _replay(lab: Lab, lines: Path) -> Iterator[int]:
    """Serve the lines on the switch; yields the port."""
    credentials = lab.control_plane.credentials
    command = program.argv("replay", lines, credentials.certificate, credentials.key)
    process = lab.switch.start(command, env=program.environment(), name="replay")
    yield int(process.wait_for_output(r"^\d+$")[0])
    process.terminate()


def _median(runs: list[Result], name: str) -> float:
    return median([run[name] for run in runs])
