"""Objects as an API server delivers them, and as it never should: mangled at any place.

A mangled object starts from a good one. Some of its fields are missing, null, of another type,
huge, doubled, or hold any text at all. What comes out is JSON text, for the real decoder.
"""

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

Json = Any

ADDRESSES = [
    *("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.250", "fd00::1", "fd00::2"),
    *("10.0.0.0", "10.0.0.255", "127.0.0.1", "::1", "0.0.0.0", "224.0.0.1", "fe80::1"),  # noqa: S104
    *("10.96.0.1", "10.244.0.5", "192.0.2.1", "::ffff:10.0.0.1"),
    *("fe80::1%eth0", "010.0.0.1", "10.0.0.1/24"),
]
NAMES = ["a", "b", "web", "n1", "n2", "Ünïcode", "a/b", "..", "x" * 300, "pool", "10-0-0-1-32"]


def _text() -> st.SearchStrategy[str]:
    """Text of any content, as JSON can carry it: no half characters."""
    return st.one_of(
        st.sampled_from(
            ADDRESSES + NAMES + ["True", "False", "auto", "IPv4", "IPv6", "-1", "1e999"]
        ),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    )


def junk() -> st.SearchStrategy[Json]:
    """Anything that JSON can say."""
    plain = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(allow_nan=False, allow_infinity=False),
        _text(),
    )
    nested = st.recursive(
        plain,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(_text(), inner, max_size=4)
        ),
        max_leaves=6,
    )
    huge = st.sampled_from(["text", "list", "map"]).map(_huge)
    return st.one_of(nested, nested, nested, huge)


def _huge(kind: str) -> Json:
    """Return something large; made when it is needed, or every report would be as large."""
    if kind == "text":
        return "ü" * 50_000
    if kind == "list":
        return ["10.0.0.1", "x"] * 1_000
    return {str(n): str(n) for n in range(1_000)}


@st.composite
def mangled(draw: st.DrawFn, good: st.SearchStrategy[Json]) -> str:
    """Return the text of an object, with a few of its fields mangled."""
    document = json.loads(json.dumps(draw(good)))  # what was drawn is not ours to change
    doubled: list[tuple[str, Json]] = []
    for _ in range(draw(st.integers(0, 3))):
        places = list(_places(document))
        if not places:
            break
        holder, key = places[draw(st.integers(0, len(places) - 1))]
        deed = draw(st.sampled_from(["replace", "drop", "null", "double"]))
        if deed == "replace":
            holder[key] = draw(junk())
        elif deed == "drop":
            del holder[key]
        elif deed == "null":
            holder[key] = None
        else:
            name = draw(st.sampled_from(["metadata", "spec", "status", "kind"]))
            doubled.append((name, draw(junk())))
    text = json.dumps(document)
    if doubled and isinstance(document, dict):
        name, value = doubled[0]
        members = [f"{json.dumps(name)}: {json.dumps(value)}", text[1:-1]]
        members = members if draw(st.booleans()) else members[::-1]
        text = f"{{{', '.join(filter(None, members))}}}"
    return text


def _places(value: Json) -> Iterator[tuple[Any, Any]]:
    """Yield every container with each of its keys, at any depth."""
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value[:3]))
    else:
        return
    for key, inner in items:
        yield value, key
        yield from _places(inner)


def _meta(**more: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    return st.fixed_dictionaries(
        {
            "name": st.sampled_from(["a", "b", "web"]),
            "uid": st.sampled_from(["1", "2", "3"]),
            "resourceVersion": st.integers(1, 99).map(str),
            "creationTimestamp": st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]),
            **more,
        }
    )


_ips = st.lists(st.sampled_from(ADDRESSES), max_size=4)
_annotations = st.dictionaries(
    st.sampled_from(
        [
            "external-ip",
            "ipcontroller.ext/pool",
            "ipcontroller.ext/addresses",
            "ipcontroller.ext/allocated",
            "ipcontroller.ext/placement",
            "ipcontroller.ext/leaving",
            "ipcontroller.ext/heartbeat-seconds",
        ]
    ),
    st.one_of(st.just("auto"), _text(), _ips.map(",".join)),
    max_size=4,
)

SERVICE = st.fixed_dictionaries(
    {
        "metadata": _meta(
            namespace=st.sampled_from(["ns", "other"]),
            annotations=_annotations,
            labels=st.dictionaries(_text(), _text(), max_size=2),
        ),
        "spec": st.fixed_dictionaries(
            {
                "type": st.sampled_from(["ClusterIP", "LoadBalancer", "ExternalName"]),
                "externalIPs": _ips,
                "clusterIPs": st.sampled_from([["None"], ["10.96.0.7"], ["10.0.0.2", "fd00::2"]]),
                "ipFamilies": st.sampled_from([["IPv4"], ["IPv6", "IPv4"], []]),
                "ports": st.lists(
                    st.fixed_dictionaries(
                        {"port": st.integers(1, 3), "protocol": st.sampled_from(["TCP", "UDP"])}
                    ),
                    max_size=2,
                ),
            }
        ),
        "status": st.fixed_dictionaries(
            {
                "loadBalancer": st.fixed_dictionaries(
                    {"ingress": _ips.map(lambda ips: [{"ip": ip} for ip in ips])}
                )
            }
        ),
    }
)

CLAIM = st.fixed_dictionaries(
    {
        "metadata": _meta(
            name=st.sampled_from(["10-0-0-1-32", "10-0-0-2-32", "by-hand", "x"]),
            labels=st.dictionaries(
                st.sampled_from(
                    ["ipnode", "ip-previous-node", "ip-pool-name", "app.kubernetes.io/managed-by"]
                ),
                st.sampled_from(["n1", "n2", "pool", "extip"]),
            ),
            annotations=_annotations,
        ),
        "spec": st.fixed_dictionaries(
            {
                "cidr": st.sampled_from([*ADDRESSES, "10.0.0.1/32", "10.0.0.2/24", "fd00::1/128"]),
                "nodeName": st.sampled_from(["", "n1", "n2", "gone"]),
                "link": st.sampled_from(["", "eth0", "eth1"]),
                "services": st.lists(
                    st.fixed_dictionaries(
                        {
                            "namespace": st.sampled_from(["ns", "other"]),
                            "name": st.sampled_from(["a", "b"]),
                            "uid": st.sampled_from(["1", "2"]),
                        }
                    ),
                    max_size=2,
                ),
            }
        ),
        "status": st.fixed_dictionaries(
            {
                "holder": st.sampled_from(["", "n1", "n2"]),
                "conditions": st.lists(
                    st.fixed_dictionaries(
                        {
                            "type": st.sampled_from(["Up", "Assigned", "Accepted"]),
                            "status": st.sampled_from(["True", "False", "Unknown"]),
                            "reason": _text(),
                        }
                    ),
                    max_size=2,
                ),
            }
        ),
    }
)

_selector = st.fixed_dictionaries(
    {},
    optional={
        "matchLabels": st.dictionaries(_text(), _text(), max_size=2),
        "matchExpressions": st.lists(
            st.fixed_dictionaries(
                {
                    "key": _text(),
                    "operator": st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist", "Gt"]),
                    "values": st.lists(_text(), max_size=2),
                }
            ),
            max_size=2,
        ),
    },
)

POOL = st.fixed_dictionaries(
    {
        "metadata": _meta(name=st.sampled_from(["pool", "other"])),
        "spec": st.fixed_dictionaries(
            {
                "cidr": st.sampled_from(
                    ["10.0.0.0/24", "10.0.0.0/8", "fd00::/64", "10.0.0.1", "x", "0.0.0.0/0", "::/0"]
                ),
                "ranges": st.lists(st.lists(st.sampled_from(ADDRESSES), max_size=3), max_size=3),
                "priority": st.integers(-(2**31), 2**31 - 1),
                "autoAssign": st.booleans(),
                "namespaceSelector": _selector,
                "serviceSelector": _selector,
                "nodeSelector": _selector,
                "avoidNetworkAddresses": st.booleans(),
            }
        ),
    }
)

NODE = st.fixed_dictionaries(
    {
        "metadata": _meta(
            name=st.sampled_from(["n1", "n2"]), labels=st.dictionaries(_text(), _text(), max_size=2)
        ),
        "spec": st.fixed_dictionaries(
            {
                "unschedulable": st.booleans(),
                "podCIDRs": st.lists(
                    st.sampled_from(["10.244.0.0/24", "fd00:244::/64", "0.0.0.0/0", "x", ""]),
                    max_size=2,
                ),
                "taints": st.lists(st.fixed_dictionaries({"key": _text()}), max_size=2),
            }
        ),
        "status": st.fixed_dictionaries(
            {
                "addresses": st.lists(
                    st.fixed_dictionaries(
                        {"type": _text(), "address": st.sampled_from(["10.0.0.250", "n1", ""])}
                    ),
                    max_size=2,
                ),
                "conditions": st.lists(
                    st.fixed_dictionaries({"type": st.just("Ready"), "status": _text()}), max_size=2
                ),
            }
        ),
    }
)

IP_NODE = st.fixed_dictionaries(
    {
        "metadata": _meta(name=st.sampled_from(["n1", "n2"])),
        "spec": st.fixed_dictionaries({"draining": st.booleans()}),
        "status": st.fixed_dictionaries(
            {
                "links": st.lists(
                    st.fixed_dictionaries(
                        {
                            "name": st.sampled_from(["eth0", "kube-ipvs0", ""]),
                            "mac": _text(),
                            "addresses": st.lists(
                                st.sampled_from(["10.0.0.250/24", "10.0.0.1", "x"]), max_size=2
                            ),
                            "up": st.booleans(),
                        }
                    ),
                    max_size=2,
                ),
                "gateways": st.lists(st.sampled_from(["10.0.0.254", "x", "fe80::1"]), max_size=2),
                "claims": st.integers(0, 9),
            }
        ),
    }
)

LEASE = st.fixed_dictionaries(
    {
        "metadata": _meta(
            name=st.sampled_from(["extip-node-n1", "extip-node-", "other"]),
            namespace=st.just("kube-system"),
            annotations=_annotations,
        ),
        "spec": st.fixed_dictionaries(
            {
                "holderIdentity": _text(),
                "renewTime": st.one_of(_text(), st.just("2026-01-01T00:00:00.000000Z")),
                "leaseDurationSeconds": st.integers(-5, 2**40),
                "leaseTransitions": st.integers(-5, 2**40),
            }
        ),
    }
)


def listed(kind: str, items: list[str]) -> bytes:
    """Return the text of a list."""
    head = f'"kind":"{kind}List","metadata":{{"resourceVersion":"100"}}'
    return f'{{{head},"items":[{",".join(items)}]}}'.encode()
