"""What a file or folder is, what would be left out of it, and which command reads it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from netassay.errors import DataError, NetassayError, reraised

Facts = Mapping[str, Any]


class Check(NamedTuple):
    """What a file is in words, facts about it, what would be changed or left out by reason, and commands that read it.

    Example:
        >>> from netassay.commands.check import Check
        >>> Check("peaks", {"regions": 3}, {}, ("netassay atlas build ...",)).what
        'peaks'
    """

    what: str
    facts: Facts
    left_out: Mapping[str, int]
    commands: tuple[str, ...]


def check(path: Path | str) -> Check:
    """Identify a file or folder, report what would be left out of it, and suggest the next command.

    The file is read completely, as that command would read it.

    Args:
        path: A run, a store, an atlas, a config or plan, peaks, a signal, a genome, variants, motifs, weights, a model,
            or a corpus.

    Returns:
        What it is.

    Raises:
        DataError: For a path that does not exist, and a file that is none of these, or is damaged.

    Example:
        >>> import netassay
        >>> netassay.check("corpus.txt").what
        'corpus'
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: there is no such file or folder")
    reader = _of_folder(path) if path.is_dir() else _READERS.get(_ending(path), _corpus)
    return reader(path)


def _ending(path: Path) -> str:
    """The last ending of a name, without that of a compression."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in (".gz", ".bgz", ".zst", ".xz", ".bz2"):
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _of_folder(path: Path) -> Callable[[Path], Check]:
    if (path / "run.sqlite").exists():
        return _run
    if (path / "atlas.json").exists():
        return _atlas
    if (path / "model.json").exists():
        return _model
    if any((child / "run.sqlite").exists() for child in path.iterdir() if child.is_dir()):
        return _store
    return _corpus


def _run(path: Path) -> Check:
    from netassay.runs import Run

    run = Run.open(path)
    facts = {
        "id": run.id,
        "study": run.study,
        "state": str(run.state),
        "step": run.step,
        "created": run.created,
    }
    ended = run.state.is_final
    commands = ("show", "report", "verify") if ended else ("resume", "show", "verify")
    return Check("run", facts, {}, tuple(_line(name, path) for name in commands))


def _store(path: Path) -> Check:
    from netassay.runs import Store

    store = Store(path)
    states = Counter(f"{run.study}, {run.state}" for run in store.runs())
    commands = tuple(f"netassay {name} --store {shlex.quote(str(path))}" for name in ("runs", "report", "verify"))
    return Check("store of runs", dict(sorted(states.items())), {}, commands)


def _atlas(path: Path) -> Check:
    from netassay.dna.atlas.named import find_atlas

    atlas = find_atlas(path)
    facts = {
        "peaks": len(atlas),
        "bases": atlas.length,
        "cell types": len(atlas.cell_types),
        "source": atlas.source,
    }
    return Check("atlas", facts, {}, (_line("atlas info", path), f"netassay aitac --atlas {shlex.quote(str(path))}"))


def _model(path: Path) -> Check:
    from netassay.runs.models import describe_model

    described = describe_model(path)
    facts: dict[str, Any] = {key: described[key] for key in ("kind", "sizes", "dtype") if key in described}
    return Check("next-token predictor", facts, {}, (f"netassay.load_model({str(path)!r})",))


def _config(path: Path) -> Check:
    from netassay.config import read
    from netassay.study import configure
    from netassay.sweeps import Plan

    values = read(path)
    if {"axes", "base", "cases", "repeats"} & values.keys():
        plan = Plan.from_file(path)
        return Check("plan of runs", {"study": plan.study, "runs": plan.size}, {}, (_line("sweep", path),))
    config = configure(values, where=str(path))
    command = f"netassay {config.study} --config {shlex.quote(str(path))}"
    return Check("config of a run", {"study": config.study, "digest": config.digest}, {}, (command,))


def _regions(path: Path) -> Check:
    from netassay.formats.peak_tables import read_regions

    skipped: Counter[str] = Counter()
    notes: Counter[str] = Counter()
    regions = read_regions(path, skipped=skipped, notes=notes)
    facts = {"regions": regions.height, "chromosomes": regions["chromosome"].n_unique(), **notes}
    command = f"netassay atlas build --peaks {shlex.quote(str(path))} --genome genome.fa --heights '*.bw' --out atlas"
    return Check("genomic regions", facts, dict(skipped), (command,))


def _annotated(path: Path) -> Check:
    from netassay.formats.h5ad import read_h5ad

    annotated = read_h5ad(path)
    facts = {"cell types": len(annotated.cell_types), "regions": annotated.regions.height, **annotated.notes}
    build = f"netassay atlas build --peaks {shlex.quote(str(path))} --out atlas"
    with_genome = build if annotated.bases is not None else f"{build} --genome genome.fa"
    return Check("annotated matrix of heights", facts, {}, (with_genome,))


def _sequences(path: Path) -> Check:
    from netassay.formats.fasta import read_fasta

    lengths = [len(record.letters) for record in read_fasta(path)]
    facts = {"sequences": len(lengths), "shortest": min(lengths), "longest": max(lengths)}
    commands = (f"netassay predict RUN --fasta {shlex.quote(str(path))} --out predictions.csv",)
    return Check("DNA sequences", facts, {}, commands)


def _variants(path: Path) -> Check:
    from netassay.formats.vcf import read_vcf

    skipped: Counter[str] = Counter()
    variants = read_vcf(path, skipped=skipped)
    command = f"netassay variants RUN --vcf {shlex.quote(str(path))} --genome genome.fa --out effects.csv"
    return Check("variants", {"alleles": variants.height}, dict(skipped), (command,))


def _motifs(path: Path) -> Check:
    from netassay.formats.meme import read_meme

    motifs = read_meme(path)
    command = f"netassay interpret RUN --motifs {shlex.quote(str(path))}"
    return Check("motifs in MEME format", {"motifs": len(motifs.names)}, {}, (command,))


def _signal(path: Path) -> Check:
    from netassay.formats.signals import open_bigwig

    with open_bigwig(path) as opened, reraised(lambda why: DataError(f"{path}: is damaged ({why})")):
        sizes = opened.chroms()
    heights = shlex.quote(str(path))
    command = f"netassay atlas build --peaks peaks.bed --genome genome.fa --heights {heights} --out atlas"
    facts = {"chromosomes": len(sizes), "bases": sum(sizes.values())}
    return Check("signal along a genome (bigWig)", facts, {}, (command,))


def _weights(path: Path) -> Check:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as cause:
        raise DataError(f"{path}: is not a readable safetensors file ({cause})") from None
    numbers = sum(_product(shape) for shape in shapes.values())
    command = f"netassay interpret --module FILE.py:NAME --weights {shlex.quote(str(path))} --atlas ATLAS"
    return Check("weights of a network", {"tensors": len(shapes), "numbers": numbers}, {}, (command,))


def _product(shape: tuple[int, ...]) -> int:
    result = 1
    for size in shape:
        result *= size
    return result


def _corpus(path: Path) -> Check:
    from netassay.commands.corpus import contexts_of
    from netassay.formats.shards import form_of

    form = "folder" if path.is_dir() else str(form_of(path))
    quoted = shlex.quote(str(path))
    try:
        contexts = contexts_of(path, length=8)
    except NetassayError as cause:
        raise DataError(f"{path}: was read as a corpus, but: {cause}") from None
    facts = {
        "form": form,
        "documents": contexts.documents,
        "tokens": contexts.tokens,
        "vocabulary": contexts.vocabulary,
    }
    commands = (
        f"netassay entropy {quoted}",
        f"netassay bounds {quoted} --parameters 1000000",
        f"netassay capacity --corpus {quoted}",
    )
    kind = "corpus of token ids" if form in ("npy", "raw") else "corpus"
    return Check(kind, facts, dict(contexts.skipped), commands)


def _line(command: str, path: Path) -> str:
    return f"netassay {command} {shlex.quote(str(path))}"


_READERS: dict[str, Callable[[Path], Check]] = {
    ".toml": _config,
    **dict.fromkeys((".bed", ".narrowpeak", ".broadpeak", ".saf", ".xls"), _regions),
    **dict.fromkeys((".h5ad",), _annotated),
    **dict.fromkeys((".fa", ".fasta", ".fna"), _sequences),
    ".vcf": _variants,
    ".meme": _motifs,
    **dict.fromkeys((".bw", ".bigwig"), _signal),
    ".safetensors": _weights,
}
