"""A trained run on another atlas."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from netassay.cli.assay import Store, Threads, config_flags
from netassay.cli.output import Format, answer
from netassay.errors import ConfigError
from netassay.studies.aitac.transfer.config import TransferConfig

_RUN = Annotated[str, Parameter(help="Id, beginning of an id, or folder of a finished run of study aitac.")]
_ATLAS = Annotated[str, Parameter(help="The other atlas: dhs4, simulated, or the folder of one.")]
_CELL_TYPES = Annotated[
    Path,
    Parameter(
        help="Table of two columns: cell type of the network, and the one of the atlas that it stands for; a "
        "header, if there is one, is source,target."
    ),
]
_OUT = Annotated[Path | None, Parameter(help="Page to write, one HTML file that works offline.")]
_FIGURES = Annotated[
    Path | None, Parameter(help="Also write every figure of the page as PNG, SVG, PDF and CSV here.")
]
_POSITIONAL, _NAMED = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY


def transfer_command() -> Callable[..., int]:
    """The command `transfer`, its further flags made from its config."""

    def transfer(run: str, **words: Any) -> int:
        from netassay.cli.progress import chapters
        from netassay.cli.results import find_run
        from netassay.interpreting import transfer
        from netassay.performing import summarise
        from netassay.presenting import report

        out, figures = words.pop("out", None), words.pop("figures", None)
        store, format = words.pop("store", Path("runs")), words.pop("format", "table")
        if figures is not None and out is None:
            raise ConfigError("--figures: figures are those of a page; give --out PAGE.html as well")
        with chapters() as watch:
            done = transfer(
                find_run(run, store), words.pop("atlas"), words.pop("cell_types"), watch=watch, **words
            )
        answer(summarise(done), format)
        if out is not None:
            report([done], out, figures=figures, title="Transfer to another atlas")
        return 0

    transfer.__doc__ = (
        "Take a trained network to another atlas, such as another species': scores, nulls, ranks of its filters.\n\n"
        "Several cell types that stand for one are averaged. The answer is a run of its own in the store.\n\n"
        f"Example: {TransferConfig.example}"
    )
    own = {
        "out": (_OUT, None),
        "figures": (_FIGURES, None),
        "store": (Store, Path("runs")),
        "threads": (Threads, None),
        "format": (Format, "table"),
    }
    given = ("run", "atlas", "cell_types")
    transfer.__signature__ = inspect.Signature([  # type: ignore[attr-defined]
        inspect.Parameter("run", _POSITIONAL, annotation=_RUN),
        inspect.Parameter("atlas", _NAMED, annotation=_ATLAS),
        inspect.Parameter("cell_types", _NAMED, annotation=_CELL_TYPES),
        *(inspect.Parameter(name, _NAMED, annotation=kind, default=default) for name, (kind, default) in own.items()),
        *(flag for flag in config_flags(TransferConfig) if flag.name not in given),
    ])  # fmt: skip
    transfer.__annotations__ = {}
    return transfer
