"""How sensor and agent talk over the local socket: one byte asks, a length and a SensorReport answer.

The connection stays for the next question. Anything else than the one byte ends it.
"""

from __future__ import annotations

import struct

REQUEST = b"\x01"
"""Asks for a report; it is the protocol's version too."""
LENGTH = struct.Struct(">I")
"""Bytes of the report that follows."""
MAX_REPORT_BYTES = 16 << 20
"""Many times what the kernel's tables can hold; an agent takes no more."""
