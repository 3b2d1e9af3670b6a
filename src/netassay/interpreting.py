"""Interpreting a trained run, and taking it to another atlas: runs made from it, in the same store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from netassay.errors import ConfigError
from netassay.namelist import NameList
from netassay.performing import Watch, perform
from netassay.runs import Run, State, Store, run_id
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.studies.aitac.transfer.config import TransferConfig


def interpret(
    run: Run | None = None,
    peers: Sequence[Run] = (),
    *,
    store: Path | str | None = None,
    threads: int | None = None,
    watch: Watch = lambda step, values: None,
    **options: Any,
) -> Run:
    """What the network of a finished aitac run learned, as a run beside it; done from wherever it stands.

    `peers` are repetitions of the run (other seeds) in the same store. `options` are the keys of the config of
    aitac-interpret, all but run and peers (`netassay explain aitac-interpret`). In place of a run a network of your own
    is looked at where its module ("FILE.py:make"), weights and atlas are given; the run then stands in `store`
    ("runs"). Raises ConfigError for runs of another study or store, DataError where they hold no weights or another
    atlas, and for a file that is not there; what a single chapter lacks is told in it. Where such a file changed since,
    all is made again.
    """
    own = options.get("module") or options.get("weights")
    if (run is None) == (not own):
        raise ConfigError(
            "give a run, or a network of your own (module, weights and atlas)"
            + (": one of them, not both" if own else "")
        )
    if run is None:
        if peers:
            raise ConfigError("peers are repetitions of a run; a network of your own has none")
        config = InterpretConfig(**options)
        where = Path("runs" if store is None else store)
    else:
        ids = _checked(run, peers)
        config, where = InterpretConfig(run=run.id, peers=NameList.read(ids), **options), run.folder.parent
    anew = 0 if _outdated(config, where) else None
    return perform(config, where, threads=threads, from_step=anew, watch=watch)


def _checked(run: Run, peers: Sequence[Run]) -> list[str]:
    """Ids of the peers. ConfigError for runs of another study or store, and for one that is given twice."""
    for other in (run, *peers):
        if other.study != "aitac":
            raise ConfigError(
                f"run {other.id} is of study {other.study}; runs of study aitac can be interpreted"
            )
        if other.folder.parent != run.folder.parent:
            raise ConfigError(
                f"{other.folder} is not in the store of {run.folder}; peers stand in the same store"
            )
    ids = [other.id for other in peers]
    if twice := [name for name in ids if name == run.id or ids.count(name) > 1]:
        raise ConfigError(
            f"run {twice[0]} is given twice; a peer is another run of the same config with another seed"
        )
    return ids


def _outdated(config: InterpretConfig, store: Path) -> bool:
    """Whether this interpretation was made of a file outside the store that holds something else by now."""
    from netassay.studies.aitac.interpret.files import files_digest

    files, folder = files_digest(config), store / run_id(config.study, config.digest)
    begun = Run.open(folder).checkpoint() if folder.exists() else None
    return begun is not None and begun.facts.get("files", files) != files


def repetitions(run: Run) -> list[Run]:
    """Finished runs in the same store whose config differs from that of `run` by nothing but the seed."""
    runs = []
    for other in Store(run.folder.parent).runs():
        alike = other.study == run.study and {**other.config, "seed": run.config["seed"]} == run.config
        if alike and other.id != run.id and other.state is State.FINISHED:
            runs.append(other)
    return runs


def transfer(
    run: Run,
    atlas: Path | str,
    cell_types: Path | str | Sequence[tuple[str, str]],
    *,
    threads: int | None = None,
    watch: Watch = lambda step, values: None,
    **options: Any,
) -> Run:
    """The network of a finished aitac run on another atlas, such as another species', as a run beside it.

    `atlas` is dhs4, simulated or an atlas folder, with peaks of the length that the network reads. `cell_types` are
    pairs (cell type of the network, cell type of the atlas), or a file of two such columns; several that stand for one
    are averaged. `options` are the other keys of the config of aitac-transfer. Raises ConfigError for a run of another
    study, DataError where network, atlas and map do not fit each other.
    """
    from netassay.dna.agreement.species import cell_type_map
    from netassay.dna.atlas.named import find_atlas
    from netassay.formats.tables import read_links
    from netassay.studies.aitac.assay import config_of
    from netassay.studies.aitac.material import atlas_of

    if run.study != "aitac":
        raise ConfigError(f"run {run.id} is of study {run.study}; runs of study aitac can be transferred")
    places = None
    if isinstance(cell_types, str | Path):
        links = read_links(Path(cell_types))
        pairs = [(link.source, link.target) for link in links]
        places = [f"{cell_types}:{link.line}" for link in links]
    else:
        pairs = [(source, target) for source, target in cell_types]
    # refused again within the run, but here a message can name the line
    cell_type_map(pairs, atlas_of(config_of(run)).cell_types, find_atlas(atlas).cell_types, places=places)
    config = TransferConfig(run=run.id, atlas=str(atlas), cell_types=json.dumps(pairs), **options)
    return perform(config, run.folder.parent, threads=threads, watch=watch)
