"""A smaller network of chosen filters, trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from netassay.cli.assay import Store, Threads, whole_number
from netassay.cli.output import Format, answer


def reduce(
    run: Annotated[
        str, Parameter(help="Id, beginning of an id, or folder of a finished run of study aitac.")
    ],
    *,
    filters: Annotated[
        str, Parameter(help='Which filters stay: reproducible, "1,5,9", random:20, or all.')
    ] = "reproducible",
    epochs: Annotated[int, Parameter(converter=whole_number, help="Passes over the training set.")] = 10,
    learning_rate: Annotated[float, Parameter(help="Step size, constant.")] = 1e-4,
    seed: Annotated[
        int, Parameter(converter=whole_number, help="Seed of order, augmentation and random filters.")
    ] = 0,
    store: Store = Path("runs"),
    threads: Threads = None,
    format: Format = "table",
) -> int:
    """Keep only some first-layer filters of a trained network, freeze them, and train the rest on.

    A run like any other, beside the one it begins with; its answer tells the scores of the whole network, of the
    reduced one before training, and after. With filters "reproducible" an interpretation must have found them.

    Example: netassay reduce aitac-1a2b3c --filters 1,5,9 --store runs
    """
    from netassay.cli.progress import steps
    from netassay.cli.results import find_run
    from netassay.performing import perform, summarise
    from netassay.studies.aitac.weights import reduced_config

    found = find_run(run, store)
    config = reduced_config(found, filters, epochs=epochs, learning_rate=learning_rate, seed=seed)
    with steps(None) as watch:
        done = perform(config, found.folder.parent, threads=threads, watch=watch)
    answer(summarise(done), format)
    return 0
