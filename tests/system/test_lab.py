"""The lab itself: what the other tests in this folder rely on."""

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import pytest

from tests.lab.anchor import wait_for_exit
from tests.lab.api import ApiStatusError
from tests.lab.binaries import Binaries
from tests.lab.cluster import Lab
from tests.lab.errors import LabError
from tests.lab.network import external_v4, external_v6
from tests.lab.node import Node
from tests.lab.wait import wait_until

ROOT = Path(__file__).parents[2]
IPS = (external_v4(0), external_v6(0))
TWO_LABS, REVIVED = external_v4(601), external_v4(602)
OUTAGES = (external_v4(603), external_v6(603))
"""Of tests that care which pod answers: kube-proxy may forget the services of others late."""
EXACT_S = 0.030
"""How exact a time must be; how late the prober or observer itself was comes on top."""
SLACK_S = 1.0
"""By how much a loaded machine may make an outage longer: a probe that is answered late counts as
failed, also when it was sent before the outage began."""
UNANSWERED = "timed out|No route to host"
"""The latter when the machine stood still for as long as a question for a neighbour may take."""


def bring_up(node: Node, *ips: str) -> None:
    for ip in ips:
        node.run(["ip", "addr", "add", f"{ip}/{128 if ':' in ip else 32}", "dev", "eth0"])


def take_down(node: Node, *ips: str) -> None:
    for ip in ips:
        node.run(["ip", "addr", "del", f"{ip}/{128 if ':' in ip else 32}", "dev", "eth0"])


def outer_links() -> str:
    return (
        subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
        + Path("/proc/self/mountinfo").read_text()
    )


def descendants_in(pidns: int) -> set[int]:
    """Find the processes whose pid namespace is the given one."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "ns/pid").stat().st_ino == pidns:
                    found.add(int(entry.name))
            except OSError:
                continue
    return found


# Start and end.


def test_a_closed_lab_leaves_nothing_behind(private_lab: Callable[..., Lab]) -> None:
    before = outer_links()
    lab = private_lab(nodes=1)
    pidns = Path(f"/proc/{lab.anchor.pid}/ns/pid").stat().st_ino
    assert len(descendants_in(pidns)) > 10
    lab.close()
    wait_until(lambda: not descendants_in(pidns), "its descendants to be gone")
    assert not lab.anchor.directory.exists()
    assert outer_links() == before


def test_a_killed_anchor_takes_everything_with_it(private_lab: Callable[..., Lab]) -> None:
    before = outer_links()
    lab = private_lab(nodes=1)
    pidns = Path(f"/proc/{lab.anchor.pid}/ns/pid").stat().st_ino
    os.kill(lab.anchor.pid, signal.SIGKILL)
    wait_until(lambda: not descendants_in(pidns), "every process to end")
    with pytest.raises(LabError, match="anchor is gone"):
        lab.client.run(["true"])
    lab.close()
    assert outer_links() == before


def test_a_killed_test_process_takes_everything_with_it() -> None:
    """Also when pytest is killed with -9, nobody is left to clean up but the anchor itself."""
    script = (
        "import sys, time\n"
        "from tests.lab.anchor import Anchor\n"
        "anchor = Anchor()\n"
        "anchor.make_host('n1', {})\n"
        "print(anchor.pid, anchor.directory, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        pid, directory = process.stdout.readline().split()
        anchor = os.pidfd_open(int(pid))
        pidns = Path(f"/proc/{pid}/ns/pid").stat().st_ino
        assert len(descendants_in(pidns)) == 2  # the anchor and the host's holder
        process.kill()
    assert wait_for_exit(anchor, 60.0)
    os.close(anchor)
    wait_until(lambda: not descendants_in(pidns), "its descendants to be gone")
    assert not Path(directory).exists()


def test_two_labs_at_once_do_not_see_each_other(lab: Lab, private_lab: Callable[..., Lab]) -> None:
    """The same names and the same external IP in both; one ends and the other goes on."""
    other = private_lab(nodes=1)
    for each in (lab, other):
        each.add_service("web", [TWO_LABS], spec={"selector": {"node": "n1"}})
        bring_up(each.nodes["n1"], TWO_LABS)
        assert each.wait_for_http(TWO_LABS) == "n1"
    take_down(other.nodes["n1"], TWO_LABS)
    other.client.flush_neighbours()
    with pytest.raises(OSError, match=UNANSWERED):
        other.client.http_get(TWO_LABS, timeout=0.2)
    assert lab.client.http_get(TWO_LABS) == "n1"
    other.close()
    assert lab.client.http_get(TWO_LABS) == "n1"


AS_NOBODY = (
    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"),
    *("--bounding-set=-all", "--inh-caps=-all"),
)
WITHOUT_ROOT = """
from pathlib import Path
from tests.lab.cluster import Lab
with Lab(nodes=1) as lab:
    lab.add_service("web", ["10.88.1.1"])
    lab.nodes["n1"].run(["ip", "addr", "add", "10.88.1.1/32", "dev", "eth0"])
    print(lab.wait_for_http("10.88.1.1"), lab.kubectl("get", "nodes", "-o", "name").strip())
    with lab.observe("10.88.1.1") as observer, lab.probe("10.88.1.1") as probe:
        probe.wait_for_answer()
        observer.wait_for_owner("10.88.1.1", "n1")
        lab.nodes["n1"].cut("lan")
        probe.wait_for_failure()
        print("cut")
print(Path(f"/proc/{lab.anchor.pid}").exists())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="the whole suite runs without root already")
def test_runs_without_root(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A user with no capabilities gets the whole of it, where user namespaces are allowed."""
    python = "/usr/bin/python3"
    for command in ([python, "-c", "import ssl"], ["unshare", "-U", "-r", "true"]):
        if subprocess.run([*AS_NOBODY, *command], check=False).returncode != 0:
            pytest.skip(f"another user may not: {' '.join(command)}")
    folder = tmp_path_factory.mktemp("nobody")
    for parent in (folder, folder.parent, folder.parent.parent):
        parent.chmod(0o755)
    shutil.copytree(ROOT / "tests/lab", folder / "tests/lab")
    library = find_spec("pyroute2")  # the only one that the lab itself needs
    assert library is not None
    assert library.origin is not None
    shutil.copytree(Path(library.origin).parent, folder / "pyroute2")
    for program in (
        *(binaries.kube_apiserver, binaries.kube_proxy, binaries.kube_controller_manager),
        *(binaries.etcd, binaries.kubectl),
    ):
        assert program is not None
        shutil.copy(program.resolve(), folder / program.name)
    environment = {
        "EXTIP_KUBE_BIN": str(folder),
        "PYTHONPATH": str(folder),
        "PATH": "/usr/bin:/bin",
    }
    try:
        done = subprocess.run(
            [*AS_NOBODY, python, "-B", "-c", WITHOUT_ROOT],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env=environment,
        )
    finally:
        shutil.rmtree(folder)  # 300 MB that pytest would keep
    assert done.stdout.splitlines() == ["n1 node/n1", "cut", "False"], done.stderr


# Kubernetes.


def test_nodes_are_ready_with_both_addresses(lab: Lab) -> None:
    expected = {node.name: [node.ip, node.ip6] for node in lab.nodes.values()}

    def ready() -> bool:
        found = {}
        for node in lab.kubectl_json("get", "nodes")["items"]:
            states = [c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready"]
            found[node["metadata"]["name"]] = states == ["True"] and [
                a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP"
            ]
        return found == expected

    wait_until(ready, f"these to be ready: {expected}")


def test_external_ips_answer_near_and_far(lab: Lab, namespace: str) -> None:
    """A service's external IP answers as soon as its address is on a node's interface."""
    lab.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": namespace},
            "spec": {
                "selector": {"app": "backend"},
                "ipFamilyPolicy": "PreferDualStack",
                "externalIPs": list(IPS),
                "ports": [{"port": 80, "targetPort": 8080}],
            },
        }
    )
    with pytest.raises(OSError, match=UNANSWERED):  # nobody answers ARP
        lab.client.http_get(IPS[0], timeout=0.2)
    bring_up(lab.nodes["n2"], *IPS)
    for ip in IPS:
        assert lab.wait_for_http(ip) in lab.nodes
        assert lab.wait_for_http(ip, host=lab.far_client) in lab.nodes
    macs = {entry.ip: entry.mac for entry in lab.client.neighbours()}
    assert [macs[ip] for ip in IPS] == [lab.nodes["n2"].mac] * 2


def test_every_backend_is_reached(lab: Lab, namespace: str) -> None:
    """Traffic is spread over the pods of all nodes, also those of other nodes than the owner."""
    lab.add_service("web", [IPS[0]], namespace=namespace)
    bring_up(lab.nodes["n1"], IPS[0])
    lab.wait_for_http(IPS[0])
    seen: set[str] = set()

    def all_seen() -> bool:
        seen.add(lab.client.http_get(IPS[0]))
        return seen == set(lab.nodes)

    wait_until(all_seen, "all backends to answer")


def test_a_pod_on_the_host_network_answers_without_forwarding(
    private_lab: Callable[..., Lab],
) -> None:
    lab = private_lab(nodes=2, ip_forward=False)
    lab.add_service("web", [IPS[0]], spec={"externalTrafficPolicy": "Local", "type": "NodePort"})
    for node in lab.nodes.values():
        bring_up(node, IPS[0])
        assert lab.wait_for_http(IPS[0]) == node.name
        take_down(node, IPS[0])
        lab.client.flush_neighbours()


def test_readiness_of_a_pod_follows_its_annotation(lab: Lab, namespace: str) -> None:
    lab.add_service("web", namespace=namespace)
    path = f"/api/v1/namespaces/{namespace}/endpoints/web"

    def ready() -> set[str]:
        subsets = lab.api.get(path).get("subsets", [])
        return {a["nodeName"] for subset in subsets for a in subset.get("addresses", [])}

    wait_until(lambda: ready() == {"n1", "n2", "n3"}, "all endpoints")
    lab.kubectl("annotate", "pod", "backend-n2", "lab/ready=false", "-n", namespace)
    wait_until(lambda: ready() == {"n1", "n3"}, "an endpoint to go")


def test_service_accounts_get_real_tokens(lab: Lab, namespace: str) -> None:
    """A ServiceAccount may do what RBAC allows it and nothing else, from inside a node too."""
    account = {"metadata": {"name": "robot"}}
    lab.api.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", account)
    kubeconfig = lab.service_account_kubeconfig(namespace, "robot")
    lab.kubectl("create", "role", "reader", "--verb=list", "--resource=pods", "-n", namespace)
    lab.kubectl(
        *("create", "rolebinding", "reader", "--role=reader", "-n", namespace),
        f"--serviceaccount={namespace}:robot",
    )
    kubectl = [str(lab.binaries.kubectl), f"--kubeconfig={kubeconfig}", "-n", namespace, "get"]
    node = lab.nodes["n1"]
    wait_until(lambda: node.run([*kubectl, "pods"]).stdout, "RBAC to take effect")
    refused = node.run([*kubectl, "secrets"], check=False)
    assert "forbidden" in refused.stderr.lower()

    env = lab.mount_service_account(node, namespace, "robot")
    folder = "/var/run/secrets/kubernetes.io/serviceaccount"
    url = f"https://{env['KUBERNETES_SERVICE_HOST']}:{env['KUBERNETES_SERVICE_PORT']}"
    script = (
        f'curl -sS --cacert {folder}/ca.crt -H "Authorization: Bearer $(cat {folder}/token)" '
        f"{url}/api/v1/namespaces/$(cat {folder}/namespace)/pods"
    )
    listed = json.loads(node.run(["sh", "-c", script]).stdout)
    assert len(listed["items"]) == 3


def test_the_api_answers_outside_too(lab: Lab) -> None:
    command = [str(lab.binaries.kubectl), f"--kubeconfig={lab.outside_kubeconfig()}", "get", "ns"]
    done = subprocess.run([*command, "-o", "name"], capture_output=True, text=True, check=True)
    assert "namespace/kube-system" in done.stdout.split()


def test_the_api_server_stops_and_starts(lab: Lab, namespace: str) -> None:
    lab.api_server.stop()
    with pytest.raises(ConnectionRefusedError):
        lab.api.get("/version")
    lab.api_server.start()
    assert lab.api.get(f"/api/v1/namespaces/{namespace}")["metadata"]["name"] == namespace


def test_a_frozen_api_server_accepts_and_says_nothing(lab: Lab) -> None:
    lab.api_server.freeze()
    try:
        with lab.nodes["n1"].connect("10.89.0.1", 6443, timeout=1.0):
            pass
        with pytest.raises(TimeoutError):
            lab.api.raw("GET", "/version", timeout=0.5)
    finally:
        lab.api_server.thaw()
    assert lab.api.get("/version")["gitVersion"] == lab.server_version


def test_history_before_a_compaction_is_gone(lab: Lab, namespace: str) -> None:
    """After a compaction and a restart of the API server, an old resourceVersion answers 410."""
    version = lab.api.get("/api/v1/services")["metadata"]["resourceVersion"]
    lab.add_service("web", namespace=namespace)
    lab.api.request(
        "PATCH",
        f"/api/v1/namespaces/{namespace}",
        {"metadata": {"labels": {"a": "b"}}},
        content_type="application/merge-patch+json",
    )
    lab.etcd_compact()
    lab.api_server.restart()

    def code() -> int:
        path = f"/api/v1/services?watch=1&resourceVersion={version}&timeoutSeconds=1"
        try:
            lines = lab.api.raw("GET", path).splitlines()
        except ApiStatusError as error:
            return error.status
        return int(json.loads(lines[0])["object"].get("code", 200)) if lines else 200

    assert wait_until(lambda: code() == 410, "the old version to be refused")


# Processes and faults.


def test_a_process_is_started_read_frozen_and_ended(lab: Lab) -> None:
    node = lab.nodes["n1"]
    script = "trap 'echo told; exit 7' TERM; hostname; n=0; while :; do n=$((n+1)); "
    script += "echo $SALT $n; sleep 0.02; done"
    process = node.start(["sh", "-c", script], env={"SALT": "pepper"}, name="counter")
    process.wait_for_output(r"^n1$")
    process.wait_for_output(r"^pepper 3$")
    process.freeze()
    stood = process.output()
    time.sleep(0.1)
    assert process.output() == stood
    process.thaw()
    process.wait_for_output(r"^pepper \d+$", start=len(stood))
    assert process.terminate() == 7
    assert "told" in process.output()
    with pytest.raises(LabError, match="ended without"):
        process.wait_for_output("never")


def test_what_cannot_be_executed_is_said(lab: Lab) -> None:
    with pytest.raises(LabError, match="no-such-program"):
        lab.nodes["n1"].start(["no-such-program"])
    with pytest.raises(LabError, match="status 3"):
        lab.nodes["n1"].run(["sh", "-c", "exit 3"])


def test_addresses_show_marks_and_lifetimes(lab: Lab) -> None:
    node = lab.nodes["n1"]
    node.run(
        [
            "ip",
            "addr",
            "add",
            f"{IPS[0]}/32",
            "dev",
            "eth0",
            "valid_lft",
            "50",
            "preferred_lft",
            "40",
        ]
    )
    by_ip = {address.ip: address for address in node.addresses("eth0")}
    ours = by_ip[IPS[0]]
    assert ours.valid_s is not None
    assert ours.preferred_s is not None
    assert 45 <= ours.valid_s <= 50
    assert 35 <= ours.preferred_s <= 40
    assert (ours.permanent, ours.proto, ours.label) == (False, 0, "eth0")
    assert by_ip[node.ip].permanent
    link_local = [a for a in node.addresses("eth0") if a.interface.is_link_local]
    assert [address.proto for address in link_local] == [3]  # IFAPROT_KERNEL_LL
    with pytest.raises(OSError, match="no interface"):
        node.addresses("eth7")


def test_a_cut_keeps_carrier_and_the_other_network(lab: Lab) -> None:
    node = lab.nodes["n1"]

    def reaches(ip: str) -> bool:
        """Tell whether a host answers; a refusal is an answer, too."""
        try:
            node.connect(ip, 9, timeout=0.5).close()
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        return True

    wait_until(lambda: reaches("10.88.0.100"), "the client to be reached")
    node.cut("lan")
    assert not reaches("10.88.0.100")
    wait_until(lambda: reaches("10.89.0.1"), "the API server to be reached all the same")
    assert "LOWER_UP" in node.ip_json("link", "show", "eth0")[0]["flags"]
    node.cut("management")
    assert not reaches("10.89.0.1")
    node.heal()
    for ip in ("10.88.0.100", "10.89.0.1"):
        wait_until(partial(reaches, ip), f"{ip} to be reached again")


def test_carrier_goes_and_comes(lab: Lab) -> None:
    node = lab.nodes["n1"]

    def carrier() -> bool:
        return "LOWER_UP" in node.ip_json("link", "show", "eth0")[0]["flags"]

    node.carrier_down()
    wait_until(lambda: not carrier(), "carrier to go")
    node.carrier_up()
    wait_until(carrier, "carrier to come")


def test_a_node_dies_and_is_revived(lab: Lab, namespace: str) -> None:
    """Nothing of a dead node runs or answers; revived, it serves again."""
    node = lab.nodes["n3"]
    lab.add_service("web", [REVIVED], namespace=namespace, spec={"selector": {"node": "n3"}})
    bring_up(node, REVIVED)
    assert lab.wait_for_http(REVIVED) == "n3"
    process = node.start(["sleep", "600"])
    node.die()
    assert process.wait() == -signal.SIGKILL
    assert node.all_pids() == set()
    with pytest.raises(OSError, match=UNANSWERED):
        lab.client.http_get(REVIVED, timeout=0.3)
    node.revive()
    assert [address.ip for address in node.addresses("eth0") if address.ip == REVIVED] == []
    bring_up(node, REVIVED)
    lab.client.flush_neighbours()
    assert lab.wait_for_http(REVIVED) == "n3"


def test_reset_removes_what_a_test_leaves(lab: Lab) -> None:
    node = lab.nodes["n2"]
    node.start(["sleep", "600"]).freeze()
    node.run(["sh", "-c", "setsid sleep 601 </dev/null >/dev/null 2>&1 &"])
    bring_up(node, *IPS)
    node.run(["ip", "link", "add", "extra0", "type", "veth", "peer", "name", "extra1"])
    lab.add_service("web", [IPS[0]])
    lab.mount_service_account(node, "default", "default")
    node.cut()
    lab.api_server.freeze()
    lab.api_server.thaw()
    assert len(lab.leftovers()) == 8
    lab.reset()
    assert lab.leftovers() == []
    assert lab.client.http_get(node.ip, 8080) == "n2"


# Prober and observer.


def test_the_prober_finds_known_outages(lab: Lab, namespace: str) -> None:
    """Injected outages are found, each as long as it was, and next to nothing else."""
    node = lab.nodes["n1"]
    lab.add_service("web", list(OUTAGES), namespace=namespace, spec={"selector": {"node": "n1"}})
    bring_up(node, *OUTAGES)
    for ip in OUTAGES:
        lab.wait_for_http(ip)
    cuts = []
    with lab.probe(OUTAGES) as probe:
        for length_s in (0.3, 0.6, 1.2):
            for ip in OUTAGES:
                probe.wait_for_answer(ip=ip, sent_after_s=time.monotonic())
            began = time.monotonic()
            node.cut("lan")
            silent = time.monotonic()
            time.sleep(length_s)
            healing = time.monotonic()
            node.heal("lan")
            cuts.append((began, silent, healing, time.monotonic()))
        for ip in OUTAGES:
            probe.wait_for_answer(ip=ip, sent_after_s=time.monotonic())
    late = probe.worst_lateness_s
    for ip in OUTAGES:
        others = probe.outages(ip)
        for began, silent, healing, healed in cuts:
            (outage,) = [o for o in others if o.start_s < healing and o.end_s > silent]
            others.remove(outage)
            assert began - SLACK_S - late <= outage.start_s <= silent + EXACT_S + late
            assert healing - EXACT_S - late <= outage.end_s <= healed + SLACK_S + late
            assert outage.ended
        # A machine that stands still for longer than a probe waits is an outage, too.
        assert sum(other.duration_s - other.blind_s for other in others) < SLACK_S
        assert {answer.node for answer in probe.answers_of(ip)} == {"n1", None}


def test_the_prober_keeps_its_schedule(lab: Lab) -> None:
    """An address that never answers is out from the first probe on, one every 10 ms."""
    with lab.probe(external_v4(7)) as probe:
        wait_until(lambda: len(probe.answers) >= 50, "50 probes")
    assert probe.first_answer_s is None
    (outage,) = probe.outages()
    assert not outage.ended
    assert outage.duration_s >= 0.45  # of 50 probes, one every 10 ms
    sent = [answer.sent_s for answer in probe.answers]
    gaps = [later - earlier for earlier, later in itertools.pairwise(sent)]
    assert min(gaps) > 0
    assert median(gaps) == pytest.approx(0.010, abs=0.005)


def test_the_observer_sees_who_answers(lab: Lab) -> None:
    """One owner, then two for 300 ms, then the other: to within a few questions."""
    n1, n2 = lab.nodes["n1"], lab.nodes["n2"]
    bring_up(n1, *IPS)
    with lab.observe(IPS) as observer:
        for ip in IPS:
            observer.wait_for_owner(ip, "n1")
        before_add = time.monotonic()
        bring_up(n2, *IPS)
        added = time.monotonic()
        for ip in IPS:
            observer.wait_for_owner(ip, "n2")
        wait_until(lambda: observer.questions(after_s=added) >= 30, "30 questions")
        before_removal = time.monotonic()
        take_down(n1, *IPS)
        removed = time.monotonic()
        for ip in IPS:
            observer.wait_for_owner(ip, "n2", after_s=removed + 0.05)
    inexact = EXACT_S + observer.worst_gap_s()
    for ip in IPS:
        # A kernel that is late with an answer seems to have lost the IP meanwhile.
        nodes = [owner.node for owner in observer.owners(ip)]
        assert list(dict.fromkeys(nodes)) == ["n1", "n2"]
        shortest, longest = before_removal - added, removed - before_add
        assert observer.double_ownership_s(ip) <= longest + inexact
        if len(nodes) == 2:
            assert observer.double_ownership_s(ip) >= shortest - inexact
        assert observer.announcements(ip) == []


def test_the_observer_sees_a_gap_of_ownership(lab: Lab) -> None:
    node = lab.nodes["n1"]
    bring_up(node, IPS[0])
    with lab.observe(IPS[0]) as observer:
        observer.wait_for_owner(IPS[0], "n1")
        take_down(node, IPS[0])
        gone = time.monotonic()
        wait_until(lambda: observer.questions(after_s=gone) >= 15, "15 questions")
        back = time.monotonic()
        bring_up(node, IPS[0])
        observer.wait_for_owner(IPS[0], "n1", after_s=back)
    times = [(owned.first_s, owned.last_s) for owned in observer.owners(IPS[0])]
    assert all(last <= gone + EXACT_S or first >= back - EXACT_S for first, last in times)
    assert len(times) >= 2
    assert observer.double_ownership_s(IPS[0]) == 0


def test_the_observer_sees_announcements(lab: Lab) -> None:
    """Both forms of gratuitous ARP and an unsolicited advertisement, with the time they were sent.

    The frames are made here, byte by byte (RFC 826, RFC 4861).
    """
    node = lab.nodes["n2"]
    mac, ip = bytes.fromhex(node.mac.replace(":", "")), socket.inet_aton(IPS[0])
    arp = b"\xff" * 6 + mac + bytes.fromhex("08060001080006040001") + mac + ip + bytes(6) + ip
    reply = arp[:21] + b"\x02" + arp[22:]
    ip6 = socket.inet_pton(socket.AF_INET6, IPS[1])
    advertisement = bytes.fromhex("8800000020000000") + ip6 + b"\x02\x01" + mac  # override
    index = node.ip_json("link", "show", "eth0")[0]["ifindex"]
    with lab.observe(IPS, interval_s=0) as observer:
        with node.open_socket(socket.AF_PACKET, socket.SOCK_RAW) as packet:
            packet.bind(("eth0", 0))
            began = time.monotonic()
            packet.send(arp)
            packet.send(reply)
        with node.open_socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as icmp:
            icmp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
            icmp.sendto(advertisement, ("ff02::1", 0, 0, index))
            sent = time.monotonic()
        wait_until(lambda: len(observer.announcements(IPS[0])) == 2, "both of IPv4")
        observer.wait_for_announcement(IPS[1], node="n2")
    seen = [*observer.announcements(IPS[0]), *observer.announcements(IPS[1])]
    assert [a.kind for a in seen] == ["request", "reply", "advertisement"]
    assert {a.mac for a in seen} == {node.mac}
    assert all(began - EXACT_S <= a.time_s <= sent + EXACT_S for a in seen)
    assert observer.owners(IPS[0]) == []
