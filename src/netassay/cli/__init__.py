"""The command line: calls the package's public functions and prints tables or JSON."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from types import FrameType, TracebackType
from typing import Any

from netassay.cli.output import visible
from netassay.errors import Interrupted, NetassayError, RunWarning


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit code.

    0 done; 1 a run failed; 2 bad input; 128 + signal number after SIGHUP (129), SIGINT (130) or SIGTERM (143).
    NETASSAY_TRACEBACK=1 shows where in the code an error arose.
    """
    with Interrupts() as interrupts:
        if words is not None:
            try:
                return _main(list(words), interrupts)
            finally:
                interrupts.put_back()
        sys.unraisablehook = hear_again
        # after all else of the process, as Python then leaves signals to the system, which would end it without a word
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
        return _main(sys.argv[1:], interrupts)


def _main(words: list[str], interrupts: Interrupts) -> int:
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123 (for the rest of the process)
    if sys.stdout is None:
        return _complain("standard output is closed; send it to a file, or to /dev/null", 2)
    threads = os.environ.get("POLARS_MAX_THREADS", "1")
    if not threads.isdecimal() or not 1 <= int(threads[:9]) <= 10_000:  # polars panics, or aborts
        return _complain(f"POLARS_MAX_THREADS={threads!r:.40} is not allowed: whole number 1 to 10000", 2)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be UTF-8
    try:
        with _warnings_in_words():
            code = _answer(words, interrupts)
        sys.stdout.flush()
    except BrokenPipeError:
        # the reader of our output is gone (`| head`)
        _silence()
        return 0
    except OSError as error:
        _silence()
        where = f"{error.filename}: " if error.filename else ""
        return _complain(f"{where}{error.strerror or error}", 2, error)
    except MemoryError as error:
        return _complain(_NO_MEMORY, 2, error)
    except KeyboardInterrupt:
        return _complain("stopped", STOPPED)
    except Exception as error:
        if interrupts.asked:
            return _complain("stopped", STOPPED)
        if not _lacks_memory(error):
            raise
        return _complain(_NO_MEMORY, 2, error)
    return code


_NO_MEMORY = "there is not enough memory; lower --memory or use less data"


_REFUSALS = (
    "allocate memory",
    "Storage size calculation overflowed",
    "Maximum allowed dimension exceeded",
    "array is too big",
)


def _lacks_memory(error: Exception) -> bool:
    """Whether torch or NumPy was refused memory, or asked for more than addresses have, which they say in words."""
    return isinstance(error, RuntimeError | ValueError) and any(words in str(error) for words in _REFUSALS)


def _answer(words: list[str], interrupts: Interrupts) -> int:
    from cyclopts import CycloptsError

    from netassay.cli.app import build

    words = _with_standard_input(words)
    try:
        app = build(words[0] if words else "")
        interrupts.at_work = True
        answer = app(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return _complain(f"{error} See 'netassay --help'.", 2)
    except NetassayError as error:
        if interrupts.asked and not isinstance(error, Interrupted):  # of what was broken off
            return _complain("stopped", STOPPED)
        return _complain(str(error), error.exit_code, error)
    return answer if isinstance(answer, int) else 0


def _with_standard_input(words: list[str]) -> list[str]:
    """The words with a file's name for each "-" that is no flag's value, since cyclopts takes that for an option."""
    before = ["", *words]
    return [
        "/dev/stdin" if word == "-" and not last.startswith("-") else word
        for last, word in zip(before, words, strict=False)
    ]


def _silence() -> None:
    """Discards what remains for standard output, which Python would otherwise try to write again at exit."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _warnings_in_words() -> Iterator[None]:
    """Prints warnings about runs as one line, without the place in the code."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", RunWarning)
        show = warnings.showwarning

        def in_words(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, RunWarning):
                print(visible(f"netassay: warning: {message}"), file=sys.stderr)
            else:
                show(message, category, *where, **more)

        warnings.showwarning = in_words
        yield


def _complain(message: str, code: int, error: Exception | None = None) -> int:
    if error is not None and os.environ.get("NETASSAY_TRACEBACK"):
        import traceback

        traceback.print_exception(error)
    with suppress(OSError):
        print(visible(_shortened(f"netassay: {message}")), file=sys.stderr)
    return code


def _shortened(message: str) -> str:
    """The message, cut to a few lines of the input that it quotes."""
    lines = [line if len(line) <= 1000 else f"{line[:500]} ... {line[-400:]}" for line in message.splitlines()]
    return "\n".join(lines if len(lines) <= 20 else [*lines[:20], f"and {len(lines) - 20:,} lines more"])


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
