"""Where runs stand while they go on: read from their folders, by any process, without a lock."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from netassay.errors import NetassayError, StoreError
from netassay.reporting.quantity import Course
from netassay.runs import Run, State, Store, run_id
from netassay.runs.glance import Glance, glance, mark
from netassay.runs.listing import differing, flatten
from netassay.study import study_of
from netassay.sweeps.plan import Plan

DAMAGED = "damaged"
"""Word for a run that is there and cannot be opened, where others have their state."""

TREND = 12
"""Most numbers of a trend."""


class Standing(NamedTuple):
    """Where a run stands.

    Attributes:
        run: Id of the run.
        name: The values in which it differs from the others of its plan or store.
        state: Its state, or damaged.
        step: Step of the last checkpoint.
        steps: Last step, where it is known.
        rate: Steps a second between the last two checkpoints that were looked at, at first since the start.
        seconds_left: Estimate of what is left of a run under way.
        number: What `value` is: the number by which runs of its study are followed.
        value: The newest of these numbers.
        trend: Means of these numbers over up to 12 equal stretches, the newest last.

    Example:
        >>> import netassay
        >>> netassay.watch("plan.toml")[0].state
        'planned'
    """

    run: str
    name: str = ""
    state: str = str(State.PLANNED)
    step: int = 0
    steps: int | None = None
    rate: float | None = None
    seconds_left: float | None = None
    number: str = ""
    value: float | None = None
    trend: tuple[float, ...] = ()

    @property
    def is_under_way(self) -> bool:
        return self.state == State.RUNNING

    @property
    def is_done(self) -> bool:
        return self.state in (State.FINISHED, State.DIVERGED)


def watch(target: Plan | Path | str, store: Path | str = "runs") -> list[Standing]:
    """Show where the runs of a plan or of a store stand, also while another process performs them.

    Args:
        target: A plan, as a file or STUDY:NAME, or the folder of a store; in Python also a plan object.
        store: Folder that holds the runs of the plan.

    Returns:
        A line for each run.

    Raises:
        ConfigError: For an invalid plan, and what is neither a plan nor a folder.

    Example:
        >>> import netassay
        >>> [standing.state for standing in netassay.watch("runs") if standing.run.startswith("capacity")]
        ['finished', 'finished']
    """
    return Standings.of(target, store).look()


class Standings:
    """Looks at runs again and again; what has not changed since the last look is not read again."""

    def __init__(self, names: Mapping[Path, str]) -> None:
        """`names` gives the folder of each run, which may not be there yet, and what it is called."""
        self._names = dict(names)
        self._looks: dict[Path, _Look] = {}

    @classmethod
    def of(cls, target: Plan | Path | str, store: Path | str) -> Standings:
        """The runs of a plan, which need not be there yet, or those of the store in a folder."""
        if not isinstance(target, Plan) and Path(target).is_dir():
            return cls(_names_in(Store(target).runs()))
        return cls.of_plans([target if isinstance(target, Plan) else Plan.named(target)], store)

    @classmethod
    def of_plans(cls, plans: Sequence[Plan], store: Path | str) -> Standings:
        """The runs of several plans in one store."""
        folder = Path(store)
        return cls(
            {
                folder / run_id(config.study, config.digest): _named(plan.values(config))
                for plan in plans
                for config in plan.configs()
            }
        )

    def look(self) -> list[Standing]:
        """Where the runs stand now, in their order."""
        return [self._standing(folder, name) for folder, name in self._names.items()]

    def _standing(self, folder: Path, name: str) -> Standing:
        planned = Standing(folder.name, name)
        if not (now := mark(folder)):
            return planned
        try:
            look = self._looks.get(folder)
            if look is None or look.mark != now:
                look = self._looks[folder] = _Look.at(folder, now, look)
            return look.standing(planned)
        except StoreError:
            return planned._replace(state=DAMAGED)


class _Look(NamedTuple):
    run: Run
    course: Course
    mark: tuple[float, ...]
    glance: Glance
    rate: float | None

    @classmethod
    def at(cls, folder: Path, mark: tuple[float, ...], before: _Look | None) -> _Look:
        run = before.run if before else Run.open(folder)
        course = before.course if before else _course(run)
        seen = glance(folder, course.name, course.part, course.above)
        step, seconds = (before.glance.step, before.glance.seconds) if before else (0, 0.0)
        if seen.step > step and seen.seconds > seconds:
            return cls(run, course, mark, seen, (seen.step - step) / (seen.seconds - seconds))
        return cls(run, course, mark, seen, before.rate if before else None)

    def standing(self, planned: Standing) -> Standing:
        state, seen, course = self.run.state, self.glance, self.course
        steps = None if course.ends_early else seen.steps or self.run.config.get("steps")
        left = None
        if state is State.RUNNING and self.rate and steps:
            left = max(0.0, (steps - seen.step) / self.rate - max(0.0, time.time() - seen.updated))
        values = [value for number in seen.numbers if (value := course.value(number, seen.floor)) is not None]
        values = [value for value in values if math.isfinite(value)]
        return planned._replace(
            state=str(state),
            step=seen.step,
            steps=steps,
            rate=self.rate,
            seconds_left=left,
            number=course.label,
            value=values[-1] if values else None,
            trend=_trend(values),
        )


def _course(run: Run) -> Course:
    """What its study says; the loss of a study that says nothing or is not here."""
    loss = Course("loss", "loss")
    try:
        findings = study_of(run, tracked=True).findings
    except NetassayError:
        return loss
    return getattr(findings, "COURSE", loss)


def _names_in(runs: Sequence[Run]) -> dict[Path, str]:
    """Each run's folder, and the values in which it differs from the others of its study."""
    names = dict.fromkeys([run.folder for run in runs], "")
    for study in {run.study for run in runs}:
        alike = {run.folder: flatten(run.config) for run in runs if run.study == study}
        keys = differing(list(alike.values()), [study] * len(alike))
        names |= {folder: _named({key: config.get(key) for key in keys}) for folder, config in alike.items()}
    return names


def _named(values: Mapping[str, object]) -> str:
    return " ".join(f"{key}={value}" for key, value in values.items())


def _trend(values: Sequence[float]) -> tuple[float, ...]:
    count = min(TREND, len(values))
    edges = [len(values) * i // count for i in range(count + 1)] if count else []
    return tuple(sum(values[start:end]) / (end - start) for start, end in pairwise(edges))
