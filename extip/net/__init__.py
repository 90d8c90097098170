"""The Linux node: netlink, raw sockets, and the frames and messages that go through them."""
