"""The agent's end of the local socket: one connection, one report at a time, shared by the collectors that use it."""

from __future__ import annotations

import socket
import threading
import time

from google.protobuf.message import DecodeError
from nodetell.v1 import sensor_pb2 as pb

from agent.host import Failure, ReadError
from agent.sensor.wire import LENGTH, MAX_REPORT_BYTES, REQUEST

_TIMEOUT_S = 3.0
_KEEP_S = 1.0
"""Collectors that run within this time of each other see one report."""
REMEDY = "run `nodetell sensor` on this node, with CAP_BPF and CAP_PERFMON (docs/sensor.md)"


class SensorClient:
    """Asks the sensor of this node."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._report: pb.SensorReport | None = None
        self._error: ReadError | None = None
        self._asked_at = -_KEEP_S

    def report(self) -> pb.SensorReport:
        """What the sensor knows, at most a second old. Raises ReadError: there is none, or it does not answer."""
        with self._lock:
            if time.monotonic() - self._asked_at >= _KEEP_S:
                self._report, self._error = self._fresh()
                self._asked_at = time.monotonic()
            if self._report is None:
                raise self._error or ReadError(Failure.FAILED, self.path, "no report")
            return self._report

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            self._disconnect()

    def _fresh(self) -> tuple[pb.SensorReport | None, ReadError | None]:
        had_connection = self._socket is not None
        try:
            return self._ask(), None
        except (OSError, DecodeError, ValueError) as error:
            self._disconnect()
            if not had_connection:
                return None, self._told(error)
        try:
            return self._ask(), None  # the sensor was started anew since
        except (OSError, DecodeError, ValueError) as error:
            self._disconnect()
            return None, self._told(error)

    def _ask(self) -> pb.SensorReport:
        if self._socket is None:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            connection.settimeout(_TIMEOUT_S)
            self._socket = connection
            connection.connect(self.path)
        until = time.monotonic() + _TIMEOUT_S
        self._socket.settimeout(_TIMEOUT_S)
        self._socket.sendall(REQUEST)
        (length,) = LENGTH.unpack(self._receive(LENGTH.size, until))
        if length > MAX_REPORT_BYTES:
            raise ValueError(f"a report of {length} bytes")
        return pb.SensorReport.FromString(self._receive(length, until))

    def _receive(self, length: int, until: float) -> bytes:
        """Exactly so many bytes. Raises OSError."""
        pieces = bytearray()
        connection = self._socket
        while connection is not None and len(pieces) < length:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError(0, f"no answer within {_TIMEOUT_S:g} s")
            connection.settimeout(left)
            piece = connection.recv(min(1 << 18, length - len(pieces)))
            if not piece:
                raise ConnectionResetError(0, "the sensor ended the connection: it answers one user only (agent_uid)")
            pieces += piece
        return bytes(pieces)

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _told(self, error: Exception) -> ReadError:
        if isinstance(error, FileNotFoundError | ConnectionRefusedError | NotADirectoryError):
            return ReadError(Failure.ABSENT, self.path, "the sensor is not running", REMEDY)
        if isinstance(error, PermissionError):
            remedy = "set the sensor's agent_uid and agent_gid to the agent's"
            return ReadError(Failure.DENIED, self.path, "the sensor's socket is not open to the agent's user", remedy)
        if isinstance(error, TimeoutError):
            return ReadError(Failure.FAILED, self.path, f"the sensor did not answer within {_TIMEOUT_S:g} s")
        if isinstance(error, OSError):
            return ReadError(Failure.FAILED, self.path, error.strerror or str(error))
        return ReadError(Failure.DAMAGED, self.path, f"no report: {str(error) or type(error).__name__}")
