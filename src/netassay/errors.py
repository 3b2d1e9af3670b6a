"""Everything netassay raises on purpose.

Each message says what was given, where, what is allowed and what to do. The command line prints the message
alone and exits with `exit_code`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager


class NetassayError(Exception):
    """Base of all errors that netassay raises."""

    exit_code = 2


class ConfigError(NetassayError, ValueError):
    """A config or plan with an unknown key, a value out of its range, or text that cannot be read."""


class DataError(NetassayError, ValueError):
    """Data that is missing, damaged or not in the required form."""


class ModelError(NetassayError, ValueError):
    """A module, loss or data iterator that cannot be assayed as it is."""


class NotFinite(ModelError):
    """A gradient or curvature that is not finite although the loss is: often the first sign of divergence."""


class StoreError(NetassayError):
    """A run folder or store that cannot be read or written."""


class RunLocked(StoreError):
    """Another living process writes this run."""


class RunDamaged(StoreError):
    """Bytes on disk differ from their recorded digest."""


class ExtraMissing(NetassayError, ImportError):
    """An optional dependency is needed and not installed; the message names the extra."""


class PluginError(NetassayError):
    """A study of another package that cannot be used; the message names the package."""


class RunWarning(UserWarning):
    """A run that cannot be read and is left out of an answer on several runs; the message names it and the reason."""


class RunFailed(NetassayError):
    """A run could not continue; what it committed before is kept."""

    exit_code = 1


class Interrupted(NetassayError):
    """A run stopped by a signal after its checkpoint was written; resuming continues from there."""

    exit_code = 130

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


@contextmanager
def reraised(refusal: Callable[[str], NetassayError]) -> Iterator[None]:
    """Around one call of a library: whatever it raises, including a Rust panic, becomes `refusal(its first line)`.

    Panics arrive as pyo3's PanicException, of which each library has its own and which is not an Exception. Errors of
    netassay and of the system pass unchanged.
    """
    try:
        yield
    except (NetassayError, OSError, MemoryError):
        raise
    except BaseException as cause:
        if not isinstance(cause, Exception) and type(cause).__name__ != "PanicException":
            raise
        raise refusal(first_line(cause)) from cause


def first_line(cause: BaseException) -> str:
    """The first line of an error's message, cut if it is long; the name of its type if it has no message."""
    lines = str(cause).strip().splitlines()
    return lines[0][:300] if lines else type(cause).__name__


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """'did you mean X?' for the choice nearest to `word`, or the list of all choices."""
    import difflib  # most commands never need it

    names = [str(name) for name in choices]
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(names)) or 'none'}"
