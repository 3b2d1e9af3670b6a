"""Runs on this machine: workers that perform one run after another, the cores shared out among them.

A worker that dies is replaced, and its run goes on from its checkpoint. When this process is stopped the workers write
their checkpoints and stop; when it is killed they see their standard input close and do the same.
"""

from __future__ import annotations

import json
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Self

from netassay.errors import ConfigError, Interrupted, StoreError
from netassay.processes import Child, cores, stop_signals
from netassay.runs import Run, State
from netassay.runs.disk import is_held
from netassay.sweeps.answer import LOCKED, STOPPED, Answer

GROWTH = 1 << 30
"""Bytes that a worker may hold beyond what it held after its first run, before it is replaced."""

PATIENCE = 3
"""How often a run may be taken up again that lost its worker and has come no further."""

_PAUSE = 0.5  # seconds between two looks at workers, and at runs that other sweeps perform

_News = SimpleQueue["tuple[_Worker, Answer | None] | None"]


@dataclass(frozen=True)
class LocalProcesses:
    """An executor of `workers` processes at a time with `threads` threads each."""

    workers: int
    threads: int
    growth: int = GROWTH
    commit_seconds: float = 10.0
    """Seconds between checkpoints of a run."""

    @classmethod
    def sharing(cls, runs: int, workers: int | None = None) -> LocalProcesses:
        """As many workers as cores (or as asked, or as runs), the cores divided among them.

        ConfigError for fewer than one worker.
        """
        if workers is not None and workers < 1:
            raise ConfigError(f"workers = {workers} is not allowed: at least 1 run at a time")
        count = max(1, min(workers or cores(), runs))
        return cls(count, max(1, cores() // count))

    def __call__(
        self, folders: Sequence[Path], begun: Callable[[Path], None], ended: Callable[[Path, str], None]
    ) -> None:
        """Makes the runs done; one that another sweep performs is waited for, and taken up if it was left undone."""
        with self.crew() as crew:
            crew(folders, begun, ended)

    def crew(self) -> Crew:
        """Workers that stay from one call to the next, until they are closed."""
        return Crew(self)


@dataclass
class Crew:
    """An executor whose workers stay for its next call; they are closed at the end of `with`."""

    local: LocalProcesses
    processes: list[_Worker] = field(default_factory=list)
    news: _News = field(default_factory=SimpleQueue)

    @property
    def workers(self) -> int:
        """Number of runs at a time."""
        return self.local.workers

    def __call__(
        self, folders: Sequence[Path], begun: Callable[[Path], None], ended: Callable[[Path, str], None]
    ) -> None:
        """As `LocalProcesses`; Interrupted, with all workers stopped, after a signal."""
        shift = _Shift(self.local, deque(folders), begun, ended, workers=self.processes, news=self.news)
        with stop_signals(lambda: self.news.put(None), patient=True) as received:
            try:
                while shift.unfinished and not received:
                    shift.hand_out()
                    shift.hear()
                if received:
                    shift.stop()
            finally:
                if received or shift.unfinished:
                    self.close()
        if received:
            stopped = _stopped(shift.waiting)
            raise Interrupted(
                f"stopped: {stopped} runs interrupted at a checkpoint, {len(shift.waiting) - stopped} not begun; "
                "the same command goes on",
                received[0],
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends all workers; one that performs a run is not waited for."""
        for worker in self.processes:
            worker.close()
        self.processes.clear()


@dataclass
class _Shift:
    """One call of the executor: what waits, what others perform, and the workers with what they do."""

    local: LocalProcesses
    waiting: deque[Path]
    begun: Callable[[Path], None]
    ended: Callable[[Path, str], None]
    elsewhere: list[Path] = field(default_factory=list)
    workers: list[_Worker] = field(default_factory=list)
    news: _News = field(default_factory=SimpleQueue)
    lost: Counter[tuple[Path, int]] = field(default_factory=Counter)
    shown: set[Path] = field(default_factory=set)

    @property
    def busy(self) -> list[_Worker]:
        return [worker for worker in self.workers if worker.folder]

    @property
    def unfinished(self) -> bool:
        return bool(self.waiting or self.elsewhere or self.busy)

    def hand_out(self) -> None:
        """Gives each idle worker a run, new workers included; runs that another process writes are put aside."""
        for folder in [folder for folder in self.elsewhere if not is_held(folder)]:
            self.elsewhere.remove(folder)
            self.waiting.appendleft(folder)
        while self.waiting and len(self.busy) < self.local.workers:
            folder = self.waiting.popleft()
            if is_held(folder):
                self.elsewhere.append(folder)
                continue
            if folder not in self.shown:
                self.shown.add(folder)
                self.begun(folder)
            if is_complete(folder):
                self.ended(folder, "")
                continue
            idle = next((worker for worker in self.workers if not worker.folder), None)
            if idle is None:
                idle = _Worker(self.local, self.news)
                self.workers.append(idle)
            idle.perform(folder)

    def hear(self) -> None:
        """Acts on the next answer or the end of a worker, if there is one soon."""
        try:
            news = self.news.get(timeout=_PAUSE)
        except Empty:  # a process that a dead worker left behind may keep its output open
            news = next(((worker, None) for worker in self.busy if worker.exit_code() is not None), None)
        if news is not None:
            self._take(*news)

    def _take(self, worker: _Worker, answer: Answer | None) -> None:
        folder, worker.folder = worker.folder, None
        if folder is None:
            return
        if answer is None:
            self.workers.remove(worker)
            cause, killed = worker.cause()
            self._lose(folder, cause, again=killed)
        elif answer.end == LOCKED:
            self.elsewhere.append(folder)
        elif answer.end == STOPPED:
            self._lose(folder, answer.cause, again=True)
        else:
            self.ended(folder, answer.cause)
        if answer and (answer.end == STOPPED or worker.has_grown(answer.resident, self.local.growth)):
            self.workers.remove(worker)
            worker.close()

    def _lose(self, folder: Path, cause: str, *, again: bool) -> None:
        """Puts a run whose worker was killed or stopped first in line, unless that came to nothing before."""
        try:
            run = Run.open(folder)
            place = (folder, run.step)
            complete = run.is_complete
        except StoreError as damage:  # damaged or deleted meanwhile: this run's failure, not the sweep's
            self.ended(folder, str(damage))
            return
        self.lost[place] += 1
        if complete:
            self.ended(folder, "")
        elif again and self.lost[place] < PATIENCE:
            self.waiting.appendleft(folder)
        else:
            times = f", {PATIENCE} times at step {run.step}" if again else ""
            self.ended(folder, f"{cause}{times}")

    def stop(self) -> None:
        """Asks all workers to stop and waits until they have."""
        for worker in self.workers:
            worker.stop()
        while self.busy:
            self.hear()


def _stopped(folders: Iterable[Path]) -> int:
    """How many of the runs are interrupted."""
    count = 0
    for folder in folders:
        with suppress(StoreError):
            count += Run.open(folder).state is State.INTERRUPTED
    return count


def is_complete(folder: Path) -> bool:
    """Whether nothing is left to do for a run; not so where it cannot be read."""
    try:
        return Run.open(folder).is_complete
    except StoreError:
        return False


class _Worker(Child):
    """A worker process as this one sees it; what it answers, and at last its end, is put among the news."""

    def __init__(self, local: LocalProcesses, news: _News) -> None:
        arguments = [str(local.threads), str(local.commit_seconds)]
        super().__init__("netassay.sweeps.worker", arguments, heard=True)
        self.folder: Path | None = None
        self._resident: int | None = None
        self._listener = threading.Thread(target=self._listen, args=[news], daemon=True)
        self._listener.start()

    def perform(self, folder: Path) -> None:
        self.folder = folder
        with suppress(OSError):  # it is gone, which is news by itself
            self.tell(json.dumps(str(folder)))

    def has_grown(self, resident: int | None, growth: int) -> bool:
        """Whether it holds more than `growth` bytes beyond what it held after its first run."""
        self._resident = resident if self._resident is None else self._resident
        return resident is not None and self._resident is not None and resident - self._resident > growth

    def cause(self) -> tuple[str, bool]:
        """Why it ended, and whether a signal ended it; waits for the end."""
        self.wait()
        words, signal_name, code = self.last_words(), self.killed_by(), self.exit_code()
        self.close()
        if signal_name:
            return f"its process was killed by {signal_name}; its last checkpoint is kept", True
        return words or f"its process ended with code {code} and no message", False

    def close(self) -> None:
        self._process.kill()
        self._listener.join(timeout=1.0)  # or it would read from a pipe that is closed
        super().close()

    def _listen(self, news: _News) -> None:
        with suppress(ValueError):
            while line := self.hear():
                news.put((self, Answer.read(line)))
        news.put((self, None))
