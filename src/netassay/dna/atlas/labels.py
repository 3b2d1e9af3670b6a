"""Classes in place of heights: sequences with a table of labels, and regions marked by the sets they overlap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from netassay.dna.agreement.overlap import marked_by
from netassay.dna.atlas.draft import Draft
from netassay.dna.atlas.new_sequences import sequences_of
from netassay.errors import DataError
from netassay.formats.fasta import read_fasta
from netassay.formats.headings import place_of
from netassay.formats.peak_tables import read_regions
from netassay.formats.rows import content, is_number
from netassay.formats.tables import read_numbers
from netassay.formats.word_tables import SEPARATORS, read_word_table
from netassay.inputs import utf_8_name

REGION_ENDINGS = (".bed", ".narrowpeak", ".broadpeak")


def read_labelled(fasta: Path, table: Path, width: int | None = None) -> Draft:
    """Sequences of a FASTA file with their labels, as the draft of an atlas.

    All are brought to one length, by default that of the longest: shorter ones are padded with unknown bases on both
    sides, and counted. The table has a header and names of sequences in its first column, and then either a column of
    numbers for each class, or one column of classes (several separated by ;). A table of numbers alone, without names,
    is in the order of the sequences. A sequence called chr1:200-451 has that place. Raises DataError for labels that
    fit none.
    """
    lengths = {record.name: len(record.letters) for record in read_fasta(fasta)}
    if width is not None and width < 1:
        raise DataError(f"width = {width} is not allowed: 1 base or more (--width, width=)")
    length = max(lengths.values()) if width is None else width
    if not length:
        raise DataError(f"{fasta}: its sequences hold no base")
    sequences = sequences_of(fasta, length)
    names = sequences.where["name"].to_list()
    values, classes, notes = _labels(table, names)
    has_labels = ~np.isnan(values).all(axis=1)
    if not has_labels.any():
        raise DataError(f"{table}: names none of the sequences of {fasta} (such as {names[0]!r}); name them alike")
    places, codes = _places(names, lengths, length), sequences.codes.numpy()
    draft = Draft(places, values.astype(np.float32), classes, fasta, codes=codes)
    for reason, count in (Counter(sequences.notes) + notes).items():
        draft = draft.note(reason.replace("than the network", f"than {length} bases"), count)
    return draft.keep(has_labels, "without labels")


def mark_classes(draft: Draft, files: Sequence[Path]) -> Draft:
    """Peaks with a 1 for each set of regions that covers half of their bases, else 0; classes are the files."""
    names = tuple(_class_name(path) for path in files)
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"two sets of regions are called {twice[0]!r}; classes are named after the files: rename one")
    half = max(1, int(np.ceil(np.median((draft.peaks["end"] - draft.peaks["start"]).to_numpy()) / 2)))
    labels = np.empty((len(draft.peaks), len(files)), np.float32)
    for column, path in enumerate(files):
        labels[:, column] = marked_by(path, draft.peaks, read_regions(path), min_bases=half)
    draft = replace(draft, heights=labels, cell_types=names)
    return draft.note("of no class, all labels 0", int((~labels.any(axis=1)).sum()))


def region_files(files: Sequence[Path]) -> bool:
    """Whether all files are called sets of regions."""
    plain = [path.name.lower().removesuffix(".gz") for path in files]
    return bool(files) and all(name.endswith(REGION_ENDINGS) for name in plain)


def _class_name(path: Path) -> str:
    name = utf_8_name(path)
    for ending in (".gz", *REGION_ENDINGS, ".narrowPeak", ".broadPeak"):
        name = name.removesuffix(ending)
    return name


def _places(names: Sequence[str], lengths: dict[str, int], length: int) -> pl.DataFrame:
    """Places of the windows, where the names give those of the sequences."""
    rows: list[tuple[str, str | None, int | None, int | None]] = []
    for name in names:
        place = place_of(name)
        if place is None or place[2] - place[1] != lengths[name]:
            rows.append((name, None, None, None))
        else:
            # as sequences are fitted: cut, or padded, about the middle
            spare = lengths[name] - length
            start = place[1] + (spare // 2 if spare >= 0 else -(-spare // 2))
            rows.append((name, place[0], start, start + length))
    schema = {"name": pl.String, "chromosome": pl.String, "start": pl.Int64, "end": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _labels(table: Path, names: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...], Counter[str]]:
    """Labels of each sequence, NaN for one that the table does not have; the classes; notes."""
    first = content(table).split(b"\n", 1)[0].decode("utf-8", "replace")
    separator = max(SEPARATORS, key=first.count)
    words = [word.strip() for word in first.split(separator)]
    if all(map(is_number, words)):
        return _in_order(table, separator, names)
    if words[0] in set(names):
        lines = [line.split(separator) for line in content(table).decode().splitlines() if line.strip()]
        return _by_class(table, [(words[0].strip(), words[-1].strip()) for words in lines], names)
    frame = read_word_table(table)
    column = frame.to_series(1)
    if frame.width == 2 and not all(is_number(word or "") for word in column.drop_nulls().head(100)):
        return _by_class(table, list(frame.select(pl.all().fill_null("")).iter_rows()), names)
    numbers = read_numbers(table)
    rows = {name: row for row, name in enumerate(numbers.rows.to_list())}
    values = np.full((len(names), len(numbers.columns)), np.nan)
    met = [row for row, name in enumerate(names) if name in rows]
    values[met] = numbers.values[[rows[names[row]] for row in met]]
    notes = numbers.notes + Counter({"labels without a sequence": len(rows) - len(met)})
    return values, numbers.columns, +notes


def _in_order(table: Path, separator: str, names: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...], Counter[str]]:
    lines = [line for line in content(table).decode("utf-8", "replace").splitlines() if line.strip()]
    try:
        values = np.array([[float(word) for word in line.split(separator)] for line in lines])
    except ValueError as error:
        raise DataError(f"{table}: its rows are not all numbers of one count ({error}); name the sequences") from error
    if len(values) != len(names):
        raise DataError(
            f"{table}: has {len(values):,} rows of labels without names, and there are {len(names):,} sequences; give "
            "a row for each, or names in the first column"
        )
    classes = tuple(f"class {number + 1}" for number in range(values.shape[1]))
    return (
        values,
        classes,
        Counter({f"labels of {table.name} without names, taken in the order of the sequences": len(values)}),
    )


def _by_class(
    table: Path, pairs: Sequence[tuple[str, str]], names: Sequence[str]
) -> tuple[np.ndarray, tuple[str, ...], Counter[str]]:
    rows = {name: row for row, name in enumerate(names)}
    entries = [(name, word.strip()) for name, words in pairs for word in words.split(";") if word.strip()]
    classes = tuple(sorted({word for _, word in entries}))
    if not classes:
        raise DataError(f"{table}: names no class; give two columns, sequence and class")
    values = np.full((len(names), len(classes)), np.nan)
    columns = {word: column for column, word in enumerate(classes)}
    strange = 0
    for name, word in entries:
        if name not in rows:
            strange += 1
            continue
        values[rows[name]] = np.nan_to_num(values[rows[name]])
        values[rows[name], columns[word]] = 1
    return values, classes, +Counter({"labels without a sequence": strange})
