"""The contexts of a corpus in shards, counted over the nodes of a Ray cluster."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import netassay
from netassay.corpus.context import LEAST_ROOM, Census
from netassay.corpus.counting import TOKEN_BYTES
from netassay.corpus.gathering import added_up, count_portion, refuse_empty, window_joined, write_index
from netassay.corpus.shuffle import Manifest, Shuffle, stamp, write_portions
from netassay.corpus.spine import Spine
from netassay.errors import ConfigError, DataError, NetassayError, StoreError
from netassay.formats.corpus import TOPICS, Reading, of_token_ids, require_tokens, source_name
from netassay.formats.documents import Documents, Words
from netassay.formats.shards import shards
from netassay.formats.tokenizers import encoder
from netassay.processes import machine_bytes, paced, room
from netassay.runs.disk import MUTEX
from netassay.sweeps.connection import connect, disconnect, nodes, require_nodes

if TYPE_CHECKING:
    from netassay.corpus.context import Contexts

PORTIONS_A_WORKER = 8
MOST_PORTIONS = 1 << 14
FORMAT = 2  # of the files in the folder; those of another are not gone on from
SAMPLED_SHARDS, SAMPLED_TOKENS = 32, 1 << 22

Task = Callable[[Path, int], None]
_TASKS: dict[str, Task] = {"write_portions": write_portions, "count_portion": count_portion}
_KINDS = {kind.__name__: kind for kind in (ConfigError, DataError, StoreError)}


def contexts_over_nodes(
    files: Sequence[Path | str],
    *,
    reading: Reading,
    length: int | None,
    exact_length: bool,
    window: int | None,
    memory: str | None,
    scratch: Path | str | None,
    address: str | None,
) -> Contexts:
    """What `contexts_of` counts, by tasks on a Ray cluster; the same call goes on from the files in `scratch`.

    Raises:
        ConfigError: Without a scratch folder, for a text without a fixed vocabulary, and where the cluster cannot be
            reached or its nodes differ or do not see the folder.
        ExtraMissing: Without ray.
        DataError: For shards that cannot be read, or change meanwhile.
        StoreError: Where the scratch folder cannot be written.
    """
    paths = _require_shards(files, reading)
    tokenizer = Path(reading.tokenizer).absolute() if Path(reading.tokenizer).is_file() else reading.tokenizer
    if scratch is None:
        raise ConfigError("--on ray writes the corpus into a folder that all nodes see; give it as --scratch FOLDER")
    folder = Path(scratch).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    given = room(memory if memory else f"{machine_bytes() // 2 // (os.cpu_count() or 1) / 1e6:.0f}MB", LEAST_ROOM)
    # Ray prints what it says of lost workers, which is no part of the answer
    with redirect_stdout(sys.stderr), _connected(address or "auto"):
        require_nodes(folder, 10.0)
        job = Shuffle(
            folder,
            tuple(map(str, paths)),
            tuple(map(stamp, paths)),
            {**asdict(reading), "tokenizer": str(tokenizer)},
            length,
            exact_length,
            window,
            False,
            1,
            given,
            (-1,),
            (0,),
        )
        with ExitStack() as stack:
            rooms = [stack.enter_context(_room(job))]
            if window is not None:
                rooms.append(stack.enter_context(_room(replace(job, runs=True))))
            counted = [_counted(part, source_name(files)) for part in rooms]
            for part in rooms:
                shutil.rmtree(part.folder, ignore_errors=True)
    result = counted[0] if window is None else window_joined(*counted)
    require_tokens(files, result.tokens, result.skipped)
    return result


@contextmanager
def _connected(address: str) -> Iterator[None]:
    """A connection to Ray's cluster, ended with the tasks of this process."""
    connect(address)
    try:
        yield
    finally:
        disconnect()


def _require_shards(files: Sequence[Path | str], reading: Reading) -> list[Path]:
    """The shards of a corpus as absolute paths; ConfigError for text whose tokens are numbered as they come up."""
    if TOPICS in files:
        raise ConfigError("topics is one small text: count it on one machine, without --on ray")
    if not of_token_ids(files, reading) and isinstance(encoder(reading.tokenizer).vocabulary, Words):
        raise ConfigError(
            f"tokenizer {reading.tokenizer} numbers words as they come up, each shard its own way; give shards of "
            "token ids, or --tokenizer with a tokenizer.json, .model, .tiktoken, characters or bytes, whose ids are "
            "fixed; or leave --on ray out"
        )
    return [Path(path).absolute() for path in shards(files)]


@contextmanager
def _room(job: Shuffle) -> Iterator[Shuffle]:
    """The shuffle in a folder of its own, the same for the same command, in which nobody else counts meanwhile."""
    tokenizer = job.reading["tokenizer"]
    what: list[Any] = [
        *job.files,
        job.reading,
        job.length,
        job.exact_length,
        job.window,
        job.runs,
        netassay.__version__,
        FORMAT,
    ]
    what.append(stamp(tokenizer) if Path(tokenizer).is_file() else None)
    folder = job.folder / f"netassay-entropy-{hashlib.sha256(json.dumps(what).encode()).hexdigest()[:12]}"
    folder.mkdir(exist_ok=True)
    with _alone(folder):
        yield _begun(replace(job, folder=folder))


def _counted(job: Shuffle, name: str) -> Contexts:
    """The contexts of a shuffle, from what is in its folder and what is not yet."""
    shards_left = [
        shard for shard in range(len(job.files)) if not (job.manifest(shard).exists() and job.data(shard).exists())
    ]
    _perform(write_portions, job.folder, shards_left, "shards")
    manifests = [Manifest.read(job.manifest(shard)) for shard in range(len(job.files))]
    refuse_empty(manifests, name, job.length)
    sizes = write_index(job, manifests)
    # large ones first, so that none is left for the end
    order = sorted(range(job.portions), key=lambda portion: -int(sizes[portion]))
    _perform(count_portion, job.folder, [n for n in order if not job.tally(n).exists()], "portions")
    skipped = sum((Counter(manifest.about["skipped"]) for manifest in manifests), Counter[str]())
    return replace(added_up(job, manifests), skipped=dict(skipped))


def _begun(job: Shuffle) -> Shuffle:
    """The shuffle with the portions and prefixes of its folder, which are chosen once."""
    if (job.folder / "shuffle.json").exists():
        earlier = Shuffle.read(job.folder)
        job = replace(job, portions=earlier.portions, parents=earlier.parents, tokens=earlier.tokens)
    else:
        bytes_of_files = sum(size for size, _ in job.stamps)
        # two bytes a token, or fewer in a file that is compressed; twice as many for portions of unequal size
        tokens = bytes_of_files // 2 * (job.window + 1 if job.runs and job.window else 1)
        cpus = sum(int(node["Resources"].get("CPU", 0)) for node in nodes())
        needed = 2 * tokens * TOKEN_BYTES // job.memory
        portions = min(max(PORTIONS_A_WORKER * max(cpus, 1), needed), MOST_PORTIONS)
        spine = Spine.of(_sample(job), 1 / (2 * portions))
        job = replace(
            job, portions=portions, parents=tuple(spine.parents.tolist()), tokens=tuple(spine.tokens.tolist())
        )
    job.write()
    return job


def _sample(job: Shuffle) -> Documents:
    """The first documents of some of the shards."""
    step = -(-len(job.files) // SAMPLED_SHARDS)
    some = range(0, len(job.files), step)
    each = SAMPLED_TOKENS // len(some)
    pieces = []
    for shard in some:
        size = 0
        for part in job.documents(shard, Census(job.memory, job.length, job.exact_length), Counter(), each):
            pieces.append(part)
            size += len(part.tokens)
            if size >= each:
                break
    return Documents.concatenate(pieces)


def _perform(task: Task, folder: Path, numbers: Sequence[int], label: str) -> None:
    """Runs a task for each number, wherever there is a CPU; Ray starts one again whose worker or node is lost."""
    import ray

    remote = ray.remote(_answered).options(num_cpus=1, max_retries=5, scheduling_strategy="SPREAD")
    waiting = [remote.remote(task.__name__, str(folder), number) for number in numbers]

    def answers() -> Iterator[str]:
        ahead = waiting
        while ahead:
            done, ahead = ray.wait(ahead, num_returns=1)
            try:
                yield ray.get(done[0])
            except ray.exceptions.RayTaskError:  # an error in a task that is none of ours
                raise
            except ray.exceptions.RayError as cause:
                raise StoreError(
                    f"{folder}: a task on the cluster was lost again and again ({str(cause).splitlines()[0][:200]}); "
                    "the same command goes on from here. If it was short of memory, give less with --memory"
                ) from None

    for answer in paced(answers(), label, total=len(numbers)):
        if answer:
            kind, _, words = answer.partition(" ")
            raise _KINDS.get(kind, StoreError)(words)


def _answered(name: str, folder: str, number: int) -> str:
    """Performs a task in a worker; the kind of error and its words, or ""."""
    os.environ.setdefault("POLARS_MAX_THREADS", "1")  # a CPU for each task
    try:
        _TASKS[name](Path(folder), number)
    except NetassayError as cause:
        return f"{type(cause).__name__} {cause}"
    return ""


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """StoreError while another command counts in this folder."""
    path = folder / "lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not MUTEX.take(handle, path):
            raise StoreError(f"{folder}: another command counts this corpus here; wait for it or stop it")
        yield
        MUTEX.free(handle, path)
    finally:
        os.close(handle)
