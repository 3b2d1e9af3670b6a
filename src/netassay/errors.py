"""Everything netassay raises on purpose.

Each message says what was given, where, what is allowed and what to do. The command line prints the message
alone and exits with `exit_code`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager


class NetassayError(Exception):
    """Root of the tree: what a caller may catch to catch them all."""

    exit_code = 2


class ConfigError(NetassayError, ValueError):
    """A config or plan with an unknown key, a value out of its range, or text that cannot be read."""


class DataError(NetassayError, ValueError):
    """Data that is missing, damaged or not of the form asked for."""


class ModelError(NetassayError, ValueError):
    """A module, loss or data iterator that cannot be assayed as it is."""


class NotFinite(ModelError):
    """A gradient or curvature that is not finite although the loss is: how a diverging descent may first show."""


class StoreError(NetassayError):
    """A run folder or store that cannot be read or written."""


class RunLocked(StoreError):
    """Another living process writes this run."""


class RunDamaged(StoreError):
    """Bytes on disk differ from what was recorded of them."""


class ExtraMissing(NetassayError, ImportError):
    """An optional dependency is needed and not installed; the message names the extra."""


class PluginError(NetassayError):
    """A study of another package that cannot be used; the message names the package."""


class RunWarning(UserWarning):
    """A run that cannot be read and is left out of an answer on several runs; the message names it and the reason."""


class RunFailed(NetassayError):
    """A run that was begun could not go on; what was committed before is kept."""

    exit_code = 1


class Interrupted(NetassayError):
    """A run stopped by a signal after its checkpoint was written; resuming goes on from there."""

    exit_code = 130

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


@contextmanager
def reraised(refusal: Callable[[str], NetassayError]) -> Iterator[None]:
    """Around one call of a library: whatever it raises, a panic of Rust's included, becomes `refusal(its first line)`.

    Panics come as pyo3's PanicException, of which each library has its own and which is no Exception. Errors of
    netassay and of the system pass as they are.
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
    """What an error says, its first line alone and cut where that is long; its kind where it says nothing."""
    lines = str(cause).strip().splitlines()
    return lines[0][:300] if lines else type(cause).__name__


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """' Did you mean X?' for the known word nearest to `word`, or the list of known words."""
    import difflib  # most commands never need it

    names = [str(name) for name in known]
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(names)) or 'none'}"
