"""The settings loader: every source, every problem at once, each with its place."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nodetell.setting import settings_of
from nodetell.settings import SettingsError, load, render
from nodetell.toml_lines import key_lines

PREFIX = "NODETELL_AGENT_"


@dataclass(frozen=True)
class Stream:
    """How facts travel."""

    batch_interval_s: float = field(default=5.0, metadata={"min": 0.2, "max": 300, "unit": "seconds"})
    """Counters are sent this often. Shorter
    costs bytes."""
    window: int = field(default=4, metadata={"min": 1})
    """Messages in flight."""


@dataclass(frozen=True)
class Settings:
    """Of a role."""

    node: str = ""
    """Name of the node."""
    insecure: bool = False
    """Speak without TLS."""
    mode: str = field(default="auto", metadata={"choices": ("auto", "netlink", "sysfs")})
    """Where links are read."""
    directories: tuple[str, ...] = ()
    """Directories to probe."""
    ports: tuple[int, ...] = field(default=(1, 2), metadata={"max": 65535})
    """Ports."""
    state: Path | None = None
    """Where history is kept."""
    stream: Stream = field(default_factory=Stream)


def load_text(
    tmp_path: Path, text: str, env: dict[str, str] | None = None, flags: dict[str, object] | None = None
) -> Settings:
    path = tmp_path / "agent.toml"
    path.write_text(text)
    return load(Settings, path, env or {}, flags or {}, PREFIX)


def problems(
    tmp_path: Path, text: str, env: dict[str, str] | None = None, flags: dict[str, object] | None = None
) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_text(tmp_path, text, env, flags)
    return [each.replace(f"{tmp_path}/", "") for each in caught.value.problems]


def test_defaults_without_any_source() -> None:
    assert load(Settings, None, {"PATH": "/bin", "NODETELL_AGGREGATOR": "x"}, {}, PREFIX) == Settings()


def test_flags_beat_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    text = 'node = "file"\nmode = "sysfs"\n[stream]\nwindow = 2\nbatch_interval_s = 1\n'
    env = {"NODETELL_AGENT_NODE": "env", "NODETELL_AGENT_STREAM_WINDOW": "3", "NODETELL_AGENT_DIRECTORIES": "/a, /b,"}
    loaded = load_text(tmp_path, text, env, {"stream.window": "5", "insecure": "true", "state": "/var/lib/x"})
    assert loaded == Settings(
        "env", True, "sysfs", ("/a", "/b"), (1, 2), Path("/var/lib/x"), Stream(batch_interval_s=1.0, window=5)
    )
    assert isinstance(loaded.stream.batch_interval_s, float)


def test_an_empty_text_unsets_what_may_be_unset(tmp_path: Path) -> None:
    assert load_text(tmp_path, 'state = "/x"', {"NODETELL_AGENT_STATE": ""}).state is None
    assert load_text(tmp_path, 'state = "/x"', {}, {"state": None}).state is None


def test_all_problems_at_once_with_file_and_line(tmp_path: Path) -> None:
    text = """\
# a comment
nod = "x"
insecure = "yes"
ports = [
  1,
  70000, # too large
]
window = 3

[stream]
batch_interval_s = 0.1
window = true
[steam]
window = 3
"""
    env = {"NODETELL_AGENT_MODE": "netlnk", "NODETELL_AGENT_NODES": "3"}
    assert problems(tmp_path, text, env, {"stream.window": "many"}) == [
        'agent.toml:2: unknown key "nod"; did you mean "node"?',
        'agent.toml:3: insecure: expected true or false, not "yes"',
        "agent.toml:4: ports: 70000 is above the maximum of 65535",
        'agent.toml:8: unknown key "window"; did you mean "stream.window"?',
        "agent.toml:11: stream.batch_interval_s: 0.1 is below the minimum of 0.2 seconds",
        "agent.toml:12: stream.window: expected a whole number, not true",
        'agent.toml:13: unknown table "steam"; did you mean "stream"?',
        'environment variable NODETELL_AGENT_MODE: "netlnk" is none of auto, netlink, sysfs; did you mean "netlink"?',
        "environment variable NODETELL_AGENT_NODES: there is no such setting; did you mean NODETELL_AGENT_NODE?",
        'flag --stream.window: expected a whole number, not "many"',
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("node = ", "agent.toml:1:8: Invalid value"),
        ('node = "a"\nmode = "x\n', "agent.toml:2:10: Illegal character '\\n'"),
        ("[stream", "agent.toml:1:8: Expected ']' at the end of a table declaration"),
        ("stream = 3", "agent.toml:1: stream: expected a table, not 3"),
        ("directories = 3", "agent.toml:1: directories: expected a list of strings, not 3"),
        ('directories = ["a", 3]', "agent.toml:1: directories: expected a string, not 3"),
        ("stream.batch_interval_s = inf", "agent.toml:1: stream.batch_interval_s: inf is no usable number"),
        ("[node]\nx = 1", "agent.toml:1: node: expected a string, not a table"),
    ],
)
def test_a_bad_file(tmp_path: Path, text: str, expected: str) -> None:
    assert problems(tmp_path, text) == [expected]


def test_a_syntax_error_does_not_hide_problems_elsewhere(tmp_path: Path) -> None:
    assert len(problems(tmp_path, "node", {"NODETELL_AGENT_INSECURE": "maybe"})) == 2


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "absent.toml", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(SettingsError) as caught:
            load(Settings, path, {}, {}, PREFIX)
        assert caught.value.problems == [f"{path}: {reason}"]
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b'node = "a"\nmode = "\xe9"\n')
    with pytest.raises(SettingsError) as caught:
        load(Settings, latin, {}, {}, PREFIX)
    assert caught.value.problems == [f"{latin}:2: not UTF-8 (byte 0xe9)"]


def test_variables_that_kubernetes_makes_for_a_service_are_no_settings() -> None:
    env = {
        "NODETELL_AGENT_SERVICE_HOST": "10.0.0.1",
        "NODETELL_AGENT_SERVICE_PORT": "7443",
        "NODETELL_AGENT_SERVICE_PORT_GRPC": "7443",
        "NODETELL_AGENT_PORT": "tcp://10.0.0.1:7443",
        "NODETELL_AGENT_PORT_7443_TCP": "tcp://10.0.0.1:7443",
        "NODETELL_AGENT_PORT_7443_TCP_ADDR": "10.0.0.1",
    }
    assert load(Settings, None, env, {}, PREFIX) == Settings()


def test_what_the_dataclass_itself_refuses_is_a_problem_with_a_place(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Window:
        low: int = 1
        high: int = 2

        def __post_init__(self) -> None:
            if self.low > self.high:
                raise ValueError("low is above high")

    path = tmp_path / "x.toml"
    path.write_text("high = 4\nlow = 5\n")
    with pytest.raises(SettingsError, match=r"x\.toml:2: low is above high"):
        load(Window, path, {}, {}, PREFIX)
    with pytest.raises(SettingsError, match=r"flag --low: low is above high"):
        load(Window, None, {}, {"low": "5", "high": "4"}, PREFIX)


def test_the_annotated_file_explains_every_key() -> None:
    text = render(Settings(), PREFIX)
    assert (
        "# Counters are sent this often. Shorter costs bytes.\n# (a number; seconds, 0.2 to 300; default 5.0)\n" in text
    )
    assert "# NODETELL_AGENT_STREAM_BATCH_INTERVAL_S, --stream.batch-interval-s\nbatch_interval_s = 5.0\n" in text
    assert "# state =\n" in text
    for setting in settings_of(Settings):
        assert setting.doc
        assert setting.flag in text


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(
    st.builds(
        Settings,
        NAMES,
        st.booleans(),
        st.sampled_from(["auto", "netlink", "sysfs"]),
        st.lists(NAMES, max_size=3).map(tuple),
        st.lists(st.integers(-(2**62), 65535), max_size=3).map(tuple),
        st.none() | NAMES.filter(bool).map(Path),
        st.builds(Stream, st.floats(0.2, 300), st.integers(1, 2**62)),
    )
)
def test_the_annotated_file_loads_into_the_same_settings(
    tmp_path_factory: pytest.TempPathFactory, settings: Settings
) -> None:
    path = tmp_path_factory.mktemp("settings") / "x.toml"
    path.write_text(render(settings, PREFIX), newline="")
    assert load(Settings, path, {}, {}, PREFIX) == settings


VALUES = st.sampled_from(
    [
        "1",
        "1.5",
        "true",
        "1979-05-27T07:32:00Z",
        '"a # b = c"',
        "'x[y]'",
        '"\\"\\n\\\\"',
        '"""\nm = 1\n"" \\" """',
        "'''\nn = 2\n''''",
        '"""""end"""""',
        "[]",
        "[ # c ]\n 1,\n [2, 3], ]",
        "[\n{ p = 1, 'q r' = [2] }\n]",
        "{}",
        "{ deep = { er = 1 } }",
    ]
)
KEYS = st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True)


@given(st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=4), max_size=4), st.booleans())
def test_each_key_is_found_on_its_line(tables: dict[str, dict[str, str]], windows: bool) -> None:
    lines: list[str] = []
    expected: dict[tuple[str, ...], int] = {}
    for table, keys in tables.items():
        lines.append(f'[ "{table}" ] # [no]')
        expected[(table,)] = len(lines)
        for key, value in keys.items():
            lines.append("  # x = 1")
            expected[(table, key)] = len(lines) + 1
            lines.extend(f"{key} \t= {value} # = [".split("\n"))
    text = ("\r\n" if windows else "\n").join(lines)
    document = tomllib.loads(text)
    found = key_lines(text.replace("\r\n", "\n"))
    assert {key: line for key, line in found.items() if key in expected} == expected
    assert set(paths(document)) <= set(found)


def paths(table: dict[str, Any], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for key, value in table.items():
        found.append((*above, key))
        if isinstance(value, dict):
            found.extend(paths(value, (*above, key)))
    return found


def test_lines_of_dotted_and_quoted_keys_and_arrays_of_tables() -> None:
    text = 'a.b."c.d" = 1\n\n[[x]]\ny = 1\n[[x]]\ny = 2\n\'z\' = """\nq = 1\n"""\n[x.w]'
    assert key_lines(text) == {
        ("a",): 1, ("a", "b"): 1, ("a", "b", "c.d"): 1, ("x",): 3, ("x", "y"): 4, ("x", "z"): 7, ("x", "w"): 10,
    }  # fmt: skip
