"""What was measured of a host's clock, in words."""

from __future__ import annotations

from nodetell.v1 import operator_pb2

from cli.report import iso


def offset_words(summary: operator_pb2.NodeSummary) -> str:
    """ "12.5 s fast", or "within 0.4 ms" where no more than that is certain; empty: not measured."""
    if not summary.HasField("clock_offset_us"):
        return ""
    offset, bound = summary.clock_offset_us, summary.clock_bound_us
    if abs(offset) <= bound:
        return f"within {duration(abs(offset) + bound)}"
    return f"{duration(abs(offset))} {'fast' if offset > 0 else 'slow'}"


def offset_sentence(summary: operator_pb2.NodeSummary) -> str:
    """The same with what it is compared with, how sure it is and when it was measured; empty: not measured."""
    words = offset_words(summary)
    if not words:
        return ""
    beside = "what most nodes show" if summary.clock_from_most else "the aggregator's"
    when = iso(summary.clock_measured_unix_ms / 1000)
    return f"{words} beside {beside} (give or take {duration(summary.clock_bound_us)}, measured {when})"


def duration(microseconds: int) -> str:
    """In the unit that suits it, to three digits."""
    if microseconds < 999_500:
        return f"{microseconds / 1000:.3g} ms"
    seconds = microseconds / 1e6
    return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:,.0f} s"
