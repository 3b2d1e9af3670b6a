"""A trained run on another atlas."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from netassay.cli.assay import Store, Threads, whole_number
from netassay.cli.output import Format, answer
from netassay.errors import ConfigError


def transfer(
    run: Annotated[
        str, Parameter(help="Id, beginning of an id, or folder of a finished run of study aitac.")
    ],
    *,
    atlas: Annotated[str, Parameter(help="The other atlas: dhs4, simulated, or the folder of one.")],
    cell_types: Annotated[
        Path,
        Parameter(
            help="Table of two columns: cell type of the network, and the one of the atlas that it stands for."
        ),
    ],
    out: Annotated[Path | None, Parameter(help="Page to write, one HTML file that works offline.")] = None,
    figures: Annotated[
        Path | None, Parameter(help="Also write every figure of the page as PNG, SVG, PDF and CSV here.")
    ] = None,
    most_peaks: Annotated[
        int, Parameter(converter=whole_number, help="Use no more peaks of the atlas than this; 0: all.")
    ] = 0,
    influence_peaks: Annotated[
        int,
        Parameter(
            converter=whole_number,
            help="Peaks of either atlas on which the influence of the filters is found; 0: none, and no ranks.",
        ),
    ] = 1000,
    permutations: Annotated[int, Parameter(converter=whole_number, help="Draws of each null.")] = 20,
    seed: Annotated[int, Parameter(converter=whole_number, help="Seed of all draws.")] = 0,
    device: Annotated[str, Parameter(help="cpu, cuda or cuda:N.")] = "cpu",
    store: Store = Path("runs"),
    threads: Threads = None,
    format: Format = "table",
) -> int:
    """Take a trained network to another atlas, such as another species': scores, nulls, ranks of its filters.

    Several cell types that stand for one are averaged. The answer is a run of its own in the store.

    Example: netassay transfer aitac-1a2b3c --atlas human --cell-types map.csv --out transfer.html
    """
    from netassay.cli.progress import chapters
    from netassay.cli.results import find_run
    from netassay.interpreting import transfer as take
    from netassay.performing import summarise
    from netassay.presenting import report

    if figures is not None and out is None:
        raise ConfigError("--figures: figures are those of a page; give --out PAGE.html as well")
    with chapters() as watch:
        done = take(
            find_run(run, store),
            atlas,
            cell_types,
            most_peaks=most_peaks,
            influence_peaks=influence_peaks,
            permutations=permutations,
            seed=seed,
            device=device,
            threads=threads,
            watch=watch,
        )
    answer(summarise(done), format)
    if out is not None:
        report([done], out, figures=figures, title="Transfer to another atlas")
    return 0
