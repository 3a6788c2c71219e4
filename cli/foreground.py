"""The terminal's foreground, taken for this process alone.

A terminal sends Ctrl-C to every process of its foreground group. Started by make, this process shares the group with
make, which dies of the signal and reports a failure however well this process stops. So it moves to a group of its own
and makes that the foreground, as a shell does for a job (tcsetpgrp(3)).
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def own_terminal() -> Iterator[None]:
    """Be the terminal's foreground until the end; without a terminal, or in its background, nothing changes."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            _take(stack)
        yield


def _take(stack: contextlib.ExitStack) -> None:
    terminal = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
    stack.callback(os.close, terminal)
    before = os.tcgetpgrp(terminal)
    if before != os.getpgrp() or os.getpgrp() == os.getpid():
        return
    # Ignored: a change of the foreground from the background raises SIGTTOU, and a stopped child in a group that make
    # does not watch would leave the terminal to nobody.
    for number in (signal.SIGTTOU, signal.SIGTTIN, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)
    os.setpgid(0, 0)
    os.tcsetpgrp(terminal, os.getpgrp())
    stack.callback(_give_back, terminal, before)


def _give_back(terminal: int, group: int) -> None:
    with contextlib.suppress(OSError):
        os.tcsetpgrp(terminal, group)
