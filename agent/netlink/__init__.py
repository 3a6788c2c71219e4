"""A lean rtnetlink decoder: pure functions of bytes, and one module that owns sockets.

The resident agent reads its links, addresses, routes and counters with this instead of a general netlink library, which
costs tens of megabytes and, at a thousand links, half a second a sweep. Layouts are those of the kernel's uapi headers
(linux/netlink.h, linux/rtnetlink.h, linux/if_link.h, linux/if_tunnel.h); rtnetlink is in host byte order unless said.
"""
