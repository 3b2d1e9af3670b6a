"""This process and its children.

Of this one: cores, threads, main memory, the progress of its long loops for a listener (none in a program, the command
line while a command runs), and the signals that ask it to stop. Of children: how they are started, asked to stop and
heard, and how none outlives its parent.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import IO, Any, TypeVar

from netassay.errors import ConfigError

LARGEST = 10**18
"""More bytes than any machine has, and more parameters than any model."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


MOST_THREADS = 1024  # far more than any machine has cores; torch crashes if the system cannot start as many
_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")
"""Read by torch, NumPy's libraries and polars when they are loaded, which a command does after its words are read."""


def require_threads(number: int) -> None:
    """ConfigError for a number of threads outside 1 to 1024."""
    if not 1 <= number <= MOST_THREADS:
        raise ConfigError(f"threads = {number} is not allowed: whole number 1 to {MOST_THREADS}")


@contextmanager
def of_threads(number: int | None) -> Iterator[None]:
    """Within it what is loaded uses this many threads; None changes nothing. ConfigError outside 1 to 1024."""
    if number is None:
        yield
        return
    require_threads(number)
    before = {name: os.environ.get(name) for name in _VARIABLES}
    os.environ.update(dict.fromkeys(_VARIABLES, str(number)))
    torch = sys.modules.get("torch")
    earlier = None if torch is None else torch.get_num_threads()
    if torch is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        if torch is not None:
            torch.set_num_threads(earlier)


def machine_bytes() -> int:
    """Main memory of this machine; 4 GiB where the system does not say.

    >>> machine_bytes() > 0
    True
    """
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 1 << 32


def free_bytes() -> int | None:
    """Free main memory in bytes, within the limit of a container; None where the system does not say.

    >>> free_bytes() is None or free_bytes() >= 0
    True
    """
    free: list[int] = []
    with suppress(OSError, ValueError, IndexError):
        available = Path("/proc/meminfo").read_text().partition("MemAvailable:")[2]
        free.append(1024 * int(available.split()[0]))
    with suppress(OSError, ValueError):
        free.append(_allowed_by_container(Path("/sys/fs/cgroup")))
    return min(free, default=None)


def resident_bytes() -> int | None:
    """Main memory in bytes that this process uses now; None where the system does not say.

    >>> resident_bytes() is None or resident_bytes() > 0
    True
    """
    with suppress(OSError, ValueError, IndexError, AttributeError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return None


def peak_bytes() -> int | None:
    """Peak main memory of this process in bytes; None where the system does not say.

    >>> peak_bytes() is None or peak_bytes() > 0
    True
    """
    with suppress(OSError):
        # only this program; getrusage also counts what the process was before it ran this program
        status = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
        if status:
            return int(status[1]) * 1024
    with suppress(ImportError):
        resource = import_module("resource")
        used: int = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return used * (1 if sys.platform == "darwin" else 1024)
    return None


def room(memory: str | None, least: int) -> int:
    """Bytes left for counting, out of those that the process may take or of half this machine's.

    ConfigError where they are fewer than the least that counting needs.
    """
    import_module("polars")  # so that its own memory is included
    allowed = machine_bytes() // 2 if memory is None else size_in_bytes(memory)
    used = peak_bytes() or 0
    if allowed - used < least:
        raise ConfigError(
            f"memory {memory}: the process uses {used / 1e6:.0f} MB before it counts and needs "
            f"{least / 1e6:.0f} MB to count; give at least {(used + least) / 1e6 + 1:.0f}MB"
        )
    return allowed - used


def size_in_bytes(size: str) -> int:
    """The bytes in words such as 500MB, 2GB or 1.5GiB.

    >>> size_in_bytes("1.5GiB")
    1610612736
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?(?:e\+?\d+)?)\s*([kMGT]?)(i?)B?\s*", size, re.IGNORECASE)
    if match is None:
        raise ConfigError(f"memory {size!r:.60} is not a size; write it as 500MB, 2GB or 1.5GiB")
    number, prefix, binary = match.groups()
    amount = float(number) * (1024 if binary else 1000) ** " kmgt".index(prefix.lower() or " ")
    if amount > LARGEST:
        raise ConfigError(f"memory {size!r:.60} is more than any machine has; write it as 500MB, 2GB or 1.5GiB")
    return int(amount)


def _allowed_by_container(folder: Path) -> int:
    """Bytes left to a container (control groups, version 2); ValueError where there is no limit."""
    limit, used = (int((folder / name).read_text()) for name in ("memory.max", "memory.current"))
    # the cache of files is released on demand
    cache = (folder / "memory.stat").read_text().partition("\ninactive_file ")[2].split()
    return max(0, limit - used + int(cache[0] if cache else 0))


Listener = Callable[[str, int, int | None], None]
"""Called with what is counted, how many are done, and how many there are, if known."""

Item = TypeVar("Item")

_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def heard(listener: Listener) -> Iterator[None]:
    """A context in which `listener` hears of every loop of this thread.

    >>> with heard(lambda label, done, total: print(label, done, total)):
    ...     batches = list(paced([[1, 2], [3]], "peaks", total=3, size=2))
    peaks 0 3
    peaks 2 3
    peaks 3 3
    """
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def paced(
    items: Iterable[Item], label: str, *, total: int | None = None, size: int | Callable[[Item], int] = 1
) -> Iterable[Item]:
    """The items, each counted when done: as `size` of `total`, under `label`. Without a listener, `items` itself."""
    listener = _LISTENER.get()
    return items if listener is None else _with_progress(items, listener, label, total, size)


def stage(label: str) -> None:
    """Announces a stage that cannot be counted."""
    if (listener := _LISTENER.get()) is not None:
        listener(label, 0, None)


def _with_progress(
    items: Iterable[Item], listener: Listener, label: str, total: int | None, size: int | Callable[[Item], int]
) -> Iterator[Item]:
    count = 0
    listener(label, count, total)
    for item in items:
        yield item
        count += size(item) if callable(size) else size
        listener(label, count if total is None else min(count, total), total)


_LAST_WORDS = 2000


class Child:
    """A module of this interpreter in a process of its own; what it writes to standard error is kept.

    Its standard input is a pipe that ends with this process (`when_parent_ends`). With `heard`, its standard output is
    read here line by line.
    """

    def __init__(self, module: str, arguments: Sequence[str], *, heard: bool = False) -> None:
        self._asked = False
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if heard else subprocess.DEVNULL,
            stderr=self._errors,
            start_new_session=True,  # the terminal's Ctrl-C reaches this process alone, which passes it on once
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same on Windows
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, line: str) -> None:
        """Writes a line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def hear(self) -> str:
        """The next line of its standard output; "" at its end."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode()

    def exit_code(self) -> int | None:
        """None while it lives; below zero the number of the signal that ended it."""
        return self._process.poll()

    def wait(self, seconds: float | None = None) -> bool:
        """Whether it ended, within `seconds` where given."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> None:
        """Asks it once to stop by itself (SIGTERM); a second signal might kill it."""
        if not self._asked:
            self._asked = True
            if sys.platform == "win32":  # where SIGTERM ends a process at once
                self.end_input()
            else:
                self._process.terminate()

    def end_input(self) -> None:
        """Closes its standard input: nothing more will be told."""
        assert self._process.stdin is not None
        with suppress(OSError):  # it may be gone already
            self._process.stdin.close()

    def killed_by(self) -> str:
        """Name of the signal that ended it, or ""."""
        code = self.exit_code()
        return signal.Signals(-code).name if code is not None and code < 0 else ""

    def last_words(self) -> str:
        """The end of what it wrote to standard error."""
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - 4 * _LAST_WORDS))
        return self._errors.read().decode(errors="replace").strip()[-_LAST_WORDS:]

    def close(self) -> None:
        """Ends it if it still lives, and lets go of its pipes."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream:
                with suppress(OSError):  # what could not be told any more
                    stream.close()


def stop_this_process() -> None:
    """Sends this process SIGTERM, from any thread; its handler runs in the main thread."""
    if sys.platform == "win32":  # where os.kill ends it at once
        signal.raise_signal(signal.SIGTERM)
    else:
        os.kill(os.getpid(), signal.SIGTERM)


def when_parent_ends(act: Callable[[], None]) -> None:
    """Calls `act`, in a thread of its own, once standard input ends: it is a pipe that only the parent holds."""

    def watch() -> None:
        # os.read: a thread inside sys.stdin's own lock would abort the interpreter on its way out
        while os.read(0, 1):
            pass
        act()

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def stop_signals(ask: Callable[[], None] = lambda: None, *, patient: bool = False) -> Iterator[list[int]]:
    """Within it signals that ask to stop call `ask` and are noted in the list that is given; nothing in other threads.

    These are SIGINT, SIGTERM, and, unless it is ignored (nohup), the one that says that the terminal was closed. A
    second signal is left to the handler that was there before, unless `patient`.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        ask()
        if not patient:
            signal.signal(number, before[number])

    before: dict[int, Any] = {
        number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM, *_hang_ups())
    }
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _hang_ups() -> list[int]:
    numbers = [getattr(signal, name) for name in ("SIGHUP", "SIGBREAK") if hasattr(signal, name)]
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
