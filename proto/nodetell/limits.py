"""Limits of the wire that both ends keep to.

They follow from one measurement: across a path that silently drops IP packets over 1,300 bytes, TCP sends a large
message in full-size segments and stalls for ever, while messages of 900 bytes, each awaiting its acknowledgement, pass.
"""

PROTOCOL = 1
"""Version of the stream protocol this software speaks."""

MAX_MESSAGE_BYTES = 1_000
"""No message of the agent stream is longer than this on the wire, gRPC's and HTTP/2's framing included."""

CHUNK_BYTES = 850
"""Bytes of a serialized update in one message; the rest of MAX_MESSAGE_BYTES is for field tags and framing."""

MAX_UPDATE_BYTES = 16 << 20
"""An update longer than this, as it travels or decompressed, is refused."""

PATH_PROOF_BYTES = 8_000
"""Padding of a path proof: several full-size segments even on a jumbo link's first hop of 1500."""

PROVEN_WINDOW_BYTES = 64 << 10
"""Unacknowledged bytes that are allowed once the path has proved itself."""
