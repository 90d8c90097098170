"""Act one, `extip simple`: one node brings every external IP up."""

import json
from functools import partial

from tests.demo.stage import Stage
from tests.lab.cluster import Lab
from tests.lab.extip import Extip

IPS = ("10.88.1.1", "10.88.1.2", "fd00:88::1:1")
LATER = "10.88.1.9"
TTL_S = 3


def play(stage: Stage, lab: Lab) -> None:
    """Show the life of external IPs on node n1."""
    node = lab.nodes["n1"]

    def start() -> Extip:
        return Extip(node, "simple", f"--address-ttl={TTL_S}s", kubeconfig=lab.kubeconfig)

    stage.title(f"extip simple --iface eth0 --address-ttl {TTL_S}s   on n1")
    extip = start()
    stage.wait("extip is ready", lambda: extip.events("reconcile_succeeded"), "caches in sync")

    stage.title(f"A service asks for {', '.join(IPS)}; nobody has them when asked for 200 ms")
    lab.add_service("web", IPS)
    up(stage, extip, *IPS)
    for ip in IPS:
        stage.wait(f"client: GET http://{bracketed(ip)}/", partial(answer, lab, ip))

    stage.title(f"Somebody removes {IPS[0]} by hand:  ip address del {IPS[0]}/32 dev eth0")
    node.run(["ip", "address", "del", f"{IPS[0]}/32", "dev", "eth0"])
    up(stage, extip, IPS[0])

    stage.title(f"The service changes: {IPS[1]} goes, {LATER} comes")
    wanted = [IPS[0], LATER, IPS[2]]
    patch = json.dumps({"spec": {"externalIPs": wanted}})
    lab.kubectl("patch", "service", "web", "--type=merge", "-p", patch)
    up(stage, extip, LATER)
    gone(stage, extip, IPS[1])
    stage.wait(f"client: GET http://{LATER}/", lambda: answer(lab, LATER))

    stage.title("kill -9: nothing of extip runs any more; the kernel withdraws the addresses")
    extip.process.kill()
    extip.process.wait()
    gone(stage, extip, *wanted)

    stage.title("Started again")
    extip = start()
    up(stage, extip, *wanted)

    stage.title("Stopped in order (SIGTERM)")
    status = extip.process.terminate()
    stage.show("exit status 0", status == 0, str(status))
    gone(stage, extip, *wanted)
    lab.delete_service("web")


def up(stage: Stage, extip: Extip, *ips: str) -> None:
    """Wait until these IPs are on the interface."""
    for ip in ips:
        stage.wait(f"{ip} is up", partial(is_up, extip, ip), "on n1, eth0")


def gone(stage: Stage, extip: Extip, *ips: str) -> None:
    """Wait until these IPs are not on the interface."""
    for ip in ips:
        stage.wait(f"{ip} is gone", partial(is_gone, extip, ip), "from n1")


def is_up(extip: Extip, ip: str) -> bool:
    """Return whether an external IP is on the node's interface."""
    return any(address.split("/")[0] == ip for address in extip.addresses())


def is_gone(extip: Extip, ip: str) -> bool:
    """Return whether an external IP is not on the node's interface."""
    return not is_up(extip, ip)


def answer(lab: Lab, ip: str) -> str:
    """Return what the client gets from an external IP; empty for no answer yet."""
    try:
        return f"answered by the pod on {lab.client.http_get(ip, timeout=0.25)}"
    except OSError:
        return ""


def bracketed(ip: str) -> str:
    """Write an IP as URLs do."""
    return f"[{ip}]" if ":" in ip else ip
