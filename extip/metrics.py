"""Every metric that extip exports, declared in one place.

One instance per process, with a registry of its own, passed to the parts that count. Names follow
the Prometheus conventions (base units, ``_total``); no metric has a label per IP address, so the
number of series does not grow with the cluster.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from extip import __version__

_FAST_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """Counters, gauges and histograms of one extip process."""

    def __init__(self, mode: str) -> None:
        self.registry = registry = CollectorRegistry()
        Gauge(
            "extip_build_info",
            "Always 1; labels tell the build.",
            ["version", "mode"],
            registry=registry,
        ).labels(version=__version__, mode=mode).set(1)

        self.addresses_wanted = Gauge(
            "extip_addresses_wanted",
            "External IPs asked for that may come up: up, being probed, or to be put up.",
            registry=registry,
        )
        self.addresses_up = Gauge(
            "extip_addresses_up", "External IPs that are on the interface now.", registry=registry
        )
        self.address_mark = Gauge(
            "extip_address_mark",
            "Always 1; the label tells how extip's addresses are recognised in the kernel.",
            ["mark"],
            registry=registry,
        )
        self.addresses_refused = Gauge(
            "extip_addresses_refused",
            "External IPs asked for but refused, by reason.",
            ["reason"],
            registry=registry,
        )
        self.addresses_listed = Gauge(
            "extip_addresses_listed_by_nodes",
            "External IPs that are kept although a Node object lists them as a node's own.",
            registry=registry,
        )
        self.address_changes = Counter(
            "extip_address_changes_total",
            "Addresses added to, refreshed on and deleted from the interface, and failures.",
            ["operation", "result"],
            registry=registry,
        )
        self.reconciles = Counter(
            "extip_reconciles_total",
            "Passes over the interface, by result.",
            ["result"],
            registry=registry,
        )
        self.reconcile_duration = Histogram(
            "extip_reconcile_duration_seconds",
            "Time of one pass over the interface.",
            buckets=_FAST_BUCKETS,
            registry=registry,
        )
        self.announcements = Counter(
            "extip_announcements_total",
            "Gratuitous ARP and unsolicited neighbour advertisement frames sent, by family.",
            ["family"],
            registry=registry,
        )
        self.announcement_failures = Counter(
            "extip_announcement_failures_total",
            "Frames that the kernel refused to send.",
            registry=registry,
        )
        self.announce_delay = Histogram(
            "extip_announce_delay_seconds",
            "Time from an address being up to its first announcement.",
            buckets=_FAST_BUCKETS,
            registry=registry,
        )
        self.probes = Counter(
            "extip_probes_total",
            "IPs that were probed before they were brought up, by result.",
            ["result"],
            registry=registry,
        )
        self.foreign_frames = Counter(
            "extip_foreign_frames_total",
            "ARP and NDP frames of other stations about IPs that are up here, as far as read.",
            registry=registry,
        )
        self.address_conflicts = Counter(
            "extip_address_conflicts_total",
            "Times that an IP was defended against another station, yielded to its successor, or "
            "left to another station that turned out to have it soon after it came up (ceased).",
            ["outcome"],
            registry=registry,
        )
        self.addresses_in_conflict = Gauge(
            "extip_addresses_in_conflict",
            "IPs up here that another station announces as well.",
            registry=registry,
        )
        self.link_isolated = Gauge(
            "extip_link_isolated",
            "1 while no other station answers on the interface, though some did; claims mode.",
            ["link"],
            registry=registry,
        )
        self.link_neighbours = Gauge(
            "extip_link_neighbours",
            "Stations on the interface that have answered; without any, isolation is not noticed.",
            ["link"],
            registry=registry,
        )
        self.link_watched = Gauge(
            "extip_link_watched",
            "Nodes that this one watches on its first interface; without any, it notices no death.",
            registry=registry,
        )
        self.netlink_overruns = Counter(
            "extip_netlink_overruns_total",
            "Times that the kernel dropped netlink events (ENOBUFS) and all was read anew.",
            registry=registry,
        )
        self.watch_restarts = Counter(
            "extip_watch_restarts_total",
            "Watches opened again, by resource and why.",
            ["resource", "reason"],
            registry=registry,
        )
        self.lists = Counter(
            "extip_lists_total",
            "Full lists read from the API server.",
            ["resource"],
            registry=registry,
        )
        self.watch_events = Counter(
            "extip_watch_events_total",
            "Events received by watches.",
            ["resource"],
            registry=registry,
        )
        self.unreadable_objects = Counter(
            "extip_unreadable_objects_total",
            "Objects from the API server that did not decode and were left as last known.",
            ["resource"],
            registry=registry,
        )
        self.api_requests = Counter(
            "extip_api_requests_total",
            "Requests to the API server by verb and HTTP code (0: no answer).",
            ["verb", "code"],
            registry=registry,
        )
        self.events_recorded = Counter(
            "extip_events_recorded_total",
            "Kubernetes Events written, by result.",
            ["result"],
            registry=registry,
        )
        self._add_claims_mode(registry)

    def _add_claims_mode(self, registry: CollectorRegistry) -> None:
        self.heartbeats = Counter(
            "extip_heartbeats_total",
            "Renewals of this node's Lease, by result.",
            ["result"],
            registry=registry,
        )
        self.heartbeat_duration = Histogram(
            "extip_heartbeat_duration_seconds",
            "Time of one successful renewal of this node's Lease.",
            buckets=_FAST_BUCKETS,
            registry=registry,
        )
        self.nodes = Gauge(
            "extip_nodes",
            "Nodes with a controller, by what is known of them.",
            ["state"],
            registry=registry,
        )
        self.suspicions = Counter(
            "extip_suspicions_total",
            "Nodes that neighbours called silent, by result: dead, objected, withdrawn.",
            ["result"],
            registry=registry,
        )
        self.claims_moved = Counter(
            "extip_claims_moved_total", "Claims given to another node.", registry=registry
        )
        self.definitions_missing = Gauge(
            "extip_definitions_missing",
            "1 while a definition of extip's kinds is deleted, and all that is up is held.",
            ["definition"],
            registry=registry,
        )
        self.writes_failing = Gauge(
            "extip_writes_failing",
            "Objects whose last write was refused or not answered, by what it was for.",
            ["lane"],
            registry=registry,
        )
        self.pool_addresses = Gauge(
            "extip_pool_addresses",
            "Addresses of pools, by pool and whether they are used, free or set aside.",
            ["pool", "state"],
            registry=registry,
        )
        self.scheduler_drift = Counter(
            "extip_scheduler_drift",
            "Claims about which a second look at unchanged facts decided something else; always 0.",
            registry=registry,
        )
        self.services_waiting = Gauge(
            "extip_services_waiting",
            "Services that ask for an address from a pool and have not got it.",
            registry=registry,
        )
        self.leading = Gauge(
            "leader_election_master_status",
            "Whether this process holds the lease: 1 or 0; as client-go names it.",
            ["name"],
            registry=registry,
        )
        self.lease_renewals = Counter(
            "extip_lease_renewals_total",
            "Attempts to take or renew the lease of the leader, by result.",
            ["result"],
            registry=registry,
        )
