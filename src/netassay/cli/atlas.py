"""Commands on atlases: how their answers are shown."""

from __future__ import annotations

from typing import Any

from cyclopts import App

from netassay.cli.command import Ask, Command, Format
from netassay.cli.output import answer, table, written
from netassay.commands import atlas as atlases
from netassay.commands import regions


def build(ask: Ask, *, out: Any, format: Format = "table") -> None:
    answer({"atlas": str(out), **_described(ask())}, format)


def info(ask: Ask, *, format: Format = "table") -> None:
    described = ask()
    if isinstance(described, dict):
        answer(described, format)
    else:
        table(described.to_dicts(), format, columns=described.columns)


def simulate(ask: Ask, *, out: Any, format: Format = "table") -> None:
    answer({"atlas": str(out), **_described(ask())}, format)


def export(ask: Ask, *, format: Format = "table") -> None:
    written(ask(), format)


def reads(ask: Ask, *, format: Format = "table") -> None:
    written(ask(), format)


def ceiling(ask: Ask, *, format: Format = "table") -> None:
    estimate = ask()
    values = {
        name: list(value) for name, value in (("ceiling", estimate.overall), ("r_of_halves", estimate.reliability))
    }
    of_types = estimate.cell_types.to_dicts()
    answer({**values, "interval_over": estimate.resampled, "note": estimate.note, "cell_types": of_types}, format)


def consensus(ask: Ask, *, out: Any, format: Format = "table") -> None:
    _regions(ask(), out, format)


def background(ask: Ask, *, out: Any, format: Format = "table") -> None:
    _regions(ask(), out, format)


def _regions(region_set: Any, out: Any, format: Format) -> None:
    answer({"file": str(out), "regions": len(region_set.regions), "left_out": dict(region_set.left_out)}, format)


def _described(atlas: Any) -> dict[str, Any]:
    from netassay.dna.atlas.description import describe_atlas

    return describe_atlas(atlas)


COMMANDS = (
    Command(
        atlases.build_atlas,
        build,
        "netassay atlas build --peaks peaks.bed --heights heights.csv --genome genome.fa --out atlas",
        names={"normalisation": "normalise"},
        named=("peaks", "heights"),
        required=("out",),
        progress="said",
    ),
    Command(atlases.describe_atlas, info, "netassay atlas info dhs4 --format json"),
    Command(
        atlases.simulate_atlas,
        simulate,
        "netassay atlas simulate --peaks 500 --seed 1 --out simulated-1",
        named=("peaks",),
        required=("out",),
        progress="said",
    ),
    Command(
        atlases.export_atlas,
        export,
        "netassay atlas export dhs4 dhs4.h5ad",
        progress="said",
    ),
    Command(
        atlases.simulate_reads,
        reads,
        "netassay atlas reads --peaks 200 --cells 4 --depth 100 --out simulated-reads",
        named=("out",),
        progress="said",
    ),
    Command(
        atlases.score_ceiling,
        ceiling,
        "netassay atlas ceiling atlas --replicate other-atlas",
        positional=("atlas",),
        progress="said",
    ),
    Command(
        regions.consensus_peaks,
        consensus,
        "netassay atlas consensus peaks.bed --width 51 --out consensus.bed",
        required=("out",),
        progress="said",
    ),
    Command(
        regions.background_regions,
        background,
        "netassay atlas background --peaks peaks.bed --genome genome.fa --out background.bed",
        named=("peaks",),
        required=("out",),
        progress="said",
    ),
)


def atlas_app() -> App:
    """The commands that follow the word `atlas`."""
    app = App(
        name="atlas",
        group="Data",
        help="Atlases of open chromatin: build, describe, simulate, export; ceilings; sets of peaks.",
    )
    for command in COMMANDS:
        app.command(command.build(), name=command.name)
    return app
