"""Measurements beside loss and sharpness, one entry per instrument: its key, its metrics, its pictures.

A new one is an entry of INSTRUMENTS, a key of the config, and a class in `readers`, given here by name so that no torch
is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import polars as pl

from netassay.reporting import Axis, Figure, Rule
from netassay.reporting.quantity import Quantity
from netassay.runs import Run
from netassay.studies.edge.config import OPTIMISERS

if TYPE_CHECKING:
    import altair as alt


PANELS: dict[str, Any] = {"columns": 2, "width": 290, "height": 190}


class Picture(NamedTuple):
    """Metrics of the whole network against the step, with their labels, title and caption.

    Drawn for runs that have one of `needs`, or of the metrics if that is empty. `edge` says whose threshold is drawn as
    a rule.
    """

    name: str
    title: str
    caption: str
    metrics: Mapping[str, str]
    axis: str
    log: bool = False
    needs: tuple[str, ...] = ()
    edge: Literal["", "hessian", "preconditioned"] = ""

    def figure(self, numbers: pl.DataFrame, runs: Mapping[Run, str], axis: Axis) -> Figure | None:
        """The picture of runs by their names, from their numbers; None if there are none."""
        rows = numbers.filter((pl.col("part") == "") & pl.col("name").is_in([*self.metrics]))
        have = rows.filter(pl.col("name").is_in(self.needs or [*self.metrics]))[axis.column].unique()
        drawable = rows.filter(pl.col(axis.column).is_in(have.implode()))
        if not drawable.height:
            return None
        order = {name: i for i, name in enumerate(self.metrics)}
        data = (
            drawable.select(
                axis.column,
                "step",
                pl.col("name").replace_strict(self.metrics).alias("quantity"),
                "value",
                pl.col("name").replace_strict(order).alias("rank"),
            )
            .sort("rank", "step", maintain_order=True)
            .drop("rank")
        )
        rules = self._rules({run: name for run, name in runs.items() if name in set(have)})
        return Figure(self.name, self.title, self.caption, self._chart(data, axis, rules), data)

    def _rules(self, runs: Mapping[Run, str]) -> list[Rule]:
        if not self.edge:
            return []
        of = threshold_of if self.edge == "preconditioned" else limit
        limits = {name: edge for run, name in runs.items() if (edge := of(run)) is not None}
        several = len(runs) > 1
        return [
            Rule(
                edge,
                f"edge {edge:,.0f}" if edge >= 1000 else f"edge {edge:.3g}",
                panel=name if several else None,
            )
            for name, edge in limits.items()
        ]

    def _chart(self, data: pl.DataFrame, axis: Axis, rules: Sequence[Rule]) -> alt.TopLevelMixin:
        from netassay.reporting import (
            lines,
            small_multiples,
        )  # altair is slow to load, and training only reads the entries

        step, value = Axis("step", title="step"), Axis("value", title=self.axis, log=self.log)
        series = Axis("quantity", title="curve") if data["quantity"].n_unique() > 1 else None
        if data[axis.column].n_unique() == 1:
            return lines(data, step, value, series, rules=rules)
        if axis.title:  # a bare number over a panel does not say what it means
            data = data.with_columns(pl.concat_str(pl.lit(f"{axis.title} "), pl.col(axis.column)))
            rules = [Rule(rule.value, rule.label, panel=rule.panel and f"{axis.title} {rule.panel}") for rule in rules]
        return small_multiples(data, step, value, axis, series, rules=rules, **PANELS)


class Derived(NamedTuple):
    """Numbers derived from metrics, one line per run: `rows` makes the table to draw, with columns x and y."""

    name: str
    title: str
    caption: str
    rows: Callable[[pl.DataFrame, str], pl.DataFrame | None]
    x: Axis
    y: Axis
    panel: Axis | None = None

    def figure(self, numbers: pl.DataFrame, runs: Mapping[Run, str], axis: Axis) -> Figure | None:
        """The picture of all runs, whose names are in the column of `axis`; None if there are no such numbers."""
        from netassay.reporting import lines, small_multiples

        data = self.rows(numbers, axis.column)
        if data is None:
            return None
        if self.panel is None:
            return Figure(self.name, self.title, self.caption, lines(data, self.x, self.y, axis), data)
        chart = small_multiples(data, self.x, self.y, self.panel, axis, **PANELS)
        return Figure(self.name, self.title, self.caption, chart, data)


def limit(run: Run) -> float | None:
    """Threshold of the Hessian's eigenvalues in a run; None if it is the preconditioned Hessian's, or not constant."""
    method = OPTIMISERS[run.config.get("optimiser", "gd")]
    return None if method.preconditioned or not method.edge else threshold_of(run)


def threshold_of(run: Run) -> float:
    """Threshold of the run's optimiser, for whichever matrix."""
    method = OPTIMISERS[run.config.get("optimiser", "gd")]
    return method.threshold(run.config["step_size"], method.settings(run.config), 1.0)


WINDOW = 25  # steps before and after over which the loss of a descent is averaged, beside the central flow
_LEAST_WEIGHT = 1e-9  # the weight of a single eigenvalue among ten million in a random vector is above it


@dataclass(frozen=True)
class Instrument:
    """An instrument of the study; `reader` names its class in `readers`, `key` is its key in the config."""

    key: str
    reader: str
    rows: tuple[Quantity, ...]
    pictures: tuple[Picture | Derived, ...] = ()

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """What it records, each with its key."""
        return tuple(row._replace(key=self.key) for row in self.rows)


def _quantity(names: str, part: str, meaning: str, error: str = "", source: str = "") -> Quantity:
    """A row without the key, which is that of its instrument."""
    return Quantity(tuple(names.split()), part, "curvature", meaning, error=error, source=source)


def _gradient_shares(numbers: pl.DataFrame, run: str) -> pl.DataFrame | None:
    shares = numbers.filter(pl.col("name") == "gradient_alignment")
    if not shares.height:
        return None
    return shares.group_by(run, "step", maintain_order=True).agg(pl.col("value").sum().alias("share"))


def _tails(numbers: pl.DataFrame, run: str) -> pl.DataFrame | None:
    """Share of eigenvalues above each value, whole and per layer, at the last measurement of each run."""
    rules = numbers.filter(pl.col("name").is_in(["spectrum_node", "spectrum_weight"]))
    if not rules.height:
        return None
    last = rules.filter(pl.col("step") == pl.col("step").max().over(run))
    wide = last.pivot("name", index=[run, "step", "part"], values="value")
    wide = wide.filter(pl.col("spectrum_weight") > _LEAST_WEIGHT)
    split = pl.col("part").str.extract_groups(r"^(?<layer>.*):(?<rank>\d+)$")
    tails = wide.with_columns(split.struct.field("layer"), split.struct.field("rank").cast(pl.Int64))
    above = pl.col("spectrum_weight").reverse().cum_sum().reverse().over(run, "layer")
    return tails.sort(run, "layer", "rank").select(
        run,
        pl.col("layer").replace("", "whole network"),
        pl.col("spectrum_node").alias("eigenvalue"),
        above.alias("share"),
    )


INSTRUMENTS: tuple[Instrument, ...] = (
    Instrument(
        "flow",
        "FlowBeside",
        (
            _quantity("flow_loss", '""', "loss of gradient flow at the same time", "`flow_loss_error`"),
            _quantity("flow_sharpness", '"", layer', "its sharpness", "`flow_sharpness_error`"),
            _quantity(
                "flow_distance",
                '"", layer',
                "distance of the descent's weights from it",
                "`flow_distance_error`, of the whole",
            ),
            _quantity(
                "flow_steps flow_reached",
                '""',
                "steps of the integrator; 0 if the flow could not be followed to this time",
            ),
        ),
        (
            Picture(
                "edge-flow-loss",
                "Descent and gradient flow: loss",
                "Training loss of the optimiser and of gradient flow at the same time, η times the step (with momentum "
                "β, η/(1−β) times).",
                {"loss": "descent", "flow_loss": "gradient flow"},
                "training loss",
                log=True,
                needs=("flow_loss",),
            ),
            Picture(
                "edge-flow-sharpness",
                "Descent and gradient flow: sharpness",
                "Sharpness along the two. The flow has no edge: it goes on sharpening where the descent must stop.",
                {"sharpness": "descent", "flow_sharpness": "gradient flow"},
                "sharpness λ",
                needs=("flow_sharpness",),
                edge="hessian",
            ),
            Picture(
                "edge-flow-distance",
                "Distances of the weights",
                "Euclidean distance of the descent's weights from their start, from gradient flow and from the central "
                "flow.",
                {
                    "distance": "from the start",
                    "flow_distance": "from gradient flow",
                    "central_distance": "from the central flow",
                },
                "distance",
                needs=("flow_distance", "central_distance"),
            ),
        ),
    ),
    Instrument(
        "central_flow",
        "CentralBeside",
        (
            _quantity("central_loss", '""', "L(w) + ½⟨H, Σ⟩, the predicted time average"),
            _quantity("central_point_loss central_distance", '""', "L(w); distance of the descent from w"),
            _quantity("central_sharpness", '""', "sharpness at w", "`central_sharpness_error`"),
            _quantity(
                "central_unstable central_deviation",
                '""',
                "directions that oscillate; √trace Σ, the predicted root mean square distance",
            ),
        ),
        (
            Picture(
                "edge-central-loss",
                "Descent and central flow: loss",
                f"Training loss of the descent averaged over {2 * WINDOW + 1} steps, and the time average that the "
                "central flow predicts, L + ⟨H, Σ⟩/2; below both the loss at the central flow itself (Cohen et al. "
                "2025).",
                {
                    "loss_average": "descent, averaged",
                    "central_loss": "central flow, predicted",
                    "central_point_loss": "at the central flow",
                },
                "training loss",
                log=True,
                needs=("central_loss",),
            ),
            Picture(
                "edge-central-sharpness",
                "Descent and central flow: sharpness",
                "Sharpness of the descent, which oscillates, and of the central flow, which is held at 2/η.",
                {"sharpness": "descent", "central_sharpness": "central flow"},
                "sharpness λ",
                needs=("central_sharpness",),
                edge="hessian",
            ),
        ),
    ),
    Instrument(
        "gauss_newton",
        "GaussNewton",
        (
            _quantity(
                "ggn_sharpness residual_sharpness",
                '"", layer',
                "largest eigenvalue of the Gauss–Newton matrix G, of H − G",
                "`…_error`, as of the sharpness",
                "Schraudolph 2002",
            ),
        ),
        (
            Picture(
                "edge-gauss-newton",
                "Gauss–Newton part of the curvature",
                "Largest eigenvalues of the Hessian H, of the Gauss–Newton matrix G, and of the remainder, H − G.",
                {"sharpness": "H", "ggn_sharpness": "G", "residual_sharpness": "H − G"},
                "largest eigenvalue",
                needs=("ggn_sharpness",),
                edge="hessian",
            ),
        ),
    ),
    Instrument(
        "alignment",
        "Alignment",
        (
            _quantity(
                "gradient_alignment",
                "rank",
                "squared cosine of the gradient with each followed eigenvector",
                "that of the vectors",
                "Gur-Ari, Roberts, Dyer 2018",
            ),
            _quantity(
                "directional_sharpness",
                '"", layer',
                "g'Hg/g'g; the layer's with its own block and part of g",
                "rounding",
                "Pan and Li 2022",
            ),
        ),
        (
            Picture(
                "edge-directional",
                "Curvature along the gradient",
                "g'Hg/g'g beside the sharpness, which it cannot exceed. Under mini-batches also the batch sharpness, "
                "the mean of the same over batches with their own gradient and Hessian (Andreyev and Beneventano "
                "2024).",
                {
                    "sharpness": "sharpness",
                    "directional_sharpness": "along the gradient",
                    "batch_sharpness": "batch sharpness",
                },
                "curvature",
                needs=("directional_sharpness", "batch_sharpness"),
                edge="hessian",
            ),
            Derived(
                "edge-alignment",
                "Gradient within the leading eigenvectors",
                "Share of the gradient's squared length that lies in the `top` followed eigenvectors of the Hessian.",
                _gradient_shares,
                Axis("step", title="step"),
                Axis("share", title="share of ‖g‖²", domain=(0, 1)),
            ),
        ),
    ),
    Instrument(
        "trace_products",
        "TraceOf",
        (
            _quantity(
                "trace",
                '"", layer',
                "sum of the eigenvalues, by Hutch++ (`netassay.trace`)",
                "`trace_error`, standard error",
                "Meyer, Musco, Musco, Woodruff 2021",
            ),
        ),
        (
            Picture(
                "edge-trace",
                "Trace of the Hessian",
                "Sum of all eigenvalues, estimated by Hutch++; its standard error is kept beside it.",
                {"trace": "trace"},
                "trace",
            ),
        ),
    ),
    Instrument(
        "density_steps",
        "Spectrum",
        (
            _quantity(
                "spectrum_node spectrum_weight",
                ":rank, layer:rank",
                "Gauss rule of the spectral density, by stochastic Lanczos (`netassay.spectral_density`)",
                "bounds of `Density.cumulative`",
                "Golub and Welsch 1969; Ubaru, Chen, Saad 2017",
            ),
        ),
        (
            Derived(
                "edge-spectrum",
                "Spectrum",
                "Share of the eigenvalues at or above λ, from a Lanczos quadrature at the last measurement: the bulk "
                "at zero, the negative tail on the left, single outliers on the right.",
                _tails,
                Axis("eigenvalue", title="eigenvalue λ"),
                Axis("share", title="share of eigenvalues ≥ λ", log=True),
                Axis("layer"),
            ),
        ),
    ),
    Instrument(
        "batch_probes",
        "BatchSharpnessOf",
        (
            _quantity(
                "batch_sharpness batch_edge_ratio",
                '""',
                "mean over mini-batches of the ratio g_B'H_B g_B/‖g_B‖² (not the ratio of the means), η/2 times it",
                "`batch_sharpness_error`, standard error",
                "Andreyev and Beneventano 2024 (versions of 2025)",
            ),
        ),
    ),
    Instrument(
        "projections",
        "Projections",
        (
            _quantity(
                "projection",
                "rank",
                "θ minus its start in fixed random directions, the same for all runs of a network; the distance "
                "of two runs' projections is that of their weights to 1/√(2·count)",
                source="Johnson and Lindenstrauss 1984",
            ),
        ),
    ),
)
