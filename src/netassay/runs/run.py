"""One run = one folder, seen from outside: opening takes no lock and writes nothing."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from html import escape
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import netassay
from netassay.errors import (
    ConfigError,
    DataError,
    NetassayError,
    RunDamaged,
    StoreError,
    first_line,
    reraised,
)
from netassay.extras import require
from netassay.runs import disk, folders, ledger
from netassay.runs.folders import State, run_id, stored_state

if TYPE_CHECKING:
    import altair as alt
    import polars as pl
    from torch import nn

    from netassay.runs.verify import Problem
    from netassay.runs.writer import RunWriter
    from netassay.training import Checkpoint


_KINDS = {"study": str, "config": dict, "digest": str, "created": str, "package": str}
_MOST_KEYS, _DEEPEST = 1000, 16
_NESTS = {dict, list}
_FORMS = {"study": disk.NAMES, "digest": re.compile("[0-9a-f]{64}")}


@dataclass(frozen=True, repr=False)
class Run:
    """The read side of a run; state, step, message and seconds are read again at every access.

    Attributes:
        folder: Folder of the run.
        study: Name of its study.
        config: Its config.
        digest: SHA-256 of the config.
        created: When it was created.

    Example:
        >>> import netassay
        >>> run = netassay.Run.open(netassay.Store("runs").find("edge-1a2b3c").folder)
        >>> str(run.state), run.metrics("loss").columns
        ('finished', ['step', 'name', 'part', 'value'])
    """

    folder: Path
    study: str
    config: dict[str, Any] = field(hash=False)
    digest: str
    created: str
    package: str = ""
    """Name and version of the package that provided the study, if that is not netassay itself."""

    @classmethod
    def create(cls, store: Path, *, study: str, config: Mapping[str, Any], digest: str, package: str = "") -> Run:
        """The run of this config in `store`, created (state planned) if necessary.

        `digest` is the SHA-256 of the config's canonical JSON, 64 hex digits; `package` names the package of the study,
        if that is not netassay.
        Raises StoreError for a refused name, a wrong digest, a store that cannot be written.
        """
        store = Path(store).absolute()
        text = ledger.canonical(config)
        if digest != hashlib.sha256(text.encode()).hexdigest():
            raise StoreError(f"digest {digest!r} is not the SHA-256 of the config's canonical JSON; give Config.digest")
        folder = store / run_id(study, digest)
        if not os.path.lexists(folder):
            facts = {
                "study": json.dumps(study),
                "config": text,
                "digest": json.dumps(digest),
                "netassay": json.dumps(netassay.__version__),
                "schema": json.dumps(ledger.SCHEMA_VERSION),
                "created": json.dumps(ledger.now()),
            }
            folders.make(folder, facts | ({"package": json.dumps(package)} if package else {}))
        run = cls.open(folders.checked(folder))
        if (run.digest, run.study) != (digest, study):
            raise StoreError(
                f"{folder}: holds the run of another config (digest {run.digest}, not {digest}); use another store"
            )
        return run

    @classmethod
    def open(cls, folder: Path) -> Run:
        """The run in `folder`. StoreError if there is none or of a newer schema, RunDamaged if unreadable."""
        folder = Path(os.path.abspath(folder))  # noqa: PTH100 (resolve() would follow links)
        return cls.of(folder, ledger.read(folder, ledger.facts))

    @classmethod
    def look(cls, folder: Path) -> tuple[Run, ledger.Status]:
        """The run and its status, in one read; the state is the stored one."""
        folder = Path(os.path.abspath(folder))  # noqa: PTH100 (resolve() would follow links)
        facts, status = ledger.read(folder, lambda connection: (ledger.facts(connection), ledger.status(connection)))
        return cls.of(folder, facts), status

    @classmethod
    def of(cls, folder: Path, facts: dict[str, str]) -> Run:
        """The run of these facts, JSON texts as its database holds them. Raises as `open`."""
        ledger.refuse_newer(folder, facts)
        try:
            values = {key: json.loads(facts[key]) for key in _KINDS if key in facts or key != "package"}
        except (KeyError, ValueError, RecursionError) as cause:
            raise _odd_facts(folder, repr(cause)) from None
        for key, value in values.items():
            if type(value) is not _KINDS[key] or (_FORMS.get(key) and not _FORMS[key].fullmatch(value)):
                raise _odd_facts(folder, f"{key} is {value!r:.80}")
        config = values["config"]
        if len(config) > _MOST_KEYS or (
            not _NESTS.isdisjoint(map(type, config.values())) and _depth(config) > _DEEPEST
        ):
            raise _odd_facts(folder, f"its config has more than {_MOST_KEYS} keys, or lists in lists in lists")
        if hashlib.sha256(ledger.canonical(config).encode()).hexdigest() != values["digest"]:
            raise _odd_facts(folder, "its config is not the one that its digest was made of")
        return cls(folder=folder, **values)

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def state(self) -> State:
        for _ in range(2):  # a run may end between the two checks; then the second says how
            state = stored_state(self.folder, self._status)
            if state is not State.RUNNING or disk.is_held(self.folder):
                return state
        return State.KILLED

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to do: it finished or diverged, and its tables are written."""
        return self.state.is_final and "metrics" in self.tables()

    def concluded(self, end: State) -> Run:
        """This run as it will be once it has ended this way, for making its tables before the end is recorded."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return _Concluded(**values, end=end)

    @property
    def step(self) -> int:
        """Step of the last commit."""
        return self._status.step

    @property
    def message(self) -> str:
        return self._status.message

    @property
    def seconds(self) -> float:
        """Wall seconds of all writers together, up to the last commit."""
        return self._status.seconds

    @property
    def tags(self) -> tuple[str, ...]:
        """Words by which the user has marked it, in the order of the alphabet; see `Store.tag`."""
        return folders.read_tags(self.folder.parent).get(self.id, ())

    @property
    def environment(self) -> dict[str, Any]:
        """The environment of the run's first writer; empty before."""
        text = ledger.read(self.folder, ledger.facts).get("environment", "{}")
        try:
            environment = json.loads(text)
        except (ValueError, RecursionError):
            environment = None
        if not isinstance(environment, dict):
            raise _odd_facts(self.folder, f"environment is {text!r:.80}")
        return environment

    def metrics(self, name: str | None = None) -> pl.DataFrame:
        """Columns step, name, part, value of one metric or all, sorted by the first three."""
        import polars as pl

        condition = () if name is None else ("name = ?", name)
        rows = ledger.read(self.folder, lambda connection: list(ledger.metric_rows(connection, *condition)))
        schema = {"step": pl.Int64, "name": pl.String, "part": pl.String, "value": pl.Float64}
        columns = list(zip(*rows, strict=True)) or [()] * len(schema)
        return pl.DataFrame(dict(zip(schema, columns, strict=True)), schema=schema)

    def last_values(self) -> dict[tuple[str, str], float]:
        """The newest value of each metric, by its name and part; empty before the first is recorded.

        >>> from pathlib import Path
        >>> from tempfile import mkdtemp
        >>> from netassay.config import Config
        >>> class Toy(Config):
        ...     study = "toy"
        >>> run = Run.create(Path(mkdtemp()), study="toy", config=Toy().mapping(), digest=Toy().digest)
        >>> with run.writer({}) as writer:
        ...     writer.record(0, {"loss": 2.0, ("norm", "layer"): 1.5})
        ...     writer.record(1, {"loss": 1.0})
        ...     writer.finish("finished", step=1)
        >>> run.last_values()
        {('norm', 'layer'): 1.5, ('loss', ''): 1.0}
        """
        newest = "(step, name, part) IN (SELECT max(step), name, part FROM metrics GROUP BY name, part)"
        rows = ledger.read(self.folder, lambda connection: list(ledger.metric_rows(connection, newest)))
        return {(name, part): value for _, name, part, value in rows}

    def events(self) -> pl.DataFrame:
        """Columns time, step, what, text, oldest first: starts, stops, changes of environment."""
        import polars as pl

        select = "SELECT time, step, what, text FROM events ORDER BY id"
        rows = self._rows((str, int, str, str), select)
        schema = {"time": pl.String, "step": pl.Int64, "what": pl.String, "text": pl.String}
        return pl.DataFrame(rows, schema=schema, orient="row")

    def tables(self) -> tuple[str, ...]:
        """Names of the finished tables."""
        return tuple(name for (name,) in self._rows((str,), "SELECT name FROM tables ORDER BY name"))

    def table(self, name: str) -> pl.DataFrame:
        """A finished table. StoreError if there is none of that name, RunDamaged if its bytes changed."""
        import polars as pl

        file, digest = self._table_file(name)
        data = disk.read_checked(self.folder, file, digest)
        with reraised(lambda cause: RunDamaged(f"{self.folder / file}: is no table ({cause}); restore it from a copy")):
            return pl.read_parquet(data)

    def to_pandas(self, name: str) -> Any:
        """A finished table as a pandas data frame. As `table`; ExtraMissing without pandas and PyArrow."""
        for package in ("pandas", "pyarrow"):
            require(package, "pandas", "a pandas data frame")
        return self.table(name).to_pandas()

    def table_path(self, name: str) -> Path:
        """The Parquet file of a finished table, unchecked. StoreError if there is none of that name."""
        return self.folder / self._table_file(name)[0]

    @property
    def findings(self) -> list[str]:
        """The run's findings, sentences made by rule from its tables; see `netassay.findings`."""
        return [finding.text for finding in import_module("netassay.study").findings([self])]

    @property
    def charts(self) -> tuple[str, ...]:
        """Names of the figures of its page."""
        return tuple(import_module("netassay.presenting").charts(self))

    def chart(self, name: str) -> alt.TopLevelMixin:
        """A figure of its page as an Altair chart. StoreError if there is none of that name."""
        figures = import_module("netassay.presenting").charts(self)
        if name not in figures:
            raise StoreError(f"run {self.id} has no chart {name!r}; it has: {', '.join(figures) or 'none'}")
        return figures[name].chart

    def checkpoint(self, step: int | None = None) -> Checkpoint | None:
        """The checkpoint at `step`, or the newest (None if there is none).

        Raises RunDamaged, with the file and both digests, if its bytes are not those written.
        """
        from netassay.runs.writer import load_checkpoint

        return ledger.read(self.folder, lambda connection: load_checkpoint(connection, self.folder, step))

    def latest_checkpoint(self) -> Checkpoint:
        """The newest checkpoint. StoreError where there is none yet."""
        checkpoint = self.checkpoint()
        if checkpoint is None:
            raise StoreError(f"run {self.id} is {self.state} and has no checkpoint yet: netassay resume {self.folder}")
        return checkpoint

    def model(self) -> nn.Module:
        """The trained network, in evaluation mode, at the weights that its study scores.

        StoreError if its study has no single network, or none is trained yet; the data of an edge run are read
        again.
        """
        return import_module("netassay.performing").trained_model(self)

    def report(self, out: Path | str = "report.html") -> Path:
        """Writes the page of this run and returns its path."""
        return import_module("netassay.presenting").report([self], out)

    def __repr__(self) -> str:
        return f"Run({self.id}, {self.state}, step {self.step})"

    def _repr_html_(self) -> str:
        sentences = "".join(f"<li>{escape(sentence)}</li>" for sentence in self.findings)
        return (
            f"<b>{escape(self.id)}</b> {escape(str(self.state))}, step {self.step:,}, {self.seconds:,.0f} s"
            f"<ul>{sentences}</ul>charts: {escape(', '.join(self.charts) or 'none')}; "
            f"tables: {escape(', '.join(self.tables()) or 'none')}"
        )

    def facts(self) -> dict[str, Any] | None:
        """Facts of the newest checkpoint (None if there is none); its tensors are not read."""
        from netassay.runs.writer import checkpoint_facts

        return ledger.read(self.folder, checkpoint_facts)

    def checkpoints(self) -> tuple[int, ...]:
        """Steps of the checkpoints kept, ascending."""
        return tuple(step for (step,) in self._rows((int,), "SELECT step FROM checkpoints ORDER BY step"))

    def verify(self) -> list[Problem]:
        """All differences from what was written; empty for an intact run."""
        from netassay.runs.verify import verify_run

        return verify_run(self.folder)

    def writer(self, environment: Mapping[str, Any], *, from_step: int | None = None, keep: int = 2) -> RunWriter:
        """The only writer of this run, which continues from its newest checkpoint or from `from_step`.

        `keep` checkpoints stay on disk (at least 1). Raises RunLocked while another process writes.
        """
        from netassay.runs.writer import RunWriter

        return RunWriter(self.folder, environment, from_step=from_step, keep=keep)

    @property
    def _status(self) -> ledger.Status:
        return ledger.read(self.folder, ledger.status)

    def _table_file(self, name: str) -> tuple[str, str]:
        rows = self._rows((str, str), "SELECT file, sha256 FROM tables WHERE name = ?", name)
        if not rows:
            raise StoreError(f"run {self.id} has no table {name!r}; it has: {', '.join(self.tables()) or 'none'}")
        file, digest = rows[0]
        try:
            return disk.checked_file(file), digest
        except sqlite3.DataError as cause:
            raise ledger.explained(self.folder, cause) from None

    def _rows(self, kinds: tuple[type, ...], select: str, *values: Any) -> list[tuple[Any, ...]]:
        return ledger.read(self.folder, lambda connection: list(ledger.rows(connection, kinds, select, *values)))


@dataclass(frozen=True)
class _Concluded(Run):
    end: State = State.FINISHED

    @property
    def state(self) -> State:
        return self.end


def _depth(value: Any) -> int:
    """Nesting depth of lists and mappings, up to the limit."""
    layer, depth = [value], 0
    while layer and depth <= _DEEPEST:
        inner = [part for part in layer if isinstance(part, dict | list)]
        layer = [item for part in inner for item in (part.values() if isinstance(part, dict) else part)]
        depth += bool(inner)
        if not inner:
            break
    return depth


@contextmanager
def guarded(run: Run) -> Iterator[None]:
    """Around reading a run's content: any unexpected error of the reader becomes RunDamaged and names the run.

    A refusal of its config or data names the run too.
    """
    try:
        yield
    except (ConfigError, DataError) as cause:
        if run.id in str(cause):
            raise
        raise type(cause)(f"run {run.id}: {cause}") from cause
    except (NetassayError, OSError, MemoryError):
        raise
    except BaseException as cause:
        if not isinstance(cause, Exception) and type(cause).__name__ != "PanicException":
            raise
        raise RunDamaged(
            f"run {run.id}: cannot be read ({type(cause).__name__}: {first_line(cause)}); restore "
            f"{run.folder} from a copy, or delete the run and start it again"
        ) from cause


def _odd_facts(folder: Path, problem: str) -> RunDamaged:
    return RunDamaged(f"{folder / ledger.NAME}: its facts are damaged ({problem}); restore the folder from a copy")
