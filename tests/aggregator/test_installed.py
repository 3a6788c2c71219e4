"""Signatures from outside: used beside the built-in ones, refused with the reason, never in anybody's way."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from aggregator.extend import NODE, Case, Code, Edge, Extension, Thresholds
from aggregator.installed import GROUP, Installed, load
from aggregator.node_state import NodeState
from aggregator.view import ClusterView

CODE = Code("acme.thing", "acme", "a thing is wrong", "it is right", ("Mend it.",))
VIEW = ClusterView("c", {"n1": NodeState("n1")})
GOOD = """
from aggregator.extend import Case, Code, Extension
CODE = Code("acme.{0}", "acme", "a thing is wrong", "it is right", ("Mend it.",))
def cases(view, thresholds):
    for name in view.hosts:
        yield Case("acme.{0}", (name,), f"{{name}} has a thing", (), (), nodes=(name,))
EXTENSION = Extension((CODE,), cases)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that modules are imported from."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def point(place: Path, name: str, source: str, attribute: str = "EXTENSION") -> EntryPoint:
    """An entry point to a module with this source."""
    module = f"outside_{place.name.replace('-', '_')}_{name}"
    (place / f"{module}.py").write_text(source)
    return EntryPoint(name, f"{module}:{attribute}", GROUP)


def test_one_from_outside_finds_beside_the_built_in_ones(place: Path) -> None:
    found = load([point(place, "thing", GOOD.format("thing"))])
    assert [each.name for each in found.added] == ["thing"]
    judgement = found.judge(VIEW, Thresholds())
    (finding,) = judgement.verdict.findings
    assert (finding.code, finding.summary, finding.nodes) == ("acme.thing", "n1 has a thing.", ("n1",))
    assert judgement.origins == {finding.id: "thing"}
    assert judgement.verdict.gaps == []


@pytest.mark.parametrize(
    ("source", "because"),
    [
        ("import nobody_has_such_a_module", "ModuleNotFoundError: No module named"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("1 +", "SyntaxError"),
        ("EXTENSION = 5", "is a int, not an aggregator.extend.Extension"),
        ("pass", "AttributeError"),
        (GOOD.format("Thing"), 'code "acme.Thing" is not of the form "group.name"'),
        (GOOD.replace("acme.{0}", "crash.oom").replace("{{", "{").replace("}}", "}"), "code crash.oom is another"),
        ("from aggregator.extend import Extension\nEXTENSION = Extension((), print)", "its codes are not a tuple"),
        (GOOD.format("a") + "EXTENSION = Extension((CODE,), 5)", "its cases cannot be called"),
        (GOOD.format("a") + "EXTENSION = Extension((CODE, CODE), cases)", "it names a code twice"),
        (
            GOOD.format("a") + "from aggregator.extend import Edge\n"
            "EXTENSION = Extension((CODE,), cases, (Edge('node.lost', 'crash.oom', 'Node'),))",
            "its edge node.lost -> crash.oom has no code of its own",
        ),
    ],
)
def test_one_that_cannot_be_used_is_refused_and_the_others_are_heard(place: Path, source: str, because: str) -> None:
    found = load([point(place, "broken", source), point(place, "fine", GOOD.format("fine"))])
    assert [each.name for each in found.added] == ["fine"]
    (refused,) = found.refused
    assert because in refused.because
    assert "\n" not in refused.because
    judgement = found.judge(VIEW, Thresholds())
    assert [finding.code for finding in judgement.verdict.findings] == ["acme.fine"]
    (gap,) = judgement.verdict.gaps
    assert gap.signal == "diagnosis/broken"
    assert gap.because.startswith("signature broken of an unknown distribution is not used: ")
    assert judgement.unjudged("broken", []).startswith("signature broken could not be evaluated: ")


def test_names_are_nobody_elses(place: Path) -> None:
    found = load(
        [
            point(place, "mtu_mismatch", GOOD.format("one")),
            point(place, "twin", GOOD.format("two")),
            point(place, "twin", GOOD.format("two")),
            point(place, "zwin", GOOD.format("two")),
        ]
    )
    assert [each.name for each in found.added] == ["twin"]
    assert [each.because for each in found.refused] == [
        "there is another signature mtu_mismatch",
        "there is another signature twin",
        "code acme.two is another signature's",
    ]
    judgement = found.judge(VIEW, Thresholds())
    assert judgement.unjudged("mtu_mismatch", []) == "", "the built-in one of that name is judged"
    assert judgement.unjudged("twin", []) == ""


def test_one_that_raises_takes_nothing_with_it(place: Path) -> None:
    raising = GOOD.format("bad").replace("for name", "raise KeyError('x')\n    for name")
    found = load([point(place, "bad", raising), point(place, "fine", GOOD.format("fine"))])
    judgement = found.judge(VIEW, Thresholds())
    assert [finding.code for finding in judgement.verdict.findings] == ["acme.fine"]
    assert list(judgement.failed) == ["bad"]


def test_a_case_of_anothers_code_is_not_its_to_make(place: Path) -> None:
    found = load([point(place, "bad", GOOD.format("own").replace('Case("acme.own"', 'Case("crash.oom"'))])
    judgement = found.judge(VIEW, Thresholds())
    assert judgement.verdict.findings == []
    assert "a case of code crash.oom, which is not among its own" in judgement.left_out["bad"]["n1"]


def test_its_edges_link_it_to_the_others(place: Path) -> None:
    source = GOOD.format("root") + (
        "from aggregator.extend import Edge\n"
        "EFFECT = Code('acme.effect', 'acme', 'follows', 'it is over', ())\n"
        "def both(view, thresholds):\n"
        "    yield from cases(view, thresholds)\n"
        "    yield Case('acme.effect', ('x',), 'follows', ('Node/n1',), ())\n"
        "EXTENSION = Extension((CODE, EFFECT), both, (Edge('acme.root', 'acme.effect', 'Node'),))\n"
    )
    found = load([point(place, "linked", source)])
    root, effect = found.judge(VIEW, Thresholds()).verdict.findings
    assert (root.code, effect.code, effect.caused_by) == ("acme.root", "acme.effect", (root.id,))


def test_nothing_installed_is_the_built_in_ones_alone() -> None:
    assert load([]) == Installed()
    assert Installed().judge(ClusterView("c", {}), Thresholds()).verdict.findings == []


def test_what_an_extension_is_made_of() -> None:
    """The names that operators import, as the documentation has them."""
    extension = Extension((CODE,), lambda _view, _thresholds: [Case("acme.thing", (), "", (), ())])
    assert extension.edges == ()
    assert Edge("acme.thing", "node.lost", NODE).kind == "Node"
