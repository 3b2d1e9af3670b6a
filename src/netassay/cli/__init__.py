"""The command line: words in, the package's public functions called, tables or JSON out."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from netassay.errors import NetassayError, RunWarning


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit code.

    0 done; 1 a run failed; 2 bad input; 128 + signal number after SIGINT (130) or SIGTERM (143).
    NETASSAY_TRACEBACK=1 shows where in the code an error arose.
    """
    from cyclopts import CycloptsError

    from netassay.cli.app import build

    words = sys.argv[1:] if words is None else list(words)
    try:
        with _warnings_in_words():
            answer = build(words[0] if words else "")(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return _complain(f"{error} See 'netassay --help'.", 2)
    except NetassayError as error:
        return _complain(str(error), error.exit_code, error)
    except BrokenPipeError:
        # the reader of our output has gone (`| head`); nothing is left to say, and nobody to say it to
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return _complain("stopped", 130)
    return answer if isinstance(answer, int) else 0


@contextmanager
def _warnings_in_words() -> Iterator[None]:
    """Within it a warning of a run is one line without the place in the code."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", RunWarning)
        show = warnings.showwarning

        def in_words(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, RunWarning):
                print(f"netassay: warning: {message}", file=sys.stderr)
            else:
                show(message, category, *where, **more)

        warnings.showwarning = in_words
        yield


def _complain(message: str, code: int, error: Exception | None = None) -> int:
    if error is not None and os.environ.get("NETASSAY_TRACEBACK"):
        traceback.print_exception(error)
    print(f"netassay: {message}", file=sys.stderr)
    return code
