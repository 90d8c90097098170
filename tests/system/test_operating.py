"""`extip status` and `extip drain` as a person uses them on a cluster."""

import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from pathlib import Path

import yaml

from tests.lab.probe import HICCUP_S
from tests.lab.wait import wait_until
from tests.system.claims_cluster import IPS
from tests.system.test_placement import LOCAL, serve_on
from tests.unit.status.test_screen import drawn_until, interruptible


def command_line(lab, command, *args):
    kubeconfig = f"--kubeconfig={lab.outside_kubeconfig()}"
    return [sys.executable, "-m", "extip", command, kubeconfig, *args]


def extip(lab, command, *args):
    return subprocess.run(
        command_line(lab, command, *args),
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_status_tells_where_every_ip_is_and_why(cluster, lab):
    lab.add_service("web", IPS[:2], namespace=cluster.namespace)
    wrong = lab.nodes["n1"].ip
    lab.add_service("wrong", [wrong], namespace=cluster.namespace)
    cluster.wait_settled(*IPS[:2])
    wait_until(lambda: extip(lab, "status", *IPS[:2]).returncode == 0, "all to be up")

    def all_ready():
        told = json.loads(extip(lab, "status", "--output=json").stdout)
        states = {row["node"]: row["state"] for row in told["nodes"]}
        return told if states == dict.fromkeys(lab.nodes, "ready") else None

    found = wait_until(all_ready, "all nodes to be ready")
    assert {row["ip"]: (row["node"], row["state"]) for row in found["ips"]} == {
        ip: (node, "up") for ip, node in cluster.placed().items()
    } | {wrong: ("", "refused")}
    for word in (wrong, f"{cluster.namespace}/wrong"):
        told = extip(lab, "status", word)
        assert (told.returncode, f"{wrong} is the address of a cluster node" in told.stdout) == (
            1,
            True,
        )
    assert extip(lab, "status", f"{IPS[0]}/32").returncode == 0  # as `kubectl get ipc` has it

    moved, node = next(iter(cluster.placed().items()))
    cluster.controllers[node].process.kill()
    cluster.controllers[node].process.wait()
    wait_until(lambda: cluster.placed()[moved] != node, "the IP to move")

    def explained():
        told = extip(lab, "status", moved)
        return told if told.returncode == 0 and f"moved from {node} at 2" in told.stdout else None

    told = wait_until(explained, "the reason of the move").stdout
    assert f"before:       {node} at 2" in told
    assert f"asked for by: {cluster.namespace}/web: wrote it into its spec.externalIPs" in told
    assert " Moved: from " in told  # an Event
    lines = told.splitlines()
    assert lines[0].split() == ["IP", "NODE", "STATE", "SINCE", "SERVICES", "WHY"]
    assert f"{cluster.namespace}/web" in lines[1]
    assert len([line for line in lines if line.startswith("10.")]) == 1


def test_status_tells_at_a_glance_what_is_wrong(cluster, lab):
    lab.add_service("web", IPS[:2], namespace=cluster.namespace)
    lab.add_service("wrong", [lab.nodes["n1"].ip], namespace=cluster.namespace)
    cluster.wait_settled(*IPS[:2])
    wait_until(lambda: extip(lab, "status", "web").returncode == 0, "all to be up")

    def refused():
        told = extip(lab, "status").stdout
        begins = f"2 of 3 IPs up, {len(lab.nodes)} of {len(lab.nodes)} nodes ready"
        right = told.startswith(begins) and f"! refused: 1 IP ({lab.nodes['n1'].ip})" in told
        return told if right else None

    lines = wait_until(refused, "the refusal to be told, and all nodes to be ready").splitlines()
    leader = lab.kubectl_json("get", "lease", "extip-scheduler", "--namespace=kube-system")
    assert lines[0].endswith(f"leader {leader['spec']['holderIdentity']}")
    rows = lines[lines.index("") + 1 :]
    rows = rows[rows.index("") + 2 :]  # below the problems, and the head of the table
    assert rows[0].startswith(lab.nodes["n1"].ip)
    shown = yaml.safe_load(extip(lab, "status", "-n", cluster.namespace, "-o", "yaml").stdout)
    same = json.loads(extip(lab, "status", "-n", cluster.namespace, "-o", "json").stdout)
    assert (shown["ips"], shown["problems"]) == (same["ips"], same["problems"])
    assert len(shown["ips"]) == 3
    assert "links" in shown["nodes"][0]
    empty = extip(lab, "status", "--namespace=elsewhere", "-o", "wide")
    assert (empty.returncode, empty.stdout) == (0, "")
    assert empty.stderr == "extip: no IP of the namespace elsewhere is known\n"


def test_status_is_kept_up_to_date_on_a_terminal(cluster, lab):
    cluster.serve(IPS[0])
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
    with subprocess.Popen(
        command_line(lab, "status", "--watch"),
        stdout=theirs,
        stderr=subprocess.PIPE,
        env={**os.environ, "TERM": "xterm", "NO_COLOR": ""},
        preexec_fn=interruptible,  # noqa: PLW1509 - no thread runs
    ) as process:
        try:
            drawn_until(ours, "1 of 1 IP up")
            lab.add_service("wrong", [lab.nodes["n1"].ip], namespace=cluster.namespace)
            drawn_until(ours, f"\x1b[31m! refused: 1 IP ({lab.nodes['n1'].ip})")
            process.send_signal(signal.SIGINT)
            drawn_until(ours, "\x1b[?1049l")
            assert process.communicate(timeout=30)[1] == b""
        finally:
            process.kill()
    assert process.returncode == 0
    os.close(ours)
    os.close(theirs)


def test_a_shell_completes_names(cluster, lab):
    cluster.serve(IPS[0])

    def completed(words, number):
        told = subprocess.run(
            [Path(sys.executable).with_name("extip")],
            env={
                "_EXTIP_COMPLETE": "bash_complete",
                "COMP_WORDS": words,
                "COMP_CWORD": str(number),
                "KUBECONFIG": str(lab.outside_kubeconfig()),
            },
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert told.stderr == ""
        return told.stdout.split()

    wait_until(lambda: completed("extip drain n", 2) == [f"plain,{n}" for n in lab.nodes], "nodes")
    assert completed(f"extip status {IPS[0][:-1]}", 2)[0] == f"plain,{IPS[0]}"


def test_status_finds_controllers_and_says_where_a_scheduler_does_not(idle_cluster, lab):
    cluster = idle_cluster
    cluster.controller_flags += (f"--namespace={cluster.namespace}",)
    elsewhere = f"--lease-namespace={cluster.namespace}"
    scheduler = cluster.start_scheduler()
    cluster.start_controllers()

    def states(*args):
        told = json.loads(extip(lab, "status", "--output=json", *args).stdout)
        return {row["state"] for row in told["nodes"]}

    wait_until(lambda: states() == {"not ready"}, "the scheduler to say that it hears nobody")
    assert states(elsewhere) == states("--lease-namespace=kube-system") == {"not ready"}
    told = extip(lab, "status", "n1").stdout
    assert "namespace kube-system has no heartbeat Lease of it" in told
    assert f"there is one in {cluster.namespace}" in told
    scheduler.wait_for_event("heartbeats_not_found", namespace="kube-system")


def judged(lab):
    """Return what `kubectl get ipnodes` shows of each: READY, REASON, IPS."""
    nodes = lab.kubectl_json("get", "ipnodes")["items"]
    found = {}
    for node in nodes:
        status = node.get("status", {})
        ready = [c for c in status.get("conditions", []) if c["type"] == "Ready"]
        said = (ready[0]["status"], ready[0]["reason"]) if ready else ("", "")
        found[node["metadata"]["name"]] = (*said, status.get("claims", 0))
    return found


def test_kubectl_tells_of_every_controller_what_the_scheduler_concludes(idle_cluster, lab):
    """One is well; one beats where nobody looks; one has another name than its Kubernetes node."""
    cluster, other = idle_cluster, "n3.example.com"
    scheduler = cluster.start_scheduler()
    cluster.start_controller("n1")
    cluster.start_controller("n2", f"--namespace={cluster.namespace}")
    cluster.start_controller("n3", env={"EXTIP_CONTROLLER_HOSTNAME": other})
    cluster.wait_alive(scheduler, "n1", other)
    serve_on(lab, cluster.namespace, "n1")
    lab.add_service("web", IPS[:4], namespace=cluster.namespace, spec=LOCAL)
    wait_until(lambda: list(cluster.placed().values()) == ["n1"] * 4, "all to be on n1")
    well = {
        "n1": ("True", "Eligible", 4),
        "n2": ("False", "HeartbeatNotFound", 0),
        other: ("True", "NoKubernetesNode", 0),
    }
    wait_until(lambda: judged(lab) == well, "the verdict on each")
    hint = scheduler.wait_for_event("node_judged", node=other)["reason"]
    assert hint.endswith("is it n3? Then give its controller --hostname n3")
    assert hint in extip(lab, "status", other).stdout

    cluster.controllers["n1"].process.kill()
    wait_until(lambda: judged(lab)["n1"] == ("False", "NodeDead", 0), "the death to be told")
    wait_until(lambda: set(cluster.placed().values()) == {other}, "the last one to have them")
    cluster.controllers["n3"].process.kill(signal.SIGTERM)
    wait_until(lambda: judged(lab)[other][:2] == ("False", "NodeStopped"), "the stop to be told")


def test_a_node_that_is_removed_is_forgotten(cluster, lab):
    (scheduler,) = cluster.schedulers
    cluster.controllers["n3"].process.kill()
    cluster.controllers["n3"].process.wait()
    scheduler.wait_for_event("node_liveness_changed", node="n3", state="dead")
    lab.kubectl("delete", "ipnode", "n3")
    lab.kubectl("delete", "lease", "extip-node-n3", "--namespace=kube-system")
    scheduler.wait_for_event("node_forgotten", node="n3")
    assert extip(lab, "status", "n3").returncode == 1


def test_status_tells_of_services_that_wait_for_an_address(cluster, lab):
    spec = {"type": "LoadBalancer", "ipFamilyPolicy": "SingleStack"}
    lab.add_service("lb", namespace=cluster.namespace, spec=spec)
    name = f"{cluster.namespace}/lb"

    def waiting():
        told = extip(lab, "status", name)
        return told if "no pool of IPv4 addresses serves it" in told.stdout else None

    told = wait_until(waiting, "the reason why it waits")
    assert told.returncode == 1
    assert told.stdout.splitlines()[1].split()[:3] == ["-", "-", "waiting"]


def test_status_says_what_it_does_not_know(cluster, lab):
    told = extip(lab, "status", "10.99.99.99")
    assert told.returncode == 1
    assert told.stdout == ""
    assert told.stderr.count("\n") == 1
    assert "10.99.99.99" in told.stderr
    assert "'' cannot be a name" in extip(lab, "drain", "").stderr


def test_a_drain_waits_until_the_node_is_empty_and_can_be_undone(gapless_cluster, lab):
    cluster = gapless_cluster
    cluster.serve(*IPS)
    with lab.probe(IPS) as probe:
        done = extip(lab, "drain", "n1")
        assert (done.returncode, done.stdout) == (0, "n1 is drained\n")
        assert "n1" not in cluster.placed().values()
        cluster.wait_settled(*IPS)
    assert max(probe.longest_outage_s(ip) for ip in IPS) < HICCUP_S
    assert extip(lab, "drain", "n2").returncode == 0
    stuck = extip(lab, "drain", "n3", "--wait=2s")
    assert stuck.returncode == 1
    assert "6 IPs are not up on another node" in stuck.stderr
    assert "its controller is leaving, or it is being drained" in stuck.stderr
    assert "Traceback" not in stuck.stderr
    assert interrupted_drain(lab, "n3") == (
        "extip: interrupted; the IPs of n3 go on moving and do not come back; "
        "to take the drain back: `extip drain --undo n3`\n"
    )
    for name in ("n1", "n2", "n3"):
        assert extip(lab, "drain", "--undo", name).returncode == 0
    assert extip(lab, "drain", "nobody").returncode == 1
    cluster.wait_settled(*IPS)


def interrupted_drain(lab, node):
    """Drain a node that cannot be emptied, and press Ctrl-C once it is marked."""
    assert extip(lab, "drain", "--undo", node).returncode == 0
    with subprocess.Popen(
        command_line(lab, "drain", node), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            draining = ("get", "ipnode", node, "-o", "jsonpath={.spec.draining}")
            wait_until(lambda: lab.kubectl(*draining) == "true", "the drain to begin")
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=60)[1]
        finally:
            process.kill()
    assert process.returncode == 130
    return said


def test_what_a_person_pinned_is_named_by_a_drain_and_not_waited_for(cluster, lab):
    lab.apply(
        {
            "apiVersion": "ipcontroller.ext/v1",
            "kind": "IpClaim",
            "metadata": {"name": "by-hand", "labels": {"ipnode": "n1"}},
            "spec": {"cidr": f"{IPS[0]}/24", "nodeName": "n1"},
        }
    )
    wait_until(lambda: extip(lab, "status", f"{IPS[0]}/24").returncode == 0, "the IP to be up")
    assert "pinned by hand" in extip(lab, "status", IPS[0]).stdout
    try:
        stuck = extip(lab, "drain", "n1", "--wait=10m")
        assert stuck.returncode == 1
        assert f"n1 is not drained: 1 IP is not up on another node: {IPS[0]}/24" in stuck.stderr
        assert "pinned by hand" in stuck.stderr
    finally:
        assert extip(lab, "drain", "--undo", "n1").returncode == 0
