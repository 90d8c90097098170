"""Which IPs are refused, and who may have one."""

from tests.mutants.mutation import Mutation

_RULES = ("unit/guard/test_rules.py", "unit/guard/test_reserved.py")


def _rule(name: str, promise: str, old: str, new: str) -> Mutation:
    return Mutation(
        name=name, promise=promise, file="guard/policy/rules.py", old=old, new=new, tests=_RULES
    )


_REGISTRIES = "loopback, multicast, link-local, unspecified and reserved addresses"

MUTATIONS = (
    _rule(
        "multicast-comes-up",
        _REGISTRIES,
        '("224.0.0.0/4", Reason.MULTICAST',
        '("224.0.0.0/32", Reason.MULTICAST',
    ),
    _rule("loopback-comes-up", _REGISTRIES, '("127.0.0.0/8",', '("127.0.0.0/32",'),
    _rule("link-local-comes-up", _REGISTRIES, '("fe80::/10",', '("fe80::/128",'),
    _rule(
        "node-address-comes-up",
        "addresses of other nodes",
        "if ip in reserved.nodes and not",
        "if ip in reserved.nodes and",
    ),
    _rule(
        "own-address-comes-up",
        "the node's own addresses on any interface",
        "if ip in around.foreign:",
        "if ip in around.kept:",
    ),
    _rule(
        "gateway-comes-up",
        "gateways of all routing tables",
        "if ip in around.gateways:",
        "if ip in around.kept:",
    ),
    _rule(
        "gateway-of-another-node-comes-up",
        "gateways of other nodes",
        "if ip in reserved.gateways:",
        "if ip in around.kept:",
    ),
    _rule(
        "api-server-comes-up",
        "API servers",
        "if ip in reserved.api_servers:",
        "if ip in around.kept:",
    ),
    _rule(
        "cluster-ip-comes-up",
        "cluster IPs and their networks",
        "if ip in reserved.cluster_ips:",
        "if ip in around.kept:",
    ),
    _rule(
        "service-network-comes-up",
        "cluster IPs and their networks",
        "network = reserved.services.find(ip)",
        "network = None",
    ),
    _rule(
        "pod-comes-up",
        "addresses and networks of pods",
        "if ip in reserved.pod_ips and ip not in around.kept:",
        "if ip in reserved.pod_ips and ip in around.kept:",
    ),
    _rule(
        "pod-network-comes-up",
        "addresses and networks of pods",
        "network = reserved.pods.find(ip)",
        "network = None",
    ),
    _rule(
        "broadcast-address-comes-up",
        "their subnets' network and broadcast addresses",
        "or around.edges.get(ip)",
        "or None",
    ),
    _rule(
        "edge-of-its-own-network-comes-up",
        "their subnets' network and broadcast addresses",
        "or (_edge(ip, candidate.network) if _is_at_an_end(candidate) else None)",
        "or None",
    ),
    _rule(
        "allow-list-ignored",
        "IPs outside of `--allow-cidr` and `--allow`",
        "if not self.allowed or ip in self._allowed:",
        "if not self.allowed or ip:",
    ),
    Mutation(
        name="permission-of-another-namespace",
        promise="With any of them, everything else is refused",
        file="services/policy/permissions.py",
        old="if ip in self.by_namespace.get(namespace, _NOTHING):",
        new="if ip in self._somebody:",
        tests=("unit/services/test_permissions.py",),
    ),
    Mutation(
        name="another-namespace-takes-an-ip-over",
        promise="Across namespaces its holder keeps it",
        file="services/policy/namespace_sharing.py",
        old="return owner.namespace not in current_owners, owner.created",
        new="return True, owner.created",
        tests=("unit/services/test_namespace_sharing.py",),
    ),
    Mutation(
        name="unproxied-service-gets-its-ip",
        promise="A service that kube-proxy does not serve gets no address",
        file="services/policy/requests.py",
        old="refusal := refused.get(owner) or permit",
        new="refusal := permit",
        tests=("unit/services/test_requests.py", "unit/services/test_written_ips.py"),
    ),
    Mutation(
        name="refusal-is-not-told",
        promise="Each refusal is one log line, one Event on the service",
        file="guard/refusals.py",
        old="self._record(rejection.owner, rejection.refusal)",
        new="_ = rejection",
        tests=("unit/guard/test_refusals.py",),
    ),
    Mutation(
        name="refusal-is-told-again-and-again",
        promise="Each refusal is one log line, one Event on the service",
        file="guard/refusals.py",
        old="news = sorted(now - self._known, key=_order)",
        new="news = sorted(now, key=_order)",
        tests=("unit/guard/test_refusals.py",),
    ),
    Mutation(
        name="younger-service-gets-the-ip",
        promise="at the start the service that was created first gets it",
        file="services/policy/namespace_sharing.py",
        old="not in current_owners, owner.created, owner.uid",
        new="not in current_owners, owner.uid",
        tests=("unit/services/test_namespace_sharing.py",),
    ),
    Mutation(
        name="headless-service-gets-its-ip",
        promise="or labelled `service.kubernetes.io/headless`",
        file="services/policy/written_ips.py",
        old="elif service.marked_headless:",
        new="elif not service.metadata.name:",
        tests=("unit/services/test_written_ips.py",),
    ),
    Mutation(
        name="deleted-service-loses-its-ip-at-once",
        promise="The IPs of a deleted service stay up for two seconds",
        file="cache/derived.py",
        old="if found is None and self._linger is not None and key in self._parts:",
        new="if found is None and self._linger is not None and key not in self._parts:",
        tests=("unit/cache/test_derived.py",),
    ),
    Mutation(
        name="metrics-are-for-everybody",
        promise="All other clients get 403",
        file="modes/process.py",
        old="return not readers or ip.is_loopback or ip in readers",
        new="return True",
        tests=("unit/modes/test_process.py",),
    ),
    Mutation(
        name="annotation-writes-on-the-terminal",
        promise="It cannot change the terminal of its reader",
        file="printable.py",
        old="    if text.isprintable():\n",
        new="    if text:\n",
        tests=("unit/status/test_overview.py",),
    ),
    Mutation(
        name="unsound-request-is-logged",
        promise="What is no sound request gets an empty 400, and no line in the",
        file="http_server.py",
        old="if status == HTTPStatus.BAD_REQUEST and",
        new="if status == HTTPStatus.OK and",
        tests=("unit/test_health_limits.py",),
    ),
)
