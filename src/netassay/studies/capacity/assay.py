"""One run of the capacity study: from its config to recorded numbers, tables and a summary."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import nn

from netassay import training
from netassay.capacity.comparison import side_by_side
from netassay.capacity.corpus_bounds import information_bits, predicted_parameters
from netassay.errors import StoreError
from netassay.nets.decoder import ExperimentDecoder
from netassay.numerics.seeds import generator
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
    read = material(config)
    return Trials(
        partial(begin, config, read),
        partial(
            next_attempt,
            order=config.widths,
            narrowest=config.narrowest,
            widest=config.width,
            tries=config.tries,
        ),
        bound=read.found.bound_nats,
        gap=config.criterion,
        stop=config.stop,
        digest=read.digest,
        facts=corpus_facts(read),
        about={"bounds": [asdict(row) for row in side_by_side(read.found)], "words": read.words},
    )


def begin(config: CapacityConfig, read: Material, chosen: Next) -> Trial:
    """A trial at its start. First weights depend on seed, width and number of the try alone."""
    output = config.trained == "output" and config.solver == "fast"
    model = ExperimentDecoder(
        read.to.vocabulary,
        chosen.width,
        generator=generator(config.seed, "init", str(chosen.width), str(chosen.number)),
        dtype=torch.float64 if output else torch.float32,
    )
    drawn = generator(config.seed, "hidden", str(chosen.width), str(chosen.number))
    if output:
        return OutputOnly(model, read.to, generator=drawn, steps=config.most_steps)
    given: dict[str, Any] = {"step_size": config.first_step_size, "steps": config.most_steps}
    if config.solver == "paper":
        return Paper(model, read.to, read.documents, config.trained, **given)
    return Fast(model, read.to, config.trained, generator=drawn, **given)


def corpus_facts(read: Material) -> dict[training.Metric, float]:
    """What is known of the corpus, as metrics ("corpus", name) of the first step."""
    contexts = read.found
    values = (
        contexts.documents,
        contexts.n,
        read.to.vocabulary,
        contexts.degrees_of_freedom,
        information_bits(contexts),
        predicted_parameters(contexts),
        contexts.predictions,
        contexts.bound_nats,
        contexts.degrees_of_freedom_unequal,
        contexts.share_certain,
    )
    return {("corpus", name): float(value) for name, value in zip(CORPUS, values, strict=True)}
