"""Signatures that operators have installed: entry points of the group "nodetell.signatures", beside the built-in ones.

One that cannot be loaded is refused with the reason, and a gap of the diagnosis says so; the others are not concerned.
What is loaded runs with all rights of this process: installing a distribution is the operator's own decision.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from aggregator import engine
from aggregator.causes import EDGES, Edge
from aggregator.engine import SIGNATURES, Judgement, Signature
from aggregator.extend import Extension
from aggregator.model import Gap, Verdict
from aggregator.signatures.case import gather
from aggregator.signatures.catalog import CODES
from aggregator.signatures.code import Code
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

GROUP = "nodetell.signatures"
_CODE = re.compile(r"[a-z][a-z0-9_]{0,30}\.[a-z][a-z0-9_]{0,60}")
_MAX_REASON = 300


@dataclass(frozen=True, slots=True)
class Added:
    """A signature that is run."""

    name: str
    source: str
    """Distribution and version ("acme-nodetell 1.2")."""
    extension: Extension


@dataclass(frozen=True, slots=True)
class Refused:
    """A signature that is not."""

    name: str
    source: str
    because: str

    @property
    def gap(self) -> Gap:
        """What that means for the diagnosis."""
        because = f"signature {self.name} of {self.source} is not used: {self.because}"
        return Gap("", f"diagnosis/{self.name}", "missing", because, f"correct or uninstall {self.source}")


@dataclass(frozen=True, slots=True)
class Installed:
    """All signatures from outside."""

    added: tuple[Added, ...] = ()
    refused: tuple[Refused, ...] = ()

    @property
    def signatures(self) -> tuple[tuple[str, Signature], ...]:
        """Those and the built-in ones, which come first."""
        return (*SIGNATURES, *((each.name, _signature(each.extension)) for each in self.added))

    @property
    def edges(self) -> tuple[Edge, ...]:
        """Theirs and the built-in ones."""
        return (*EDGES, *(edge for each in self.added for edge in each.extension.edges))

    def judge(self, view: ClusterView, thresholds: Thresholds) -> Judgement:
        """What all signatures say."""
        judgement = engine.judge(view, thresholds, self.signatures, self.edges)
        built_in = {name for name, _ in self.signatures}
        for each in self.refused:
            judgement.verdict.gaps.append(each.gap)
            if each.name not in built_in:  # what it found when it could still be loaded is neither confirmed nor over
                judgement.failed[each.name] = each.because
        return judgement


@cache
def installed() -> Installed:
    """What is installed beside this package. Looked up once: a new one takes a new process."""
    return load(entry_points(group=GROUP))


def load(points: Iterable[EntryPoint]) -> Installed:
    """Those that can be used, in order of their names."""
    added: list[Added] = []
    refused: list[Refused] = []
    names = {name for name, _ in SIGNATURES}
    codes = set(CODES)
    for point in sorted(points, key=lambda each: (each.name, _source(each), each.value)):
        source = _source(point)
        found = _loaded(point)
        because = _clash(point.name, found, names, codes) if isinstance(found, Extension) else found
        if because or not isinstance(found, Extension):
            refused.append(Refused(point.name, source, because))
            continue
        names.add(point.name)
        codes.update(code.code for code in found.codes)
        added.append(Added(point.name, source, found))
    return Installed(tuple(added), tuple(refused))


def _source(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else "an unknown distribution"


def _loaded(point: EntryPoint) -> Extension | str:
    """The extension, or why there is none."""
    try:
        found = point.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever its module does when it is imported
        return " ".join(f"{point.value}: {type(error).__name__}: {error}".split())[:_MAX_REASON]
    if not isinstance(found, Extension):
        return f"{point.value} is a {type(found).__name__}, not an aggregator.extend.Extension"
    because = _malformed(found)
    return because if because else found


def _malformed(extension: Extension) -> str:
    """What is wrong with it by itself; empty: nothing."""
    given: object = extension.codes  # nobody has checked what an operator's module says
    codes = [code for code in given if isinstance(code, Code)] if isinstance(given, tuple) else []
    if not codes or len(codes) < len(extension.codes):
        return "its codes are not a tuple of Code with one at least"
    odd = next((code.code for code in codes if not _CODE.fullmatch(code.code)), "")
    if odd:
        return f'code "{odd}" is not of the form "group.name"'
    if not callable(extension.cases):
        return "its cases cannot be called"
    own = {code.code for code in codes}
    if len(own) < len(codes):
        return "it names a code twice"
    foreign = next((edge for edge in extension.edges if own.isdisjoint((edge.cause, edge.effect))), None)
    return f"its edge {foreign.cause} -> {foreign.effect} has no code of its own" if foreign is not None else ""


def _clash(name: str, extension: Extension, names: Collection[str], codes: Collection[str]) -> str:
    """Whose name or code it takes; empty: nobody's."""
    if name in names:
        return f"there is another signature {name}"
    taken = next((code.code for code in extension.codes if code.code in codes), "")
    return f"code {taken} is another signature's" if taken else ""


def _signature(extension: Extension) -> Signature:
    """As the engine runs it."""
    codes = {code.code: code for code in extension.codes}

    def evaluate(view: ClusterView, thresholds: Thresholds) -> Verdict:
        cases = list(extension.cases(view, thresholds))
        foreign = next((case.code for case in cases if case.code not in codes), "")
        if foreign:
            raise ValueError(f"it makes a case of code {foreign}, which is not among its own")
        return Verdict(gather(view.cluster, cases, codes))

    return evaluate
