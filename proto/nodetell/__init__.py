"""What both roles of Nodetell share: the wire contract (`nodetell.v1`) and the few rules that go with it."""

__version__ = "0.1.0"
