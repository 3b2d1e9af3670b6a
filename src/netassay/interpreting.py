"""Interpreting, reducing and transferring a trained run: runs derived from it, in the same store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from netassay.config import NameList
from netassay.errors import ConfigError
from netassay.performing import Watch, perform
from netassay.runs import Run, State, Store, find_run, run_id
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.studies.aitac.transfer.config import TransferConfig


def interpret(
    run: Run | Path | str | None = None,
    peers: Sequence[Run | Path | str] = (),
    *,
    ensemble: bool = False,
    meme: Path | str | None = None,
    store: Path | str = "runs",
    threads: int | None = None,
    watch: Watch = lambda step, values: None,
    **options: Any,
) -> Run:
    """Find out what a trained network learned: motifs, their influence, pairs, binding, attributions.

    The result is a separate run in the store of the one that it interprets. Instead of a run, give the module, weights
    and atlas of a network of your own. A chapter reports what it lacks. If an input file has changed, everything is
    computed again.

    Args:
        run: Id, beginning of an id, or folder of a finished run of study aitac; leave it out for a network of your
            own.
        peers: Repetitions of it (other seeds), in the same store.
        ensemble: Use as peers all finished runs of the store that differ from RUN only in the seed.
        meme: Also write the motifs of the first layer's filters here, in MEME format.
        store: Folder that holds the runs.
        threads: Threads (1 to 1024); by default those that the run began with, or all cores.
        watch: Called with each chapter when it is done.
        options: Keys of the config of aitac-interpret, except run and peers.

    Returns:
        The interpretation.

    Raises:
        ConfigError: For runs of another study or store, and a file that does not exist.
        DataError: For runs without weights or with another atlas.

    Source:
        Maslova et al. (2020).

    Example:
        >>> import netassay
        >>> str(netassay.interpret("aitac-1a2b3c", only="motifs", motif_best=15, threads=1).state)
        'finished'
    """
    own = options.get("module") or options.get("weights")
    if (not run) == (not own):
        raise ConfigError(
            "give a run, or a network of your own (module, weights and atlas)"
            + (": one of them, not both" if own else "")
        )
    if not run:
        if peers or ensemble:
            raise ConfigError(
                "--ensemble: a network of your own has no repetitions in the store"
                if ensemble
                else "peers are repetitions of a run; a network of your own has none"
            )
        config, where = InterpretConfig(**options), Path(store)
    else:
        opened = find_run(run, store)
        peer_runs = [find_run(peer, store) for peer in peers]
        if ensemble:
            ids = {peer.id for peer in peer_runs}
            peer_runs += [repetition for repetition in repetitions(opened) if repetition.id not in ids]
        config, where = (
            InterpretConfig(run=opened.id, peers=NameList.read(_peer_ids(opened, peer_runs)), **options),
            opened.folder.parent,
        )
    anew = 0 if _outdated(config, where) else None
    interpretation = perform(config, where, threads=threads, from_step=anew, watch=watch)
    if meme is not None:
        _write_motifs(interpretation, Path(meme))
    return interpretation


def _write_motifs(interpretation: Run, path: Path) -> None:
    from netassay.formats.meme import write_meme
    from netassay.studies.aitac.interpret.findings import NOTE, chapter_tables, layer_motifs

    tables = chapter_tables(interpretation, "motifs")
    if not tables or NOTE in tables:
        why = tables[NOTE]["text"][0] if tables else "the chapter motifs is not among those requested"
        raise ConfigError(f"--meme {path}: there are no motifs to write: {why}")
    write_meme(layer_motifs(tables, interpretation.config["motif_q"]), path)


def _peer_ids(run: Run, peers: Sequence[Run]) -> list[str]:
    """Ids of the peers. ConfigError for runs of another study or store, and for a run given twice."""
    for member in (run, *peers):
        if member.study != "aitac":
            raise ConfigError(f"run {member.id} is of study {member.study}; runs of study aitac can be interpreted")
        if member.folder.parent != run.folder.parent:
            raise ConfigError(f"{member.folder} is not in the store of {run.folder}; peers must be in the same store")
    ids = [member.id for member in peers]
    if twice := [name for name in ids if name == run.id or ids.count(name) > 1]:
        raise ConfigError(f"run {twice[0]} is given twice; a peer is another run of the same config with another seed")
    return ids


def _outdated(config: InterpretConfig, store: Path) -> bool:
    """Whether a file outside the store has changed since this interpretation used it."""
    from netassay.studies.aitac.interpret.subject import files_digest

    files, folder = files_digest(config), store / run_id(config.study, config.digest)
    checkpoint = Run.open(folder).checkpoint() if folder.exists() else None
    return checkpoint is not None and checkpoint.facts.get("files", files) != files


def repetitions(run: Run) -> list[Run]:
    """Finished runs in the same store whose config differs from that of a run only in the seed.

    Args:
        run: The run.

    Returns:
        The other runs, by id.

    Raises:
        StoreError: Where the store cannot be read.

    Example:
        >>> import netassay
        >>> len(netassay.repetitions(netassay.Store("runs").find("aitac-1a2b3c")))
        1
    """
    matches = []
    for candidate in Store(run.folder.parent).runs():
        alike = candidate.study == run.study and {**candidate.config, "seed": run.config["seed"]} == run.config
        if alike and candidate.id != run.id and candidate.state is State.FINISHED:
            matches.append(candidate)
    return matches


def reduce(
    run: Run | Path | str,
    *,
    filters: str = "reproducible",
    epochs: int = 10,
    learning_rate: float = 1e-4,
    seed: int = 0,
    device: str = "",
    store: Path | str = "runs",
    threads: int | None = None,
    watch: Watch = lambda step, values: None,
) -> Run:
    """Keep only some first-layer filters of a trained network, freeze them, and train the rest on.

    The result is a run like any other, in the store of the one it starts from; it has the scores of the entire network
    and of the reduced one before and after training. Filters "reproducible" need an interpretation that found them.

    Args:
        run: Id, beginning of an id, or folder of a finished run of study aitac.
        filters: Which filters to keep: reproducible, "1,5,9", random:20, or all.
        epochs: Passes over the training set (1 or more).
        learning_rate: Step size (above 0), constant.
        seed: Seed of order, augmentation and random filters.
        device: cpu, cuda, cuda:N or mps (Apple; not tested); by default that of the run.
        store: Folder that holds the runs.
        threads: Threads (1 to 1024); by default those that the run began with, or all cores.
        watch: Called with each step and its numbers.

    Returns:
        The reduced run.

    Raises:
        ConfigError: For a run of another study, and filters that it does not have.
        DataError: Where no interpretation says which filters are reproducible.

    Source:
        Maslova et al. (2020), the network of reproducible filters.

    Example:
        >>> import netassay
        >>> str(netassay.reduce("aitac-1a2b3c", filters="1,2", epochs=1, threads=1).state)
        'finished'
    """
    from netassay.studies.aitac.weights import reduced_config

    opened = find_run(run, store)
    config = reduced_config(opened, filters, epochs=epochs, learning_rate=learning_rate, seed=seed, device=device)
    return perform(config, opened.folder.parent, threads=threads, watch=watch)


def transfer(
    run: Run | Path | str,
    atlas: str | Path,
    cell_types: Path | str | Sequence[tuple[str, str]],
    *,
    store: Path | str = "runs",
    threads: int | None = None,
    watch: Watch = lambda step, values: None,
    **options: Any,
) -> Run:
    """Take a trained network to another atlas, such as another species': scores, nulls, ranks of its filters.

    Several cell types that map to one are averaged. The result is a separate run in the store.

    Args:
        run: Id, beginning of an id, or folder of a finished run of study aitac.
        atlas: The other atlas: dhs4, simulated, or the folder of one; its peaks must have the length that the
            network reads.
        cell_types: Table of two columns: cell type of the network, and the one of the atlas that it maps to; a
            header, if any, is source,target. Or the pairs themselves, as JSON; in Python also a list of them.
        store: Folder that holds the runs.
        threads: Threads (1 to 1024); by default those that the run began with, or all cores.
        watch: Called with each part when it is done.
        options: Keys of the config of aitac-transfer, except run, atlas and cell_types.

    Returns:
        The transfer.

    Raises:
        ConfigError: For a run of another study.
        DataError: If network, atlas and map do not fit each other.

    Source:
        Maslova et al. (2020), the test on human cells.

    Example:
        >>> import netassay
        >>> pairs = [(name, name) for name in ("stem.1", "B.late.1", "monocyte.1")]
        >>> options = {"influence_peaks": 0, "permutations": 2, "trained_on": "keep"}
        >>> str(netassay.transfer("aitac-1a2b3c", "atlas", pairs, threads=1, **options).state)
        'finished'
    """
    from netassay.dna.agreement.species import cell_type_map
    from netassay.dna.atlas.named import find_atlas
    from netassay.formats.tables import read_links
    from netassay.studies.aitac.assay import config_of
    from netassay.studies.aitac.fit import atlas_of

    run = find_run(run, store)
    if run.study != "aitac":
        raise ConfigError(f"run {run.id} is of study {run.study}; runs of study aitac can be transferred")
    places = None
    if isinstance(cell_types, str | Path) and str(cell_types).startswith("["):
        pairs = TransferConfig(cell_types=str(cell_types)).pairs
    elif isinstance(cell_types, str | Path):
        links = read_links(Path(cell_types))
        pairs = [(link.source, link.target) for link in links]
        places = [f"{cell_types}:{link.line}" for link in links]
    else:
        pairs = [(source, target) for source, target in cell_types]
    # refused again within the run, but here a message can name the line
    cell_type_map(pairs, atlas_of(config_of(run)).cell_types, find_atlas(atlas).cell_types, places=places)
    config = TransferConfig(run=run.id, atlas=str(atlas), cell_types=json.dumps(pairs), **options)
    return perform(config, run.folder.parent, threads=threads, watch=watch)
