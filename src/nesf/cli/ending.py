"""How a command ends before its time: told to stop, or left by whoever read its output."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TextIO

_ENDING = ("SIGTERM", "SIGHUP")


class Stop:
    """What told a command to stop.

    Attributes:
        status: the exit status that says so, 130 for Ctrl-C and 143 for SIGTERM.
    """

    def __init__(self) -> None:
        self.status = 128 + signal.SIGINT

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        """Handle a signal as Ctrl-C is handled, so that what is interrupted has to know of one thing only."""
        self.status = 128 + number
        raise KeyboardInterrupt


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Let the signals that end a process interrupt the block as Ctrl-C does: files are closed, locks given back."""
    stop = Stop()
    # The processes of a team must end at once, and not wait for each other to agree on a step.
    team = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if team or threading.current_thread() is not threading.main_thread():
        yield stop
        return
    numbers = [getattr(signal, name) for name in _ENDING if hasattr(signal, name)]
    # What is ignored (nohup) or handled already stays so.
    before = {number: signal.getsignal(number) for number in numbers}
    ours = [number for number, handler in before.items() if handler == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, stop)
    try:
        yield stop
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def give_closed_streams() -> None:
    """Put something in the place of a standard output or error that the shell has closed."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 (as long as the process)


def silence(stream: TextIO) -> None:
    """Let what is still to be written to a stream vanish, because nobody reads it any more."""
    with suppress(OSError, ValueError):  # a stream without a file, as in a notebook
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
