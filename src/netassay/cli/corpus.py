"""Commands on a corpus: the least loss it allows, and how large a model must be to reach it."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter, Token

from netassay.cli.assay import whole_number
from netassay.cli.output import Format, answer
from netassay.errors import ConfigError, DataError
from netassay.formats.forms import Form, IdType
from netassay.formats.text import SEPARATOR, Unit
from netassay.numerics.memory import machine_bytes, peak_bytes

if TYPE_CHECKING:
    from netassay.capacity.comparison import Row
    from netassay.capacity.corpus_bounds import Verdict
    from netassay.corpus.context import Contexts


CORPUS = (
    "Files, folders or patterns, together one corpus: text, .jsonl, .json, .csv (all also .gz, .bz2, .xz, .zst), "
    ".parquet, .arrow, .npy, raw token ids; or the word topics: Python's help topics."
)


@Parameter(name="*", group=Group("Corpus", sort_key=1))
@dataclass(frozen=True)
class Reading:
    """How files become documents of tokens: the keys of `netassay.formats.corpus.Reading`, and what is used of "
    "them."""

    document: Annotated[
        Unit | None,
        Parameter(help="What a document of text is; a line by default, of topics a topic."),
    ] = None
    tokenizer: Annotated[
        str,
        Parameter(
            help="wordpunct, whitespace, characters, bytes or a tokenizer.json of Hugging Face's tokenizers."
        ),
    ] = "wordpunct"
    length: Annotated[
        int | None, Parameter(converter=whole_number, help="Cut documents to their first tokens.")
    ] = None
    exact_length: Annotated[
        bool,
        Parameter(help="Leave out documents shorter than --length, instead of keeping them.", negative=""),
    ] = False
    separator: Annotated[str, Parameter(help="Text between records.")] = SEPARATOR
    column: Annotated[
        str | None,
        Parameter(
            help="Column of JSON, CSV, Parquet or Arrow that holds the text or ids; text by default. meta.text is text "
            "within meta."
        ),
    ] = None
    add_end: Annotated[
        bool,
        Parameter(
            help="Close every document of text with a token of its own, which tells it from one that it begins.",
            negative="",
        ),
    ] = False
    dtype: Annotated[
        IdType | None,
        Parameter(help="The files are raw little-endian token ids of this kind."),
    ] = None
    end: Annotated[
        int | None,
        Parameter(
            converter=whole_number, help="Token id that closes a document, of raw ids and one line of .npy."
        ),
    ] = None
    skip: Annotated[
        int, Parameter(converter=whole_number, help="Bytes of a header before raw ids; 1024 of llm.c.")
    ] = 0
    form: Annotated[
        Form | None,
        Parameter(help="What the files are, where their first bytes and endings do not tell it."),
    ] = None

    memory: Annotated[
        str | None,
        Parameter(
            help="Most memory of the whole command, such as 2GB; what needs more is counted on disk. "
            "Half of this machine's by default."
        ),
    ] = None
    scratch: Annotated[
        Path | None, Parameter(help="Folder for what is counted on disk; the system's by default.")
    ] = None

    def contexts(self, *source: str, window: int | None = None) -> tuple[Contexts, dict[str, int]]:
        """The contexts of a corpus's documents, and how many documents were left out by reason."""
        from netassay.corpus.context import require_sizes
        from netassay.corpus.out_of_core import PARTING_BYTES, contexts_within
        from netassay.formats import corpus

        require_sizes(self.length, self.exact_length, window)
        keys = {key.name: getattr(self, key.name) for key in fields(corpus.Reading)}
        if window is None and (lone := corpus.lone_documents(source, corpus.Reading(**keys))):
            raise DataError(
                f"{lone[0]}: nothing ends a document in it, and a single document of token ids leaves nothing "
                "uncertain (0 nats); give --end, the id that closes its documents, or count its --window"
            )
        room = _room(self.memory)
        skipped: Counter[str] = Counter()
        parts = corpus.read_in_parts(
            source,
            **keys,
            # one token more than is used tells which documents were cut
            limit=None if self.length is None else self.length + 1,
            skipped=skipped,
            tokens_at_once=min(room // PARTING_BYTES, 1 << 20),
        )
        found = contexts_within(
            parts,
            memory=room,
            length=self.length,
            exact_length=self.exact_length,
            window=window,
            folder=self.scratch,
        )
        if found.dropped and not found.documents:
            raise DataError(
                f"{corpus.named(source)}: all {found.dropped:,} documents are shorter than {self.length} tokens"
            )
        corpus.require_tokens(source, found.tokens, skipped)
        return found, dict(skipped)


def count(kind: Any, words: Sequence[Token]) -> int:
    """The whole number in a flag's word, written as 1000000, 1e6, 124M or 1.5B (k, M, B, T: thousands to "
    "trillions)."""
    word = words[0].value.strip()
    match = re.fullmatch(r"([+-]?\d[\d_]*(?:\.\d+)?(?:[eE]\+?\d{1,3})?)([kKMGBT]?)", word)
    if match is None:
        raise ValueError(f"{word[:40]!r} is no whole number; write it as 1000000, 1e6 or 1M.")
    number = Decimal(match[1]) * 1000 ** _THOUSANDS[match[2].upper()]
    if abs(number) > MOST_COUNTED:
        raise ValueError(f"{word[:40]!r} is more than {MOST_COUNTED:.0e}, which is more than any model has.")
    if number != int(number):
        raise ValueError(f"{word[:40]!r} is no whole number.")
    return int(number)


_THOUSANDS = {"": 0, "K": 1, "M": 2, "G": 3, "B": 3, "T": 4}
MOST_COUNTED = 10**18


def entropy(
    files: Annotated[tuple[str, ...], Parameter(help=CORPUS)],
    *,
    reading: Reading = Reading(),
    window: Annotated[
        int | None,
        Parameter(
            converter=whole_number, help="Contexts are the last tokens, so many, instead of all before."
        ),
    ] = None,
    by_length: Annotated[
        bool, Parameter(help="Also give the numbers for each length of context.", negative="")
    ] = False,
    format: Format = "table",
) -> int:
    """The unique contexts of a corpus and the least summed loss that any next-token predictor can reach on it.

    bound_nats leaves first tokens out, which no context predicts; bound_nats_with_empty predicts them too. Bits
    per token are means over the tokens predicted. seconds and peak_bytes are of the whole command.

    Example: netassay entropy stories.txt --document record --length 10 --format json
    """
    begin = time.perf_counter()
    found, skipped = reading.contexts(*files, window=window)
    values = {**_numbers(found), "counted_on_disk": found.held is None, "skipped": skipped}
    if by_length:
        values["by_length"] = _by_length(found)
    seconds = time.perf_counter() - begin
    answer({**values, "seconds": seconds, "peak_bytes": peak_bytes()}, format)
    return 0


def bounds(
    files: Annotated[
        tuple[str, ...], Parameter(help="Corpus, for the verdict on it; as netassay entropy takes it.")
    ] = (),
    *,
    parameters: Annotated[
        int | None,
        Parameter(converter=count, help="Trainable parameters of the model, such as 35442, 1e6 or 124M."),
    ] = None,
    vocabulary: Annotated[
        int | None,
        Parameter(converter=count, help="Tokens the model tells apart; those of the corpus by default."),
    ] = None,
    width: Annotated[
        int | None,
        Parameter(converter=count, help="Neurons of the hidden layer, if it is a one-layer decoder."),
    ] = None,
    config: Annotated[
        Path | None,
        Parameter(
            help="Config of netassay capacity, whose corpus and model are judged; no other words then."
        ),
    ] = None,
    reading: Reading = Reading(),
    format: Format = "table",
) -> int:
    """How many contexts a model of this size can hold at most and at least; with a corpus, whether it can that.

    upper_general (Lemma 9): any contexts with any distributions. upper_empirical (Theorem 13): every corpus of so
    many contexts; beyond it each architecture has a corpus that it cannot fit. lower_construct (Theorem 21): a decoder
    of this width holds any so many contexts. verdict on a corpus: can, may, or not for almost all frequencies, with
    fewer parameters than the next-token frequencies have degrees of freedom.

    Example: netassay bounds --parameters 35442 --vocabulary 690 --width 32
    """
    from netassay.capacity.corpus_bounds import bounds as bounds_of

    found: Contexts | None = None
    skipped: dict[str, int] = {}
    if config is not None:
        if files or (parameters, vocabulary, width) != (None,) * 3 or reading != Reading():
            raise ConfigError(
                f"--config {config} states corpus, model and reading; leave the other words out"
            )
        found, parameters, width = _configured(config)
    elif parameters is None:
        raise ConfigError("give --parameters, the number of the model's trainable parameters, or --config")
    elif files:
        found, skipped = reading.contexts(*files)
    elif vocabulary is None:
        raise ConfigError("give --vocabulary, the tokens the model tells apart, or a corpus to count them in")
    judged = bounds_of(parameters, vocabulary, width=width, corpus=found)
    values = {name: value for name, value in vars(judged).items() if name != "verdict"}
    if found is not None and judged.verdict is not None:
        values |= _judged(judged.verdict)
        values |= {"bound_nats": found.bound_nats, "skipped": skipped}
        values["beside"] = [vars(row) for row in _beside(found, judged.vocabulary)]
    answer(values, format)
    return 0


def _configured(path: Path) -> tuple[Contexts, int, int]:
    """Contexts, trainable parameters and width of a config of the study."""
    from netassay.config import read
    from netassay.studies.capacity.config import CapacityConfig

    values = read(path)
    if values.get("study", "capacity") != "capacity":
        raise ConfigError(f"{path}: is a config of study {values['study']!r}; give one of capacity")
    config = CapacityConfig.from_mapping(values, where=str(path))
    from netassay.capacity.theorems import trained_parameters
    from netassay.studies.capacity.material import material

    found = material(config).found
    count = trained_parameters(found.vocabulary, config.width, trained=config.trained)
    return found, count, config.width


def _numbers(found: Contexts) -> dict[str, Any]:
    from netassay.capacity.corpus_bounds import information_bits, predicted_parameters

    return {
        "documents": found.documents,
        "documents_empty": found.empty,
        "documents_cut": found.shortened,
        "documents_dropped": found.dropped,
        "tokens": found.tokens,
        "tokens_predicted": found.predictions,
        "vocabulary": found.vocabulary,
        "contexts": found.n,
        "contexts_with_empty": found.n_with_empty,
        "largest_support": found.largest_support,
        "share_certain": found.share_certain,
        "degrees_of_freedom": found.degrees_of_freedom,
        "degrees_of_freedom_unequal": found.degrees_of_freedom_unequal,
        "bound_nats": found.bound_nats,
        "bound_nats_with_empty": found.bound_nats_with_empty,
        "bound_bits_per_token": found.bound_bits_per_token,
        "bound_bits_per_token_with_empty": found.bound_bits_per_token_with_empty,
        "information_bits": information_bits(found),
        "predicted_parameters": predicted_parameters(found),
    }


def _by_length(found: Contexts) -> list[dict[str, Any]]:
    names = ("contexts", "predictions", "certain", "branches", "nats")
    arrays = (
        found.contexts_by_length,
        found.predictions_by_length,
        found.certain_by_length,
        found.branches_by_length,
        found.nats_by_length,
    )
    rows = zip(*(array.tolist() for array in arrays), strict=True)
    return [{"length": length, **dict(zip(names, row, strict=True))} for length, row in enumerate(rows)]


def _judged(judgement: Verdict) -> dict[str, Any]:
    return {
        "verdict": judgement.answer,
        "not_for_almost_all_frequencies": judgement.not_for_almost_all_frequencies,
        "degrees_of_freedom": judgement.fewest_parameters_this_corpus,
        "degrees_of_freedom_unequal": judgement.degrees_of_freedom_unequal,
        "verdict_worst_case": judgement.worst_case,
        "words": judgement.words,
        "contexts": judgement.contexts,
        "fewest_parameters_worst_case": judgement.fewest_parameters_worst_case,
        "fewest_parameters_this_corpus": judgement.fewest_parameters_this_corpus,
        "predicted_parameters": judgement.predicted_parameters,
        "sufficient_width": judgement.sufficient_width,
    }


def _beside(found: Contexts, vocabulary: int) -> tuple[Row, ...]:
    from netassay.capacity.comparison import side_by_side

    return side_by_side(found, vocabulary=vocabulary)


def _room(memory: str | None) -> int:
    """Bytes left for counting, of those that the command may take or of half this machine's."""
    from netassay.corpus.out_of_core import LEAST_ROOM

    import_module("polars")  # what it takes by itself is then among what is taken
    allowed = machine_bytes() // 2 if memory is None else _bytes(memory)
    taken = peak_bytes() or 0
    if allowed - taken < LEAST_ROOM:
        raise ConfigError(
            f"memory {memory}: the command takes {taken / 1e6:.0f} MB before it counts and needs "
            f"{LEAST_ROOM / 1e6:.0f} MB to count; give at least {(taken + LEAST_ROOM) / 1e6 + 1:.0f}MB"
        )
    return allowed - taken


def _bytes(size: str) -> int:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?(?:e\+?\d+)?)\s*([kMGT]?)(i?)B?\s*", size, re.IGNORECASE)
    if match is None:
        raise ConfigError(f"memory {size!r:.60} is no size; write it as 500MB, 2GB or 1.5GiB")
    number, prefix, binary = match.groups()
    amount = float(number) * (1024 if binary else 1000) ** " kmgt".index(prefix.lower() or " ")
    if amount > MOST_COUNTED:
        raise ConfigError(
            f"memory {size!r:.60} is more than any machine has; write it as 500MB, 2GB or 1.5GiB"
        )
    return int(amount)
