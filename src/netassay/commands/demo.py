"""Every study, small, on real data, and one page of all results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from netassay.errors import RunFailed
from netassay.extras import is_installed
from netassay.interpreting import interpret
from netassay.presenting import report
from netassay.runs import Run
from netassay.sweeps import Plan, shipped, sweep_all


class Demo(NamedTuple):
    """The page of a demo, why runs failed, by id, and what was left out because a package is not installed.

    Example:
        >>> from netassay.commands.demo import Demo
        >>> Demo("demo/report.html", {}).failed
        {}
    """

    page: Path
    failed: Mapping[str, str]
    left_out: tuple[str, ...] = ()


def left_out() -> tuple[str, ...]:
    """What the demo leaves out because the package that it needs is not installed, in words."""
    if is_installed("tangermeme"):
        return ()
    return ("contributions by DeepLIFT/SHAP are left out: they need tangermeme; install netassay[attributions]",)


@contextmanager
def _unobserved(plans: Sequence[Plan]) -> Iterator[Callable[..., None]]:
    yield lambda *progress: None


def demo(
    out: Path | str = "demo",
    *,
    workers: int | None = None,
    observe: Callable[[Sequence[Plan]], AbstractContextManager[Callable[..., Any]]] = _unobserved,
) -> Demo:
    """Run a small version of every study on real data and write the report; takes minutes on two cores.

    Args:
        out: Folder for the runs, figures and report.html.
        workers: Number of runs at a time (1 or more); by default one for each core.
        observe: Called with plans that run together; returns a context manager that watches their runs.

    Returns:
        The path of the page, why runs failed, by id, and what was left out for want of a package.

    Raises:
        ConfigError: For workers below 1.
        StoreError: Where the folder cannot be written.

    Example:
        >>> import netassay
        >>> netassay.demo("demo").failed
        {}
    """
    store = Path(out) / "runs"
    runs: list[Run] = []
    failed: dict[str, str] = {}
    # the smallest plans have the longest runs: started first, they leave no core idle at the end
    plans = sorted(shipped("demo"), key=lambda plan: plan.size)
    with observe(plans) as watch:
        sweeps = sweep_all(plans, store, workers=workers, watch=watch)
    for finished in sweeps:
        failed |= finished.failed
        runs += finished.runs
        for run in finished.runs:
            if run.study == "aitac" and run.config["null"] == "none":
                interpretation = Plan.named("aitac-interpret:demo")
                try:
                    with observe([interpretation]) as watch:
                        runs.append(interpret(run, watch=watch, **interpretation.base))
                except RunFailed as cause:
                    # the page covers whatever was finished
                    failed["aitac-interpret"] = str(cause)
    page = report(runs, Path(out) / "report.html", figures=Path(out) / "figures", title="netassay demo", store=store)
    return Demo(page, failed, left_out())
