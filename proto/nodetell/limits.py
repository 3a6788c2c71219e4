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

MAX_UPDATE_BYTES = 4 << 20
"""An update longer than this, as it travels or decompressed, is refused: agents keep what they read below it."""

PATH_PROOF_BYTES = 8_000
"""Padding of a path proof: several full-size segments even on a jumbo link's first hop of 1500."""

PROVEN_WINDOW_BYTES = 64 << 10
"""Unacknowledged bytes that are allowed once the path has proved itself."""

MAX_PATH_PROOF_BYTES = 16_384
"""Padding of a path proof that is answered at most."""

MIN_BATCH_INTERVAL_MS = 200
MAX_BATCH_INTERVAL_MS = 300_000
"""Bounds of Pace.batch_interval_ms."""

IDLE_TIMEOUT_S = 15.0
"""A stream on which nothing was heard for so long is ended: three of the longest heartbeat intervals allowed."""

RETRY_AFTER = "retry-after-ms"
"""Trailing metadata beside RESOURCE_EXHAUSTED: in so many milliseconds the agent may come again."""

MAX_PROBE_TARGETS = 512
"""Paths that one agent probes at most."""

MAX_PROBE_GRANTS = 512
"""Keys of other agents whose probes one agent answers at most."""

MIN_PROBE_INTERVAL_MS = 1_000
MAX_PROBE_INTERVAL_MS = 3_600_000
"""Bounds of ProbePlan.interval_ms."""

IMPLAUSIBLE_RISE = 1 << 62
"""No counter rises so much between two readings: a driver that says -1 for "unknown" does, and then starts again."""
