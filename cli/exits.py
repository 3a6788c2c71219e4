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

_FINDINGS = {
    OK: "nothing above info stands",
    WARNING: "a finding of severity warning stands, none critical",
    CRITICAL: "a critical finding stands",
}
_ALWAYS = {
    OK: "done",
    USAGE: "the command line is wrong",
    OUTPUT: "the output could not be written",
    INTERRUPTED: "interrupted",
    BROKEN_PIPE: "who read the output went away",
}
_ASKS = {
    UNAVAILABLE: "the aggregator cannot be reached",
    NOT_PERMITTED: "the aggregator does not know who asks, or does not let them",
    CONFIG: "how the aggregator is to be reached is not said, or wrong",
}
_ROLE = {UNAVAILABLE: "it could not be started, or ended by itself", CONFIG: "the settings are wrong"}
_UNREADABLE = {UNREADABLE: "the input could not be read at all"}
_WRITES = {CANNOT_CREATE: "the place to write to is taken or not writable"}
_BY_COMMAND: dict[str, dict[int, str]] = {
    "up": {ENDED: "a part of it ended by itself", **_ROLE},
    "agent": _ROLE,
    "aggregator": _ROLE,
    "sensor": _ROLE,
    "nodes": _ASKS,
    "node": {NOT_FOUND: "there is no such node", **_ASKS},
    "findings": _FINDINGS | _ASKS,
    "top": {**_ASKS, UNAVAILABLE: "the aggregator cannot be reached, or textual is not installed"},
    "explain": {**_FINDINGS, **_UNREADABLE, NOT_FOUND: "there is no such finding", **_ASKS},
    "whatif": {
        OK: "everything would come back",
        WARNING: "something could not come back",
        **_UNREADABLE,
        NOT_FOUND: "there is no such node or zone",
        **_ASKS,
    },
    "diagnose": _FINDINGS | _UNREADABLE,
    "collect": _WRITES,
    "classify": _UNREADABLE,
    "certs": {**_UNREADABLE, UNAVAILABLE: "cryptography is not installed", **_WRITES, CONFIG: "the authority can't"},
    "doctor": {
        OK: "nothing is wrong, as far as it could be checked",
        WARNING: "something is wrong",
        CRITICAL: "something keeps the installation from working",
        UNAVAILABLE: "neither the API server nor the aggregator could be asked",
        CONFIG: "how they are to be reached is not said, or wrong",
    },
    "help": {NOT_FOUND: "there is no such topic"},
    "completion": {UNAVAILABLE: "shtab is not installed"},
}


def statuses(command: str) -> list[tuple[int, str]]:
    """Exit statuses of a command with their meaning, in order. Empty name: of any."""
    if command:
        return sorted((_ALWAYS | _BY_COMMAND.get(command, {})).items())
    meanings: dict[int, dict[str, list[str]]] = {}
    for name, told in _BY_COMMAND.items():
        for status, meaning in told.items():
            meanings.setdefault(status, {}).setdefault(meaning, []).append(name)
    found = {status: [meaning] for status, meaning in _ALWAYS.items()}
    for status, by_meaning in meanings.items():
        found.setdefault(status, []).extend(f"{meaning} ({', '.join(of)})" for meaning, of in by_meaning.items())
    return [(status, "; ".join(found[status])) for status in sorted(found)]


class CliError(Exception):
    """Ends the command: one line on standard error for each line of the message, and an exit status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
