"""Config of one run of the memorisation study: a model, a corpus, and how the corpus is fed to the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from netassay.config import Config
from netassay.formats.shards import Form, IdType
from netassay.formats.text import LONGEST, SEPARATOR, Unit


class MemorisationConfig(Config):
    """How far a trained language model is from the entropy bound of a corpus, and how many bits of it the model holds.

    Source:
        Madden, Fox, Thrampoulidis (2024); Morris et al. (2025); Carlini et al. (2023); Hayes et al. (2025).

    Example:
        >>> import netassay
        >>> netassay.MemorisationConfig(corpus="topics", blocks=64).model
        'untrained'
    """

    study: ClassVar[str] = "memorisation"
    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "How the corpus is read": (
            "document", "separator", "tokenizer", "column", "add_end", "dtype", "end", "skip", "form", "ignore",
            "documents", "length", "blocks", "stride", "first",
        ),
        "What is computed": ("prefix", "suffix", "listed", "resamples", "tokens_at_once", "arithmetic"),
    }  # fmt: skip

    example: ClassVar[str] = "netassay memorisation checkpoint/ 'shards/*.parquet' --blocks 512 --store runs"
    positional: ClassVar[tuple[str, ...]] = ("model", "corpus")

    model: str = "untrained"
    """A folder with config.json and safetensors (transformers), a ckpt.pt of nanoGPT, a folder of netassay construct,
    FILE.py:make, or the word untrained: a small decoder with random weights."""

    corpus: str = "topics"
    """A file, folder or pattern as netassay entropy takes it, or the word topics: the help topics that come with
    Python."""

    module: str = ""
    """FILE.py:make, a function without arguments that returns the model; the file is imported."""

    weights: str = ""
    """Weights of the module, safetensors or a state dict of PyTorch."""

    reference: str = ""
    """A reference model for bits, in the same forms as model and with the same vocabulary: one trained on other data of
    the kind."""

    tokenizer: str = ""
    """wordpunct, whitespace, characters, bytes, a tokenizer.json, a file of SentencePiece or tiktoken:NAME; by default
    the tokenizer.json in the model's folder."""

    document: Unit | None = None
    """What a document of text is: line, paragraph, file or record; a line by default, in topics a topic."""

    separator: str = SEPARATOR
    """Text between records."""

    column: str | None = None
    """Column of JSON, CSV, Parquet or Arrow that holds the text or the token ids; "text" by default. meta.text is text
    within meta."""

    add_end: bool = False
    """Whether to end every document of text with a token of its own."""

    dtype: IdType | None = None
    """The file is raw little-endian token ids of this integer type."""

    end: int | None = Field(None, ge=0)
    """Token id that ends a document, in raw ids and in .npy files of one dimension."""

    skip: int = Field(0, ge=0)
    """Bytes of a header before raw ids."""

    form: Form | None = None
    """Form of the file, if its first bytes and ending do not show it."""

    ignore: int | None = None
    """Token id to remove wherever it occurs, such as padding or an ignored position (-100)."""

    documents: int | None = Field(None, ge=1, le=LONGEST)
    """Number of documents, taken from the beginning of the corpus; all by default."""

    length: int | None = Field(None, ge=2, le=LONGEST)
    """Cut documents to their first tokens; by default they are fed in full."""

    blocks: int | None = Field(None, ge=1, le=LONGEST)
    """Tokens of context of rows packed across documents, as in training language models; by default a row is one
    document."""

    stride: int | None = Field(None, ge=1, le=LONGEST)
    """Tokens from one block to the next; by default blocks do not overlap. Every token is predicted once."""

    first: int | None = Field(None, ge=0)
    """Token id prepended to every row."""

    prefix: int = Field(50, ge=1, le=LONGEST)
    """Number of tokens given to the model to extract a sequence."""

    suffix: int = Field(50, ge=1, le=LONGEST)
    """Number of tokens that the model must reproduce."""

    listed: int = Field(20, ge=0, le=10_000)
    """Number of contexts and of sequences to list."""

    resamples: int = Field(1_000, ge=0, le=1_000_000)
    """Draws of the bootstrap over documents; 0: no interval."""

    tokens_at_once: int | None = Field(None, ge=1, le=LONGEST)
    """Maximum number of tokens of a batch; by default 16,384, or fewer for large vocabularies."""

    arithmetic: Literal["saved", "float32", "float64", "bfloat16"] = "saved"
    """Arithmetic of the model; by default that of its weights as saved."""

    device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?)$", examples=["cpu", "cuda", "cuda:1"])
    """Device of the model."""

    seed: int = Field(0, ge=0, le=2**63 - 1)
    """Seed of the bootstrap, and of an untrained model."""


def tiny() -> MemorisationConfig:
    """A config that runs through every part of the study in a second."""
    return MemorisationConfig(
        tokenizer="bytes",
        document="line",
        documents=80,
        length=40,
        prefix=4,
        suffix=4,
        listed=5,
        resamples=50,
        tokens_at_once=300,
    )


CONFIG = MemorisationConfig
