"""The section on reduced networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from netassay.reporting import Figure, Section, Table
from netassay.runs import Run
from netassay.studies.aitac import figures

_SHOWN = {
    "r_mean": "r mean",
    "r_median": "r median",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "accuracy": "accuracy",
}


def reductions(runs: Sequence[Run], names: Mapping[Run, str]) -> list[Section]:
    """A section on the reduced networks among `runs`; none if there are none."""
    frames = [
        run.table("reduction").select(
            pl.lit(names[run]).alias("model"),
            "network",
            "filters",
            *(key for key in _SHOWN if key in run.table("reduction").columns),
        )
        for run in runs
        if "reduction" in run.tables()
    ]
    if not frames:
        return []
    table = pl.concat(frames, how="diagonal")
    value, title = ("auroc", "mean AUROC") if "auroc" in table.columns else ("r_mean", "mean r over peaks")
    scored = table.filter(pl.col(value).is_not_null())
    text = (
        "A reduced network keeps only some filters of a trained one, its first layer frozen. Its loss of score is what "
        "the other filters contribute; as many random filters (random:N) show how much any choice would lose."
    )
    figure = Figure(
        "aitac-reduction",
        "Reduced networks",
        "Test score of the whole network, of the reduced one before training, "
        "and after training the layers behind the first.",
        figures.dots(scored, value=value, title=title, row="model", colour="network"),
        scored,
    )
    formats = {key: ".3f" for key, kind in table.schema.items() if kind == pl.Float64}
    words = {key: word for key, word in _SHOWN.items() if key in table.columns}
    scores_table = Table(
        "aitac-reduction-scores",
        "Scores",
        "Of the test set.",
        table.rename(words),
        formats={words[key]: form for key, form in formats.items()},
    )
    return [Section("Reduced networks", text, (figure, scores_table))]
