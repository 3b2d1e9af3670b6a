"""The capacity study's part of a report: figures and tables drawn from run folders."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from netassay.capacity.corpus_bounds import NOT_GENERIC, answers
from netassay.reporting import (
    Axis,
    Figure,
    FigureSpec,
    Note,
    Rule,
    Section,
    TableSpec,
    heat_map,
    small_multiples,
)
from netassay.runs import Run
from netassay.studies.capacity.config import CapacityConfig
from netassay.studies.capacity.fewest_pages import distinct_format, fewest
from netassay.studies.capacity.findings import BOUNDS, attempt_table, bound_table, corpus_of

TRAINED = {"all": "all parameters", "feed_forward": "feed-forward part", "output": "output layer"}
MOST_PANELS = 6

_CELLS = (Axis("contexts", title="unique contexts n"), Axis("width", title="neurons m"))
NATS = FigureSpec(
    "capacity-nats-{number}",
    "Loss above the entropy bound",
    "Smallest summed loss minus the entropy lower bound, in nats, measured in float64. {corpus}; {trained} trained; "
    "{solver}; a trial ends when its gap is {criterion} of the bound.",
    heat_map,
    (*_CELLS, Axis("nats_above", title="loss − bound", unit="nats", log=True)),
)
GAP = FigureSpec(
    "capacity-gap-{number}",
    "Gap to the entropy bound",
    "The same in per cent of the bound; 1 is the criterion of the paper if everything is trained. {corpus}; {trained} "
    "trained; {solver}; a trial ends when its gap is {criterion} of the bound.",
    heat_map,
    (*_CELLS, Axis("gap", title="gap", unit="% of the bound", log=True)),
)
LOSSES = FigureSpec(
    "capacity-losses",
    "Loss on the way to the bound",
    "Training loss over the entropy bound, at every step of each width's first try; 1 is the bound.{searches}{panels}",
    small_multiples,
    (
        Axis("step", title="step"),
        Axis("ratio", title="loss / bound", log=True),
        Axis("panel"),
        Axis("width", title="neurons m"),
    ),
    {"rules": [Rule(1.0, "bound")]},
)
BOUND_TABLE = TableSpec(
    "capacity-bounds",
    "Bounds for each corpus",
    "necessary for any corpus: every architecture with fewer parameters has some corpus of as many contexts that "
    "it cannot fit, which depends on the architecture; necessary for almost all frequencies: with fewer parameters "
    "almost none are reached on these contexts, though those of this corpus may be, above all if next tokens are "
    "equally frequent; sufficient: this many are enough; expected: training is expected to succeed, by an empirical "
    "rate, not a bound; the sizes of models also include the parameters in the last column.",
    {"parameters": ",.0f"},
    first=("corpus", "contexts", "bound", "says", "of", "parameters", "width"),
)
VERDICTS = TableSpec(
    "capacity-verdicts",
    "Bounds for the trained models",
    "verdict on the corpus by the trained parameters: can, may, or not for almost all frequencies; the "
    "last is not certain for this corpus's own frequencies. unequal: degrees of freedom that remain if "
    "next tokens that are equally frequent after a context stay so. worst case: cannot, if every such "
    "architecture has some corpus with as many contexts that it cannot fit with any weights.",
    {"gap": ".3g"},
    first=("corpus", "contexts", "neurons", "trained parameters", "verdict", "worst case", "gap"),
)
RUNS = TableSpec(
    "capacity-runs",
    "Runs",
    "criterion and least gap are fractions of the bound; proved unable counts tries whose loss cannot reach the "
    "criterion at any output weights of reasonable size.",
    {"criterion": ".3g"},
    first=("run", "state", "contexts", "trained", "criterion", "fewest neurons", "least gap", "message"),
)

_ATTEMPT_FORMATS = {"bound": ".2f", "nats above": ".3g", "gap": ".3g", "criterion": ".3g"}


def sections(runs: Sequence[Run]) -> list[Section]:
    """Gaps, fewest parameters, losses and bounds of the given runs, in any state; runs without numbers are named."""
    metrics_of = {run: metrics for run in runs if (metrics := run.metrics()).height}
    silent = [run.id for run in runs if run not in metrics_of]
    notes = (Note(f"No numbers yet: {', '.join(silent)}."),) if silent else ()
    if not metrics_of:
        empty = notes or (Note("There are no runs of the capacity study."),)
        return [Section("Memorising a corpus", items=empty)]
    attempts = pl.concat(_attempts(run, metrics) for run, metrics in metrics_of.items())
    return [
        _gaps(attempts, notes),
        fewest(attempts),
        _losses(metrics_of),
        _bounds(metrics_of, attempts),
        _runs(metrics_of, attempts),
    ]


def _attempts(run: Run, metrics: pl.DataFrame) -> pl.DataFrame:
    """The attempts of a run, with facts of its config and corpus."""
    config, corpus = CapacityConfig.from_mapping(run.config), corpus_of(metrics)
    return attempt_table(run, metrics).with_columns(
        pl.lit(run.id).alias("run"),
        pl.lit(TRAINED[config.trained]).alias("trained"),
        pl.lit(config.solver).alias("solver"),
        pl.lit(config.corpus).alias("corpus"),
        pl.lit(config.widths).alias("widths"),
        pl.lit(config.criterion).alias("criterion"),
        *(pl.lit(corpus.get(name), dtype=pl.Float64).alias(name) for name in _FACTS),
    )


_FACTS = (
    "documents",
    "contexts",
    "vocabulary",
    "degrees_of_freedom",
    "degrees_of_freedom_unequal",
    "information_bits",
    "predicted_parameters",
    "share_certain",
    "bound",
)


def _gaps(attempts: pl.DataFrame, notes: tuple[Note, ...]) -> Section:
    """Heat maps of the gap over width and contexts, a pair for each corpus and each trained part."""
    figures: list[Figure | Note] = list(notes)
    # a search visits other widths in every corpus: its cells would leave a grid of holes
    cells = _grid_first(attempts, "corpus", "trained", "solver").sort("gap")
    best = cells.group_by("corpus", "trained", "solver", "contexts", "width", maintain_order=True).first()
    for number, ((corpus, trained, solver), cells_of_map) in enumerate(
        best.group_by("corpus", "trained", "solver", maintain_order=True), start=1
    ):
        if cells_of_map.height < 2:
            figures.append(Note(f"{corpus}, {trained} trained: one width on one corpus; a heat map needs two cells."))
            continue
        grid = cells_of_map.select(
            pl.col("contexts").cast(pl.Int64), "width", "parameters", "nats_above", "gap", "bound", "met"
        ).with_columns(pl.col("gap") * 100)
        criterion = max(cells_of_map["criterion"].to_list())
        words = {
            "number": number,
            "corpus": corpus,
            "trained": trained,
            "criterion": f"{criterion:.3g}",
            "solver": "our solver" if solver == "fast" else "the paper’s solver",
        }
        figures += [NATS.of(grid, words=words), GAP.of(grid, words=words)]
    if not attempts.height:
        figures.append(Note("No trial has ended yet."))
    text = (
        "A next-token predictor has memorised a corpus when its summed loss reaches the entropy bound, the loss of "
        "the empirical next-token frequencies themselves (Madden, Fox, Thrampoulidis 2024). No model can go below "
        "it, which was checked for every loss here.\n\n"
        "A remaining gap means that this solver did not close it, not that no weights could: only for the output "
        "layer alone, a convex problem, can this be proved, and then the table of runs says so."
    )
    return Section("Memorising a corpus", text, tuple(figures))


def _grid_first(rows: pl.DataFrame, *by: str) -> pl.DataFrame:
    """For each group the rows of runs over a grid of widths, or all rows if these have fewer than two widths."""
    grid = pl.col("widths") != "bisection"
    grids = pl.col("width").filter(grid).n_unique().over(by)
    return rows.filter(grid | (grids < 2))


def _losses(runs: dict[Run, pl.DataFrame]) -> Section:
    """Loss over bound against the steps of each width's first trial, one panel per corpus."""
    all_curves = pl.concat(_curves(run, metrics) for run, metrics in runs.items())
    curves = _grid_first(all_curves, "panel").sort("contexts", maintain_order=True)
    panels = curves["panel"].unique(maintain_order=True).to_list()
    if not panels:
        return Section("Loss curves", items=(Note("No loss has been recorded yet."),))
    sample = [panels[round(i * (len(panels) - 1) / (MOST_PANELS - 1))] for i in range(MOST_PANELS)]
    rows = curves.filter(pl.col("panel").is_in(sample))
    # a panel may have runs of several seeds: one curve per width
    rows = rows.unique(["panel", "width", "step"], keep="first", maintain_order=True)
    rows = rows.sort("contexts", "width", maintain_order=True)
    rows = rows.drop("widths")
    searches = " If a grid of widths was trained, searches on the same corpus are not drawn."
    words = {
        "searches": searches if curves.height < all_curves.height else "",
        "panels": "" if len(panels) <= MOST_PANELS else f" {MOST_PANELS} of {len(panels)} corpora are drawn.",
    }
    return Section("Loss curves", "", (LOSSES.of(rows, words=words),))


def _curves(run: Run, metrics: pl.DataFrame) -> pl.DataFrame:
    corpus = corpus_of(metrics)
    bound, contexts = corpus.get("bound"), corpus.get("contexts")
    if bound is None or contexts is None:
        return pl.DataFrame(schema=_CURVE)
    metrics_of_run = metrics.filter(pl.col("part") == "")
    losses = metrics_of_run.filter(pl.col("name") == "loss").select(pl.col("step").alias("at"), pl.col("value") / bound)
    starts = metrics_of_run.filter(pl.col("name").is_in(["width", "try"])).pivot(
        "name", index="step", values="value", sort_columns=True
    )
    starts = starts.sort("step").with_columns(pl.col("step").alias("first"))
    aligned = losses.sort("at").join_asof(starts, left_on="at", right_on="step")
    first = aligned.filter(pl.col("try") == 0)
    solver = "" if run.config["solver"] == "fast" else ", paper’s solver"
    panel = f"n = {contexts:,.0f}, {TRAINED[run.config['trained']]}{solver}"
    return first.select(
        pl.lit(contexts).alias("contexts"),
        pl.lit(panel).alias("panel"),
        pl.lit(run.config["widths"]).alias("widths"),
        pl.col("width").cast(pl.Int64),
        (pl.col("at") - pl.col("first")).alias("step"),
        pl.col("value").alias("ratio"),
    )


_CURVE = {
    "contexts": pl.Float64,
    "panel": pl.String,
    "widths": pl.String,
    "width": pl.Int64,
    "step": pl.Int64,
    "ratio": pl.Float64,
}


def _bounds(runs: dict[Run, pl.DataFrame], attempts: pl.DataFrame) -> Section:
    """All bounds for each corpus side by side, and where training succeeded."""
    title = "Bounds side by side"
    tables: dict[tuple[str, int, int], pl.DataFrame] = {}
    for run, metrics in runs.items():
        bounds, corpus = bound_table(run), corpus_of(metrics)
        if bounds.height and corpus:
            key = (run.config["corpus"], int(corpus["documents"]), int(corpus["contexts"]))
            tables.setdefault(key, bounds)
    if not tables:
        return Section(title, items=(Note("No run has kept its bounds yet."),))
    rows = pl.concat(
        pl.concat([pl.DataFrame(schema=BOUNDS), bounds], how="diagonal").select(
            pl.lit(corpus).alias("corpus"),
            pl.lit(documents).alias("documents"),
            pl.lit(contexts).alias("contexts"),
            "bound",
            "says",
            "of",
            "source",
            "parameters",
            "width",
            "rank",
            "leaves_out",
        )
        for (corpus, documents, contexts), bounds in sorted(tables.items())
    )
    verdict_table = _verdicts(attempts)
    text = "The worst-case bounds hold for every corpus with as many contexts and tokens." + _certain(attempts)
    verdicts = [VERDICTS.of(verdict_table)] if verdict_table.height else []
    return Section(title, text, (BOUND_TABLE.of(rows), *verdicts))


def _certain(attempts: pl.DataFrame) -> str:
    """The share of contexts with one continuation, for each corpus."""
    corpora = attempts.filter(pl.col("share_certain").is_finite()).unique(
        ["corpus", "documents", "contexts"], maintain_order=True
    )
    parts = [
        f"{share:.3g} % of the {contexts:,.0f} contexts of {corpus} ({documents:,.0f} documents)"
        for corpus, documents, contexts, share in corpora.sort("corpus", "contexts")
        .select("corpus", "documents", "contexts", 100 * pl.col("share_certain"))
        .iter_rows()
    ]
    if not parts:
        return ""
    return (
        " A given corpus needs less: contexts with a single continuation have no degrees of freedom. These are "
        f"{'; '.join(parts)}."
    )


def _verdicts(attempts: pl.DataFrame) -> pl.DataFrame:
    """One row for each width tried on a corpus: the verdicts, and the smallest gap of training."""
    best = attempts.sort("gap").group_by("corpus", "contexts", "trained", "width", maintain_order=True).first()
    rows = []
    for row in best.sort("corpus", "contexts", "trained", "width").to_dicts():
        if row["contexts"] is None:
            continue
        contexts, freedom = int(row["contexts"]), int(row["degrees_of_freedom"])
        this, worst = answers(contexts, int(row["vocabulary"]), freedom, row["trained_parameters"], width=row["width"])
        unequal = row["degrees_of_freedom_unequal"]
        rows.append(
            (
                row["corpus"],
                contexts,
                row["trained"],
                row["width"],
                row["trained_parameters"],
                this,
                this == NOT_GENERIC,
                freedom,
                None if unequal is None else int(unequal),
                worst,
                row["gap"],
            )
        )
    schema = {
        "corpus": pl.String,
        "contexts": pl.Int64,
        "trained": pl.String,
        "neurons": pl.Int64,
        "trained parameters": pl.Int64,
        "verdict": pl.String,
        NOT_GENERIC: pl.Boolean,
        "degrees of freedom": pl.Int64,
        "unequal": pl.Int64,
        "worst case": pl.String,
        "gap": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _runs(runs: dict[Run, pl.DataFrame], attempts: pl.DataFrame) -> Section:
    states = pl.DataFrame([{"run": run.id, "state": str(run.state), "message": run.message} for run in runs])
    best = attempts.sort("met", "gap", descending=[True, False]).group_by("run", "width").first()
    fewest_met = best.filter("met").group_by("run").agg(pl.col("width").min().alias("fewest neurons"))
    trials = attempts.group_by("run").agg(
        pl.len().alias("tries"),
        pl.col("proved").sum().alias("proved unable"),
        pl.col("gap").min().alias("least gap"),
        *(pl.col(name).first() for name in ("trained", "solver", "criterion", "documents", "contexts")),
    )
    table = states.join(trials, on="run", how="left").join(fewest_met, on="run", how="left")
    table = table.with_columns(pl.col("documents", "contexts").cast(pl.Int64)).select(
        "run",
        "state",
        "documents",
        "contexts",
        "trained",
        "solver",
        "criterion",
        "tries",
        "fewest neurons",
        "least gap",
        "proved unable",
        "message",
    )
    columns = [name for name in table.columns if name != "message" or any(table["message"].to_list())]
    rows = table.select(columns).sort("trained", "contexts", nulls_last=True)
    formats = {"least gap": distinct_format(table, "least gap", "criterion")}
    return Section("Runs of the capacity study", "", (RUNS.of(rows, formats=formats),))
