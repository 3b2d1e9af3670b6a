"""DNA sequences of a FASTA file, and windows of a genome."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8

from netassay.errors import DataError
from netassay.extras import is_installed
from netassay.formats.bases import FOREIGN, UNKNOWN, encode, other_names
from netassay.formats.text import blocks
from netassay.formats.twobit import TwoBitContig, is_twobit, twobit_contigs
from netassay.inputs import refuse_odd_file, refuse_size


class Record(NamedTuple):
    """One sequence: the first word of its header, its letters without line ends, and the header's line."""

    name: str
    letters: bytes
    line: int


@dataclass(frozen=True, eq=False)
class Windows:
    """Bases of windows of one width; rows that are `missing` hold no base.

    `missing`: the genome has no such contig. `beyond`: the window begins before or ends after its contig; it holds no
    base, or was filled with unknown ones, as was asked for. `renamed`: found under another name of the contig (with or
    without "chr", chrM for MT). `lengths` are those of the contigs by their names in the genome.
    """

    codes: UInt8[np.ndarray, "n width"]
    missing: Bool[np.ndarray, " n"]
    beyond: Bool[np.ndarray, " n"]
    renamed: Bool[np.ndarray, " n"]
    lengths: dict[str, int]


def read_fasta(path: Path) -> Iterator[Record]:
    """Records of a FASTA file, plain or gzip (BGZF too), one in memory at a time.

    Case is kept; white space within sequences is removed. Raises DataError, naming the line, for text before
    the first header, a header without a name, a name that comes twice, and for a file without a record.
    """
    names: set[str] = set()
    for record in _records(path):
        if not record.name:
            raise DataError(f"{path}:{record.line}: the header has no name after '>'; give each sequence one")
        if record.name in names:
            raise DataError(
                f"{path}:{record.line}: sequence {record.name!r} occurs a second time; give each a name of its own"
            )
        names.add(record.name)
        yield record
    if not names:
        raise DataError(f"{path}: holds no sequence; a FASTA file has headers that begin with '>'")


def read_sequences(path: Path) -> Iterator[tuple[str, UInt8[np.ndarray, " length"]]]:
    """Name and codes of each record of a FASTA file. Raises as `read_fasta`, and for letters that are not DNA."""
    for record in read_fasta(path):
        codes = encode(record.letters)
        if (codes == FOREIGN).any():
            position = int((codes == FOREIGN).argmax())
            raise DataError(
                f"{path}:{record.line}: sequence {record.name!r} has a letter at base {position + 1} that is not DNA; "
                "allowed are A, C, G, T, U, N and the IUPAC letters, in either case"
            )
        yield record.name, codes


def is_fasta(path: Path) -> bool:
    """Whether a file, plain or packed, begins as FASTA does."""
    try:
        return next(blocks(path), b"")[:1] == b">"
    except DataError:
        return False


def read_windows(
    genome: Path, chromosomes: Sequence[str], starts: np.ndarray, width: int, *, padded: bool = False
) -> Windows:
    """Bases [start, start + width) (0-based) of each chromosome in a FASTA or 2bit file.

    Windows that cross an end of their contig hold no base; with `padded`, its bases, and unknown ones beyond it.

    With a fresh index (`.fai`) beside a plain file, and pyfaidx installed, only the windows are read; otherwise the
    file is read through once, a contig in memory at a time, and nothing is written. Chromosomes are found by name, or
    by another name of the same (with or without "chr", chrM for MT). Raises DataError for files that are neither,
    letters that are none of DNA, and an index that does not fit its file; ExtraMissing for 2bit without the extra.
    """
    n = len(chromosomes)
    codes = np.full((n, width), UNKNOWN, np.uint8)
    missing, beyond, renamed = np.ones(n, bool), np.zeros(n, bool), np.zeros(n, bool)
    rows = _rows_by_name(chromosomes)
    lengths: dict[str, int] = {}
    for contig in _contigs(genome):
        lengths[contig.name] = contig.length
        for name in (contig.name, *other_names(contig.name)):
            alias, matches = name != contig.name, rows.get(name, _NONE)
            matches = matches[missing[matches]] if alias else matches
            if not len(matches):
                continue
            first = starts[matches]
            outside = (first < 0) | (first + width > contig.length)
            missing[matches], beyond[matches], renamed[matches] = False, outside, alias
            inside = matches[~outside]
            codes[inside] = contig.windows(starts[inside], width)
            for row in matches[outside].tolist() if padded else ():
                start = int(starts[row])
                begin, end = max(start, 0), min(start + width, contig.length)
                if begin < end:
                    within = contig.windows(np.array([begin]), end - begin)[0]
                    codes[row, begin - start : end - start] = within
    return Windows(codes, missing, beyond, renamed, lengths)


_NONE = np.empty(0, np.int64)


def _rows_by_name(chromosomes: Sequence[str]) -> dict[str, np.ndarray]:
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(chromosomes):
        rows[name].append(row)
    return {name: np.array(indices) for name, indices in rows.items()}


def _contigs(genome: Path) -> Iterator[_LoadedContig | _IndexedContig | TwoBitContig]:
    if is_twobit(genome):
        yield from twobit_contigs(genome)
        return
    index = _fresh_index(genome) if is_installed("pyfaidx") else None
    if index is None:
        for record in read_fasta(genome):
            yield _LoadedContig(genome, record)
        return
    pyfaidx = import_module("pyfaidx")
    try:
        # white space after the name is not part of it, as in `read_fasta`
        opened = pyfaidx.Faidx(str(genome), str(index), as_raw=True, build_index=False, rebuild=False)
    except Exception as error:  # the library raises its own kinds and ValueError for indexes it cannot read
        raise DataError(f"{index}: is not an index of {genome} ({error}); {_REINDEX}") from error
    try:
        for name, entry in opened.index.items():
            yield _IndexedContig(genome, index, opened, name, entry)
    finally:
        opened.close()


_REINDEX = "delete it, or make it again with samtools faidx"


@dataclass(frozen=True, eq=False)
class _LoadedContig:
    """A contig that is in memory."""

    genome: Path
    record: Record

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def length(self) -> int:
        return len(self.record.letters)

    def windows(self, starts: np.ndarray, width: int) -> np.ndarray:
        if not len(starts):
            return np.empty((0, width), np.uint8)
        letters = np.frombuffer(self.record.letters, np.uint8)
        views = np.lib.stride_tricks.sliding_window_view(letters, width)[starts]
        return _require_dna(encode(views.tobytes()).reshape(-1, width), starts, f"{self.genome}: {self.name}")


@dataclass(frozen=True, eq=False)
class _IndexedContig:
    """A contig that the index locates."""

    genome: Path
    index: Path
    opened: Any
    name: str
    entry: Any

    @property
    def length(self) -> int:
        return int(self.entry.rlen)

    def windows(self, starts: np.ndarray, width: int) -> np.ndarray:
        if not len(starts):
            return np.empty((0, width), np.uint8)
        self._check()
        order = np.argsort(starts, kind="stable")
        letters = [self.opened.fetch(self.name, start + 1, start + width) for start in starts[order].tolist()]
        if any(len(window) != width for window in letters):
            raise self._unfit()
        codes = np.empty((len(starts), width), np.uint8)
        codes[order] = encode("".join(letters)).reshape(-1, width)
        return _require_dna(codes, starts, f"{self.genome}: {self.name}")

    def _check(self) -> None:
        """The contig lies between a header with its name and the next header, as the index says."""
        entry = self.entry
        lines, remainder = divmod(entry.rlen, entry.lenc) if entry.lenc else (0, 0)
        end = entry.offset + lines * entry.lenb + remainder
        with self.genome.open("rb") as file:
            back = min(entry.offset, 4_096)
            file.seek(entry.offset - back)
            header = file.read(back).rstrip(b"\r\n").rpartition(b"\n")[2]
            file.seek(end)
            after = file.read(64).lstrip(b"\r\n")
        has_header = header.startswith(b">") and header[1:].split()[:1] == [self.name.encode()]
        if (back < 4_096 and not has_header) or after[:1] not in (b"", b">"):
            raise self._unfit()

    def _unfit(self) -> DataError:
        return DataError(f"{self.index}: does not fit {self.genome} at contig {self.name!r}; {_REINDEX}")


def _require_dna(codes: np.ndarray, starts: np.ndarray, where: str) -> np.ndarray:
    if (codes == FOREIGN).any():
        row, column = np.argwhere(codes == FOREIGN)[0]
        raise DataError(
            f"{where}, base {int(starts[row]) + int(column) + 1} (from 1) is not a letter of DNA; allowed are A, C, G, "
            "T, U, N and the IUPAC letters, in either case"
        )
    return codes


def _fresh_index(genome: Path) -> Path | None:
    """The `.fai` beside a plain file, unless the file was changed after it."""
    refuse_odd_file(genome)
    if not genome.is_file():  # "." has no name to add an ending to; whoever opens it says what is wrong
        return None
    for index in (genome.with_name(f"{genome.name}.fai"), genome.with_suffix(".fai")):
        refuse_odd_file(index)
        try:
            with genome.open("rb") as file:
                zipped = file.read(2) == b"\x1f\x8b"
            if not zipped and index.stat().st_mtime >= genome.stat().st_mtime:
                return index
        except OSError:
            continue
    return None


def _records(path: Path) -> Iterator[Record]:
    """Records as they come; `pending` is held back while a header may begin or has not ended."""
    name, line, line_feeds = "", 0, 0  # of the open record; its header's line; line feeds before `text`
    opened = False
    body: list[bytes] = []
    pending = b"\n"  # the first header is found as any other
    for block in _line_fed(path):
        text = pending + (block.removeprefix(b"\xef\xbb\xbf") if not line_feeds and not opened else block)
        begin = counted_to = 0  # `line_feeds` includes those before `counted_to`
        while (mark := text.find(b"\n>", begin)) >= 0:
            stop = text.find(b"\n", mark + 1)
            if stop < 0:
                break
            body.append(text[begin:mark])
            if opened:
                yield Record(name, _letters(body), line)
            else:
                _refuse_prelude(path, body)
            opened, body = True, []
            name = (text[mark + 2 : stop].decode("utf-8", "replace").split() or [""])[0]
            line_feeds += text.count(b"\n", counted_to, mark)
            line, counted_to = line_feeds + 1, mark
            begin = stop
        end = mark if mark >= 0 else len(text) - text.endswith(b"\n")
        body.append(text[begin:end])
        refuse_size(f"{path}: {name:.60}", sum(map(len, body)), "LARGEST_ARRAY", phrase="holds, unpacked, at least")
        if not opened:
            _refuse_prelude(path, body)
        pending = text[end:]
        line_feeds += text.count(b"\n", counted_to, end)
        refuse_size(f"{path}:{line_feeds + 1}", len(pending), "LONGEST_LINE", phrase="begins a line of at least")
    if pending.startswith(b"\n>"):
        if opened:
            yield Record(name, _letters(body), line)
        name, line, body, opened = pending[2:].decode("utf-8", "replace").strip(), line_feeds + 1, [], True
    if opened:
        yield Record(name, _letters(body), line)
    else:
        _refuse_prelude(path, body)


def _line_fed(path: Path) -> Iterator[bytes]:
    """Blocks of the file, in which the line ends of old Macs (CR alone) are line feeds."""
    mac = False
    for number, block in enumerate(blocks(path)):
        if not number:
            mac = b"\r" in block[:-1] and b"\n" not in block
        yield block.replace(b"\r", b"\n") if mac else block


def _letters(body: list[bytes]) -> bytes:
    # DOS ends a text with byte 0x1A
    return b"".join(body).translate(None, b"\r\n\t ").removesuffix(b"\x1a")


def _refuse_prelude(path: Path, body: list[bytes]) -> None:
    text = b"".join(body)
    if text.strip():
        line = text[: len(text) - len(text.lstrip())].count(b"\n")
        begin = text.strip()[:30].decode("utf-8", "replace")
        raise DataError(f"{path}:{max(line, 1)}: begins with {begin!r}; a FASTA file begins with '>' and a name")
