"""The Linux node: netlink, raw sockets, and the frames and messages that go through them.

=================  ============================================================================
`rtnetlink`        `AddressSocket`: addresses, dumped and changed in bulk
`routes`           `RouteTable`: interfaces and gateways
`link_monitor`     `LinkMonitor`: what others change, as it happens
`conntrack`        `FlowTable`: UDP that the kernel tracks; its messages are in `ctnetlink`
`host`             `HostNetwork`: all of it, as a mode needs it
`namespace_lock`   `InstanceLock`: one controller in a network namespace
`links` `netlink`  the sockets behind them; `event_filter` what the event socket leaves out
`netlink_thread`   large tables, read beside the event loop
`wire_watch`       `WireWatch`: other stations with our IPs; `wire_filter` what it does not hear
`probe_socket`     `ProbeSocket`: asks who has an IP
`neighbours`       `NeighbourSocket`: asks neighbours whether they hear this node
`packets`          the sockets behind these three, and behind announcements
`port_table`       `PortTable`: closes ports of IPs; its messages are in `nftables`
`bpf`              programs for the kernel that sort out packets
`messages`         what is taken from pyroute2
`iflink` `iproute` pure: interfaces, routes and next hops, in the messages of pyroute2
`ifaddr`           pure: addresses, by a codec of our own, in the framing of `nlmsg`
`frames`           pure: Ethernet frames
=================  ============================================================================
"""
