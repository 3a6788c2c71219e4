"""What tests of trust share: an aggregator's door with a sink in memory behind it, an API server that knows tokens,
and callers of all kinds, who may say anything."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
from nodetell.v1 import agent_pb2, agent_pb2_grpc, operator_pb2, operator_pb2_grpc

from aggregator.cluster.credentials import Source
from aggregator.ingest import AgentService, server_options
from aggregator.settings import AccessSettings, AggregatorSettings, TlsSettings
from aggregator.trust.door import door
from aggregator.trust.operators import OperatorTrust
from aggregator.trust.review import ACCESS_REVIEWS, TOKEN_REVIEWS, Reviewer
from tests.apiserver import ApiServer, Reply, Request, serving, status
from tests.trust import Authority, Files
from tests.wire import MemorySink

AUDIENCE = "nodetell"
ACCOUNT = "system:serviceaccount:nodetell:nodetell-agent"
NODE_NAME = "authentication.kubernetes.io/node-name"
POD_NAME = "authentication.kubernetes.io/pod-name"
POD_UID = "authentication.kubernetes.io/pod-uid"


def jwt(
    subject: str = ACCOUNT,
    audience: str | Sequence[str] = AUDIENCE,
    left_s: float = 3600.0,
    padding: int = 0,
    **more: Any,
) -> str:
    """A token that claims this. Nobody has signed it: the API server of a test knows those that it made."""
    audiences = [audience] if isinstance(audience, str) else list(audience)
    claims = {"aud": audiences, "sub": subject, "exp": int(time.time() + left_s), "pad": "x" * padding, **more}
    parts = ({"alg": "RS256"}, claims, {"signature": time.time_ns()})
    return ".".join(base64.urlsafe_b64encode(json.dumps(each).encode()).decode().rstrip("=") for each in parts)


@dataclass
class Vouching:
    """An API server that knows some tokens, and what their owners may do."""

    tokens: dict[str, tuple[str, dict[str, list[str]]]] = field(default_factory=dict)
    """User name and extra, by token."""
    allowed: set[str] = field(default_factory=set)
    """Users that may get findings.nodetell.dev."""
    aware: bool = True
    """It knows of audiences."""
    refuse: int = 0
    """Status that it answers everything with, if not 0."""
    hang: bool = False
    ahead_s: float = 0.0
    """Its clock less ours."""
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def token(self, node: str = "", user: str = ACCOUNT, **claims: Any) -> str:
        """A token that it vouches for, bound to a node if one is named."""
        extra = {NODE_NAME: [node]} if node else {}
        return self.bound(extra, user, **claims)

    def bound(self, extra: dict[str, list[str]], user: str = ACCOUNT, **claims: Any) -> str:
        """A token that it vouches for, bound to whatever."""
        made = jwt(user, **claims)
        self.tokens[made] = (user, extra)
        return made

    async def answer(self, request: Request, reply: Reply) -> None:
        """As an API server does."""
        document = json.loads(request.body)
        self.asked.append((request.path, document["spec"]))
        if self.hang:
            await asyncio.Event().wait()
        if self.refuse:
            await reply.whole(self.refuse, status(self.refuse, "it is refused", "Forbidden"))
        elif (request.method, request.path) == ("POST", TOKEN_REVIEWS):
            await reply.whole(201, {"status": self._token(document["spec"])})
        elif (request.method, request.path) == ("POST", ACCESS_REVIEWS):
            attributes = {"verb": "get", "group": "nodetell.dev", "resource": "findings"}
            may = document["spec"]["user"] in self.allowed and document["spec"]["resourceAttributes"] == attributes
            await reply.whole(201, {"status": {"allowed": may}})
        else:
            await reply.whole(404, status(404, "the server could not find the requested resource", "NotFound"))

    def _token(self, spec: dict[str, Any]) -> dict[str, Any]:
        user, extra = self.tokens.get(spec["token"], ("", {}))
        if not user:
            return {"authenticated": False, "error": "invalid bearer token"}
        known = {"username": user, "uid": "u", "groups": ["system:authenticated"], "extra": extra}
        return {"authenticated": True, "user": known} | ({"audiences": spec["audiences"]} if self.aware else {})


class Operators(operator_pb2_grpc.OperatorServiceServicer):
    """Answers whoever gets here."""

    async def ListNodes(self, request: Any, context: Any) -> operator_pb2.ListNodesResponse:  # noqa: ARG002, N802
        return operator_pb2.ListNodesResponse(aggregator_version="here")

    async def WatchFindings(self, request: Any, context: Any) -> AsyncIterator[operator_pb2.FindingEvent]:  # noqa: ARG002, N802
        yield operator_pb2.FindingEvent(kind=operator_pb2.FindingEvent.KIND_SYNCED)
        await asyncio.Event().wait()


@dataclass
class Clock:
    """The monotonic clock, put forward by the test."""

    ahead_s: float = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


@dataclass
class Entrance:
    """A door, and what is behind it."""

    ca: Authority
    settings: AggregatorSettings
    sink: MemorySink
    clock: Clock
    api: Vouching
    server: ApiServer
    pods: dict[str, tuple[str, str]]
    operators: OperatorTrust | None
    address: str = ""
    certificate_address: str = ""

    def channel(self, shows: Files | None = None, *, address: str = "", ca: str = "") -> grpc.aio.Channel:
        """A connection that shows a certificate, or none."""
        pair = (Path(shows.key).read_bytes(), Path(shows.certificate).read_bytes()) if shows else (None, None)
        credentials = grpc.ssl_channel_credentials(Path(ca or self.ca.file).read_bytes(), *pair)
        options = [("grpc.use_local_subchannel_pool", 1)]
        return grpc.aio.secure_channel(address or self.address, credentials, options=options)

    @contextlib.asynccontextmanager
    async def agent(self, node: str = "a", shows: Files | None = None, **how: Any) -> AsyncIterator[Caller]:
        """An agent of this node, or so it says."""
        async with self.channel(shows, **how) as channel:
            one = Caller(node, agent_pb2_grpc.AgentServiceStub(channel).Connect())  # type: ignore[no-untyped-call]
            yield one
            one.call.cancel()

    async def nodes(self, shows: Files | None = None, token: str = "", **how: Any) -> str:
        """What an operator gets for asking: "here", or the status and the reason."""
        async with self.channel(shows, **how) as channel:
            metadata = (("authorization", f"Bearer {token}"),) if token else ()
            stub = operator_pb2_grpc.OperatorServiceStub(channel)  # type: ignore[no-untyped-call]
            try:
                answer = await stub.ListNodes(operator_pb2.ListNodesRequest(), metadata=metadata, timeout=10)
            except grpc.aio.AioRpcError as error:
                return f"{error.code().name}: {error.details()}"
            return str(answer.aggregator_version)


@dataclass
class Caller:
    """An agent of the test's own."""

    node: str
    call: Any
    seq: int = 0
    instance: bytes = b"i" * 16

    async def say(self, **body: Any) -> agent_pb2.AggregatorMessage:
        """A message, and what comes back for it."""
        self.seq += 1
        await self.call.write(agent_pb2.AgentMessage(seq=self.seq, **body))
        answer = await asyncio.wait_for(self.call.read(), 15)
        if answer is grpc.aio.EOF:
            raise AssertionError(await self.ended())
        assert isinstance(answer, agent_pb2.AggregatorMessage)
        return answer

    async def hello(self, token: str | bytes = b"") -> str:
        """Which answer Hello got at last, its token included: "welcome", or how the stream ended."""
        raw = token.encode() if isinstance(token, str) else token
        said = agent_pb2.Hello(protocol=1, node=self.node, instance=self.instance, credential_bytes=len(raw))
        try:
            answer = await self.say(hello=said)
            for piece in pieces_of(raw):
                assert answer.ack.seq == self.seq
                answer = await self.say(credential=piece)
        except (AssertionError, grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return await self.ended()
        return str(answer.WhichOneof("body"))

    async def heartbeat(self) -> str:
        """Whether the stream goes on: "ack", or how it ended."""
        try:
            answer = await self.say(heartbeat=agent_pb2.Heartbeat(now_unix_ms=1))
        except (AssertionError, grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return await self.ended()
        return str(answer.WhichOneof("body"))

    async def ended(self) -> str:
        """Status and reason with which the stream has ended."""
        return f"{(await self.call.code()).name}: {await self.call.details()}"


def pieces_of(token: bytes, size: int = 850) -> list[agent_pb2.Credential]:
    """A token as it travels."""
    parts = [token[at : at + size] for at in range(0, len(token), size)]
    return [agent_pb2.Credential(data=part, last=number == len(parts)) for number, part in enumerate(parts, 1)]


def kubeconfig(folder: Path, url: str) -> Source:
    """How an aggregator reaches the API server of a test."""
    path = folder / "kubeconfig"
    config = {
        "current-context": "c",
        "clusters": [{"name": "a", "cluster": {"server": url}}],
        "contexts": [{"name": "c", "context": {"cluster": "a", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": "t0ken"}}],
    }
    path.write_text(json.dumps(config))
    return Source(path)


@contextlib.asynccontextmanager
async def entrance(
    folder: Path,
    *,
    ca: Authority | None = None,
    clients: bool = False,
    both: bool = False,
    api: bool = False,
    answer_s: float = 10.0,
    **access: Any,
) -> AsyncIterator[Entrance]:
    """A real server behind a real door. `clients`: certificates are demanded; `both`: at an address of their own.

    `api`: there is an API server to ask. What else is given are settings of the table "access".
    """
    ca = ca or Authority(folder)
    own, clock, known, pods = ca.server(), Clock(), Vouching(), dict[str, tuple[str, str]]()
    own_door = "127.0.0.1:0" if both else ""
    tls = TlsSettings(own.certificate, own.key, ca.file if clients or both else "", own_door)
    settings = AggregatorSettings(listen="127.0.0.1:0", tls=tls, access=AccessSettings(**access))
    sink = MemorySink()
    async with serving(known.answer) as server:
        source = kubeconfig(folder, server.url)
        reviewer = Reviewer(source, {}, audience=settings.access.token_audience, answer_s=answer_s, monotonic=clock)
        opened = door(settings, reviewer if api else None, pods.get, clock)
        aggregator = grpc.aio.server(options=server_options(), interceptors=opened.interceptors)
        service = AgentService(sink, opened.agents, time.time, monotonic=clock)
        agent_pb2_grpc.add_AgentServiceServicer_to_server(service, aggregator)  # type: ignore[no-untyped-call]
        operator_pb2_grpc.add_OperatorServiceServicer_to_server(Operators(), aggregator)  # type: ignore[no-untyped-call]
        ports = [f"127.0.0.1:{each.add_to(aggregator)}" for each in opened.listeners]
        await aggregator.start()
        try:
            yield Entrance(ca, settings, sink, clock, known, server, pods, opened.operators, ports[0], ports[-1])
        finally:
            await aggregator.stop(0)
            await opened.aclose()
            await reviewer.aclose()


def through(folder: Path, scene: Callable[[Entrance], Any], **how: Any) -> None:
    """Run a scene at a door."""

    async def run() -> None:
        async with entrance(folder, **how) as door_:
            await scene(door_)

    asyncio.run(run())
