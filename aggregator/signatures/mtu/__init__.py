"""Parts of the mtu_mismatch signature: what a host's network looks like, and the rules over its configuration, counters and paths."""
