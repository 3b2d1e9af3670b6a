"""Commands on a corpus: the least loss it allows, and how large a model must be to reach it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

from netassay.cli.output import Format, answer
from netassay.errors import ConfigError

if TYPE_CHECKING:
    from netassay.studies.capacity.contexts import Contexts
    from netassay.studies.capacity.corpus_bounds import Verdict


@Parameter(name="*", group=Group("Corpus", sort_key=1))
@dataclass(frozen=True)
class Reading:
    """How a file becomes documents of tokens."""

    document: Annotated[
        Literal["line", "paragraph", "file", "record"] | None,
        Parameter(help="What a document of text is; a line by default, of topics a topic."),
    ] = None
    tokenizer: Annotated[
        str,
        Parameter(
            help="wordpunct, whitespace, characters, bytes or a tokenizer.json of Hugging Face's tokenizers."
        ),
    ] = "wordpunct"
    length: Annotated[int | None, Parameter(help="Cut documents to their first tokens.")] = None
    exact_length: Annotated[
        bool,
        Parameter(help="Leave out documents shorter than --length, instead of keeping them.", negative=""),
    ] = False
    separator: Annotated[str, Parameter(help="Text between records.")] = "<|endoftext|>"
    column: Annotated[
        str | None, Parameter(help="Column of JSON lines or Parquet that holds the text; text by default.")
    ] = None
    dtype: Annotated[
        str | None, Parameter(help="The file is raw little-endian token ids of this kind, such as uint16.")
    ] = None
    end: Annotated[int | None, Parameter(help="Token id that closes a document in a file of token ids.")] = (
        None
    )

    def contexts(self, file: str, window: int | None = None) -> tuple[Contexts, dict[str, int]]:
        """The contexts of a file's documents, and how many documents were left out by reason."""
        from netassay.formats.corpus import read_corpus
        from netassay.studies.capacity.contexts import contexts

        corpus = read_corpus(
            file,
            document=self.document,
            tokenizer=self.tokenizer,
            separator=self.separator,
            column=self.column,
            dtype=self.dtype,
            end=self.end,
            # one token more than is used tells which documents were cut
            limit=None if self.length is None else max(self.length, 0) + 1,
        )
        found = contexts(corpus.documents, length=self.length, exact_length=self.exact_length, window=window)
        return found, dict(corpus.skipped)


def entropy(
    file: Annotated[
        str,
        Parameter(
            help="Text or .jsonl (both also gzip), .parquet, .arrow, .npy, or the word topics: Python's help topics."
        ),
    ],
    *,
    reading: Reading = Reading(),
    window: Annotated[
        int | None, Parameter(help="Contexts are the last tokens, so many, instead of all before.")
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
    found, skipped = reading.contexts(file, window)
    values = {**_numbers(found), "skipped": skipped}
    if by_length:
        values["by_length"] = _by_length(found)
    seconds = time.perf_counter() - begin
    answer({**values, "seconds": seconds, "peak_bytes": _peak_bytes()}, format)
    return 0


def bounds(
    file: Annotated[str | None, Parameter(help="Corpus, for the verdict on it: a file, or topics.")] = None,
    *,
    parameters: Annotated[int, Parameter(help="Trainable parameters of the model.")],
    vocabulary: Annotated[
        int | None, Parameter(help="Tokens the model tells apart; those of the corpus by default.")
    ] = None,
    width: Annotated[
        int | None, Parameter(help="Neurons of the hidden layer, if it is a one-layer decoder.")
    ] = None,
    reading: Reading = Reading(),
    format: Format = "table",
) -> int:
    """How many contexts a model of this size can hold at most and at least; with a corpus, whether it can that.

    upper_general (Lemma 9): any contexts with any distributions. upper_empirical (Theorem 13): every corpus of so
    many contexts. lower_construct (Theorem 21): a decoder of this width holds any so many contexts.

    Example: netassay bounds --parameters 35442 --vocabulary 690 --width 32
    """
    from netassay.studies.capacity import bounds as theorems
    from netassay.studies.capacity.corpus_bounds import verdict

    judged: dict[str, Any] = {}
    if file is not None:
        found, skipped = reading.contexts(file)
        judgement = verdict(found, parameters, width=width, vocabulary=vocabulary)
        vocabulary = judgement.vocabulary
        judged = {**_judged(judgement), "bound_nats": found.bound_nats, "skipped": skipped}
    if vocabulary is None:
        raise ConfigError("give --vocabulary, the tokens the model tells apart, or a corpus to count them in")
    answer(
        {
            "parameters": parameters,
            "vocabulary": vocabulary,
            "width": width,
            "upper_general": theorems.capacity_upper(parameters, vocabulary),
            "upper_empirical": theorems.empirical_capacity_upper(parameters, vocabulary),
            "upper_empirical_tight": theorems.empirical_capacity_upper_tight(parameters, vocabulary),
            "lower_construct": None if width is None else theorems.decoder_capacity_lower(width),
            **judged,
        },
        format,
    )
    return 0


def _numbers(found: Contexts) -> dict[str, Any]:
    from netassay.studies.capacity.corpus_bounds import information_bits, predicted_parameters

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
        "share_certain": found.share_certain,
        "degrees_of_freedom": found.degrees_of_freedom,
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
        "verdict_worst_case": judgement.worst_case,
        "words": judgement.words,
        "contexts": judgement.contexts,
        "fewest_parameters_worst_case": judgement.fewest_parameters_worst_case,
        "fewest_parameters_this_corpus": judgement.fewest_parameters_this_corpus,
        "predicted_parameters": judgement.predicted_parameters,
        "sufficient_width": judgement.sufficient_width,
    }


def _peak_bytes() -> int | None:
    """Most memory this process has held at once, where the system tells."""
    import sys

    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
