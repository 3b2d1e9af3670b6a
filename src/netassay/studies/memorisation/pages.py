"""The memorisation study's part of a report: figures and tables drawn from run folders."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from netassay.corpus.context import BITS_PER_PARAMETER
from netassay.reporting import (
    Axis,
    FigureSpec,
    Note,
    Section,
    TableSpec,
    forest,
    lines,
    small_multiples,
)
from netassay.runs import Run
from netassay.studies.memorisation.findings import answer_of, length_bins, per_token, tables
from netassay.study import differing, unique_names

_BITS = Axis("bits", title="bits per token")
_CURVE = Axis("curve", title=" ")
BY_LENGTH = FigureSpec(
    "memorisation-lengths",
    "Loss and bound by length of context",
    "Mean over predicted tokens. No predictor of these contexts has a loss below the bound; the difference is the "
    "gap. From 17 tokens on, lengths are grouped into bins, each about a fifth wide.",
    lines,
    (Axis("length", title="tokens of context", log=True), _BITS, _CURVE),
)
BY_OCCURRENCES = FigureSpec(
    "memorisation-occurrences",
    "Loss against occurrences of the context",
    "Contexts that occur once, 2 to 3 times, 4 to 7 times and so on, drawn at the smallest number of each group; mean "
    "over predicted tokens. Frequent contexts are short, and several tokens may follow them: compare the loss with "
    "the bound. A model that memorised only frequent contexts is near it only on the right.",
    lines,
    (Axis("occurrences", title="occurrences of the context", log=True), _BITS, _CURVE),
)
PER_PARAMETER = FigureSpec(
    "memorisation-bits",
    "Bits per parameter",
    "Code length of the corpus under each reference minus that under the model, over the model's parameters; bars are "
    "95 % intervals from a bootstrap over documents. The dashed line is {rate}, the most that Morris et al. (2025) "
    "measured GPT-style decoders to store of random data. Below zero, the reference codes the corpus better.",
    forest,
    (Axis("per_parameter", title="bits per parameter"), Axis("of")),
    {"reference": BITS_PER_PARAMETER},
)
RUNS = TableSpec(
    "memorisation-runs", "Models and corpora",
    "Loss, bound and gap in bits per predicted token. right: contexts whose likeliest token under the model is a most "
    "frequent continuation; certain: contexts with one continuation.",
    {"loss": ".4f", "bound": ".4f", "gap": ".4f", "right": ".1%", "certain": ".1%", "parameters": ",d",
     "tokens": ",d", "contexts": ",d"},
)  # fmt: skip
GROUPS = TableSpec(
    "memorisation-{kind}-table-{number}",
    "{title}",
    "Bits per predicted token, and shares of the contexts. {of}",
    {"loss": ".3f", "bound": ".3f", "gap": ".3f", "right": ".1%", "certain": ".1%", "tokens": ",d", "contexts": ",d"},
)
BIT_TABLE = TableSpec(
    "memorisation-bit-table",
    "Bits held",
    "by the better: the sum over documents of differences above zero, as Morris et al. code a document with the "
    "better of two models. units: documents of the bootstrap, or rows if there is only one document.",
    {"bits": ",.0f", "low": ",.0f", "high": ",.0f", "by the better": ",.0f", "per parameter": ".4g"},
)
TRIES = TableSpec(
    "memorisation-tries-{number}",
    "Extraction by sampling",
    "Share of the {sequences:,} sequences that at least one of this number of samples reproduces, all {suffix} tokens "
    "after the first {prefix}, with probability p or more, and the mean probability. Greedy decoding reproduces "
    "{greedy:,}. {of}",
    dict.fromkeys(("p ≥ 0.1", "p ≥ 0.5", "p ≥ 0.9", "mean"), ".3%") | {"tries": ",d"},
)
SEQUENCES = TableSpec(
    "memorisation-sequences-{number}",
    "Sequences most likely to be reproduced",
    "p: probability that one sample reproduces the whole suffix. greedy: whether greedy decoding does. {of}",
    {"p": ".3g"},
)
LARGEST = TableSpec(
    "memorisation-largest-{number}",
    "Contexts with the largest gaps",
    "The last 64 tokens of each context, its most frequent next token, how often the context and both occur, and the "
    "model's probability of that token. gap: summed over occurrences, in bits. {of}",
    {"model": ".3g", "gap": ".4g"},
)

TEXT = (
    "The bound is the entropy of the next tokens that follow each context in this corpus, on exactly the contexts "
    "that the model was fed: no predictor has a lower loss, and one that has memorised the corpus reaches it. "
    "Beyond about ten tokens nearly every context of a text occurs once, so the bound is nearly 0 and the gap "
    "nearly the loss: compare them by length.\n\n"
    "A gap measures what is not memorised, not what should be: a model that generalises well to new text ought to have "
    "a gap. And no number here is a measure of privacy."
)
METHODS = (
    "Loss: −ln q of every predicted token, from the logits in their own precision (at least float32), summed in "
    "float64; rows of similar length are evaluated together, padded at the end. Bound: the sum of c ln(total / c) over "
    "contexts and next tokens, counted exactly, a context being all tokens of its row before the predicted one.\n\n"
    "Bits: code length under a reference minus that under the model. uniform: all tokens of the model's vocabulary "
    "equally likely, so that everything the model knows counts, including grammar. unigram: the frequencies of the "
    "predicted tokens themselves, without the cost of their table. model: a second model; if it was trained on similar "
    "data, what remains is unintended memorisation in the sense of Morris et al. The costs of describing and training "
    "the models are not counted. Intervals: 95 % percentile intervals, with documents drawn with replacement.\n\n"
    "Extraction: a sequence is the beginning of a row. Its probability is the product of its tokens' probabilities, so "
    "no sample is drawn; sampling is at temperature 1 from all tokens.\n\n"
    "References: Madden, Fox, Thrampoulidis 2024, Next-token prediction capacity, arXiv 2405.13718. Morris et al. "
    "2025, How much do language models memorize?, arXiv 2505.24832. Carlini et al. 2021, Extracting training data "
    "from large language models, arXiv 2012.07805; 2023, Quantifying memorization across neural language models, "
    "arXiv 2202.07646. Hayes et al. 2025, Measuring memorization in language models via probabilistic extraction, "
    "arXiv 2410.19482."
)


def sections(runs: Sequence[Run]) -> list[Section]:
    """Gap by length, loss against occurrences, bits and extraction of the given runs, in any state."""
    answers = {run: answer for run in runs if (answer := answer_of(run))}
    silent = [run.id for run in runs if run not in answers]
    notes = (Note(f"Not evaluated to the end yet: {', '.join(silent)}."),) if silent else ()
    if not answers:
        return [Section("Memorisation", items=notes or (Note("There are no runs of the memorisation study."),))]
    names = _names(list(answers))
    frames = {run: tables(run) for run in answers}
    return [
        _gaps(answers, frames, names, notes),
        _bits(frames, names),
        *(_texts(run, answers[run], frames[run], names[run], number) for number, run in enumerate(answers, 1)),
        Section("Methods", METHODS),
    ]


def _names(runs: list[Run]) -> dict[Run, str]:
    """Model on corpus, and the other keys in which runs differ."""
    keys = [key for key in differing(runs) if key not in ("model", "corpus")]
    plain = {
        run: ", ".join(
            [f"{_last(run.config.get('module') or run.config['model'])} on {_last(run.config['corpus'])}"]
            + [f"{key} {run.config.get(key)}" for key in keys]
        )
        for run in runs
    }
    return unique_names(plain)


def _last(path: str) -> str:
    return Path(path).name or path


def _gaps(
    answers: dict[Run, dict[str, Any]],
    frames: dict[Run, dict[str, pl.DataFrame]],
    names: dict[Run, str],
    notes: tuple[Note, ...],
) -> Section:
    rows = [{"model on corpus": names[run], **_row(answers[run]["whole"])} for run in answers]
    by_length = {run: length_bins(frames[run]["lengths"]) for run in answers}
    often = {run: frame["occurrences"] for run, frame in frames.items()}
    figures = [
        _figure(BY_LENGTH, "length", by_length, names, ("loss", "bound", "gap")),
        _figure(BY_OCCURRENCES, "occurrences", often, names, ("loss", "bound")),
    ]
    return Section("Memorisation of a corpus", TEXT, (*notes, RUNS.of(pl.DataFrame(rows)), *figures))


def _row(totals: dict[str, Any]) -> dict[str, Any]:
    scale = totals["predictions"] * math.log(2)
    loss = totals["loss_nats"]
    return {
        "parameters": totals["parameters"],
        "tokens": totals["predictions"],
        "contexts": totals["contexts"],
        "loss": None if loss is None else loss / scale,
        "bound": totals["bound_nats"] / scale,
        "gap": None if loss is None else (loss - totals["bound_nats"]) / scale,
        "right": totals["right"] / totals["contexts"],
        "certain": totals["certain"] / totals["contexts"],
    }


def _figure(
    spec: FigureSpec, x: str, groups: dict[Run, pl.DataFrame], names: dict[Run, str], curves: tuple[str, ...]
) -> Any:
    """Curves of one run, or one panel per run."""
    rows = pl.concat(
        per_token(frame).select(
            pl.lit(names[run]).alias("run"),
            pl.col("low").cast(pl.Float64).alias(x),
            pl.lit(curve).alias("curve"),
            pl.col(curve).alias("bits"),
        )
        for run, frame in groups.items()
        for curve in curves
    )
    if len(groups) == 1:
        return spec.of(rows.drop("run"))
    several = FigureSpec(
        spec.name, spec.title, spec.caption, small_multiples, (*spec.axes[:2], Axis("run"), spec.axes[2])
    )
    return several.of(rows)


def _bits(frames: dict[Run, dict[str, pl.DataFrame]], names: dict[Run, str]) -> Section:
    rows = pl.concat(
        frame["bits"].select(
            pl.lit(names[run]).alias("model on corpus"),
            "reference",
            "bits",
            "low",
            "high",
            "units",
            pl.col("bits_by_the_better").alias("by the better"),
            "parameters",
        )
        for run, frame in frames.items()
    )
    rate = pl.col("parameters").cast(pl.Float64)
    several = len(frames) > 1
    of = pl.col("reference") + pl.lit(": ") + pl.col("model on corpus") if several else pl.col("reference")
    ratios = rows.filter(rate > 0).select(
        of.alias("of"),
        (pl.col("bits") / rate).alias("per_parameter"),
        (pl.col("low") / rate).alias("low"),
        (pl.col("high") / rate).alias("high"),
    )
    table = rows.with_columns((pl.col("bits") / rate).alias("per parameter")).drop("parameters")
    figure = [PER_PARAMETER.of(ratios, words={"rate": BITS_PER_PARAMETER})] if ratios.height else []
    return Section("Bits held", "", (*figure, BIT_TABLE.of(table)))


def _texts(run: Run, answer: dict[str, Any], frame: dict[str, pl.DataFrame], name: str, number: int) -> Section:
    """Contexts and sequences of one run as text, and its numbers by group."""
    words: dict[str, object] = {"of": name[0].upper() + name[1:] + ".", "number": number}
    extraction = answer["extraction"]
    items: list[Any] = []
    if extraction["sequences"]:
        tries = frame["tries"].rename({"p0.1": "p ≥ 0.1", "p0.5": "p ≥ 0.5", "p0.9": "p ≥ 0.9", "expected": "mean"})
        items.append(TRIES.of(tries, words=words | extraction))
        sequences = frame["sequences"].select("prefix", "suffix", pl.col("log_probability").exp().alias("p"), "greedy")
        items.append(SEQUENCES.of(sequences, words=words))
    else:
        items.append(
            Note(
                f"No row has the {extraction['prefix'] + extraction['suffix']} tokens that extraction needs; give "
                "a shorter prefix or suffix, or pack documents into blocks."
            )
        )
    largest = frame["largest"].select(
        pl.col("text").alias("context"),
        pl.col("next_text").alias("next token"),
        "occurrences",
        pl.col("next_count").alias("both"),
        pl.col("probability").alias("model"),
        ((pl.col("loss_nats") - pl.col("bound_nats")) / math.log(2)).alias("gap"),
    )
    if largest.height:
        items.append(LARGEST.of(largest, words=words))
    titles = {"lengths": "By length", "occurrences": "By occurrences", "continuations": "By continuations"}
    for kind, title in titles.items():
        groups = length_bins(frame[kind]) if kind == "lengths" else frame[kind]
        items.append(GROUPS.of(_group_rows(groups), words=words | {"kind": kind, "title": title}))
    return Section(f"Text and groups of {name}", f"Run {run.id}.", tuple(items))


def _group_rows(groups: pl.DataFrame) -> pl.DataFrame:
    low, high = pl.col("low").cast(pl.String), pl.col("high").cast(pl.String)
    return per_token(groups).select(
        pl.when(pl.col("low") == pl.col("high")).then(low).otherwise(low + "–" + high).alias("group"),
        pl.col("predictions").alias("tokens"),
        "contexts",
        "loss",
        "bound",
        "gap",
        pl.col("right_share").alias("right"),
        pl.col("certain_share").alias("certain"),
    )
