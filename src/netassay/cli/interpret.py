"""What a trained run learned."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from netassay.cli.assay import Store, Threads, config_flags
from netassay.cli.output import Format, answer
from netassay.errors import ConfigError
from netassay.studies.aitac.interpret.config import InterpretConfig

if TYPE_CHECKING:
    from netassay.runs import Run

_RUN = Annotated[str, Parameter(help="Id, beginning of an id, or folder of a finished run of study aitac.")]
_PEERS = Annotated[tuple[str, ...], Parameter(help="Repetitions of it (other seeds), in the same store.")]
_ENSEMBLE = Annotated[
    bool,
    Parameter(
        help="Take all finished runs of the store that differ from RUN by nothing but the seed as peers."
    ),
]
_MEME = Annotated[
    Path | None, Parameter(help="Also write the motifs of the first layer's filters here, in MEME format.")
]
_POSITIONAL, _NAMED = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY


def interpret_command() -> Callable[..., int]:
    """The command `interpret`, its flags made from its config."""

    def interpret(run: str, peers: tuple[str, ...] = (), **words: Any) -> int:
        from netassay.cli.progress import chapters
        from netassay.cli.results import find_run
        from netassay.interpreting import interpret, repetitions
        from netassay.performing import summarise

        store, threads = words.pop("store", Path("runs")), words.pop("threads", None)
        format, ensemble = words.pop("format", "table"), words.pop("ensemble", False)
        meme = words.pop("meme", None)
        found = find_run(run, store)
        others = [find_run(name, store) for name in peers]
        if ensemble:
            others += [other for other in repetitions(found) if other.id not in {held.id for held in others}]
            print(
                f"{len(others)} repetitions: {', '.join(o.id for o in others) or 'none in the store'}",
                file=sys.stderr,
            )
        with chapters() as watch:
            done = interpret(found, others, threads=threads, watch=watch, **words)
        if meme is not None:
            _write_motifs(done, meme)
        answer(summarise(done), format)
        return 0

    interpret.__doc__ = (
        f"{(InterpretConfig.__doc__ or '').splitlines()[0]}\n\nExample: {InterpretConfig.example}"
    )
    own = {
        "ensemble": (_ENSEMBLE, False),
        "meme": (_MEME, None),
        "store": (Store, Path("runs")),
        "threads": (Threads, None),
        "format": (Format, "table"),
    }
    interpret.__signature__ = inspect.Signature([  # type: ignore[attr-defined]
        inspect.Parameter("run", _POSITIONAL, annotation=_RUN),
        inspect.Parameter("peers", _POSITIONAL, annotation=_PEERS, default=()),
        *(inspect.Parameter(name, _NAMED, annotation=kind, default=default) for name, (kind, default) in own.items()),
        *(flag for flag in config_flags(InterpretConfig) if flag.name not in ("run", "peers")),
    ])  # fmt: skip
    interpret.__annotations__ = {}
    return interpret


def _write_motifs(run: Run, path: Path) -> None:
    from netassay.formats.meme import write_meme
    from netassay.studies.aitac.interpret.assay import NOTE, chapter_tables
    from netassay.studies.aitac.interpret.motif_pages import motifs_of

    tables = chapter_tables(run, "motifs")
    if not tables or NOTE in tables:
        why = tables[NOTE]["text"][0] if tables else "the chapter motifs is not among those asked for"
        raise ConfigError(f"--meme {path}: there are no motifs to write: {why}")
    write_meme(motifs_of(tables, run.config["motif_q"]), path)
    print(f"motifs written to {path}", file=sys.stderr)
