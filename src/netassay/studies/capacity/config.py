"""Config of one run of the capacity study: a corpus, decoders of one or several widths, and their training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from netassay.config import Config
from netassay.formats.shards import Form, IdType
from netassay.formats.text import SEPARATOR, Unit


class CapacityConfig(Config):
    """One-layer decoders trained to memorise a corpus: how close their loss comes to the entropy bound.

    Source:
        Madden, Fox, Thrampoulidis (2024), section 7.

    Example:
        >>> import netassay
        >>> netassay.CapacityConfig(documents=100, width=32).corpus
        'topics'
    """

    study: ClassVar[str] = "capacity"
    later: ClassVar[tuple[str, ...]] = ("add_end", "dtype", "end", "skip", "form", "exact_length", "ignore")
    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "How the corpus is read": (
            "document", "separator", "tokenizer", "column", "add_end", "dtype", "end", "skip", "form", "ignore",
        ),
        "Networks and their training": (
            "widths", "width", "narrowest", "tries", "trained", "solver", "gap", "try_steps", "step_size", "stop",
        ),
    }  # fmt: skip

    example: ClassVar[str] = (
        "netassay capacity --corpus stories.txt --document record --documents 100 --width 64 --store runs"
    )

    corpus: str = "topics"
    """A file, folder or pattern as netassay entropy takes it, or the word topics: the help topics that come with
    Python."""

    document: Unit | None = None
    """What a document of text is: line, paragraph, file or record; a line by default, in topics a topic."""

    separator: str = SEPARATOR
    """Text between records."""

    tokenizer: str = "wordpunct"
    """wordpunct, whitespace, characters, bytes, a tokenizer.json, a file of SentencePiece or tiktoken:NAME."""

    column: str | None = None
    """Column of JSON, CSV, Parquet or Arrow that holds the text or the token ids; "text" by default. meta.text is text
    within meta."""

    add_end: bool = False
    """Whether to end every document of text with a token of its own, so that it differs from a document that it
    begins."""

    dtype: IdType | None = None
    """The file is raw little-endian token ids of this integer type."""

    end: int | None = Field(None, ge=0)
    """Token id that ends a document, in raw ids and in .npy files of one dimension."""

    skip: int = Field(0, ge=0)
    """Bytes of a header before raw ids; 1024 in files of llm.c."""

    form: Form | None = None
    """Form of the file, if its first bytes and ending do not show it."""

    ignore: int | None = None
    """Token id to remove wherever it occurs, such as padding or an ignored position (-100)."""

    documents: int | None = Field(None, ge=2)
    """Number of documents, taken from the beginning of the corpus; all by default."""

    length: int = Field(10, ge=2, le=4096)
    """Number of tokens of each document, taken from its beginning."""

    exact_length: bool = False
    """Whether to leave out documents shorter than length, before documents are counted."""

    widths: Literal["one", "doubling", "bisection"] = "one"
    """one: only width. doubling: narrowest, twice that, ... up to width. bisection: the smallest number of neurons,
    between narrowest and width, that meets the criterion."""

    width: int = Field(64, ge=1, le=65536)
    """Neurons of the hidden layer; the largest of several widths."""

    narrowest: int = Field(4, ge=1, le=65536)
    """Smallest of several widths."""

    tries: int = Field(1, ge=1, le=1000)
    """Maximum number of tries at a width, each with other initial weights, until it meets the criterion."""

    trained: Literal["all", "feed_forward", "output"] = "all"
    """all: all parameters; feed_forward: embedding and attention keep their random weights; output: only the last layer
    is trained."""

    solver: Literal["fast", "paper"] = "fast"
    """fast: on unique contexts SOAP (all), Adam on whitened features (feed_forward) or Newton's method (output). paper:
    Adam with a constant step size on all positions."""

    gap: float | None = Field(None, gt=0, le=10)
    """The criterion: loss within this fraction of the bound; by default 0.01, and 0.05 unless everything is trained."""

    try_steps: int | None = Field(None, ge=1, le=100_000_000)
    """Maximum number of steps in a try; by default 1,000 (output: 100), with the paper's solver 50,000."""

    step_size: float | None = Field(None, gt=0)
    """Initial step size; by default 0.02 if everything is trained, otherwise 0.06, with the paper's solver 0.0001.
    Newton's method has none."""

    stop: bool = True
    """Whether a try ends as soon as it meets the criterion; otherwise it takes all its steps."""

    seed: int = Field(0, ge=0, le=2**63 - 1)
    """Seed of the initial weights."""

    @model_validator(mode="after")
    def _widths_in_order(self) -> CapacityConfig:
        if self.widths != "one" and self.narrowest > self.width:
            raise ValueError(
                f"narrowest = {self.narrowest} is above width = {self.width}; widths go from narrowest up to width"
            )
        return self

    @property
    def criterion(self) -> float:
        """The gap, or its default."""
        if self.gap is not None:
            return self.gap
        return 0.01 if self.trained == "all" else 0.05

    @property
    def most_steps(self) -> int:
        """Maximum number of steps of a try, or its default."""
        if self.try_steps is not None:
            return self.try_steps
        if self.solver == "paper":
            return 50_000
        return 100 if self.trained == "output" else 1_000

    @property
    def first_step_size(self) -> float:
        """The step size a try begins with, defaults filled in."""
        if self.step_size is not None:
            return self.step_size
        if self.solver == "paper":
            return 1e-4
        return 0.02 if self.trained == "all" else 0.06


def tiny() -> CapacityConfig:
    """A config of a second or two that passes through every part of the study."""
    return CapacityConfig(
        document="line",
        documents=60,
        length=5,
        widths="bisection",
        narrowest=4,
        width=16,
        tries=2,
        try_steps=100,
        gap=0.5,
    )


CONFIG = CapacityConfig
