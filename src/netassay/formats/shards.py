"""The files that a corpus is named by: files, folders and patterns."""

from __future__ import annotations

import glob
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

    A text among `names` stands for itself. Of a folder all files are taken, within its folders too; those whose
    names begin with "." or "_" are left out and counted in `skipped`. Raises DataError for a folder without a file or
    with files of several endings, a pattern that nothing matches, and a file that is there twice.
    """
    skipped = Counter() if skipped is None else skipped
    given = [source] if isinstance(source, str | Path) else list(source)
    if not given:
        raise DataError("no file is given; name one at least")
    files: list[str | Path] = []
    for one in given:
        if not str(one):
            raise DataError("a file has an empty name; name one, or . for this folder")
        if isinstance(one, str) and one in names:
            files.append(one)
        elif Path(one).is_dir():
            files += _of_folder(Path(one), skipped)
        elif glob.has_magic(str(one)) and not Path(one).exists():
            files += _matching(str(one))
        else:
            files.append(Path(one))
    places: dict[str | Path, str | Path] = {}
    for file in files:
        place = file if file in names else Path(file).resolve()
        if place in places:
            raise DataError(
                f"{file}: is given twice (as {places[place]} before), so that its documents would count twice; give "
                "each file once"
            )
        places[place] = file
    return files


def ending(path: str | Path) -> str:
    """The ending of a file's name that tells its form, without that of its packing: ".json" of "a.json.gz"."""
    return Path(PACKED.sub("", str(path))).suffix.lower()


def _of_folder(folder: Path, skipped: Counter[str]) -> list[Path]:
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


def _matching(pattern: str) -> list[Path]:
    names = glob.glob(pattern, recursive=True)  # noqa: PTH207 (Path.glob takes no pattern from the root)
    files = sorted(path for path in map(Path, names) if path.is_file())
    if not files:
        raise DataError(f"{pattern}: no file matches this pattern; quote it as it stands, or name the files")
    return files
