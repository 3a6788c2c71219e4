"""Alerts, notices and telemetry as metrics: whether whoever is to be told is told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nodetell.metrics import Kind, Metric, Told, one

from aggregator.outputs.trouble import Trouble

_WHOM = {
    "alertmanager": ("Alertmanagers", "Alerts that wait to be sent, of all Alertmanagers."),
    "webhook": ("the webhook's address", "Notices that wait to be sent."),
    "otlp": ("the receiver of OTLP", "Log records that wait to be sent."),
}
POSTS = {
    name: Metric(
        f"nodetell_{name}_posts_total", Kind.COUNTER, f'Posts to {whom} that were "taken" or not.', ("outcome",)
    )
    for name, (whom, _) in _WHOM.items()
}
WAITING = {name: Metric(f"nodetell_{name}_waiting", Kind.GAUGE, what) for name, (_, what) in _WHOM.items()}
METRICS = tuple(each for name in _WHOM for each in (POSTS[name], WAITING[name]))


def metrics(name: str, troubles: Sequence[Trouble], waiting: int) -> Iterable[Told]:
    """What there is to tell of a surface."""
    taken, refused = sum(each.taken for each in troubles), sum(each.refused for each in troubles)
    yield Told(POSTS[name], [(("taken",), taken), (("refused",), refused)])
    yield one(WAITING[name], waiting)
