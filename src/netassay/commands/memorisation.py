"""How much of a corpus a language model holds, in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netassay.errors import ConfigError

if TYPE_CHECKING:
    from torch.nn import Module

    from netassay.capacity.recall import Memorisation
    from netassay.formats.documents import Documents


def memorisation(
    model: Module | Path | str,
    corpus: Documents | Iterable[Sequence[int]] | Path | str,
    *,
    reference: Module | Path | str | None = None,
    watch: Callable[[int, int], None] = lambda count, of: None,
    **options: Any,
) -> Memorisation:
    """How far a language model is from the entropy bound of a corpus, and how many bits of the corpus it holds.

    The bound is that of exactly the contexts fed to the model; beyond about ten tokens nearly every context of a text
    occurs once, so read loss and bound by length. `netassay memorisation` does the same as a run with a page.

    Args:
        model: A causal module, evaluated on its device and left unchanged; or a folder with config.json and
            safetensors, a ckpt.pt of nanoGPT, a folder of `netassay construct`, FILE.py:make, or "untrained".
        corpus: Documents as sequences of the model's token ids; or a file, folder or pattern.
        reference: A second model, in the same forms, to count bits against.
        watch: Called with the number of predictions done and their total.
        options: Keys of `MemorisationConfig`, such as length, blocks, stride, first, tokenizer and prefix.

    Returns:
        The numbers.

    Raises:
        ConfigError: For keys that are not known or out of range, and text without a tokenizer.
        DataError: For files that cannot be read, tokens beyond the model's vocabulary, documents longer than its
            positions.
        ModelError: For a model that looks ahead, is random, or whose loss is not a number.

    Source:
        Madden, Fox, Thrampoulidis (2024); Morris et al. (2025); Carlini et al. (2023); Hayes et al. (2025).

    Example:
        >>> import netassay
        >>> result = netassay.memorisation("untrained", "stories.txt")
        >>> result.predictions, result.gap_nats > 0
        (6, True)
    """
    from netassay.capacity.likelihood import likelihoods
    from netassay.capacity.recall import judge
    from netassay.formats.documents import Documents
    from netassay.studies.memorisation.config import MemorisationConfig
    from netassay.studies.memorisation.material import material

    names = {
        key: str(value)
        for key, value in (("model", model), ("corpus", corpus), ("reference", reference))
        if isinstance(value, str | Path)
    }
    if keys := [key for key in ("device", "arithmetic") if key in options and "model" not in names]:
        raise ConfigError(f"{keys[0]} is for models out of files; move the module itself")
    config = MemorisationConfig.from_mapping(options | names, where="options")
    data = material(
        config,
        model=None if "model" in names else model,  # type: ignore[arg-type]
        reference=None if "reference" in names else reference,  # type: ignore[arg-type]
        documents=None if "corpus" in names else Documents.of(corpus),  # type: ignore[arg-type]
    )
    reference_evaluation = None
    if data.reference is not None:
        reference_evaluation = likelihoods(data.reference, data.feed, tokens_at_once=config.tokens_at_once)
    evaluation = likelihoods(data.model, data.feed, tokens_at_once=config.tokens_at_once, watch=watch)
    return judge(
        data.model,
        evaluation,
        data.feed,
        reference=reference_evaluation,
        prefix=config.prefix,
        suffix=config.suffix,
        listed=config.listed,
        resamples=config.resamples,
        seed=config.seed,
        skipped=data.skipped,
    )
