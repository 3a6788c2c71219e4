"""Which method is chosen, with methods made up: by load, attach and self-test, in order, told and cleaned up."""

from __future__ import annotations

import pytest

from agent.bpf.programs import Hook
from agent.bpf.syscalls import BpfError
from agent.sensor import fsync_methods
from agent.sensor.chain import choose
from agent.sensor.fsync_methods import Method, MethodError


class Made(Method):
    """A method that fails where it is told to, and notes what is done with it."""

    def __init__(self, name: str, fails: str = "") -> None:
        super().__init__(name, (), lambda *_: [])
        self.fails = fails
        self.done: list[str] = []

    def _do(self, what: str) -> None:
        self.done.append(what)
        if self.fails == what:
            raise MethodError(f"{what} refused")

    def load(self) -> None:
        self._do("load")

    def attach(self) -> None:
        self._do("attach")

    def close(self) -> None:
        self._do("close")


def test_the_first_that_loads_attaches_and_counts_is_taken() -> None:
    unloadable, unattachable, blind = Made("a", "load"), Made("b", "attach"), Made("c")
    works, unneeded = Made("d"), Made("e")
    choice = choose(
        [unloadable, unattachable, blind, works, unneeded], lambda method: "saw nothing" if method is blind else ""
    )
    assert choice.method is works
    assert choice.refused == {"a": "load refused", "b": "attach refused", "c": "saw nothing"}
    assert unloadable.done == ["load", "close"]
    assert unattachable.done == ["load", "attach", "close"]
    assert blind.done == ["load", "attach", "close"]
    assert works.done == ["load", "attach"]
    assert unneeded.done == []


def test_none_that_works_is_no_error() -> None:
    choice = choose([Made("a", "load")], lambda _: "")
    assert choice.method is None
    assert choice.refused == {"a": "load refused"}


@pytest.mark.parametrize("typed", [True, False])
def test_a_method_without_names_is_tried_where_names_are_refused(monkeypatch: pytest.MonkeyPatch, typed: bool) -> None:
    """As under lockdown=confidentiality, which refuses the helper that reads them."""
    tried: list[bool] = []

    def hooks(_maps: object, by_name: bool) -> list[Hook]:
        tried.append(by_name)
        if by_name:
            raise BpfError("PROG_LOAD of program x", 22, "program of this type cannot use helper")
        return []

    class NoMaps:
        def close(self) -> None:
            pass

    monkeypatch.setattr(fsync_methods, "FsyncMaps", NoMaps)
    method = Method("m", ("this",), hooks, typed=typed)
    if not typed:
        with pytest.raises(MethodError, match=r"PROG_LOAD of program x: EINVAL .*cannot use helper"):
            method.load()
        assert tried == [True]
        return
    method.load()
    assert tried == [True, False]
    assert method.blind[0] == "this"
    assert "length" in method.blind[1]
