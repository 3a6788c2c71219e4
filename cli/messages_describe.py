"""Messages out of text as kubectl prints it: `kubectl describe` of any objects, and the table of `kubectl get events`.

Read are the events, with messages that go on over several lines, the states of containers that say something,
conditions that are not as they should be, and the reason why a whole pod failed. Two spaces or a tab part columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from aggregator.messages import Message
from cli.messages_json import Entry

_NAME = re.compile(r"Name:\s+(\S+)")
_COLUMNS = re.compile(r"\s{2,}|\t+")
_CONTAINER = re.compile(r" {2}([a-z0-9][-a-z0-9.]*):\s*$")
_FIELD = re.compile(r"(\s*)([A-Z][A-Za-z ]{0,30}):(?:\s+(.*))?$")
_EVENTS_TABLE = re.compile(r"\s*(?:NAMESPACE\s+)?(?:LAST ?SEEN|FIRST ?SEEN)\s.*\bREASON\b.*\bMESSAGE\b")
_DESCRIBED = re.compile(
    r"Name:\s+\S|Events:(?:\s|$)|\s*(?:Last )?State:\s+[A-Z]|\s*Type\s+Reason\s+Age\s|\s*FirstSeen\s+LastSeen\s|"
    r"\s*(?:Normal|Warning)(?:\s{2,}|\t)\S+(?:\s{2,}|\t)"
)
_AGE = re.compile(r"[0-9]+[smhdy]|<(?:unknown|invalid)>|\.\.\.")
_TYPES = ("Normal", "Warning")
_SILENT_REASONS = frozenset({"CrashLoopBackOff", "ContainerCreating", "PodInitializing", "Completed"})
_OF_A_STATE = frozenset({"Reason", "Message", "Exit Code", "Signal", "Started", "Finished"})
_AFTER_STATES = frozenset({"Conditions", "Volumes", "QoS Class", "Events", "Init Containers", "Containers"})
_GOOD = {"Ready": "True"}
_WHOLE_POD = ("Reason", "Message")
_KIND_SIGNS = {
    "Containers": "Pod",
    "Init Containers": "Pod",
    "Service Account": "Pod",
    "StorageClass": "PersistentVolumeClaim",
    "Access Modes": "PersistentVolumeClaim",
    "Roles": "Node",
    "PodCIDR": "Node",
    "ProviderID": "Node",
}


def is_kubectl_text(head: str) -> bool:
    """Whether text that begins so is what kubectl prints."""
    return any(_DESCRIBED.match(line) or _EVENTS_TABLE.match(line) for line in head.splitlines())


@dataclass(slots=True)
class _Pending:
    """A message that may go on in the next line."""

    reason: str
    shown: str
    kind: str
    exit_code: int | None = None
    lines: list[str] = field(default_factory=list)

    def entry(self) -> Entry:
        return Entry(Message(self.kind, self.reason, self.exit_code, "\n".join(self.lines)), self.shown)


def read_kubectl_text(lines: Iterable[str]) -> Iterator[Entry]:
    """Entries of the text, as they come."""
    reader = _Reader("")
    for line in lines:
        if (begins := _NAME.match(line)) is not None:  # another object: nothing of the last one holds
            yield from reader.flush()
            reader = _Reader(begins[1])
        else:
            yield from reader.take(line.rstrip("\r\n"))
    yield from reader.flush()


class _Reader:
    """Where in the text it is, and the message that may still go on."""

    def __init__(self, name: str) -> None:
        self._kind = ""
        self._name = name
        self._namespace = ""
        self._section = ""
        self._container = ""
        self._state: _State | None = None
        self._pending: _Pending | None = None
        self._whole: dict[str, str] = {}

    def take(self, line: str) -> Iterator[Entry]:
        """Read one line."""
        if _EVENTS_TABLE.match(line):
            yield from self.flush()
            self._section = "table"
        elif self._section == "table":
            yield from self._table_row(line)
        elif self._is_event(line):
            yield from self.flush()
            self._section = "events"
            self._pending = self._event(line)
        elif self._section == "events":
            self._goes_on(line)
        else:
            yield from self._described(line)

    def flush(self) -> Iterator[Entry]:
        """What was still waiting to go on."""
        if self._state is not None and (entry := self._state.entry(self._shown(self._container))) is not None:
            yield entry
        self._state = None
        if len(self._whole) == len(_WHOLE_POD):
            yield Entry(Message(self._kind, self._whole["Reason"], None, self._whole["Message"]), self._shown())
        self._whole = {}
        if self._pending is not None:
            yield self._pending.entry()
        self._pending = None

    def _shown(self, container: str = "") -> str:
        name = "/".join(part for part in (self._namespace, self._name) if part)
        return " ".join(part for part in (self._kind, name, container) if part)

    # -- events ----------------------------------------------------------------------------------------------------

    def _is_event(self, line: str) -> bool:
        if not line[:1].isspace() and not line.startswith(_TYPES) and self._section != "events":
            return False
        parts = _COLUMNS.split(line.strip())
        return any(part in _TYPES for part in parts[:6]) and len(parts) >= 3

    def _event(self, line: str) -> _Pending:
        parts = _COLUMNS.split(line.strip())
        at = next(i for i, part in enumerate(parts) if part in _TYPES)
        rest = parts[at + 1 :]
        # Since 1.8: Type Reason Age From Message; before: ... Type Reason Message. From may be empty, or be left out.
        reason, after = rest[0], rest[1:]
        if at == 0 and len(after) > 1 and _AGE.match(after[0]):
            after = after[1:]
        if at == 0 and len(after) > 1:
            after = after[1:]
        return _Pending(reason, self._shown(), self._kind, lines=["  ".join(after)])

    def _goes_on(self, line: str) -> None:
        header = re.match(r"\s*(?:Type\s+Reason|----|FirstSeen|-{4,})", line)
        if self._pending is not None and line.strip() and not header:
            self._pending.lines.append(line.strip())

    def _table_row(self, line: str) -> Iterator[Entry]:
        parts = _COLUMNS.split(line.strip())
        at = next((i for i, part in enumerate(parts) if part in _TYPES), -1)
        if at < 0 or len(parts) < at + 4:
            if self._pending is not None and line.strip():
                self._pending.lines.append(line.strip())
            return
        yield from self.flush()
        kind, _, name = parts[at + 2].partition("/")
        kind = {"pod": "Pod", "node": "Node", "persistentvolumeclaim": "PersistentVolumeClaim"}.get(kind, kind)
        self._pending = _Pending(parts[at + 1], f"{kind} {name}".strip(), kind, lines=["  ".join(parts[at + 3 :])])

    # -- what stands above the events ------------------------------------------------------------------------------

    def _described(self, line: str) -> Iterator[Entry]:
        container = _CONTAINER.match(line) if self._section in ("Containers", "Init Containers") else None
        if container is not None:
            yield from self._state_ends()
            self._container = container[1]
            return
        named = _FIELD.match(line)
        if named is not None and self._state is not None and self._state.swallows(len(named[1]), named[2]):
            named = None
        if named is None:
            if self._section == "Conditions":
                yield from self._condition(line)
            elif self._state is not None:
                self._state.goes_on(line)
            return
        depth, name, value = len(named[1]), named[2], (named[3] or "").strip()
        if self._state is not None and depth > self._state.depth:
            self._state.fields[name] = value
            self._state.last = name
            return
        if name in ("State", "Last State"):
            yield from self.flush()
            self._state = _State(depth, name, value)
            return
        if depth == 0:
            yield from self._section_begins(name, value)
        else:
            yield from self._state_ends()

    def _section_begins(self, name: str, value: str) -> Iterator[Entry]:
        yield from self._state_ends()
        self._kind = self._kind or _KIND_SIGNS.get(name, "")
        self._section = "events" if name == "Events" else name
        self._container = ""
        if name == "Namespace":
            self._namespace = value
        elif name in _WHOLE_POD and value:
            self._whole[name] = value

    def _state_ends(self) -> Iterator[Entry]:
        if self._state is not None:
            entry = self._state.entry(self._shown(self._container))
            self._state = None
            if entry is not None:
                yield entry

    def _condition(self, line: str) -> Iterator[Entry]:
        parts = _COLUMNS.split(line.strip())
        if len(parts) < 4 or parts[1] not in ("True", "False", "Unknown"):
            return
        if parts[1] != _GOOD.get(parts[0], "False"):
            yield Entry(Message(self._kind, parts[-2], None, parts[-1]), f"{self._shown()} {parts[0]}".strip())


@dataclass(slots=True)
class _State:
    """The state of a container, or its last one."""

    depth: int
    name: str
    value: str
    fields: dict[str, str] = field(default_factory=dict)
    last: str = ""

    def swallows(self, depth: int, name: str) -> bool:
        """Whether a line that looks like a field belongs to the message: kubectl prints that as it is."""
        known = _OF_A_STATE if depth > self.depth else _AFTER_STATES if depth == 0 else {name}
        return self.last == "Message" and name not in known

    def goes_on(self, line: str) -> None:
        """A message over several lines."""
        if self.last == "Message" and line.strip():
            self.fields["Message"] += "\n" + line.strip()

    def entry(self, shown: str) -> Entry | None:
        """None: it says nothing. A container that is done, as an init container should be, says nothing either."""
        reason, text, code = (self.fields.get(each, "") for each in ("Reason", "Message", "Exit Code"))
        exit_code = int(code) if code.isdecimal() and len(code) < 6 else None
        if self.value not in ("Waiting", "Terminated") or (
            not text and reason in _SILENT_REASONS and self.name == "State"
        ):
            return None
        if not (reason or text or code):
            return None
        return Entry(Message("Container", reason, exit_code, text), f"{shown} {self.name.lower()}")
