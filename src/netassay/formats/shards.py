"""The files of a corpus, from the files, folders and patterns that name it."""

from __future__ import annotations

import glob
import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from netassay.errors import DataError

PACKED = re.compile(r"\.(gz|bz2|xz|zst|zstd)$", re.IGNORECASE)


def shards(
    source: str | Path | Sequence[str | Path],
    *,
    names: Sequence[str] = (),
    skipped: Counter[str] | None = None,
) -> list[str | Path]:
    """The files of one corpus, in the order given, those of a folder or pattern (*, ?, [...], **) sorted by name.

    A text among `names` stands for itself. All files of a folder and its subfolders are taken; those whose
    names begin with "." or "_" are left out and counted in `skipped`. Raises DataError for a folder without a file or
    with files of several endings, a pattern that nothing matches, and a file that occurs twice.
    """
    skipped = Counter() if skipped is None else skipped
    sources = [source] if isinstance(source, str | Path) else list(source)
    if not sources:
        raise DataError("no file is given; name one at least")
    files: list[str | Path] = []
    for item in sources:
        if not str(item):
            raise DataError("a file has an empty name; name one, or . for this folder")
        if isinstance(item, str) and item in names:
            files.append(item)
        elif Path(item).is_dir():
            files += _of_folder(Path(item), skipped)
        elif glob.has_magic(str(item)) and not Path(item).exists():
            files += _matching(str(item))
        else:
            files.append(Path(item))
    places: dict[str | Path, str | Path] = {}
    for file in files:
        key = file if file in names else os.path.realpath(file)  # Path.resolve raises for links in a circle
        if key in places:
            raise DataError(
                f"{file}: is given twice (as {places[key]} before), so that its documents would count twice; give "
                "each file once"
            )
        places[key] = file
    return files


def ending(path: str | Path) -> str:
    """The ending of a file's name, without that of its compression: ".json" of "a.json.gz"."""
    return Path(PACKED.sub("", str(path))).suffix.lower()


def _of_folder(folder: Path, skipped: Counter[str]) -> list[Path]:
    if (saved := _of_datasets(folder)) is not None:
        return saved
    files = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        if any(part.startswith((".", "_")) for part in path.relative_to(folder).parts):
            skipped["hidden file"] += 1
        else:
            files.append(path)
    if not files:
        raise DataError(f"{folder}: is a folder without a file; give the folder that holds the corpus")
    by_ending = Counter(map(ending, files))
    if len(by_ending) > 1:
        kinds = ", ".join(f"{count} {end or 'without an ending'}" for end, count in by_ending.most_common(5))
        first = by_ending.most_common(1)[0][0]
        raise DataError(
            f"{folder}: holds files of several endings ({kinds}); give those of the corpus by a pattern, such as "
            f"'{folder}/**/*{first}*'"
        )
    return files


def _of_datasets(folder: Path) -> list[Path] | None:
    """The files of a folder that `save_to_disk` of Hugging Face's `datasets` wrote, in order; None of any other."""
    if (folder / "dataset_dict.json").is_file():
        splits = sorted(path.parent.name for path in folder.glob("*/state.json"))
        raise DataError(
            f"{folder}: is a data set with the splits {', '.join(splits) or 'none'}; give one, such as "
            f"{folder / (splits[0] if splits else 'train')}"
        )
    if not (folder / "state.json").is_file() or not (folder / "dataset_info.json").is_file():
        return None
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        names = [str(file["filename"]) for file in state["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder / 'state.json'}: does not list the data set's files ({type(error).__name__}); save it again with "
            "save_to_disk"
        ) from None
    if state.get("_indices_data_files"):
        raise DataError(
            f"{folder}: was saved with a table of indices beside its rows, which is not applied here; save it after "
            "flatten_indices()"
        )
    if not names:
        raise DataError(f"{folder}: is a data set without rows; give one that holds the corpus")
    return [folder / name for name in names]


def _matching(pattern: str) -> list[Path]:
    names = glob.glob(pattern, recursive=True)  # noqa: PTH207 (Path.glob takes no pattern from the root)
    files = sorted(path for path in map(Path, names) if path.is_file())
    if not files:
        raise DataError(f"{pattern}: no file matches this pattern; check its spelling, or name the files")
    return files
