"""A plan: axes, cases and repeats over the fields of one study's config. Data only; it runs nothing."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from netassay.config import Config, first_few, read
from netassay.errors import ConfigError, did_you_mean
from netassay.study import builtin, find, performable
from netassay.sweeps.resources import RayResources, SlurmResources, refusal
from netassay.sweeps.shard import Shard

MOST_RUNS = 1_000_000


class Plan(BaseModel):
    """Every combination of some values of a config, repeated with successive seeds.

    Everything is validated when the plan is made. Runs that come out equal are one run.

    Args:
        study: Name of the study.
        name: Name of the plan.
        expect: What the plan should give, how long it takes and on what.
        base: Config keys of all runs.
        axes: Config key -> its values; all combinations are made. Overrides `base`.
        cases: Mappings of config keys, one for each case, for what is not a grid. Override `base`.
        repeats: Number of repeats (1 or more); repeat i of a run adds i to its seed.
        shard: A share of the runs, such as 3/20: every 20th from the third on.
        slurm: What a run needs on a Slurm cluster.
        ray: What a run needs on a Ray cluster.

    Raises:
        ConfigError: With the key and the value.

    Example:
        >>> import netassay
        >>> netassay.Plan(study="edge", axes={"depth": [1, 2], "step_size": [0.1, 0.2]}, repeats=3).size
        12
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    study: str
    name: str = ""
    expect: str = ""
    """What the plan should give, how long it takes and on what."""
    base: dict[str, Any] = Field(default_factory=dict)
    axes: dict[str, list[Any]] = Field(default_factory=dict)
    cases: list[dict[str, Any]] = Field(default_factory=list)
    repeats: int = Field(1, ge=1, le=MOST_RUNS)
    shard: str = "1/1"
    slurm: SlurmResources = Field(default_factory=SlurmResources)
    ray: RayResources = Field(default_factory=RayResources)

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as refused:
            raise ConfigError("; ".join(first_few(refused.errors(include_url=False), _in_words))) from None
        fields = find(self.study).config.model_fields
        for key in itertools.chain(self.base, self.axes, *self.cases):
            if key not in fields:
                raise ConfigError(f"unknown key {key!r:.80} of study {self.study!r}: {did_you_mean(key[:80], fields)}")
        for key, choices in self.axes.items():
            if not choices:
                raise ConfigError(f"axis {key!r} has no values; give at least one")
        Shard.read(self.shard)
        self._validate()
        if self.size > MOST_RUNS:
            raise ConfigError(f"the plan has {self.size:,} runs; at most {MOST_RUNS:,} are allowed")

    @classmethod
    def from_file(cls, path: Path | str) -> Self:
        """The plan in a TOML or JSON file; errors name the file."""
        try:
            return cls(**read(Path(path)))
        except ConfigError as refused:
            message = str(refused)
            raise ConfigError(message if message.startswith(str(path)) else f"{path}: {message}") from None

    @classmethod
    def named(cls, word: Path | str) -> Self:
        """The plan in a file, or the one that a study ships, as STUDY:NAME ("edge:depth").

        ConfigError tells the plans that are shipped where there is none of that name.
        """
        study, colon, name = str(word).partition(":")
        if not colon or study not in performable() or Path(word).exists():
            return cls.from_file(word)
        plans = {home.name.removesuffix(".toml"): home for home in _plans(study) if home.name.endswith(".toml")}
        if name not in plans:
            raise ConfigError(f"study {study!r} ships no plan {name!r}; {did_you_mean(name, plans)}")
        return cls(**tomllib.loads(plans[name].read_text(encoding="utf-8")))

    @property
    def size(self) -> int:
        """Runs of all shards, before equal ones are joined."""
        size = self.repeats * max(1, len(self.cases))
        for choices in self.axes.values():
            size *= len(choices)
        return size

    @property
    def varied(self) -> tuple[str, ...]:
        """Keys in which runs of this plan differ."""
        keys = [*self.axes, *itertools.chain(*self.cases), *(["seed"] if self.repeats > 1 else [])]
        return tuple(dict.fromkeys(keys))

    def values(self, config: Config) -> dict[str, Any]:
        """What a run's config says of the keys in which runs differ."""
        values_of_run = config.model_dump(mode="json")
        return {key: values_of_run[key] for key in self.varied}

    def configs(self) -> list[Config]:
        """The runs' configs, each once, in the order of the plan (repeats vary fastest, then the last axis)."""
        return Shard.read(self.shard).of(list({config.digest: config for config in self._all()}.values()))

    def part(self, shard: str | None) -> Self:
        """This plan with that shard of its runs; as it is for None. ConfigError for a word that is no shard."""
        if shard is None:
            return self
        Shard.read(shard)
        return self.model_copy(update={"shard": shard})

    def _validate(self) -> None:
        """Each value once, by itself: the product of the axes may be large."""
        make = find(self.study).config.from_mapping
        for alone in (
            {},
            *self.cases,
            *({key: value} for key, values in self.axes.items() for value in values),
        ):
            make({**self.base, **alone}, where="plan")

    def _all(self) -> Iterator[Config]:
        make = find(self.study).config.from_mapping
        for case in self.cases or [{}]:
            for choice in itertools.product(*self.axes.values()):
                values = {**self.base, **dict(zip(self.axes, choice, strict=True)), **case}
                for repeat in range(self.repeats):
                    config = make(values, where="plan")
                    yield config.replace(seed=config.model_dump()["seed"] + repeat) if repeat else config


def shipped(name: str) -> list[Plan]:
    """The plan of that name of every study of this package that ships one, in the order of the studies."""
    homes = [home for study in builtin() for home in _plans(study) if home.name == f"{name}.toml"]
    return [Plan(**tomllib.loads(home.read_text(encoding="utf-8"))) for home in homes]


def _plans(study: str) -> list[Traversable]:
    folder = find(study).folder / "plans"
    return sorted(folder.iterdir(), key=lambda home: home.name) if folder.is_dir() else []


def _in_words(error: Any) -> str:
    key = ".".join(map(str, error["loc"]))
    if error["type"] == "missing":
        return f"key {key!r} is missing from the plan; its keys: {', '.join(Plan.model_fields)}"
    if error["loc"][:1] in (("slurm",), ("ray",)) and len(error["loc"]) > 1:
        table = str(error["loc"][0])
        return refusal({**error, "loc": error["loc"][1:]}, Plan.model_fields[table].annotation, table)
    if error["type"] == "extra_forbidden":
        return f"unknown key {key!r:.80} in a plan: {did_you_mean(key[:80], Plan.model_fields)}"
    return f"{key}: {error['msg']}, given {error['input']!r:.200}"
