"""The service that agents speak to: who are you, is it in order, take it in, acknowledge.

An acknowledgement means two things at once: the bytes arrived, and, for the last piece of an update, whatever it
changed in a finding is on disk. So the last piece's waits for the sink, and nobody else's does: each stream is a task
of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import unquote

import grpc.aio
from nodetell import __version__
from nodetell.limits import IDLE_TIMEOUT_S, MAX_PATH_PROOF_BYTES, PROTOCOL, RETRY_AFTER
from nodetell.names import node_name_problem
from nodetell.paced_log import PacedLog
from nodetell.v1 import agent_pb2, agent_pb2_grpc

from aggregator.admission import Admission, BusyError, Place
from aggregator.clock_offset import ClockSample, sample_of
from aggregator.node_items import UpdateError
from aggregator.pacing import Pace, Paces, address_of, timed
from aggregator.reassembly import ProtocolError, Reassembler
from aggregator.trust.caller import RefusedError
from aggregator.trust.standing import Standing, Trust
from aggregator.trust.token import TokenPieces

_log = logging.getLogger("nodetell.aggregator")

MAX_RESYNCS = 3
"""Updates in a row that may be refused before the stream is ended."""
MAX_CLOCK_OFFSET_MS = 60_000
"""A host whose clock differs from ours by more is named in the log."""
OPENING_TIMEOUT_S = 60.0
"""Within this time an agent has said who it is and proved it, however slowly it sends."""
REPLACE_TIMEOUT_S = 5.0
"""How long a new stream waits for the node's old one to finish what it is taking in."""
_MAX_DETAILS = 300


class Sink(Protocol):
    """What becomes of what agents say."""

    def connect(self, hello: agent_pb2.Hello, peer: str) -> bool:
        """An agent is there. True: the state after hello.last_update of that instance is held, go on from there."""
        ...

    async def take(self, node: str, instance: bytes, number: int, update: agent_pb2.Update) -> None:
        """Take an update in; returns when what it changed in findings is on disk. Never cancelled.

        Raises UpdateError if it does not fit: the agent is then told to send everything.
        """
        ...

    def heard(self, node: str, now_unix_ms: int) -> None:
        """The agent is alive and nothing changed; `now_unix_ms` by its host's clock."""
        ...

    def measured(self, node: str, sample: ClockSample) -> None:
        """The clock of the agent's host was read."""
        ...

    def instruction(self, node: str, instance: bytes) -> agent_pb2.Instruction | None:
        """What the agent is to be told next, at most 900 bytes long; None: nothing. Each is asked for once a stream."""
        ...

    def disconnect(self, node: str, instance: bytes) -> None:
        """The stream is gone."""
        ...


def server_options() -> list[tuple[str, int]]:
    """Options for a grpc.aio server that agents connect to."""
    return [
        ("grpc.so_reuseport", 0),
        ("grpc.http2.bdp_probe", 0),  # 100 backlogged connections take 73 MB without it, 0.3 to 1 GB with it
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.max_receive_message_length", 2 * MAX_PATH_PROOF_BYTES),
        ("grpc.max_metadata_size", 8 << 10),
        ("grpc.max_concurrent_streams", 64),  # of one connection
        ("grpc.server.max_pending_requests", 20_000),  # by default one agent in eight is refused when 4,000 come back
        ("grpc.server.max_pending_requests_hard_limit", 40_000),
    ]


def add_agent_service(
    server: grpc.aio.Server, sink: Sink, trust: Trust, clock: Callable[[], float], paces: Paces | None = None
) -> Admission:
    """Serve agents on `server`. `clock` gives seconds since the epoch; `paces` are those of nodes. Gives the places of
    those that come back."""
    service = AgentService(sink, trust, clock, paces=paces)
    agent_pb2_grpc.add_AgentServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]  # generated
    return service.admission


class _EndError(Exception):
    """The stream is to be ended with this status."""

    def __init__(self, code: grpc.StatusCode, reason: str, retry_s: float = 0.0) -> None:
        super().__init__(reason)
        self.code = code
        self.retry_s = retry_s
        """When to come again; 0: nothing is said of that."""


@dataclass(slots=True)
class _Stream:
    """One agent's stream. The newest stream of a node is the one that counts."""

    hello: agent_pb2.Hello
    peer: str
    standing: Standing
    task: asyncio.Task[Any]
    seq: int
    """Of the last message that was taken in."""
    place: Place
    """Among the agents that come back; left once what it came with is taken in."""
    listening: bool = True
    """Waiting for the agent, and so free to be interrupted."""
    replaced_by: str = ""
    """Peer of a newer stream of the same node."""
    answered: int = 0
    """seq that was acknowledged last."""
    answered_mono: float = 0.0
    """When that went out, by the monotonic clock."""

    def replace(self, peer: str) -> None:
        """End this stream because `peer` has opened a newer one."""
        self.replaced_by = peer
        if self.listening:
            self.task.cancel()


@dataclass(slots=True)
class _Seat:
    """A node's place: one stream at a time holds it, the newest one gets it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    newest: _Stream | None = None
    users: int = 0


class AgentService(agent_pb2_grpc.AgentServiceServicer):
    """The two calls of AgentService."""

    def __init__(
        self,
        sink: Sink,
        trust: Trust,
        clock: Callable[[], float],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
        paces: Paces | None = None,
    ) -> None:
        self._sink = sink
        self._trust = trust
        self._clock = clock
        self._monotonic = monotonic
        self._idle_timeout_s = idle_timeout_s
        self._instance = os.urandom(16)
        self._seats: dict[str, _Seat] = {}
        """By node."""
        self._paces = paces or Paces()
        """Likewise; the empty name's counts what no node can be blamed for."""
        self._addresses = Paces(self._paces.at_most)
        self.admission = Admission(self._paces.at_most, monotonic=monotonic)
        self._paced_log = PacedLog(_log, monotonic)

    async def ProvePath(self, request: agent_pb2.PathProof, context: Any) -> agent_pb2.PathProof:  # noqa: N802  # the contract's name
        """Send back what came, so that full-size packets cross in both directions."""
        if not 0 < len(request.padding) <= MAX_PATH_PROOF_BYTES:
            reason = f"a path proof of {len(request.padding):,} bytes: 1 to {MAX_PATH_PROOF_BYTES:,} are allowed"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, reason)
        address, now = address_of(unquote(context.peer())), self._monotonic()
        if address and not self._addresses.of(address).may_prove(now):
            self._paces.of("").note("proofs_per_s", now)
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"too many path proofs from {address}")
        return request

    async def Connect(self, request_iterator: object, context: Any) -> None:  # noqa: ARG002, N802  # the contract's name; messages are read through `context`
        """One agent's stream, from Hello to its end."""
        peer = unquote(context.peer())
        address = address_of(peer)
        of_address = self._addresses.of(address)
        if address and of_address.open_streams >= self._paces.at_most.streams_per_address:
            self._paces.of("").note("streams_per_address", self._monotonic())
            end = _come_again(f"{of_address.open_streams:,} streams from {address} are open already")
            await self._refuse(peer, context, end)
            return
        of_address.open_streams += 1
        try:
            with contextlib.ExitStack() as held:
                await self._connected(peer, context, held)
        finally:
            of_address.open_streams -= 1

    async def _refuse(self, peer: str, context: Any, end: _EndError) -> None:
        level = logging.INFO if end.retry_s else logging.WARNING
        self._paced_log.event(level, "stream_refused", address_of(peer), peer=peer, reason=str(end))
        hint = ((RETRY_AFTER, str(round(1000 * end.retry_s))),) if end.retry_s else ()
        await context.abort(end.code, str(end)[:_MAX_DETAILS], hint)

    async def _connected(self, peer: str, context: Any, held: contextlib.ExitStack) -> None:
        try:
            async with asyncio.timeout(OPENING_TIMEOUT_S):
                hello = await self._hello(context)
                place = await self._place(hello.node)
                held.callback(place.leave)
                standing, seq = await self._admitted(context, hello)
                if not self._paces.of(hello.node).may_open(self._monotonic()):
                    raise _come_again(f"node {hello.node} opens streams too often")
        except TimeoutError:
            reason = f"who calls was not proved within {OPENING_TIMEOUT_S:g} s"
            await self._refuse(peer, context, _EndError(grpc.StatusCode.DEADLINE_EXCEEDED, reason))
            return
        except _EndError as end:
            await self._refuse(peer, context, end)
            return
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # a coroutine that runs has one
        stream = _Stream(hello, peer, standing, task, seq, place)
        try:
            await self._serve(stream, context)
        except asyncio.CancelledError:
            if not stream.replaced_by:
                self._log_end(stream, "the connection is gone")
                raise
            task.uncancel()
            await self._abort(stream, context, _replaced(stream))
        except _EndError as end:
            await self._abort(stream, context, end)
        else:
            self._log_end(stream, "the agent ended it")
        finally:
            standing.close()

    async def _abort(self, stream: _Stream, context: Any, end: _EndError) -> None:
        self._log_end(stream, str(end))
        await context.abort(end.code, str(end)[:_MAX_DETAILS])

    def _log_end(self, stream: _Stream, reason: str) -> None:
        self._tell(stream, logging.INFO, "stream_ended", reason=reason)

    def _tell(self, stream: _Stream, level: int, what: str, **fields: object) -> None:
        """Log what an agent has brought about."""
        node = stream.hello.node
        self._paced_log.event(level, what, node, node=node, peer=stream.peer, **fields)

    # -- opening ---------------------------------------------------------------------------------------------------

    async def _hello(self, context: Any) -> agent_pb2.Hello:
        message = await self._read(context)
        if message is None:
            raise _EndError(grpc.StatusCode.INVALID_ARGUMENT, "the stream ended before Hello")
        if message.WhichOneof("body") != "hello" or message.seq != 1:
            raise _EndError(grpc.StatusCode.INVALID_ARGUMENT, "the first message must be Hello with seq 1")
        hello: agent_pb2.Hello = message.hello
        if not hello.protocol:
            raise _EndError(grpc.StatusCode.FAILED_PRECONDITION, f"protocol 0 is not spoken here, {PROTOCOL} is")
        if problem := node_name_problem(hello.node):
            raise _EndError(grpc.StatusCode.INVALID_ARGUMENT, problem)
        if len(hello.instance) != 16:
            raise _EndError(grpc.StatusCode.INVALID_ARGUMENT, f"an instance id of {len(hello.instance)} bytes, not 16")
        return hello

    async def _place(self, node: str) -> Place:
        try:
            return await self.admission.enter(node)
        except BusyError as busy:
            self._paces.of("").note("arrivals_waiting", self._monotonic())
            raise _EndError(grpc.StatusCode.RESOURCE_EXHAUSTED, str(busy), busy.retry_s) from None

    async def _admitted(self, context: Any, hello: agent_pb2.Hello) -> tuple[Standing, int]:
        """What the agent has proved, and the seq of its last message: before it has taken anybody's place."""
        shown, seq, token = context.auth_context(), 1, None
        try:
            self._trust.before_token(shown, hello.node, hello.credential_bytes)
            pieces = TokenPieces(hello.credential_bytes)
            while hello.credential_bytes and token is None:
                await context.write(agent_pb2.AggregatorMessage(ack=agent_pb2.Ack(seq=seq)))
                message = await self._read(context)
                if message is None or message.WhichOneof("body") != "credential" or message.seq != seq + 1:
                    reason = f"after {seq} messages a piece of the token was to come, and something else did"
                    raise _EndError(grpc.StatusCode.INVALID_ARGUMENT, reason)
                seq = message.seq
                token = pieces.take(message.credential)
            caller = await self._trust.admit(shown, hello.node, token)
        except ProtocolError as error:
            raise _EndError(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None
        except RefusedError as refused:
            raise _EndError(refused.code, str(refused)) from None
        return Standing(self._trust, shown, caller, self._monotonic), seq

    async def _serve(self, stream: _Stream, context: Any) -> None:
        node, instance = stream.hello.node, stream.hello.instance
        seat = self._seats.setdefault(node, _Seat())
        seat.users += 1
        try:
            await self._take_seat(seat, stream)
            try:
                resume = self._sink.connect(stream.hello, stream.peer)
                try:
                    await self._welcome(stream, context, resume)
                    await self._listen(stream, context, resume)
                finally:
                    self._sink.disconnect(node, instance)
            finally:
                seat.lock.release()
        finally:
            seat.users -= 1
            if seat.newest is stream:
                seat.newest = None
            if not seat.users:
                del self._seats[node]

    async def _take_seat(self, seat: _Seat, stream: _Stream) -> None:
        """End the node's older stream, and wait until it has let go."""
        older, seat.newest = seat.newest, stream
        if older is not None:
            another = older.hello.instance != stream.hello.instance
            level = logging.WARNING if another else logging.INFO
            self._tell(stream, level, "stream_replaced", older_peer=older.peer, same_agent=not another)
            older.replace(stream.peer)
        try:
            async with asyncio.timeout(REPLACE_TIMEOUT_S):
                await seat.lock.acquire()
        except TimeoutError:
            reason = f"the older stream of node {stream.hello.node} is still being taken in; try again"
            raise _EndError(grpc.StatusCode.UNAVAILABLE, reason) from None

    async def _welcome(self, stream: _Stream, context: Any, resume: bool) -> None:
        hello = stream.hello
        offset_ms = hello.now_unix_ms - int(self._clock() * 1000)
        self._tell(
            stream,
            logging.INFO,
            "stream_open",
            version=hello.version[:80],
            protocol=hello.protocol,
            resume=resume,
            proved_by=stream.standing.caller.by,
        )
        if abs(offset_ms) > MAX_CLOCK_OFFSET_MS:
            self._tell(stream, logging.WARNING, "clock_differs", offset_s=round(offset_ms / 1000))
        welcome = agent_pb2.Welcome(
            protocol=min(PROTOCOL, hello.protocol), resume=resume, instance=self._instance, version=__version__
        )
        stream.answered, stream.answered_mono = 1, self._monotonic()
        await context.write(agent_pb2.AggregatorMessage(welcome=welcome))

    # -- listening -------------------------------------------------------------------------------------------------

    async def _read(self, context: Any) -> agent_pb2.AgentMessage | None:
        """The next message; None: the agent has ended its side."""
        try:
            async with asyncio.timeout(self._idle_timeout_s):
                message = await context.read()
        except TimeoutError:
            reason = f"nothing was heard for {self._idle_timeout_s:g} s"
            raise _EndError(grpc.StatusCode.DEADLINE_EXCEEDED, reason) from None
        return None if message is grpc.aio.EOF else message

    async def _listen(self, stream: _Stream, context: Any, resume: bool) -> None:
        order = _Order(stream.hello.last_update if resume else None)
        pieces = Reassembler()
        pace = self._paces.of(stream.hello.node)
        resyncs = 0
        while True:
            stream.listening = True
            if stream.replaced_by:
                raise _replaced(stream)
            if wait_s := pace.wait_s(self._monotonic()):
                await asyncio.sleep(wait_s)  # what is not read, HTTP/2 holds back at the agent's end
            message = await self._read(context)
            stream.listening = False
            if message is None:
                return
            self._check_size(message, pace)
            self._still_trusted(stream)
            if message.HasField("clock"):
                self._measure(stream, message.clock)
            if message.seq != stream.seq + 1:
                raise _EndError(grpc.StatusCode.INVALID_ARGUMENT, f"message {message.seq} after message {stream.seq}")
            seq = stream.seq = message.seq
            body = message.WhichOneof("body")
            if body == "chunk":
                try:
                    if await self._chunk(stream, order, pieces, message.chunk, pace):
                        resyncs = 0
                except UpdateError as error:
                    resyncs += 1
                    await self._resync(stream, context, order, resyncs, str(error))
                    continue
            elif body == "heartbeat":
                stream.place.leave()
                self._sink.heard(stream.hello.node, message.heartbeat.now_unix_ms)
            elif body == "credential":
                self._renew(stream, message.credential)
            elif body == "hello":
                raise _EndError(grpc.StatusCode.INVALID_ARGUMENT, "a second Hello")
            # A body this version does not know is acknowledged like any other: a later agent may send it.
            await self._instruct(stream, context)
            stream.answered, stream.answered_mono = seq, self._monotonic()
            await context.write(agent_pb2.AggregatorMessage(ack=agent_pb2.Ack(seq=seq)))

    def _check_size(self, message: agent_pb2.AgentMessage, pace: Pace) -> None:
        now, most = self._monotonic(), self._paces.at_most.message_bytes
        pace.message(now)
        if (size := message.ByteSize()) > most:
            pace.note("message_bytes", now)
            raise _EndError(
                grpc.StatusCode.INVALID_ARGUMENT, f"a message of {size:,} bytes: at most {most:,} are allowed"
            )

    @staticmethod
    def _still_trusted(stream: _Stream) -> None:
        try:
            stream.standing.check()
        except RefusedError as refused:
            raise _EndError(refused.code, str(refused)) from None

    @staticmethod
    def _renew(stream: _Stream, piece: agent_pb2.Credential) -> None:
        try:
            stream.standing.take(piece)
        except ProtocolError as error:
            raise _EndError(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None

    def _measure(self, stream: _Stream, reading: agent_pb2.ClockReading) -> None:
        """When the last acknowledgement went out is known; a reading that follows on another one says nothing."""
        if reading.acknowledged != stream.answered:
            return
        sample = sample_of(reading, answered=stream.answered_mono, received=self._monotonic(), clock=self._clock())
        if sample is not None:
            self._sink.measured(stream.hello.node, sample)

    async def _instruct(self, stream: _Stream, context: Any) -> None:
        """One instruction, before the acknowledgement that it is waiting for.

        An unproven agent's next message says that this acknowledgement has arrived, and so has what went before it. Two
        of them TCP would join into a segment that a black hole swallows.
        """
        instruction = self._sink.instruction(stream.hello.node, stream.hello.instance)
        if instruction is not None:
            await context.write(agent_pb2.AggregatorMessage(instruction=instruction))

    async def _chunk(
        self, stream: _Stream, order: _Order, pieces: Reassembler, chunk: agent_pb2.Chunk, pace: Pace
    ) -> bool:
        """Take a piece in. True: it completed an update, which the sink has taken. Raises UpdateError, _EndError."""
        begun, size = time.thread_time(), 0
        try:
            whole = pieces.take(chunk)
            if whole is None:
                return False
            number, update = whole
            size = update.ByteSize()
            order.check(number, update.full)
        except ProtocolError as error:
            raise _EndError(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None
        finally:
            if chunk.last:
                pace.update(size, self._monotonic())
                pace.work(time.thread_time() - begun, self._monotonic())
        taking = asyncio.ensure_future(self._take(stream.hello, number, update, pace))
        asyncio.get_running_loop().call_soon(stream.place.leave)  # once it is in, whenever that is judged
        try:
            await asyncio.shield(taking)
        except asyncio.CancelledError:
            await asyncio.wait({taking})
            raise
        except UpdateError:
            raise
        except Exception as error:  # noqa: BLE001  # a full disk, say: this agent must hear that it has to come again
            self._tell(stream, logging.ERROR, "update_not_taken", number=number, error=repr(error))
            _log.debug("event=traceback node=%s", stream.hello.node, exc_info=error)
            reason = f"update {number} could not be taken in; the aggregator's log says why"
            raise _EndError(grpc.StatusCode.UNAVAILABLE, reason) from None
        order.taken(number)
        return True

    async def _take(self, hello: agent_pb2.Hello, number: int, update: agent_pb2.Update, pace: Pace) -> None:
        await timed(
            self._sink.take(hello.node, hello.instance, number, update),
            lambda cpu_s: pace.work(cpu_s, self._monotonic()),
        )

    async def _resync(self, stream: _Stream, context: Any, order: _Order, resyncs: int, reason: str) -> None:
        """Ask for everything again; it stands for the acknowledgement of what was refused."""
        self._tell(stream, logging.WARNING, "resync", reason=reason)
        if resyncs > MAX_RESYNCS:
            raise _EndError(grpc.StatusCode.FAILED_PRECONDITION, f"{resyncs} updates in a row were refused: {reason}")
        order.last = None
        resync = agent_pb2.Resync(reason=reason[:_MAX_DETAILS])
        await context.write(agent_pb2.AggregatorMessage(instruction=agent_pb2.Instruction(resync=resync)))


@dataclass(slots=True)
class _Order:
    """Whether updates come in order."""

    last: int | None
    """Number of the last update taken in; None: only a full one can come next."""
    highest: int = 0

    def check(self, number: int, full: bool) -> None:
        """Raises UpdateError where something is missing before this one, ProtocolError where it was here before."""
        if number <= max(self.highest, self.last or 0):
            raise ProtocolError(f"update {number} after update {max(self.highest, self.last or 0)}: numbers must rise")
        self.highest = number
        if not full and self.last is None:
            raise UpdateError(f"update {number} says only what changed, and what was before is not known here")
        if not full and number != (self.last or 0) + 1:
            raise UpdateError(f"update {number} says only what changed since {number - 1}, and {self.last} came last")

    def taken(self, number: int) -> None:
        """The sink has it."""
        self.last = number


def _come_again(reason: str) -> _EndError:
    return _EndError(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{reason}; come again later")


def _replaced(stream: _Stream) -> _EndError:
    reason = f"a newer stream of node {stream.hello.node} was opened by {stream.replaced_by}"
    return _EndError(grpc.StatusCode.ABORTED, reason)
