"""Questions about a corpus in files: its contexts and its entropy bound."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from netassay.errors import ConfigError, DataError, did_you_mean
from netassay.files import refuse_misplaced
from netassay.formats.shards import Form, IdType
from netassay.formats.text import SEPARATOR, Unit
from netassay.processes import room

if TYPE_CHECKING:
    from torch.nn import Module

    from netassay.corpus.context import Contexts
    from netassay.formats.documents import Documents


READING_BYTES = 64
"""Maximum memory of reading a part of a corpus, for each token or document."""


class CorpusArguments(TypedDict, total=False):
    """How files become documents of tokens, and how much memory counting may take.

    Args:
        document: What a document of text is: a line by default; in `topics`, a topic.
        tokenizer: wordpunct, whitespace, characters, bytes, a tokenizer.json of Hugging Face's tokenizers, a
            SentencePiece .model, a .tiktoken file or tiktoken:NAME.
        length: Cut documents to their first tokens (1 or more).
        exact_length: Leave out documents shorter than `length` instead of keeping them.
        separator: Text between records (document "record").
        column: Column of JSON, CSV, Parquet or Arrow that holds the text or the token ids; "text" by default.
            "meta.text" is text within meta.
        add_end: End every document of text with a token of its own, so that it differs from a document that it
            begins.
        dtype: The files are raw little-endian token ids of this integer type.
        end: Token id that ends a document, in raw ids and in .npy files of one dimension.
        skip: Bytes of a header before raw ids; that of llm.c is recognised automatically.
        form: Form of the files, if their first bytes and endings do not show it.
        ignore: Token id to remove wherever it occurs, such as padding or an ignored position (-100).
        blocks: Pack documents into rows of this many tokens of context and the one after them, as language models are
            trained; a row is then a document.
        stride: Tokens from one block to the next; by default they do not overlap.
        memory: Maximum memory of the process, such as 2GB; a corpus that needs more is counted on disk. By
            default half of this machine's.
        scratch: Folder for counting on disk; by default the system's temporary folder.
    """

    document: Unit | None
    tokenizer: str | Path
    length: int | None
    exact_length: bool
    separator: str
    column: str | None
    add_end: bool
    dtype: IdType | None
    end: int | None
    skip: int
    form: Form | None
    ignore: int | None
    blocks: int | None
    stride: int | None
    memory: str | None
    scratch: Path | str | None


CORPUS_DEFAULTS: CorpusArguments = {
    "document": None,
    "tokenizer": "wordpunct",
    "length": None,
    "exact_length": False,
    "separator": SEPARATOR,
    "column": None,
    "add_end": False,
    "dtype": None,
    "end": None,
    "skip": 0,
    "form": None,
    "ignore": None,
    "blocks": None,
    "stride": None,
    "memory": None,
    "scratch": None,
}


def contexts_of(
    files: Contexts | Path | str | Sequence[Path | str],
    *,
    window: int | None = None,
    observe: Callable[[Documents], None] | None = None,
    on: Literal["local", "ray"] = "local",
    address: str | None = None,
    hold: bool = True,
    **corpus: Unpack[CorpusArguments],
) -> Contexts:
    """Count the unique contexts of a corpus in files, in memory or on disk.

    Args:
        files: Files, folders or patterns, together one corpus; or "topics"; or "-" for standard input; or contexts that
            are counted already.
        window: Contexts are the last `window` tokens (1 or more) instead of all the tokens before.
        observe: Called with each part of the documents as they are counted; not with `on` "ray".
        on: This machine, or the nodes of a Ray cluster, which all see the files and the folder `scratch`.
        address: The Ray cluster: auto, the one that runs here, or HOST:PORT.
        hold: Whether the answer is to hold the documents if they fit into memory; its numbers are the same.
        corpus: How the files are read: see `entropy`.

    Returns:
        The contexts. `skipped` counts the documents left out, by reason.

    Raises:
        ConfigError: For an unknown argument, a length or window below 1, and too little memory.
        DataError: For files that cannot be read or hold no token.

    Source:
        Madden, Fox, Thrampoulidis (2024), section 2.

    Example:
        >>> import netassay
        >>> result = netassay.contexts_of("topics", document="line", length=4)
        >>> result.n > 1000
        True
    """
    from netassay.corpus.context import Contexts, require_sizes
    from netassay.corpus.feed import require_blocks
    from netassay.formats.shards import with_standard_input

    if isinstance(files, Contexts):
        if corpus or window is not None:
            raise ConfigError(f"these contexts are counted already; leave {', '.join(corpus) or 'window'} out")
        return files
    arguments = _complete(corpus)
    _require_place(on, address, arguments["blocks"])
    files = (files,) if isinstance(files, str | Path) else tuple(files)
    length, exact = arguments["length"], arguments["exact_length"]
    require_sizes(length, exact, window)
    if arguments["blocks"] is not None or arguments["stride"] is not None:
        require_blocks(arguments["blocks"], arguments["stride"])
    if arguments["blocks"] is not None and length is not None:
        raise ConfigError(
            f"length = {length} cuts documents and blocks = {arguments['blocks']} packs them; give one of the two"
        )
    scratch = arguments["scratch"]
    with with_standard_input(files, scratch) as files:
        return _contexts_in(files, arguments, window, observe, on, address, hold)


def _contexts_in(
    files: tuple[Path | str, ...],
    arguments: Mapping[str, Any],
    window: int | None,
    observe: Callable[[Documents], None] | None,
    on: str,
    address: str | None,
    hold: bool,
) -> Contexts:
    from netassay.corpus.context import LEAST_ROOM, contexts_within
    from netassay.corpus.counting import AT_ONCE
    from netassay.corpus.packing import packed
    from netassay.corpus.parting import PARTING_BYTES
    from netassay.formats import corpus as formats

    length, exact = arguments["length"], arguments["exact_length"]
    keys: dict[str, Any] = {key.name: arguments[key.name] for key in fields(formats.Reading)}
    if (
        window is None
        and arguments["blocks"] is None
        and (lone := formats.lone_documents(files, formats.Reading(**keys)))
    ):
        raise DataError(
            f"{lone[0]}: nothing ends a document in it, and a single document of token ids leaves nothing "
            "uncertain (0 nats); give --end, the id that ends its documents, or count with a --window or --blocks"
        )
    if on == "ray":
        from netassay.commands.nodes import contexts_over_nodes

        return contexts_over_nodes(
            files,
            reading=formats.Reading(**keys),
            length=length,
            exact_length=exact,
            window=window,
            memory=arguments["memory"],
            scratch=arguments["scratch"],
            address=address,
        )
    memory = room(arguments["memory"], LEAST_ROOM)
    # what packs or observes tokens copies them, at 8 bytes each
    moved = window is not None or arguments["blocks"] is not None or observe is not None
    skipped: Counter[str] = Counter()
    parts = formats.read_in_parts(
        files,
        **keys,
        # one token more than is used shows which documents were cut
        limit=None if length is None else length + 1,
        skipped=skipped,
        tokens_at_once=min(memory // (PARTING_BYTES if moved else READING_BYTES), AT_ONCE),
    )
    if arguments["blocks"] is not None:
        parts = packed(parts, arguments["blocks"], arguments["stride"])
    scratch = arguments["scratch"]
    contexts = contexts_within(
        parts if observe is None else _observed(parts, observe, length, exact),
        memory=memory,
        length=length,
        exact_length=exact,
        window=window,
        folder=None if scratch is None else Path(scratch),
        hold=hold,
    )
    if contexts.dropped and not contexts.documents:
        raise DataError(
            f"{formats.source_name(files)}: all {contexts.dropped:,} documents are shorter than {length} tokens"
        )
    formats.require_tokens(files, contexts.tokens, skipped)
    return replace(contexts, skipped=dict(skipped))


def _observed(
    parts: Iterable[Documents], observe: Callable[[Documents], None], length: int | None, exact: bool
) -> Iterator[Documents]:
    """The parts, passed to an observer as they are counted."""
    from netassay.corpus.context import fit_length

    for part in parts:
        observe(fit_length(part, length, exact)[0])
        yield part


def _require_place(on: str, address: str | None, blocks: int | None) -> None:
    if on not in ("local", "ray"):
        raise ConfigError(f"on = {on!r:.80} is not allowed: local or ray")
    if on == "local" and address is not None:
        raise ConfigError(f"address = {address!r:.80} is that of a Ray cluster; add --on ray")
    if on == "ray" and blocks is not None:
        raise ConfigError(
            f"blocks = {blocks} runs on from one file to the next, which is not for --on ray; write the corpus in "
            "blocks first, or leave --on ray out"
        )


def _complete(arguments: CorpusArguments) -> dict[str, Any]:
    for name in arguments:
        if name not in CORPUS_DEFAULTS:
            raise ConfigError(f"argument {name!r} is not known; {did_you_mean(name, CORPUS_DEFAULTS)}")
    return {**CORPUS_DEFAULTS, **arguments}


@dataclass(frozen=True)
class Entropy:
    """What there is to learn in a corpus, in numbers; those `_with_empty` predict first tokens too.

    Counts are of documents, tokens or contexts; `bound_nats` is summed over all predicted tokens, bits per token are
    means over them. `share_certain` (0 to 1) is the share of contexts with one continuation. `information_bits` is
    the corpus's information about its tokens, `predicted_parameters` the size with which training is expected to
    begin to memorise it (an empirical rate, not a bound).

    Example:
        >>> import netassay
        >>> netassay.entropy("topics", document="line", length=4).counted_on_disk
        False
    """

    documents: int
    documents_empty: int
    documents_cut: int
    documents_dropped: int
    tokens: int
    tokens_predicted: int
    vocabulary: int
    contexts: int
    contexts_with_empty: int
    largest_support: int
    share_certain: float
    degrees_of_freedom: int
    degrees_of_freedom_unequal: int
    bound_nats: float
    bound_nats_with_empty: float
    bound_bits_per_token: float
    bound_bits_per_token_with_empty: float
    information_bits: float
    predicted_parameters: float
    counted_on_disk: bool
    skipped: Mapping[str, int]
    by_length: list[dict[str, Any]] | None = None
    by_context: list[dict[str, Any]] | None = None

    def plot(self) -> Any:
        """The least loss by length of context, as an Altair chart; DataError without `by_length`."""
        return import_module("netassay.plotting").plot(self)


def entropy(
    files: Contexts | Path | str | Sequence[Path | str],
    *,
    window: int | None = None,
    by_length: bool = False,
    lengths: Sequence[int] | None = None,
    model: Module | Path | str | None = None,
    page: Path | str | None = None,
    on: Literal["local", "ray"] = "local",
    address: str | None = None,
    **corpus: Unpack[CorpusArguments],
) -> Entropy:
    """Count the unique contexts of a corpus, and the lowest summed loss that any next-token predictor can reach on it.

    bound_nats leaves out first tokens, which no context predicts; bound_nats_with_empty predicts them too. Bits per
    token are means over the tokens predicted.

    Args:
        files: Files, folders or patterns, together one corpus: text, .jsonl, .json, .csv (all also .gz, .bz2, .xz,
            .zst), .parquet, .arrow, .npy, raw token ids; or the word topics: Python's help topics; or - for standard
            input, which is text unless its first bytes or a stated form say otherwise.
        window: Contexts are the last `window` tokens (1 or more) instead of all the tokens before.
        by_length: Also give the numbers for each length of context.
        lengths: Also give the bound of predictors that see the last L tokens, for each L given, in the same pass; at
            the command line with commas, as 1,2,4,...,1024.
        model: A language model as `netassay.memorisation` takes it: also give, beside each bound, its mean loss on the
            tokens that have exactly L tokens before them (needs lengths).
        page: Write these to a page, a single HTML file, as a figure and a table (needs lengths).
        on: Count on this machine, or over the nodes of a Ray cluster, which all see the files and the folder `scratch`
            (not with lengths or blocks); the same command goes on where one was cut off.
        address: The Ray cluster: auto, the one that runs here, or HOST:PORT.
        corpus: How the files are read.

    Returns:
        The numbers of the corpus, as attributes.

    Raises:
        ConfigError: For an unknown argument, a length or window below 1, and too little memory.
        DataError: For files that cannot be read or hold no token.

    Source:
        Madden, Fox, Thrampoulidis (2024), section 2.

    Example:
        >>> import netassay
        >>> result = netassay.entropy("topics", document="line", length=4)
        >>> result.bound_nats < result.bound_nats_with_empty
        True
    """
    for name, value in (("page", page), ("model", model)):
        if value is not None and lengths is None:
            raise ConfigError(f"{name} is for the bound at lengths of context; give --lengths, such as 1,2,4,...,1024")
    if page is not None:
        refuse_misplaced(page)
    if on == "ray" and (lengths is not None or model is not None):
        raise ConfigError(
            "lengths and model are not for --on ray; count one length with --window, or leave --on ray out"
        )
    if on != "local" or address is not None:
        contexts = contexts_of(files, window=window, on=on, address=address, hold=False, **corpus)
        rows: list[dict[str, Any]] = []
    elif model is None:
        contexts, rows = _count(files, window, lengths, corpus)
    else:
        contexts, losses = _with_model(model, files, window, corpus)
        rows = [row | losses(row["length"]) for row in _count(contexts, None, lengths, {})[1]]
    if page is not None:
        _write(Path(page), files, rows)
    return Entropy(
        documents=contexts.documents,
        documents_empty=contexts.empty,
        documents_cut=contexts.shortened,
        documents_dropped=contexts.dropped,
        tokens=contexts.tokens,
        tokens_predicted=contexts.predictions,
        vocabulary=contexts.vocabulary,
        contexts=contexts.n,
        contexts_with_empty=contexts.n_with_empty,
        largest_support=contexts.largest_support,
        share_certain=contexts.share_certain,
        degrees_of_freedom=contexts.degrees_of_freedom,
        degrees_of_freedom_unequal=contexts.degrees_of_freedom_unequal,
        bound_nats=contexts.bound_nats,
        bound_nats_with_empty=contexts.bound_nats_with_empty,
        bound_bits_per_token=contexts.bound_bits_per_token,
        bound_bits_per_token_with_empty=contexts.bound_bits_per_token_with_empty,
        information_bits=contexts.information_bits,
        predicted_parameters=contexts.predicted_parameters(),
        counted_on_disk=contexts.on_disk,
        skipped=contexts.skipped,
        by_length=_by_length(contexts) if by_length else None,
        by_context=None if lengths is None else rows,
    )


def _count(
    files: Any, window: int | None, lengths: Sequence[int] | None, corpus: CorpusArguments
) -> tuple[Contexts, list[dict[str, Any]]]:
    """The contexts of a corpus and, counted in the same pass, a row for each length of context."""
    from netassay.corpus.conditional import Backwards, require_lengths
    from netassay.corpus.context import LEAST_ROOM, Contexts

    if lengths is None:
        return contexts_of(files, window=window, hold=False, **corpus), []
    ordered = require_lengths(lengths)
    scratch = corpus.get("scratch")
    with Backwards(
        None if scratch is None else Path(scratch), room(corpus.get("memory"), LEAST_ROOM) // 2
    ) as backwards:
        if isinstance(files, Contexts):
            backwards.append(files.corpus)
        contexts = contexts_of(files, window=window, observe=backwards.append, hold=False, **corpus)
        return contexts, [
            {**asdict(row), "share_certain": row.share_certain, "bits_per_token": row.bits_per_token}
            for row in backwards.rows(ordered)
        ]


def _with_model(
    model: Any, files: Any, window: int | None, corpus: CorpusArguments
) -> tuple[Contexts, Callable[[int], dict[str, Any]]]:
    """The contexts of a corpus in a model's own tokens, and the model's mean loss after that many tokens."""
    import numpy as np

    from netassay.capacity.likelihood import likelihoods
    from netassay.corpus.context import Contexts, contexts
    from netassay.studies.memorisation.config import MemorisationConfig
    from netassay.studies.memorisation.material import material

    for name in ("blocks", "stride", "exact_length", "memory", "scratch"):
        if corpus.get(name):
            raise ConfigError(f"{name} is not for losses of a model; netassay memorisation takes blocks and strides")
    options: dict[str, Any] = {**corpus}
    if not isinstance(files, Contexts | str | Path) and len(files) == 1:
        files = files[0]
    if isinstance(files, Contexts):
        documents = files.corpus
    elif isinstance(files, str | Path):
        options["corpus"], documents = str(files), None
    else:
        raise ConfigError("with a model, give one file, folder or pattern")
    named = isinstance(model, str | Path)
    config = MemorisationConfig.from_mapping(options | ({"model": str(model)} if named else {}), where="options")
    data = material(config, model=None if named else model, documents=documents)
    evaluation = likelihoods(data.model, data.feed)
    positions = data.feed.context_lengths()
    counts, nats = np.bincount(positions), np.bincount(positions, weights=evaluation.nats)

    def losses(length: int) -> dict[str, Any]:
        count = int(counts[length]) if length < len(counts) else 0
        mean = float(nats[length]) / math.log(2) / count if count else math.nan
        return {"model_predictions": count, "model_bits_per_token": mean}

    counted = contexts(data.feed.source, length=config.length, window=window)
    return replace(counted, skipped=dict(data.skipped)), losses


def _write(path: Path, files: Any, rows: list[dict[str, Any]]) -> None:
    """The page of the bound at lengths of context."""
    import polars as pl

    import netassay
    from netassay.formats.corpus import source_name
    from netassay.reporting import Axis, Figure, Section, Table, lines, write_page

    table = pl.DataFrame(rows).with_columns(
        once_share=pl.col("once") / pl.col("predictions"), once_bits=pl.col("once_nats") / math.log(2)
    )
    names = {
        "bits_per_token": "bound, bits per token",
        "share_certain": "contexts with one continuation (share)",
        "once_share": "tokens after a context that occurs once (share)",
    }
    if "model_bits_per_token" in table.columns:
        names["model_bits_per_token"] = "loss of the model after L tokens, bits per token"
    curves = table.unpivot([*names], index="length", variable_name="of").with_columns(pl.col("of").replace(names))
    columns = table.select("length", "contexts", "predictions", *names, "once_bits")
    caption = (
        "The exact entropy of the next token given the last L, in the corpus's own frequencies: no predictor that sees "
        "L tokens has a smaller mean loss on it. After a context that occurs once the bound is 0."
    )
    if "model_bits_per_token" in names:
        caption += (
            " The model's loss is the mean over tokens with exactly L tokens before them in their document, which are "
            "fewer than those of the bound: it can lie below the bound there."
        )
    note = (
        "once bits: code length, by the frequencies of tokens alone, of the tokens that follow a context which occurs "
        "once. Nothing else in the corpus shows what follows it, so that only memorising gives these bits."
    )
    figure = Figure(
        "entropy-lengths",
        "Entropy bound by length of context",
        caption,
        lines(
            curves,
            Axis("length", title="tokens of context", log=True),
            Axis("value", title="bits per token, or share"),
            Axis("of", title=" "),
        ),
        curves,
    )
    formats = {
        "bits_per_token": ".4f",
        "share_certain": ".2%",
        "once_share": ".2%",
        "once_bits": ",.0f",
    }
    formats |= {"model_bits_per_token": ".4f"} if "model_bits_per_token" in names else {}
    section = Section(
        "Entropy bound", "", (figure, Table("entropy-table", "By length of context", note, columns, formats))
    )
    of = files if isinstance(files, str | Path) else [*files]
    write_page(
        path,
        title="Entropy of a corpus",
        subtitle=source_name(of),
        sections=[section],
        facts={"netassay": netassay.__version__},
    )


def _by_length(contexts: Contexts) -> list[dict[str, Any]]:
    names = ("contexts", "predictions", "certain", "branches", "nats")
    arrays = (getattr(contexts, f"{name}_by_length").tolist() for name in names)
    rows = zip(*arrays, strict=True)
    return [{"length": length, **dict(zip(names, row, strict=True))} for length, row in enumerate(rows)]
