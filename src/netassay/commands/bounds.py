"""How many contexts a model can memorise, and whether it can memorise a corpus in files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from netassay.commands.corpus import CorpusArguments, contexts_of
from netassay.errors import ConfigError

if TYPE_CHECKING:
    from torch.nn import Module

    from netassay.capacity.corpus_bounds import Bounds
    from netassay.corpus.context import Contexts


def bounds(
    model: Module | int | None = None,
    vocabulary: int | None = None,
    *,
    width: int | None = None,
    corpus: Contexts | Path | str | Sequence[Path | str] | None = None,
    config: Path | str | None = None,
    **reading: Unpack[CorpusArguments],
) -> Bounds:
    """Bound the number of contexts that a model of this size can memorise, and judge whether it can memorise a corpus.

    upper_general (Lemma 9): any contexts with any distributions. upper_empirical (Theorem 13): every corpus with that
    many contexts; beyond it each architecture has a corpus that it cannot fit. lower_construct (Theorem 21): a decoder
    of this width can memorise any corpus with that many contexts. verdict on a corpus: can, may, or not for almost all
    frequencies, where the parameters are fewer than the degrees of freedom of the next-token frequencies.

    Args:
        model: Trainable parameters of the model, such as 35442, 1e6 or 124M; in Python also any module, whose
            trainable parameters are counted.
        vocabulary: Number of tokens that the model distinguishes; by default that of the corpus.
        width: Neurons of the hidden layer, if the model is a one-layer decoder or token-averaged network with an
            analytic activation that is not a polynomial.
        corpus: Corpus to judge, as `entropy` takes it: files, folders, patterns or topics.
        config: Config of the capacity study, whose corpus and model are judged; excludes all other arguments.
        reading: How the files are read.

    Returns:
        The bounds; with a corpus also the verdict, its entropy bound and every bound side by side.

    Raises:
        ConfigError: For sizes out of range or at odds with each other, and where neither a vocabulary nor a corpus
            is given.
        DataError: For files that cannot be read.

    Source:
        Madden, Fox, Thrampoulidis (2024), Lemma 9, Theorems 13, 21 and 23.

    Example:
        >>> import netassay
        >>> netassay.bounds(35_442, 690, width=32).lower_construct
        32
        >>> netassay.bounds(10**6, corpus="topics", length=3).verdict.answer
        'may'
    """
    from netassay.capacity.comparison import side_by_side
    from netassay.capacity.corpus_bounds import bounds as bounds_of

    contexts: Contexts | None = None
    if config is not None:
        if corpus or (model, vocabulary, width) != (None,) * 3 or reading:
            raise ConfigError(f"--config {config} states corpus, model and reading; leave the other arguments out")
        contexts, model, width = _configured(Path(config))
    elif model is None:
        raise ConfigError("give --parameters, the number of the model's trainable parameters, or --config")
    elif corpus:
        contexts = contexts_of(corpus, **reading)
    elif vocabulary is None:
        raise ConfigError("give a vocabulary (--vocabulary), the tokens that the model distinguishes, or a corpus")
    judged = bounds_of(model, vocabulary, width=width, corpus=contexts)
    if contexts is None:
        return judged
    beside = side_by_side(contexts, vocabulary=judged.vocabulary)
    return replace(judged, bound_nats=contexts.bound_nats, skipped=contexts.skipped, beside=beside)


def _configured(path: Path) -> tuple[Contexts, int, int]:
    """Contexts, trainable parameters and width of a config of the study."""
    from netassay.config import read
    from netassay.studies.capacity.config import CapacityConfig

    values = read(path)
    if values.get("study", "capacity") != "capacity":
        raise ConfigError(f"{path}: is a config of study {values['study']!r}; give one of capacity")
    config = CapacityConfig.from_mapping(values, where=str(path))
    from netassay.capacity.theorems import trained_parameters
    from netassay.studies.capacity.material import material

    contexts = material(config).contexts
    parameters = trained_parameters(contexts.vocabulary, config.width, trained=config.trained)
    return contexts, parameters, config.width
