"""The scheduler's own arithmetic: whether a pod fits a node, and all that stops it. Pure, and usable as a what-if."""
