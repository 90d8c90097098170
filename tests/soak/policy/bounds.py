"""How long things may take: the bounds of docs/fail-over.md, for the flags that a soak gives."""

from tests.system.claims_cluster import MONITOR_S, TTL_S

SLACK_S = 3.0
"""Added to each bound: a machine's whose processors do other work as well."""

NOTICED_S = 0.6
"""An outage or a doubled IP that is shorter may be one probe that was not scheduled in time."""

DEAD_S = MONITOR_S + 0.1
"""From the death of a node to its IPs elsewhere."""

ISOLATED_S = 2.0
"""From a port that leads nowhere to its IPs elsewhere: 2.5 heartbeats, and others' word."""

SETTLED_S = 5.0
"""After the network was away for all: nothing is taken for so long from nodes that are not back."""

REPAIRED_S = 2.0
"""From an address, a claim or a Lease that a person deleted to an IP that is up again."""

STARTED_S = 3.0
"""From a service, or the address of a pool that it got, to an answer: probe, kube-proxy."""

ENDPOINTS_S = 5.0
"""From a pod that is not ready to its IP at another one: endpoint controllers, kube-proxy."""

ELECTED_S = 8.0
"""From the death of the leading scheduler to a decision of the next one."""

API_BACK_S = 8.0
"""From an API server that answers again to caches that are right again."""

PROXY_BACK_S = 60.0
"""From the same to rules of kube-proxy that are right again: client-go waits for up to a minute."""

DEFENDED_S = 10.0
"""From the last announcement of a foreign station to ours: RFC 5227 paces the defence."""

HANDOVER_S = 5.0
"""Longest time in which a controller keeps an IP for its next holder (`--drain-timeout`)."""

DOUBLE_S = max(HANDOVER_S, TTL_S + 1 - MONITOR_S)
"""Longest time in which two nodes answer for one IP."""
