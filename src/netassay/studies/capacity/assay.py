"""One run of the capacity study: from its config to recorded numbers, tables and a summary."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import nn

from netassay import training
from netassay.capacity.comparison import side_by_side
from netassay.errors import StoreError
from netassay.nets.decoder import ExperimentDecoder
from netassay.numerics.devices import generator
from netassay.runs import Run
from netassay.studies.capacity.config import CapacityConfig
from netassay.studies.capacity.convex_trial import OutputOnly
from netassay.studies.capacity.findings import CORPUS
from netassay.studies.capacity.findings import tables as tables
from netassay.studies.capacity.material import Material, material
from netassay.studies.capacity.trial import Fast, Paper, Trial
from netassay.studies.capacity.trials import Trials
from netassay.studies.capacity.widths import Next, most_attempts, next_attempt


def assay(config: CapacityConfig, recorder: training.Recorder, **keywords: Any) -> training.Result:
    """Trains decoders of the config's widths on its corpus; keywords go to `training.train`."""
    trials = build(config)
    longest = (config.most_steps + 1) * most_attempts(
        config.widths, narrowest=config.narrowest, widest=config.width, tries=config.tries
    )
    return training.train(trials, recorder, steps=longest, over=lambda: trials.over, **keywords)


def model(run: Run) -> nn.Module:
    """The narrowest network that met the criterion, or the one nearest to it, in evaluation mode."""
    best = {
        name.removeprefix("best/"): tensor
        for name, tensor in run.latest_checkpoint().tensors.items()
        if name.startswith("best/")
    }
    if not best:
        raise StoreError(f"run {run.id}: none of its trials had ended at its last checkpoint, so it has no network yet")
    weights = best["embedding.weight"]
    decoder = ExperimentDecoder(
        weights.shape[0],
        best["feed_forward.hidden.weight"].shape[0],
        generator=generator(0),
        dtype=weights.dtype,
    )
    decoder.load_state_dict(best)
    return decoder.eval()


def build(config: CapacityConfig) -> Trials:
    """Corpus and trials of a config, at their start."""
    data = material(config)
    return Trials(
        partial(begin, config, data),
        partial(
            next_attempt,
            order=config.widths,
            narrowest=config.narrowest,
            widest=config.width,
            tries=config.tries,
        ),
        bound=data.contexts.bound_nats,
        gap=config.criterion,
        stop=config.stop,
        digest=data.digest,
        facts=corpus_facts(data),
        about={"bounds": [asdict(row) for row in side_by_side(data.contexts)], "words": data.words},
    )


def begin(config: CapacityConfig, data: Material, attempt: Next) -> Trial:
    """A trial at its start. Initial weights depend only on seed, width and number of the try."""
    output = config.trained == "output" and config.solver == "fast"
    model = ExperimentDecoder(
        data.to.vocabulary,
        attempt.width,
        generator=generator(config.seed, "init", str(attempt.width), str(attempt.number)),
        dtype=torch.float64 if output else torch.float32,
    )
    draws = generator(config.seed, "hidden", str(attempt.width), str(attempt.number))
    if output:
        return OutputOnly(model, data.to, generator=draws, steps=config.most_steps)
    settings: dict[str, Any] = {"step_size": config.first_step_size, "steps": config.most_steps}
    if config.solver == "paper":
        return Paper(model, data.to, data.documents, config.trained, **settings)
    return Fast(model, data.to, config.trained, generator=draws, **settings)


def corpus_facts(data: Material) -> dict[training.Metric, float]:
    """Facts of the corpus, as metrics ("corpus", name) of the first step."""
    contexts = data.contexts
    values = (
        contexts.documents,
        contexts.n,
        data.to.vocabulary,
        contexts.degrees_of_freedom,
        contexts.information_bits,
        contexts.predicted_parameters(),
        contexts.predictions,
        contexts.bound_nats,
        contexts.degrees_of_freedom_unequal,
        contexts.share_certain,
    )
    return {("corpus", name): float(value) for name, value in zip(CORPUS, values, strict=True)}
