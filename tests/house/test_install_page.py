"""docs/install.md and the README: what they tell to type is run where that needs no cluster, and of the rest all that
is named exists.

A fenced block's second word says where it can be typed: nothing, on any machine with a clone; "cluster", with one at
hand; "engine", with a container engine; "network" and "carried", around a machine without a network.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # comes with lightkube; its types do not

from cli import kubectl, parser
from cli.install.objects import Choice, chosen
from cli.install.sizing import SIZES
from release import chart

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "install.md").read_text()
MANIFESTS = (ROOT / "manifests" / "README.md").read_text()
README = (ROOT / "README.md").read_text()
MAKE = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
FENCE = re.compile(r"^```sh ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = FENCE.findall(PAGE)
DOCUMENT = re.compile(r"<<'END'\n(.*?)^END$", re.MULTILINE | re.DOTALL)


def lines(text: str) -> Iterator[str]:
    """Command lines of a block, without what is given to them by "<<"."""
    text = DOCUMENT.sub("", text).replace("\\\n", " ")
    return (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))


def parsed(command: str) -> Any:
    """The words of a command line, up to where its output goes."""
    words = shlex.split(command, comments=True)
    return words[
        : next((at for at, word in enumerate(words) if word in (">", "|", "&", "&&", "<<END", "<<")), len(words))
    ]


OF_PAGE = [line for _, text in BLOCKS for line in lines(text)]
OF_README = [
    line.strip() for line in re.findall(r"^    (?:\.venv/bin/nodetell|make|kubectl) .*$", README, re.MULTILINE)
]
OF_MANIFESTS = re.findall(r"^    ((?:kubectl|helm|nodetell|make) .*)$", MANIFESTS, re.MULTILINE)
ALL = list(dict.fromkeys([*OF_PAGE, *OF_README, *OF_MANIFESTS]))


def test_there_are_blocks_of_each_kind() -> None:
    assert {kind for kind, _ in BLOCKS} == {"", "cluster", "engine", "network", "carried"}
    assert len(OF_PAGE) > 30
    assert OF_README
    assert OF_MANIFESTS


def test_what_needs_no_cluster_is_typed(tmp_path: Path) -> None:
    """In a directory of its own, one block after the other. What takes minutes and a registry is tested elsewhere."""
    script = [
        line for kind, text in BLOCKS if not kind for line in lines(text) if not line.startswith(("make", "export"))
    ]
    assert any(line.startswith("nodetell install") for line in script)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-eu", "-c", "\n".join(script)],
        cwd=tmp_path,
        env={"PATH": path, "HOME": str(tmp_path), "PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    items = list(yaml.safe_load_all((tmp_path / "nodetell.yaml").read_text()))
    assert items == chosen(
        Choice(tier=2, http=True, cluster="prod-a", image="registry.example.org/nodetell:0.1.0"), "0"
    )
    assert {path.name for path in (tmp_path / "ca").iterdir()} >= {"ca.crt", "aggregator.crt", "aggregator.key"}


@pytest.mark.parametrize("line", ALL)
def test_every_command_names_what_there_is(line: str) -> None:
    words = parsed(line)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    command = Path(words[0]).name
    if command == "nodetell":
        parser.parse(words[1:])
    elif command == "kubectl":
        _kubectl(words[1:])
    elif command == "helm":
        _helm(words[1:])
    elif command == "make":
        assert words[1] in MAKE
    else:
        assert command in {"docker", "export", "mkdir", "oc", "pip", "python3", "skopeo"}, line
    for word in words:
        if re.match(r"(manifests|requirements|docs|dist/nodetell-image)\b.*[/.]", word) and not word.startswith(
            "dist/"
        ):
            assert (ROOT / word).exists(), word
        if match := re.fullmatch(r"(?:docker-archive:)?(?:dist|carry)/(nodetell-image\.tar)", word):
            assert match[1] in (ROOT / "Makefile").read_text()


NAMES = {
    (item["kind"].lower(), item["metadata"]["name"])
    for choice in (Choice(http=True), Choice(cert_manager=True))
    for item in chosen(choice, "0")
}
"""What an installation has, by kind and name."""
MADE_BY_HAND = {("secret", "nodetell-aggregator-tls"), ("configmap", "nodetell-ca"), ("secret", "nodetell-ca")}
OTHERS = {"pvc/first-finding", "rolebinding/ada"}


def _kubectl(words: list[str]) -> None:
    if words[0] == "nodetell":  # kubectl takes no flags before the name of a plug-in
        kubectl.parse(words[1:])
        return
    for kind, name in re.findall(
        r"\b(deployment|daemonset|service|secret|configmap|role|clusterrole)[/ ]([a-z][a-z-]+)\b", " ".join(words)
    ):
        if name not in ("tls", "generic"):
            assert (kind, name) in NAMES | MADE_BY_HAND, (kind, name)
    for kind, flag in (("role", "--role"), ("clusterrole", "--clusterrole")):
        if flag in words:
            assert (kind, words[words.index(flag) + 1]) in NAMES


def _helm(words: list[str]) -> None:
    values = yaml.safe_load((chart.CHART / "values.yaml").read_text())
    for assigned in (each for at, word in enumerate(words) if word == "--set" for each in words[at + 1].split(",")):
        place: Any = values
        for key in assigned.partition("=")[0].split("."):
            assert key in place, assigned
            place = place[key]


def test_what_is_given_to_kubectl_is_yaml() -> None:
    given = [document for _, text in BLOCKS for document in DOCUMENT.findall(text)]
    assert given
    for document in given:
        assert yaml.safe_load(document)["kind"]


def test_the_table_of_sizes_is_what_install_and_the_manifests_ask_for() -> None:
    rows = re.findall(r"^\| ([\d,]+) \| (\d+m) \| (\d+[MG]i) \| (\d+[MG]i) \|$", PAGE, re.MULTILINE)
    assert rows == [(f"{size.nodes:,}", size.cpu, size.memory, size.memory_limit) for size in SIZES]
    for size in SIZES:
        for choice in (Choice(nodes=size.nodes), *([Choice()] if size is SIZES[0] else [])):
            (aggregator,) = (item for item in chosen(choice, "0") if item["kind"] == "Deployment")
            (container,) = aggregator["spec"]["template"]["spec"]["containers"]
            assert container["resources"] == size.resources


def test_each_kind_of_cluster_has_flags_that_there_are() -> None:
    rows = re.findall(r"^\| (\S[^|]*) \| `(--tier [^`]+)` \|", PAGE, re.MULTILINE)
    assert [name.strip() for name, _ in rows] == [
        "kind", "EKS", "GKE Standard", "GKE Autopilot", "AKS", "k3s", "Talos", "OpenShift",
    ]  # fmt: skip
    for _, flags in rows:
        parser.parse(["install", *flags.split()])
