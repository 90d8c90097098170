"""Act three, pools: services of type LoadBalancer get addresses of both families."""

from functools import partial

from tests.demo.claims import SCHEDULER, all_alive, controller, placed
from tests.demo.simple import bracketed
from tests.demo.stage import Stage
from tests.lab.api import GROUP
from tests.lab.cluster import Lab
from tests.lab.extip import Extip

RANGE_V4, RANGE_V6 = ("10.88.7.1", "10.88.7.9"), ("fd00:88::7:1", "fd00:88::7:9")
POOL = {
    "apiVersion": "ipcontroller.ext/v1",
    "kind": "IpClaimPool",
    "metadata": {"name": "edge"},
    "spec": {
        "networks": [
            {"cidr": "10.88.7.0/28", "ranges": [RANGE_V4]},
            {"cidr": "fd00:88::7:0/112", "ranges": [RANGE_V6]},
        ]
    },
}
SERVICES = {"shop": 80, "mail": 25}
"""With their ports."""


def play(stage: Stage, lab: Lab) -> None:
    """Show how services get addresses, and give them back."""
    programs = [controller(lab, name) for name in lab.nodes]
    scheduler = Extip(lab.switch, "scheduler", *SCHEDULER, kubeconfig=lab.kubeconfig)
    stage.title("extip controller and scheduler once more, and a pool of two networks")
    stage.wait("controllers are alive", partial(all_alive, scheduler, len(lab.nodes)), "n1, n2, n3")
    lab.apply(POOL)
    stage.show("pool edge", seen=True, result=f"{RANGE_V4[0]} to .9, {RANGE_V6[0]} to :9")

    stage.title("Two services of type LoadBalancer, dual stack")
    spec = {"type": "LoadBalancer", "ipFamilyPolicy": "RequireDualStack"}
    for name, port in SERVICES.items():
        lab.add_service(name, port=port, spec=spec)
    for name in SERVICES:
        stage.wait(f"service {name} shows", partial(ways_in, lab, name))
    for name, port in SERVICES.items():
        for ip in ways_in(lab, name).split(", "):
            url = f"http://{bracketed(ip)}:{port}/"
            stage.wait(f"curl {url}", partial(curl, lab, url))

    stage.title("They are deleted: the pool has all of its addresses again")
    for name in SERVICES:
        lab.delete_service(name)
    stage.wait("no claim is left", lambda: not placed(lab), "none")
    stage.wait("addresses in use", lambda: in_use(lab) == 0, "none")
    for program in (*programs, scheduler):
        program.process.terminate()


def ways_in(lab: Lab, name: str) -> str:
    """Return the addresses that a service shows, once there is one of each family."""
    status = lab.api.get(f"/api/v1/namespaces/default/services/{name}")["status"]
    ips = [way["ip"] for way in status["loadBalancer"].get("ingress", [])]
    return ", ".join(ips) if len(ips) == 2 else ""


def curl(lab: Lab, url: str) -> str:
    """Return what the client gets; empty for no answer yet."""
    argv = ["curl", "--silent", "--globoff", "--max-time", "0.5", url]
    answer = lab.client.run(argv, check=False)
    return f"answered by the pod on {answer.stdout.strip()}" if answer.returncode == 0 else ""


def in_use(lab: Lab) -> int:
    """Return how many addresses of the pool services have."""
    return len(lab.api.get(f"{GROUP}/ipclaimpools/edge")["status"].get("allocated") or ())
