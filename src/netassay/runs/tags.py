"""Words by which a user marks runs, in one file of their store, since a run that has ended is never touched again."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from errno import EFBIG, ENOENT
from pathlib import Path

from netassay.errors import RunWarning, StoreError
from netassay.files import write_file
from netassay.runs import disk, folders

NAME = "tags.json"
LATEST = "latest"
"""Word for the run of a store that was created last; no tag."""
MOST = 100
"""Tags of one run."""
_LARGEST = 1 << 24

Tags = dict[str, tuple[str, ...]]
"""The tags of each run by its id, in the order of the alphabet."""


def checked_tag(word: str) -> str:
    """`word` if it can be a tag: a name as a file may have, and neither an id nor "latest"."""
    disk.checked_name("tag", word)
    if word == LATEST or folders.is_id(word):
        raise StoreError(f"tag {word!r} is refused; it stands for a run already, so give another word")
    return word


def read(store: Path) -> Tags:
    """The tags in a store. A file that holds anything else is left out as a whole, with a RunWarning."""
    try:
        return _read(store)
    except StoreError as cause:
        warnings.warn(f"tags are left out: {cause}", RunWarning, stacklevel=2)
        return {}


@contextmanager
def changing(store: Path) -> Iterator[Tags]:
    """The tags in a store, to be changed within, while no other process changes them; written if they did change.

    Those of runs that are gone are dropped. StoreError for a file that holds no tags, or cannot be written.
    """
    try:
        with folders.store_lock(store):
            tags = _read(store)
            before = dict(tags)
            yield tags
            if tags != before:
                left = {run: words for run, words in sorted(tags.items()) if words and os.path.lexists(store / run)}
                write_file(store / NAME, json.dumps(left, indent=1).encode())
    except OSError as cause:
        raise StoreError(f"store {store}: cannot be written ({cause.strerror or cause}); is it read-only?") from None


def bearers(tags: Mapping[str, Iterable[str]], word: str) -> list[str]:
    """Ids of the runs that bear a tag."""
    return [run for run, words in tags.items() if word in words]


def _read(store: Path) -> Tags:
    path = store / NAME
    try:
        text = disk.read_short(store, NAME, _LARGEST + 1)
        if len(text) > _LARGEST:
            raise OSError(EFBIG, f"it has more than {_LARGEST:,} bytes")
        held = json.loads(text)
    except OSError as cause:
        if cause.errno == ENOENT:
            return {}
        raise StoreError(f"{path}: cannot be read ({cause.strerror}); delete it, and its tags are gone") from None
    except (ValueError, RecursionError) as cause:
        raise StoreError(f"{path}: is damaged ({str(cause)[:100]}); delete it, and its tags are gone") from None
    if not isinstance(held, dict) or not all(_is_sound(run, words) for run, words in held.items()):
        raise StoreError(f"{path}: holds what are no tags of runs; delete it, and its tags are gone")
    return {run: tuple(sorted(set(words))) for run, words in held.items()}


def _is_sound(run: str, words: object) -> bool:
    return (
        folders.is_id(run)
        and isinstance(words, list)
        and len(words) <= MOST
        and all(isinstance(word, str) and disk.NAMES.fullmatch(word) for word in words)
    )
