"""What the flags in a manifest say, and what the daemon itself would say to them."""

import msgspec
import pytest
import yaml

from extip.api.apps_v1 import Container, PodSpec, PodTemplate, Workload, WorkloadSpec
from extip.api.meta_v1 import ObjectMeta
from extip.doctor.daemons import daemon_of
from extip.doctor.policy.facts import Daemon
from tests.meta.manifests import MANIFESTS


def workload(*args, image="registry.example/extip:0.1.0", command=()):
    containers = (Container(image="sidecar"), Container(image=image, command=command, args=args))
    return Workload(
        metadata=ObjectMeta(namespace="edge", name="w"),
        spec=WorkloadSpec(template=PodTemplate(spec=PodSpec(containers=containers))),
    )


@pytest.mark.parametrize(
    ("found", "daemon"),
    [
        (
            workload("controller", "--iface=bond0", "--allow-cidr=10.0.0.0/8", "--allow-cidr=::/0"),
            Daemon(command="controller", name="edge/w", namespace="edge"),
        ),
        (
            workload(
                *("scheduler", "--leader-elect", "--monitor", "3s", "--lb-class=a/b"),
                "--namespace=other",
            ),
            Daemon(
                command="scheduler",
                name="edge/w",
                namespace="other",
                lb_class="a/b",
                monitor_s=3.0,
            ),
        ),
        (
            workload("simple", "--dry-run", image="own:1", command=("extip",)),
            Daemon(command="simple", name="edge/w"),
        ),
        (
            workload("controller", "--hostname=$(NODE_NAME)", "--hb", "$(HB)"),
            Daemon(command="controller", name="edge/w", namespace="edge"),
        ),
        (workload("controller", image="other:1"), None),
        (workload("--listen=:80"), None),
        (workload(), None),
    ],
)
def test_the_daemon_of_a_workload(found, daemon):
    assert daemon_of(found) == daemon


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--hb=5s", "--address-ttl=6s"], "--address-ttl must be at least two heartbeats"),
        (["--hb=5"], "--hb: '5' is not a duration"),
        (["--nosuch=1"], "there is no flag '--nosuch'"),
        (["--on-exit=stay"], "--on-exit: 'stay' is not one of 'release', 'keep'"),
        (["--mask=33"], "--mask: '33' is not a whole number from 1 to 32"),
    ],
)
def test_flags_that_the_daemon_would_refuse(flags, text):
    daemon = daemon_of(workload("controller", *flags))
    assert daemon is not None
    assert text in daemon.refused


def test_the_manifests_start_daemons_that_nothing_is_wrong_with():
    paths = [*MANIFESTS.glob("claims/*.yaml"), *MANIFESTS.glob("simple/*.yaml")]
    objects = [one for path in paths for one in yaml.safe_load_all(path.read_text())]
    found = [
        daemon_of(msgspec.convert(one, Workload))
        for one in objects
        if one["kind"] in ("DaemonSet", "Deployment")
    ]
    said = [(daemon.command, daemon.refused) for daemon in found if daemon is not None]
    assert sorted(said) == [("controller", ""), ("scheduler", ""), ("simple", "")]
