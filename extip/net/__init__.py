"""The Linux node: netlink, raw sockets, and the frames and messages that go through them.

=================  ============================================================================
`rtnetlink`        `AddressSocket`: addresses, dumped and changed in bulk
`routes`           `RouteTable`: interfaces and gateways
`monitor`          `LinkMonitor`: what others change, as it happens
`announcer`        `Announcer`: gratuitous ARP and unsolicited neighbour advertisements
`instance_lock`    `InstanceLock`: one controller in a network namespace
`links` `netlink`  the sockets behind them; `event_filter` what the event socket leaves out
`wire_watch`       `WireWatch`: other stations with our IPs; `wire_filter` what it does not hear
`bpf`              programs for the kernel that sort out packets
`ifaddr` `iflink`  pure: messages about addresses and interfaces, in the framing of `nlmsg`
`iproute`          pure: messages about routes and next hops, likewise
`frames`           pure: Ethernet frames
=================  ============================================================================
"""
