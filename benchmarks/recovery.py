"""How much of the simulated atlas's grammar trained networks hold: planted motifs and pairs, one run and several.

Run: .venv/bin/python benchmarks/recovery.py STORE [--peaks test|all] [--pairs]. STORE holds finished runs of the
simulated atlas, as `netassay sweep aitac:ensemble --store STORE` makes them; those that differ by the seed alone are an
ensemble. What counts as found is fixed by the defaults of `recovery` and `reproducible_filters`.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import json
import time
from collections import Counter
from dataclasses import replace
from math import nan
from statistics import mean

import polars as pl
import torch

from netassay import Run, Store
from netassay.dna.influence.pairs import interactions
from netassay.dna.motifs.filters import filter_motifs
from netassay.dna.motifs.reproducibility import cluster_motifs, permute_columns, reproducible_filters
from netassay.dna.motifs.truth import (
    Recovery,
    matched_filters,
    pair_recovery,
    recovery,
)
from netassay.dna.network.network import Network, offset_is_free, pearson_rows, predict
from netassay.formats.motifs import Motifs
from netassay.nets.sequence_cnn import STAGES
from netassay.numerics.devices import generator
from netassay.studies.aitac.assay import config_of, trained
from netassay.studies.aitac.fit import Material, material, network_of
from netassay.studies.aitac.interpret.config import InterpretConfig

WELL, MOST_PAIR_PEAKS = 0.75, 1200
ANY = 1.1
"""A q below which every tested pair is."""
WITHIN = InterpretConfig().pair_reach // STAGES[0].pool
"""Pooled positions between two sites of a pair at most, as the chapter has it."""


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("store")
    words.add_argument("--peaks", choices=("test", "all"), default="test")
    words.add_argument("--pairs", action="store_true")
    asked = words.parse_args()
    torch.set_num_threads(1)
    groups = ensembles(Store(asked.store).runs())
    data = {null: material(config_of(held[0])) for (null, _), held in groups.items()}
    truth = next(iter(data.values())).atlas.truth
    for (null, name), runs in groups.items():
        print(f"\n{name}: {len(runs)} runs" + (f", null model {null}" if null != "none" else ""))
        told = [run.metrics().filter(pl.col("name") == "r_mean", pl.col("part") == "test")["value"][-1] for run in runs]
        print(f"  test r {mean(told):.3f} ({', '.join(f'{r:.3f}' for r in told)})")
        motifs = [motifs_of(run, data[null], asked.peaks) for run in runs]
        one_by_one(motifs, truth)
        if len(runs) > 1:
            together(motifs, truth)
        if asked.pairs and null == "none":
            pairs(runs, motifs, data[null], truth)


def ensembles(runs: list[Run]) -> dict[tuple[str, str], list[Run]]:
    """Finished runs of the simulated atlas by null model and all that differs between them, the seed aside."""
    done = [run for run in runs if run.study == "aitac" and run.state == "finished" and "peaks" in run.tables()]
    done = [run for run in done if run.config["atlas"] == "simulated"]
    keys = [key for key in done[0].config if len({json.dumps(run.config.get(key)) for run in done}) > 1]
    named: dict[tuple[str, str], list[Run]] = {}
    for run in sorted(done, key=lambda run: (run.config["null"] != "none", run.config["seed"])):
        rest = [f"{key} {run.config.get(key)}" for key in keys if key not in ("seed", "null")]
        named.setdefault((run.config["null"], ", ".join(rest) or "all alike"), []).append(run)
    return named


def motifs_of(run: Run, data: Material, peaks: str) -> Motifs:
    """First-layer motifs on the peaks of the test set (or all) that the run predicts well."""
    network = asked(run, data)
    codes = data.codes[data.split.test] if peaks == "test" else data.codes
    heights = data.atlas.heights[data.split.test] if peaks == "test" else data.atlas.heights
    output = predict(network, codes, precision=torch.bfloat16)
    well = pearson_rows(output, heights) > WELL
    return filter_motifs(network, codes[well] if int(well.sum()) >= 20 else codes)


def asked(run: Run, data: Material) -> Network:
    """The run's network as an interpretation asks it: in float32, less what its loss leaves free."""
    config = config_of(run)
    network = network_of(config, trained(run), data.atlas.cell_types)
    return replace(network, precision=torch.float32, less_mean=offset_is_free(config.loss))


def one_by_one(motifs: list[Motifs], truth: dict[str, pl.DataFrame]) -> None:
    told = [recovery(held, truth, generator=generator(0, "benchmark")) for held in motifs]
    show("one run (mean)", told)
    times = Counter(name for one in told for name in one.factors.filter("recovered")["factor"])
    print("    runs that find each: " + ", ".join(f"{name} {times[name]}" for name in told[0].factors["factor"]))


def together(motifs: list[Motifs], truth: dict[str, pl.DataFrame]) -> None:
    draws = generator(0, "benchmark")
    begin = time.process_time()
    found = reproducible_filters(motifs, generator=draws)
    compared = time.process_time() - begin
    kept = [found.filters.filter(pl.col("run") == i, "reproducible")["filter"].to_list() for i in range(len(motifs))]
    sizes = [len(rows) for rows in kept]
    null = int(found.permuted["reproducible"].sum())
    print(
        f"  reproducible filters (in {found.runs_needed} of {found.other_runs} others): {', '.join(map(str, sizes))} "
        f"of {len(motifs[0])}; run 1 with columns permuted: {null}; compared in {compared:.1f} CPU s"
    )
    only = [recovery(held, truth, rows=rows, generator=draws) for held, rows in zip(motifs, kept, strict=True)]
    show("reproducible filters of one run (mean)", only)
    begin = time.process_time()
    clusters = cluster_motifs(motifs)
    clustered = time.process_time() - begin
    shuffled = cluster_motifs([permute_columns(held, draws) for held in motifs])
    # in one other run, in most, and as the default has it
    for least in sorted({2, len(motifs) // 2 + 1, found.runs_needed + 1}):
        rows = (clusters.runs >= least).nonzero()[:, 0]
        told = recovery(clusters.motifs, truth, rows=rows, generator=draws)
        show(f"clusters held by {least} or more of {len(motifs)} runs", [told])
        print(f"    such clusters {len(rows)}, of filters with columns permuted {int((shuffled.runs >= least).sum())}")
        missed = told.factors.filter(~pl.col("recovered"))["factor"].to_list()
        false = told.findings.filter(pl.col("factor").is_null())
        print(f"    missed: {', '.join(missed) or 'none'}; false: {', '.join(false['consensus']) or 'none'}")
    print(f"  clustered in {clustered:.1f} CPU s")


def show(words: str, told: list[Recovery]) -> None:
    planted, visible = len(told[0].factors), int(told[0].factors["visible"].sum())
    recovered = mean(int(one.factors["recovered"].sum()) for one in told)
    findings = mean(len(one.findings) for one in told)
    false = mean(int(one.findings["factor"].is_null().sum()) for one in told)
    known = [one.permuted for one in told if len(one.findings)]
    print(
        f"  {words}: recovered {recovered:.1f} of {planted} ({visible} visible): recall {recovered / planted:.2f}; "
        f"false {false:.1f} of {findings:.1f} findings: precision {1 - false / findings if findings else nan:.2f}; "
        f"columns permuted match: {mean(known) if known else nan:.2f}"
    )


def pairs(runs: list[Run], motifs: list[Motifs], data: Material, truth: dict[str, pl.DataFrame]) -> None:
    """Planted pairs among all pairs of matched factors: by each run, and by the mean interaction over the runs."""
    codes = data.codes[data.split.test][:MOST_PAIR_PEAKS]
    tables = [tested_pairs(run, held, codes, data, truth) for run, held in zip(runs, motifs, strict=True)]
    show_pairs("pairs, one run (mean)", tables, truth)
    if len(runs) > 1:
        together = pl.concat(tables).group_by("first", "second", "lineage", maintain_order=True)
        mean_table = together.agg(pl.col("effect").mean(), pl.col("q").median(), pl.len().alias("runs"))
        most = mean_table.filter(pl.col("runs") > len(runs) / 2)
        show_pairs(f"pairs, mean effect and median q over {len(runs)} runs", [most], truth)
        told = pair_recovery(most, truth, q=ANY)
        print("    " + "; ".join(f"{row[0]} {row[1]:+g} rank {row[-1]}" for row in told.pairs.iter_rows()))


def tested_pairs(
    run: Run, held: Motifs, codes: torch.Tensor, data: Material, truth: dict[str, pl.DataFrame]
) -> pl.DataFrame:
    """Interactions of a run's pairs of factors by lineage, in units of its outputs' spread across cell types."""
    sets, network = matched_filters(held, truth), asked(run, data)
    names = list(sets)
    spread = float(predict(network, codes).std(1).mean())
    found = interactions(
        network,
        codes,
        [sets[name] for name in names],
        names=names,
        lineages=data.atlas.lineages,
        within=WITHIN,
        generator=generator(0, "benchmark"),
    )
    rows = [
        (*sorted((names[a], names[b])), group, float(found.difference[i, j]) / spread, float(found.q[i, j]))
        for i, (a, b) in enumerate(found.pairs.tolist())
        for j, group in enumerate(found.groups)
    ]
    columns = ["first", "second", "lineage", "effect", "q"]
    return pl.DataFrame(rows, schema=columns, orient="row").with_columns(pl.col("q").fill_nan(None))


def show_pairs(words: str, tables: list[pl.DataFrame], truth: dict[str, pl.DataFrame]) -> None:
    told = [pair_recovery(table, truth) for table in tables]
    ranked = [pair_recovery(table, truth, q=ANY) for table in tables]
    recovered = mean(int(one.pairs["recovered"].sum()) for one in told)
    sizes = mean(len(one.findings) for one in told)
    false = mean(int((~one.findings["planted"]).sum()) for one in told)
    print(
        f"  {words}: recovered {recovered:.1f} of {len(told[0].pairs)} (testable "
        f"{mean(one.testable for one in told):.1f}); false {false:.1f} of {sizes:.1f} found among "
        f"{mean(one.tested for one in told):.0f} tested; of the {len(told[0].pairs)} strongest, whatever their q, "
        f"{mean(one.strongest for one in ranked) * len(told[0].pairs):.1f} are planted"
    )


if __name__ == "__main__":
    main()
