"""The terminal: untrusted text on its way to it, and Ctrl-C at any moment of a command."""

from __future__ import annotations

import os
import re
import signal
import sys
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

# C0 except tab and line end, DEL, C1, marks that reverse or break the line, lone surrogates
_HIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """The text, with escapes for characters that would control a terminal.

    >>> visible("a\\x1b[31mb")
    'a\\\\x1b[31mb'
    """
    return _HIDDEN.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


STOPPED = 128 + signal.SIGINT
_IMPORTING = "<frozen importlib"


class Interrupts:
    """What Ctrl-C does in this process; commands that write checkpoints put a handler of their own in its place.

    While a command is only being made, at the end of the process, and within an import, which libraries written in C do
    not survive being broken off, it ends the process at once: nothing that is written suffers from that. In between
    KeyboardInterrupt is raised, and `asked` tells whatever else may come of it from an error.
    """

    def __init__(self) -> None:
        self.asked = False
        self.at_work = False
        self._before: Any = None

    def __enter__(self) -> Interrupts:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            with suppress(ValueError):  # in a thread other than the main one, which signals do not reach
                self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.at_work = False

    def put_back(self) -> None:
        """Leaves signals as they were, for a process that goes on."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        if not self.at_work or _is_importing(frame):
            with suppress(OSError):
                os.write(2, b"netassay: stopped\n")
            os._exit(STOPPED)
        raise KeyboardInterrupt


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith(_IMPORTING):
            return True
        frame = frame.f_back
    return False


def hear_again(unraisable: Any) -> None:
    """For sys.unraisablehook: a Ctrl-C that fell into a finaliser, which swallows it, comes again in a moment."""
    if not isinstance(unraisable.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
        return
    from threading import Timer

    Timer(0.02, os.kill, [os.getpid(), signal.SIGINT]).start()
