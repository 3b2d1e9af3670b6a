"""The data of a run: the atlas of its config, the three sets, and a null if requested."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from netassay.dna.atlas import nulls
from netassay.dna.atlas.atlas import Atlas, with_values
from netassay.dna.atlas.named import find_atlas
from netassay.dna.atlas.splits import Split
from netassay.dna.network.losses import is_labels, is_one_of_k
from netassay.errors import DataError
from netassay.numerics.devices import generator
from netassay.studies.aitac.config import AitacConfig

_SHUFFLED_AT_ONCE = 16_384
_SHUFFLES = {"mononucleotide": nulls.shuffle_mononucleotides, "dinucleotide": nulls.shuffle_dinucleotides}


@dataclass(frozen=True)
class Material:
    """Sequences and heights of all peaks; under a null, `codes` or the heights of training and validation are changed.

    The heights of the test set are always the real ones. `one_of_k`: each peak is open in one cell type; `labels`:
    heights are 0 and 1 otherwise.
    """

    atlas: Atlas
    split: Split
    codes: UInt8[Tensor, "n length"]
    heights: Float[Tensor, "n cell_types"]
    one_of_k: bool
    labels: bool = False


def material(config: AitacConfig) -> Material:
    """The data of a config. Raises DataError if loss and heights do not fit."""
    atlas = atlas_of(config)
    split = atlas.split(
        config.split,
        test=config.test_chromosomes,
        validation=config.validation_chromosomes,
        # a repetition is another draw of folds; the seed of the weights does not affect the sets
        seed=config.repeat,
        test_share=config.test_share,
        validation_share=config.validation_share,
        folds=config.folds,
        fold=config.fold,
    )
    one_of_k = is_one_of_k(atlas.heights)
    _check(config, atlas, one_of_k)
    labels = not one_of_k and is_labels(atlas.heights)
    return Material(atlas, split, _codes(config, atlas), _heights(config, atlas, split), one_of_k, labels)


def atlas_of(config: AitacConfig) -> Atlas:
    """The atlas of a config, reduced to its number of peaks."""
    if config.atlas == "simulated" and config.peaks:
        from netassay.dna.atlas.simulate import simulate_atlas

        return simulate_atlas(config.peaks)
    atlas = find_atlas(config.atlas)
    if not config.peaks or config.peaks == len(atlas):
        return atlas
    if config.peaks > len(atlas):
        raise DataError(
            f"peaks = {config.peaks}: atlas {config.atlas!r} has {len(atlas)}; give at most that, or 0 for all"
        )
    # one fixed draw, so that runs of other seeds share their data
    rows = torch.randperm(len(atlas), generator=generator(0, "peaks"))[: config.peaks].sort().values
    return with_values(
        atlas,
        codes=atlas.codes[rows],
        heights=atlas.heights[rows],
        halves=None if atlas.halves is None else atlas.halves[rows],
        peaks=atlas.peaks[rows.numpy()],
        truth={},
    )


def _check(config: AitacConfig, atlas: Atlas, one_of_k: bool) -> None:
    finite = atlas.heights.isfinite()
    if not finite.all():
        row, column = (~finite).nonzero()[0].tolist()
        raise DataError(
            f"atlas {config.atlas!r}: {int((~finite).sum()):,} of its heights are NaN or infinite, the first that of "
            f"peak {atlas.peaks['name'][row]!r} in cell type {atlas.cell_types[column]!r}; build it without that one"
        )
    if config.loss == "cross_entropy" and not one_of_k:
        raise DataError(
            f"loss cross_entropy: the heights of atlas {config.atlas!r} are not 1 in one cell type and 0 "
            "in the others; use "
            "pearson, mse or poisson"
        )
    if config.loss == "binary_cross_entropy" and not (one_of_k or is_labels(atlas.heights)):
        raise DataError(
            f"loss binary_cross_entropy: the heights of atlas {config.atlas!r} are not all 0 or 1; use pearson, mse or "
            "poisson"
        )
    if config.loss == "poisson" and bool((atlas.heights < 0).any()):
        raise DataError(f"loss poisson: atlas {config.atlas!r} has heights below 0; use pearson or mse")
    if config.loss == "pearson" and atlas.heights.shape[1] < 3:
        raise DataError(
            f"loss pearson: atlas {config.atlas!r} has {atlas.heights.shape[1]} cell types, and a "
            "correlation across them "
            "needs three or more; use mse or poisson"
        )


def _codes(config: AitacConfig, atlas: Atlas) -> Tensor:
    if config.null not in _SHUFFLES:
        return atlas.codes
    draws = generator(config.seed, "null", str(config.repeat))
    parts = atlas.codes.split(_SHUFFLED_AT_ONCE)
    return torch.cat([_SHUFFLES[config.null](part, draws) for part in parts])


def _heights(config: AitacConfig, atlas: Atlas, split: Split) -> Tensor:
    if config.null not in ("rows", "cells"):
        return atlas.heights
    permute = nulls.permute_rows if config.null == "rows" else nulls.permute_cells
    draws = generator(config.seed, "null", str(config.repeat))
    heights = atlas.heights.clone()
    for part in (split.train, split.validation):
        heights[part] = permute(heights[part], draws)
    return heights
