"""Exit statuses of the command, and the error that ends it with one. From 64 on they are those of sysexits.h."""

from __future__ import annotations

OK = 0
WARNING = 1
"""A finding of severity warning stands, none critical."""
ENDED = 1
"""A part of `up` ended by itself."""
CRITICAL = 2
"""A critical finding stands."""
UNREADABLE = 3
"""The bundle, or the file of messages, could not be read at all."""
USAGE = 64
"""The command line is wrong. Not 2, as argparse has it: that is a critical finding."""
NOT_FOUND = 66
"""No such node, zone or finding."""
UNAVAILABLE = 69
"""The aggregator could not be reached or started."""
CANNOT_CREATE = 73
"""The place to write to is taken or not writable."""
OUTPUT = 74
"""Output could not be written."""
NOT_PERMITTED = 77
"""The aggregator does not know who asks, or does not let them."""
CONFIG = 78
"""The settings are wrong."""
INTERRUPTED = 130
BROKEN_PIPE = 141

HELP = """\
exit status:
  0    done; for findings, diagnose and explain: nothing above info
  1    a finding of severity warning stands (findings, diagnose, explain); a part ended by itself (up); something could
       not come back (whatif); something is wrong (doctor)
  2    a critical finding stands (findings, diagnose, explain); something keeps the installation from working (doctor)
  3    the input could not be read at all (diagnose, explain, classify, whatif, certs)
  64   the command line is wrong
  66   no such node, zone or finding
  69   the aggregator cannot be reached or started
  73   the place to write to is taken or not writable
  74   the output could not be written
  77   the aggregator does not know who asks, or does not let them
  78   the settings are wrong
  130  interrupted
"""


class CliError(Exception):
    """Ends the command: one line on standard error for each line of the message, and an exit status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
