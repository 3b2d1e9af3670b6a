"""The command line: words in, the package's public functions called, tables or JSON out."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

from netassay.errors import NetassayError


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit code.

    0 done; 1 a run failed; 2 bad input; 128 + signal number after SIGINT (130) or SIGTERM (143).
    NETASSAY_TRACEBACK=1 shows where in the code an error arose.
    """
    from cyclopts import CycloptsError

    from netassay.cli.app import build

    words = sys.argv[1:] if words is None else list(words)
    try:
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


def _complain(message: str, code: int, error: Exception | None = None) -> int:
    if error is not None and os.environ.get("NETASSAY_TRACEBACK"):
        traceback.print_exception(error)
    print(f"netassay: {message}", file=sys.stderr)
    return code
