"""What a trained run learned."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

from netassay.cli.assay import Store, Threads, config_flags, whole_number
from netassay.cli.output import Format, answer, require_ending, write_table
from netassay.dna.network.choices import Layout
from netassay.errors import ConfigError, DataError
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.studies.aitac.transfer.config import TransferConfig

if TYPE_CHECKING:
    from netassay.dna.network.network import Network
    from netassay.runs import Run

_RUN = Annotated[str, Parameter(help="Id, beginning of an id, or folder of a finished run of study aitac.")]
_RUN_OR_NONE = Annotated[
    str,
    Parameter(
        help="Id, beginning of an id, or folder of a finished run of study aitac; none for a network of yours."
    ),
]
_OWN = Group("A network of your own, in place of a run", sort_key=1)


def _own(key: str, help: str = "") -> Any:
    """A flag of a network of the user's, in the words of the config of interpretations."""
    meaning = help or " ".join((InterpretConfig.model_fields[key].description or "").split())
    return Parameter(group=_OWN, help=meaning)


_MODULE = Annotated[str, _own("module", "FILE.py:NAME, a function without arguments that gives a module (or "
    "netassay.Network); the file is imported. None, with --weights: AI-TAC as its authors saved it.")]  # fmt: skip
_WEIGHTS = Annotated[str, _own("weights")]
_OWN_ATLAS = Annotated[
    str, _own("atlas", "The atlas that says how long its sequences are and what its outputs are called.")
]
_READOUT = Annotated[str, _own("readout")]
_LAYOUT = Annotated[Layout, _own("layout")]
_STRANDS = Annotated[Literal["one", "both"], _own("strands")]
_LOSS = Annotated[Literal["", "pearson", "mse", "poisson", "cross_entropy"], _own("loss")]


def _asked(
    run: str, store: Path, module: str, weights: str, atlas: str, readout: str, layout: Layout, strands: str
) -> Run | Network:
    """The run, or the network that the flags describe."""
    from netassay.cli.results import find_run

    own = bool(module or weights)
    if own == bool(run):
        raise ConfigError(
            "give RUN, or a network of your own: --module FILE.py:NAME, --weights FILE and --atlas A"
        )
    if not own:
        return find_run(run, store)
    if not atlas:
        raise ConfigError(
            "give --atlas A, which says how long the sequences are and what the outputs are called"
        )
    from netassay.dna.atlas.named import find_atlas
    from netassay.dna.network.loading import network_of_files

    held = find_atlas(atlas)
    return network_of_files(
        module, weights, length=held.length, names=held.cell_types, readout=readout,
        layout=None if layout == "channels_first" else layout, both_strands=strands == "both" or None,
    )  # fmt: skip


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

    def interpret(run: str = "", peers: tuple[str, ...] = (), **words: Any) -> int:
        from netassay.cli.progress import chapters
        from netassay.cli.results import find_run
        from netassay.interpreting import interpret, repetitions
        from netassay.performing import summarise

        store, threads = words.pop("store", Path("runs")), words.pop("threads", None)
        format, ensemble = words.pop("format", "table"), words.pop("ensemble", False)
        meme = words.pop("meme", None)
        found = find_run(run, store) if run else None
        others = [find_run(name, store) for name in peers]
        if ensemble and found is None:
            raise ConfigError("--ensemble: a network of your own has no repetitions in the store")
        if ensemble and found is not None:
            others += [other for other in repetitions(found) if other.id not in {held.id for held in others}]
            print(
                f"{len(others)} repetitions: {', '.join(o.id for o in others) or 'none in the store'}",
                file=sys.stderr,
            )
        with chapters() as watch:
            done = interpret(found, others, store=store, threads=threads, watch=watch, **words)
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
        inspect.Parameter("run", _POSITIONAL, annotation=_RUN_OR_NONE, default=""),
        inspect.Parameter("peers", _POSITIONAL, annotation=_PEERS, default=()),
        *(inspect.Parameter(name, _NAMED, annotation=kind, default=default) for name, (kind, default) in own.items()),
        *(flag for flag in config_flags(InterpretConfig) if flag.name not in ("run", "peers")),
    ])  # fmt: skip
    interpret.__annotations__ = {}
    return interpret


def _write_motifs(run: Run, path: Path) -> None:
    from netassay.formats.meme import write_meme
    from netassay.studies.aitac.interpret.findings import NOTE, chapter_tables, layer_motifs

    tables = chapter_tables(run, "motifs")
    if not tables or NOTE in tables:
        why = tables[NOTE]["text"][0] if tables else "the chapter motifs is not among those asked for"
        raise ConfigError(f"--meme {path}: there are no motifs to write: {why}")
    write_meme(layer_motifs(tables, run.config["motif_q"]), path)
    print(f"motifs written to {path}", file=sys.stderr)


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


def reduce(
    run: _RUN,
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


def predict(
    run: _RUN_OR_NONE = "",
    *,
    fasta: Annotated[Path | None, Parameter(help="Sequences, FASTA, plain or gzip.")] = None,
    bed: Annotated[Path | None, Parameter(help="Regions, BED or narrowPeak; needs --genome.")] = None,
    genome: Annotated[
        Path | None, Parameter(help="FASTA of the genome (an index beside it is used), or 2bit.")
    ] = None,
    out: Annotated[Path, Parameter(help="Table to write: .csv, .tsv or .parquet.")],
    module: _MODULE = "",
    weights: _WEIGHTS = "",
    atlas: _OWN_ATLAS = "",
    readout: _READOUT = "",
    layout: _LAYOUT = "channels_first",
    strands: _STRANDS = "one",
    store: Store = Path("runs"),
) -> int:
    """Predict how open new sequences or regions are in every cell type of a trained run.

    Outputs are the network's own: of loss pearson their scale means nothing, of cross_entropy they are before softmax.

    Or those of a network of yours: --module net.py:make --weights net.safetensors --atlas A in place of the run.

    Example: netassay predict aitac-1a2b3c --fasta enhancers.fa --out predictions.csv
    """
    if (fasta is None) == (bed is None) or (bed is None) != (genome is None):
        raise ConfigError("give either --fasta F, or --bed F and --genome F")
    require_ending(out)
    from netassay.studies.aitac.answers import predict_regions, predict_sequences

    found = _asked(run, store, module, weights, atlas, readout, layout, strands)
    if fasta is not None:
        made = predict_sequences(found, fasta)
    else:
        assert bed is not None and genome is not None
        made = predict_regions(found, bed, genome)
    write_table(out, made.table)
    for what, counts in (("left out", made.dropped), ("changed", made.notes)):
        for reason, count in counts.items():
            print(f"{count:,} {what}: {reason}", file=sys.stderr)
    print(out)
    return 0


def variants(
    run: _RUN_OR_NONE = "",
    *,
    vcf: Annotated[Path, Parameter(help="Variants, VCF, plain or gzip.")],
    genome: Annotated[
        Path, Parameter(help="FASTA of the genome they were called on; an index beside it is used.")
    ],
    out: Annotated[Path, Parameter(help="Table to write: .csv, .tsv or .parquet.")],
    mismatches: Annotated[
        Literal["refuse", "skip"], Parameter(help="What to do where the genome has other bases than REF.")
    ] = "refuse",
    null: Annotated[
        int, Parameter(help="Random single-base changes near the variants that p is told from; 0: no p.")
    ] = 1000,
    module: _MODULE = "",
    weights: _WEIGHTS = "",
    atlas: _OWN_ATLAS = "",
    readout: _READOUT = "",
    layout: _LAYOUT = "channels_first",
    strands: _STRANDS = "one",
    loss: _LOSS = "",
    store: Store = Path("runs"),
) -> int:
    """Effect of each variant of a VCF file on every cell type of a trained run.

    An effect is the output with the alternative allele less that with the reference, as the mean of both strands. For
    the losses pearson and cross_entropy outputs are less their mean over the cell types, and the columns say so.

    p is the share of random single-base changes nearby whose largest effect is at least as large.

    An allele that is left out has a row too, which says why; if no allele could be scored, the exit code is 1.

    Example: netassay variants aitac-1a2b3c --vcf gwas.vcf --genome hg38.fa --out effects.tsv
    """
    require_ending(out)
    if null < 0:
        raise ConfigError(f"--null {null}: give 0 or more random changes")
    from netassay.dna.network.network import Network
    from netassay.dna.network.offsets import loss_of, offset_is_free
    from netassay.studies.aitac.answers import variant_effects

    found = _asked(run, store, module, weights, atlas, readout, layout, strands)
    if isinstance(found, Network):
        found = replace(found, both_strands=True, less_mean=offset_is_free(loss_of(module, loss)))
    made = variant_effects(found, vcf, genome, mismatches=mismatches, null=null)
    write_table(out, made.table())
    for what, counts in (("left out", made.dropped), ("changed", made.notes)):
        for reason, count in counts.items():
            print(f"{count:,} {what}: {reason}", file=sys.stderr)
    print(out)
    if not len(made.variants):
        print(f"no variant could be scored; {out} tells why of each", file=sys.stderr)
        return 1
    return 0


_SOMETIMES = ("contributions.bw", "contributions.bedgraph", "patterns.h5", "patterns.meme")


def attribute(
    run: _RUN_OR_NONE = "",
    *,
    cell_type: Annotated[str, Parameter(help="The cell type whose output is explained.")],
    fasta: Annotated[Path | None, Parameter(help="Sequences, FASTA, plain or gzip.")] = None,
    bed: Annotated[Path | None, Parameter(help="Regions, BED or narrowPeak; needs --genome.")] = None,
    genome: Annotated[Path | None, Parameter(help="FASTA of the genome; an index beside it is used.")] = None,
    method: Annotated[
        Literal["gradient", "mutagenesis", "deepshap", "integrated_gradients"],
        Parameter(help="deepshap needs the extra attributions."),
    ] = "gradient",
    against: Annotated[
        Literal["mean", "nothing"],
        Parameter(help="Explain the output less the mean over all cell types, or the output itself."),
    ] = "mean",
    patterns: Annotated[
        bool,
        Parameter(negative="", help="Find recurring motifs, by TF-MoDISco (extra modisco): patterns.meme."),
    ] = False,
    out: Annotated[Path, Parameter(help="Folder to write; made if it is not there.")],
    module: _MODULE = "",
    weights: _WEIGHTS = "",
    atlas: _OWN_ATLAS = "",
    readout: _READOUT = "",
    layout: _LAYOUT = "channels_first",
    strands: _STRANDS = "one",
    store: Store = Path("runs"),
) -> int:
    """How much each base contributes to the output of a cell type.

    Writes sequences.tsv, contributions.safetensors and, for regions, contributions.bw and contributions.bedgraph.

    The tracks are of the bases that are there, means where regions overlap; the tensors tell of all four bases.

    Example: netassay attribute aitac-1a2b3c --cell-type K562 --fasta enhancers.fa --out contributions
    """
    if (fasta is None) == (bed is None) or (bed is None) != (genome is None):
        raise ConfigError("give either --fasta F, or --bed F and --genome F")
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out}: is there and is no folder; name a folder")
    from netassay.dna.attributions.files import save_attributions, write_tracks
    from netassay.dna.attributions.modisco import find_patterns
    from netassay.formats.meme import write_meme
    from netassay.studies.aitac.answers import attribute_run

    found = _asked(run, store, module, weights, atlas, readout, layout, strands)
    made = attribute_run(
        found, cell_type, fasta=fasta, bed=bed, genome=genome, method=method, against=against
    )
    out.mkdir(parents=True, exist_ok=True)
    for name in _SOMETIMES:  # of an earlier call, whose sequences may have been others
        (out / name).unlink(missing_ok=True)
    write_table(out / "sequences.tsv", made.table)
    save_attributions(out / "contributions.safetensors", made.attributions)
    if bed is not None:
        shared = write_tracks(out, made.attributions, made.table, made.given.contigs)
        if shared:
            print(f"{shared:,} bases lie in several regions: the mean is written", file=sys.stderr)
    if patterns:
        try:
            recurring = find_patterns(made.attributions, file=out / "patterns.h5")
        except DataError as error:
            raise DataError(f"{error}; the contributions are in {out} all the same") from error
        write_meme(recurring.motifs, out / "patterns.meme")
    for what, counts in (("left out", made.given.dropped), ("changed", made.given.notes)):
        for reason, count in counts.items():
            if count:
                print(f"{count:,} {what}: {reason}", file=sys.stderr)
    print(out)
    return 0
