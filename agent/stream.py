"""The agent's stream: says what changed until the aggregator has it, whatever the path and the aggregator do.

The stream must get through a path that silently drops large packets, because that is one of the faults it reports.
So messages are small, and one waits for the acknowledgement of the one before until the path has proved itself: TCP
would put two of them into one segment that is too large, and repeat that segment for ever. A connection on which an
acknowledgement is overdue is given up; nothing else tells a stalled connection from a quiet one.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

import grpc.aio
from nodetell.limits import (
    MAX_BATCH_INTERVAL_MS,
    MIN_BATCH_INTERVAL_MS,
    PATH_PROOF_BYTES,
    PROTOCOL,
    PROVEN_WINDOW_BYTES,
)
from nodetell.logs import event
from nodetell.paced_log import PacedLog
from nodetell.pem import PemError
from nodetell.v1 import agent_pb2, agent_pb2_grpc
from nodetell.v1 import facts_pb2 as pb

from agent.connection import Peer, Proof, prove_path
from agent.ended import StreamEndedError, ended_by, no_acknowledgement
from agent.greeting import greet, token_pieces
from agent.ledger import Ledger
from agent.link_events import LinkEvents
from agent.pieces import UpdateTooLargeError, pieces
from agent.reading import Reading
from agent.settings import StreamSettings

_log = logging.getLogger("nodetell.agent")

FLUSH_GAP_S = 0.2
"""Least time between two updates."""
STABLE_S = 60.0
"""A stream that stood so long clears the count of failures."""
PROOF_SPREAD_S = 1.0
"""The first proof of a process comes any time within this."""
PROOF_SPREAD_AGAIN_S = 30.0
"""So do those of later streams: when all agents come back at once, their streams go first. A proof is a connection of
its own, and a second TLS handshake with the aggregator."""
PROOF_RETRY_S = 60.0
PROOF_RETRY_MAX_S = 900.0
DISTRUST_S = 60.0
DISTRUST_MAX_S = 3_600.0
"""After a stall on a proven path, proofs are not believed for a time: another connection may take another way."""
TOKEN_CHECK_S = 30.0
"""How often the file of the token is looked at. Tokens live for an hour and are renewed minutes before they expire."""
CLOCK_INTERVAL_S = 30.0
"""The host's clock is told so often, beside what is sent anyway."""
_FRAME_BYTES = 14
"""gRPC's (5) and HTTP/2's (9) framing of a message."""


class Source(Protocol):
    """Where readings come from."""

    def reading(self) -> Reading:
        """All that is known now, as an object of the caller's own."""
        ...


@dataclass(frozen=True, slots=True)
class Identity:
    """Who speaks."""

    node: str
    instance: bytes
    """16 random bytes, new with each process."""
    version: str


@dataclass(slots=True)
class _Link:
    """One connection: what is to go out, what is out and not acknowledged."""

    began: float
    last_sent: float
    seq: int = 1
    """Of the last message sent; 1 is Hello."""
    token: deque[agent_pb2.Credential] = field(default_factory=deque)
    """Pieces of a renewed token, which go out before anything else."""
    outgoing: deque[agent_pb2.Chunk] = field(default_factory=deque)
    unacknowledged: deque[tuple[int, int, float]] = field(default_factory=deque)
    """(seq, bytes, when sent)."""
    unacknowledged_bytes: int = 0
    last_of_update: int | None = None
    """seq of the last piece of the update under way, once it is sent."""
    proven: bool = False
    answered: int = 1
    """seq that was acknowledged last; 1 stands for Welcome, also where a token came after Hello."""
    answered_at: float = 0.0
    clock_due: float = 0.0
    """When the host's clock is to be told next."""

    def window_open(self, size: int) -> bool:
        """A message of `size` bytes may be sent."""
        if not self.unacknowledged:
            return True
        return self.proven and self.unacknowledged_bytes + size <= PROVEN_WINDOW_BYTES

    def acknowledged(self, seq: int) -> None:
        """Everything up to `seq` has arrived. Raises StreamEndedError if that was never sent."""
        if seq > self.seq:
            raise StreamEndedError(f"the aggregator acknowledges message {seq}, and {self.seq} was the last one sent")
        while self.unacknowledged and self.unacknowledged[0][0] <= seq:
            self.unacknowledged_bytes -= self.unacknowledged.popleft()[1]


class Stream:
    """Keeps the aggregator informed. One owner, one event loop.

    Whoever sets `news` has something that is to be told at once, which means within FLUSH_GAP_S.
    """

    def __init__(
        self,
        peer: Peer,
        settings: StreamSettings,
        identity: Identity,
        source: Source,
        news: asyncio.Event,
        *,
        wall: Callable[[], float] = time.time,
        uniform: Callable[[float, float], float] = random.uniform,
        prove: Callable[[Peer], Coroutine[Any, Any, Proof]] = prove_path,
        take_plan: Callable[[agent_pb2.ProbePlan], None] | None = None,
    ) -> None:
        self._peer = peer
        self._target = peer.address
        self._settings = settings
        self._identity = identity
        self._source = source
        self._wall = wall
        self._uniform = uniform
        self._prove = prove
        self._take_plan = take_plan
        self._paced_log = PacedLog(_log)
        """For what the aggregator can cause at will."""
        self.ledger = Ledger()
        self._link: _Link | None = None
        self._streams = 0
        """That were opened so far."""
        self._batch_interval_s = settings.batch_interval_s
        self._own = Reading()
        """What the stream itself has to say."""
        self._link_events = LinkEvents()
        self._due = False
        self._wake = news
        self._signal = asyncio.Event()
        """Something for the pump to do: an update is due, an acknowledgement came, the window opened."""
        self._distrust_s = 0.0
        self._distrust_until = 0.0
        self._told_reason = ""

    @property
    def connected(self) -> bool:
        """A stream stands."""
        return self._link is not None

    @property
    def proven(self) -> bool:
        """Full-size packets have been seen to pass, on the stream that stands."""
        return self._link is not None and self._link.proven

    # -- connecting, again and again -------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set."""
        ticker = asyncio.create_task(self._tick(), name="stream-ticker")
        stopping = asyncio.create_task(stop.wait(), name="stream-stop")
        try:
            failures = 0
            while not stop.is_set():
                began = asyncio.get_running_loop().time()
                session = asyncio.create_task(self._session(stop), name="stream-session")
                ended = await _first(session, ticker, stopping)
                if ended is None:
                    continue
                if asyncio.get_running_loop().time() - began >= STABLE_S:
                    failures = 0
                failures += 1
                delay = self._delay(failures, ended)
                self._log_end(ended, delay)
                del ended, session  # its traceback holds the call, and that the connection
                await asyncio.wait({stopping, ticker}, timeout=delay, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (ticker, stopping):
                task.cancel()
            await asyncio.gather(ticker, stopping, return_exceptions=True)

    def _delay(self, failures: int, ended: StreamEndedError) -> float:
        """Seconds until the next attempt: any time up to a bound that doubles, so that agents do not come in step."""
        longest = self._settings.reconnect_max_s
        if ended.refused:
            return self._uniform(longest / 2, longest)
        bound = min(longest, self._settings.reconnect_min_s * 2 ** min(failures, 30))
        if ended.later_s is None:
            return self._uniform(0.0, bound)
        told = min(ended.later_s, longest)  # the aggregator has spread these already
        return self._uniform(told, 1.2 * told) if told else self._uniform(bound / 2, bound)

    def _log_end(self, ended: StreamEndedError, delay: float) -> None:
        """A reason that stays the same is logged once."""
        reason = str(ended)
        busy = ended.later_s is not None
        level = logging.DEBUG if reason == self._told_reason else logging.INFO if busy else logging.WARNING
        self._told_reason = reason
        what = "stream_refused" if ended.refused else "stream_deferred" if busy else "stream_ended"
        event(_log, level, what, aggregator=self._target, reason=reason, retry_s=round(delay, 1))

    async def _ended(self, call: Any) -> StreamEndedError:
        """Why a call is over that we were still writing to."""
        return ended_by(await call.code(), await call.details(), self._peer.shown, await call.trailing_metadata())

    async def _session(self, stop: asyncio.Event) -> None:
        """One connection, from Hello to its end. Raises StreamEndedError unless stopped."""
        loop = asyncio.get_running_loop()
        try:
            token = await self._peer.token()
            connection = await self._peer.channel()
        except PemError as error:
            raise StreamEndedError(str(error), refused=True) from None
        async with connection:
            call = agent_pb2_grpc.AgentServiceStub(connection).Connect()  # type: ignore[no-untyped-call]  # generated
            try:
                welcome, seq = await self._greet(call, token)
                now = loop.time()
                self._streams += 1
                link = self._link = _Link(now, now, seq, answered_at=now)
                self._due = True
                self._signal.set()
                event(
                    _log,
                    logging.INFO,
                    "stream_open",
                    aggregator=self._target,
                    version=welcome.version,
                    protocol=welcome.protocol,
                    resume=welcome.resume,
                )
                self._told_reason = ""
                tasks = [
                    asyncio.create_task(self._listen(call, link), name="stream-listen"),
                    asyncio.create_task(self._pump(call, link), name="stream-pump"),
                    asyncio.create_task(self._prove_path(link), name="stream-proof"),
                    asyncio.create_task(self._renew_token(link, token), name="stream-token"),
                ]
                try:
                    await _run_all(tasks)
                except StreamEndedError as error:
                    self._book_stall(link, error.stalled, loop.time())
                    raise
            except grpc.aio.AioRpcError as error:
                raise ended_by(error.code(), error.details(), self._peer.shown, error.trailing_metadata()) from None
            except asyncio.InvalidStateError:  # writing on a call that has ended; it knows why
                raise await self._ended(call) from None
            finally:
                self._link = None
                if self.ledger.under_way:
                    self.ledger.lost()
                if stop.is_set() and not call.done():
                    await _say_goodbye(call)
                call.cancel()

    async def _greet(self, call: Any, token: bytes) -> tuple[agent_pb2.Welcome, int]:
        """Welcome, and the seq of the message that it answers."""
        hello = agent_pb2.Hello(
            protocol=PROTOCOL,
            node=self._identity.node,
            instance=self._identity.instance,
            version=self._identity.version,
            last_update=self.ledger.last_acknowledged,
            now_unix_ms=self._now_unix_ms(),
        )
        welcome, seq = await greet(call, hello, token, self._settings.ack_timeout_s)
        if not welcome.resume:
            self.ledger.tell_all()
        return welcome, seq

    def _book_stall(self, link: _Link, stalled: bool, now: float) -> None:
        if not link.proven:
            return
        if stalled:
            self._distrust_s = min(max(DISTRUST_S, 2 * self._distrust_s), DISTRUST_MAX_S)
            self._distrust_until = now + self._distrust_s
        elif now - link.began > 2 * self._distrust_s:
            self._distrust_s = 0.0

    # -- sending ---------------------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        """See to it that an update is made when it is time, and that one which cannot be sent is counted."""
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            if await set_within(self._wake, last + self._batch_interval_s - loop.time()):
                await asyncio.sleep(max(0.0, last + FLUSH_GAP_S - loop.time()))
            self._wake.clear()
            last = loop.time()
            if self._link is not None and not self.ledger.under_way:
                self._due = True
                self._signal.set()
            elif self._link is None:
                reading = self._reading()
                self._link_events.note(self.ledger.seen.items, reading.items, self._now_unix_ms())
                self.ledger.away(reading, last)
            else:
                self.ledger.missed(self._reading(), last)

    async def _pump(self, call: Any, link: _Link) -> None:
        """Send what is due, as the window allows, and heartbeats when nothing is."""
        loop = asyncio.get_running_loop()
        settings = self._settings
        while True:
            self._signal.clear()
            if self._due and not self.ledger.under_way:
                self._due = False
                self._make_update(link)
            while link.token:
                message = agent_pb2.AgentMessage(seq=link.seq + 1, credential=link.token[0])
                if not link.window_open(message.ByteSize() + _FRAME_BYTES):
                    break
                link.token.popleft()
                await self._send(call, link, message)
            while link.outgoing:
                message = agent_pb2.AgentMessage(seq=link.seq + 1, chunk=link.outgoing[0])
                if not link.window_open(message.ByteSize() + _FRAME_BYTES):
                    break
                last = link.outgoing.popleft().last
                await self._send(call, link, message)
                if last:
                    link.last_of_update = link.seq
            now = loop.time()
            if not link.unacknowledged and now - link.last_sent >= settings.heartbeat_interval_s:
                heartbeat = agent_pb2.Heartbeat(now_unix_ms=self._now_unix_ms())
                await self._send(call, link, agent_pb2.AgentMessage(seq=link.seq + 1, heartbeat=heartbeat))
            if link.unacknowledged:
                until = link.unacknowledged[0][2] + settings.ack_timeout_s
            else:
                until = link.last_sent + settings.heartbeat_interval_s
            if not await set_within(self._signal, until - loop.time()) and self._overdue(link, loop.time()):
                raise no_acknowledgement(settings.ack_timeout_s)

    def _overdue(self, link: _Link, now: float) -> bool:
        return bool(link.unacknowledged) and now - link.unacknowledged[0][2] >= self._settings.ack_timeout_s

    def _make_update(self, link: _Link) -> None:
        made = self.ledger.next(self._reading(), self._now_unix_ms(), asyncio.get_running_loop().time())
        if made is None:
            return
        number, update = made
        try:
            link.outgoing.extend(pieces(number, update))
        except UpdateTooLargeError as error:
            raise StreamEndedError(str(error), refused=True) from None
        link.last_of_update = None
        event(_log, logging.DEBUG, "update", number=number, full=update.full, messages=len(link.outgoing))

    async def _send(self, call: Any, link: _Link, message: agent_pb2.AgentMessage) -> None:
        loop = asyncio.get_running_loop()
        if not link.unacknowledged and loop.time() >= link.clock_due:
            link.clock_due = loop.time() + CLOCK_INTERVAL_S
            message.clock.CopyFrom(self._clock_reading(link, loop.time()))
        size = message.ByteSize() + _FRAME_BYTES
        link.seq = message.seq
        link.last_sent = loop.time()
        link.unacknowledged.append((message.seq, size, link.last_sent))
        link.unacknowledged_bytes += size
        try:
            async with asyncio.timeout(self._settings.ack_timeout_s):
                await call.write(message)
        except TimeoutError:
            raise no_acknowledgement(self._settings.ack_timeout_s) from None

    async def _renew_token(self, link: _Link, token: bytes) -> None:
        """Send the token again once there is another; whoever checks it forgets us when the one it knows expires."""
        while True:
            await asyncio.sleep(TOKEN_CHECK_S)
            try:
                found = await self._peer.token()
            except PemError:
                continue  # told where it is read
            if found and found != token and not link.token:
                token = found
                link.token.extend(token_pieces(token))
                event(_log, logging.INFO, "token_renewed", aggregator=self._target)
                self._signal.set()

    def _clock_reading(self, link: _Link, now: float) -> agent_pb2.ClockReading:
        """What goes out now: nothing waits before it, so that what it takes is the way's time and nobody's else."""
        held_us = round((now - link.answered_at) * 1e6)
        return agent_pb2.ClockReading(
            now_unix_us=round(self._wall() * 1e6), acknowledged=link.answered, held_us=held_us
        )

    def _reading(self) -> Reading:
        reading = self._source.reading()
        reading.items.update(self._own.items)
        reading.items.update((item.key, item) for item in self._link_events.items)
        return reading

    def _now_unix_ms(self) -> int:
        return int(self._wall() * 1000)

    # -- listening -------------------------------------------------------------------------------------------------

    async def _listen(self, call: Any, link: _Link) -> None:
        while True:
            message = await call.read()
            if message is grpc.aio.EOF:
                raise ended_by(await call.code(), await call.details())
            body = message.WhichOneof("body")
            if body == "ack":
                self._take_ack(link, message.ack.seq)
            elif body == "instruction":
                self._take_instruction(link, message.instruction)
            # Anything else is of a later version and not for us.

    def _take_ack(self, link: _Link, seq: int) -> None:
        link.acknowledged(seq)
        link.answered, link.answered_at = seq, asyncio.get_running_loop().time()
        if self.ledger.under_way and link.last_of_update is not None and seq >= link.last_of_update:
            link.last_of_update = None
            self.ledger.acknowledged()
            self._due = self._due or self.ledger.owes
        self._signal.set()

    def _take_instruction(self, link: _Link, instruction: agent_pb2.Instruction) -> None:
        body = instruction.WhichOneof("body")
        if body == "resync":
            reason = instruction.resync.reason
            self._paced_log.event(logging.WARNING, "resync", self._target, aggregator=self._target, reason=reason)
            link.outgoing.clear()
            link.last_of_update = None
            link.acknowledged(link.seq)
            self.ledger.lost()
            self._due = True
            self._signal.set()
        elif body == "pace":
            wanted = instruction.pace.batch_interval_ms
            fits = MIN_BATCH_INTERVAL_MS <= wanted <= MAX_BATCH_INTERVAL_MS
            if fits:
                self._batch_interval_s = wanted / 1000
                self._wake.set()
            level = logging.INFO if fits else logging.WARNING
            self._paced_log.event(level, "pace" if fits else "pace_refused", self._target, batch_interval_ms=wanted)
        elif body == "probe_plan" and self._take_plan is not None:
            self._take_plan(instruction.probe_plan)

    # -- the path --------------------------------------------------------------------------------------------------

    async def _prove_path(self, link: _Link) -> None:
        """Open the window once full-size packets have been seen to pass; say so while they do not. Runs to success."""
        distrusted_s = self._distrust_until - asyncio.get_running_loop().time()
        spread_s = PROOF_SPREAD_AGAIN_S if self._streams > 1 else PROOF_SPREAD_S
        await asyncio.sleep(max(distrusted_s, self._uniform(0.0, spread_s)))
        retry = PROOF_RETRY_S
        while True:
            proof = await self._prove(self._peer)
            if proof is Proof.PASSED:
                break
            if proof is Proof.STALLED:
                self._tell_stalled_path()
            await asyncio.sleep(self._uniform(retry / 2, retry))
            retry = min(PROOF_RETRY_MAX_S, 2 * retry)
        event(_log, logging.INFO, "path_proven", aggregator=self._target, bytes=PATH_PROOF_BYTES)
        link.proven = True
        self._signal.set()
        if self._own.items:
            self._own.items.clear()
            self._wake.set()

    def _tell_stalled_path(self) -> None:
        if self._own.items:
            return
        because = (
            f"full-size packets do not reach the aggregator at {self._target}, or its answers do not come back: "
            f"{PATH_PROOF_BYTES:,} bytes went unanswered; facts go one small message at a time"
        )
        event(_log, logging.WARNING, "path_unproven", aggregator=self._target, because=because)
        remedy = "look for an MTU smaller than the interface's on the way to the aggregator"
        self._own.gap("stream", because, status=pb.COVERAGE_STATUS_DEGRADED, remedy=remedy)
        self._wake.set()


async def set_within(happened: asyncio.Event, timeout_s: float) -> bool:
    """Wait for an event; False: it did not come in time."""
    if happened.is_set():
        return True
    if timeout_s <= 0:
        return False
    try:
        async with asyncio.timeout(timeout_s):
            await happened.wait()
    except TimeoutError:
        return False
    return True


async def _run_all(tasks: list[asyncio.Task[None]]) -> None:
    """Run tasks side by side until one fails; then end the others and raise its error.

    A task that finds the call cancelled under it has not failed: the one that cancelled it knows why.
    """
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        if not task.cancelled():
            task.result()


async def _first(
    session: asyncio.Task[None], ticker: asyncio.Task[None], stopping: asyncio.Task[Any]
) -> StreamEndedError | None:
    """Wait for the session's end, or end it when it is time to stop. Returns why the session ended; None: stopped.

    Any other error than the end of a stream is a defect and is raised.
    """
    try:
        await asyncio.wait({session, ticker, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not session.done():
            session.cancel()
            await asyncio.wait({session})
    if ticker.done():
        ticker.result()
    if session.cancelled() and stopping.done():
        return None
    error = StreamEndedError("the call was cancelled") if session.cancelled() else session.exception()
    if error is None or isinstance(error, StreamEndedError):
        return error
    raise error


async def _say_goodbye(call: Any) -> None:
    """End our side in order, so that the aggregator need not take us for lost."""
    try:
        async with asyncio.timeout(0.3):
            await call.done_writing()
    except (TimeoutError, grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError):
        return  # it is gone already
