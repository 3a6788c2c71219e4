"""Lists of the API server: page by page as it answers, and whole as a bundle has them."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, cast

from aggregator.cluster.answers import ApiError, Cause, refusal
from aggregator.cluster.client import ApiClient
from aggregator.cluster.decode import Decoder
from aggregator.cluster.intake import ClusterSink
from aggregator.cluster.lists import damage, load
from aggregator.cluster.pace import Pace
from aggregator.cluster.paged_list import Counters, PagedList
from aggregator.cluster.quantity import QuantityError, thousandths, value
from aggregator.cluster.state import ClusterState
from fuzz import kube, mutators
from fuzz.target import MutateBytes, Target, sometimes

PAGES = b"\n--\n"
"""Between two pages, whose first byte is 0 where the server refuses."""
_PACE = Pace(first_retry_s=0.0, last_retry_s=0.0, longest_retry_after_s=0.0, page_bytes=3_000)


class _Answer:
    """A page as it comes."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        """In two pieces."""
        yield self._body[: len(self._body) // 2]
        yield self._body[len(self._body) // 2 :]


class _Server:
    """Gives one page after another; an error where there are no more."""

    def __init__(self, pages: list[bytes]) -> None:
        self._pages = pages

    @contextlib.asynccontextmanager
    async def get(self, path: str, parameters: Mapping[str, str], *, accept: str) -> AsyncIterator[_Answer]:
        """As ApiClient.get."""
        del path, parameters, accept
        if not self._pages:
            raise ApiError(Cause.DENIED, "no more")
        page = self._pages.pop(0)
        if page[:1] == b"\0":
            error = refusal(400 + 10 * (page[1] % 2) if len(page) > 1 else 503, {}, page[2:], 0.0)
            error.retry_after_s = None
            raise error
        yield _Answer(page)


def check(case: bytes) -> None:
    """Half a list is never taken for a whole one; an odd object loses no other; nothing raises but what is told."""
    resource, body = kube.resource_of(case[0] if case else 0), case[1:]
    pages = body.split(PAGES)
    if sometimes(case, 2):
        for page in pages[:2]:
            _whole(resource, page)
        _quantities(body[:80])
        return
    state = ClusterState()
    sink = ClusterSink(state)
    api = cast("ApiClient", _Server(pages))
    reader = PagedList(
        api, "/x", accept="", metadata_only=False, limit=500, pace=_PACE, counters=Counters(), chance=random.Random(0)
    )
    try:
        _run(reader.read(sink.begin(resource)))
    except ApiError as error:
        assert "\n" not in str(error)
        assert not state.knows(resource)
    assert all("\n" not in problem for problem in sink.problems(resource))


def _whole(resource: str, page: bytes) -> None:
    state = ClusterState()
    problems = load(state, resource, page, Decoder())
    assert all("\n" not in problem for problem in problems)
    assert len(problems) <= 30
    if not state.knows(resource):
        assert problems
    assert "\n" not in damage(page)


def _quantities(raw: bytes) -> None:
    text = raw.decode("utf-8", "replace")
    for each in (text, text.partition('"')[2].partition('"')[0]):
        for read in (value, thousandths):
            with contextlib.suppress(QuantityError):
                assert abs(read(each)) < 1 << 63


def _run(reading: Any) -> None:
    """A coroutine that waits for nothing but its turn, to its end."""
    with contextlib.suppress(StopIteration):
        for _ in range(1_000):
            reading.send(None)
        raise AssertionError("it does not end")


def _seeds() -> Iterable[bytes]:
    for number, thing in kube.objects():
        page = {"kind": "XList", "metadata": {"resourceVersion": "7"}, "items": [thing]}
        yield bytes([number]) + kube.text(page)
    small = [{"metadata": {"name": name, "namespace": "n"}} for name in "abc"]
    first = {"kind": "PodList", "metadata": {"resourceVersion": "7", "continue": "t"}, "items": small}
    last = {"kind": "PodList", "metadata": {"resourceVersion": "7"}, "items": small[:1]}
    yield b"\x01" + kube.text(first) + PAGES + kube.text(last)
    expired = {"code": 410, "metadata": {"continue": "u"}, "message": "expired"}
    yield b"\x01" + kube.text(first) + PAGES + b"\0\x01" + kube.text(expired) + PAGES + kube.text(last)
    yield b'\x01"1.5Gi" "100m" "2e3" ".5" "1E" "12345678901234567890"'


def mutate(case: bytes, most: int, chance: random.Random, mutate_bytes: MutateBytes) -> bytes:
    """One page's JSON, the order of pages, or bytes."""
    pages = case[1:].split(PAGES)
    at, step = chance.randrange(len(pages)), chance.randrange(10)
    if step == 0 or b"{" not in pages[at]:
        return mutate_bytes(case, most)
    if step == 1:
        pages.insert(at, pages[at])
    elif step == 2:
        del pages[at]
    elif step == 3:
        return bytes([chance.randrange(256)]) + case[1:]
    else:
        head, brace, rest = pages[at].partition(b"{")
        pages[at] = head + mutators.document(brace + rest, most, chance, mutate_bytes)
    return case[:1] + PAGES.join(pages)


TARGET = Target(check, _seeds, words=(b'"items":[', b'"continue":"t"', PAGES), mutate=mutate, max_bytes=3_000)
