"""Parts of the mtu_mismatch signature: the host's network, and rules over configuration, counters and paths."""
