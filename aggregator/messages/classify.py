"""Which cause family a message belongs to. First what it is about (its reason, else its shape), then that area's rules.

The same words mean different things in different places, so a message is judged by the rules of one area: what a pull
says by those of images, what a mount says by those of volumes. Only what no area claims, logs above all, is judged by
the general rules. Pure, and linear in the length of the message, of which a bounded part is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from aggregator.messages import (
    applications,
    attaching,
    containers,
    images,
    logs,
    mounting,
    nodes,
    pending,
    provisioning,
    refusals,
    sandboxes,
)
from aggregator.messages.model import NOTHING, Classification, Message
from aggregator.messages.said import Said, said_of
from aggregator.messages.text import cut

_MOST_BESIDE = 4

_REMEMBERED = 4_096
"""Events repeat: most messages of a cluster are a few hundred different ones."""
_SHORT = 1_024
"""Characters of a message that is worth remembering: an event's are no more. With 4,096 of them, 4 MiB or so."""

_AREAS: tuple[Callable[[Said], Classification | None], ...] = (
    logs.judge_kernel,
    logs.judge_etcd,
    pending.judge,
    refusals.judge_admission,
    images.judge,
    provisioning.judge_expansion,
    provisioning.judge_claim,
    attaching.judge,
    mounting.judge,
    sandboxes.judge,
    containers.judge_probe,
    refusals.judge_creation,
    containers.judge_start,
    nodes.judge,
    logs.judge_normal,
    logs.judge_oom,
    logs.judge_telling_exit,
    logs.judge_log,
    logs.judge_exit,
)
"""The first that knows what a message is about decides, even if that it tells nothing."""


def classify(message: Message) -> Classification:
    """What a message says. Never fails: what tells nothing is unknown."""
    length = len(message.object) + len(message.reason) + len(message.message)
    return _remembered(message) if length <= _SHORT else _judged(message)


@lru_cache(maxsize=_REMEMBERED)
def _remembered(message: Message) -> Classification:
    return _judged(message)


def _judged(message: Message) -> Classification:
    said = said_of(message)
    for judge in _AREAS:
        answer = judge(said)
        if answer is not None:
            also = tuple(code for code in answer.also if code != applications.APP_ERROR)
            return replace(answer, also=also[:_MOST_BESIDE], phrase=cut(answer.phrase))
    return NOTHING
