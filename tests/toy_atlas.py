"""A genome of three contigs, forty peaks on it and their heights, as files of every form."""

import random
from dataclasses import dataclass
from pathlib import Path

WIDTH = 51
CELL_TYPES = ("B", "T", "NK")


@dataclass
class Toy:
    folder: Path
    genome: dict[str, str]
    peaks: list[tuple[str, str, int, int]]
    heights: dict[str, list[float]]

    def path(self, name):
        return self.folder / name

    def bases(self, peak):
        _, chromosome, start, end = self.peaks[peak]
        return self.genome[chromosome][start:end]


def make_toy(folder: Path) -> Toy:
    draw = random.Random(7)
    genome = {f"chr{i}": "".join(draw.choices("ACGT", k=5_000)) for i in (1, 2, 3)}
    peaks = [(f"peak_{i}", f"chr{i % 3 + 1}", 100 * i, 100 * i + WIDTH) for i in range(40)]
    heights = {name: [draw.randint(0, 40) for _ in CELL_TYPES] for name, *_ in peaks}
    toy = Toy(folder, genome, peaks, heights)
    write_fasta(toy.path("genome.fa"), genome)
    toy.path("peaks.bed").write_text("".join(f"{c}\t{s}\t{e}\t{n}\n" for n, c, s, e in peaks))
    immgen = [f"{n} {c} {s + 1} {e}\n" for n, c, s, e in peaks]
    toy.path("immgen.txt").write_text("ImmGenATAC1219.peakID chrom Start Stop\n" + "".join(immgen))
    rows = sorted(heights.items(), key=lambda _: draw.random())
    write_heights(toy.path("heights.csv"), rows)
    return toy


def write_fasta(path, genome, *, eol="\n", width=60):
    lines = []
    for name, letters in genome.items():
        lines.append(f">{name} a toy")
        lines += [letters[i : i + width] for i in range(0, len(letters), width)]
    path.write_text("".join(line + eol for line in lines), newline="")


def write_heights(path, rows, *, separator=","):
    lines = [separator.join(("name", *CELL_TYPES))]
    lines += [separator.join((name, *map(str, values))) for name, values in rows]
    path.write_text("\n".join(lines) + "\n")


def write_variant(path, toy):
    """A VCF file with one variant of the toy's first contig."""
    base = toy.genome["chr1"][1000]
    path.write_text(
        "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
        f"chr1\t1001\trs1\t{base}\t{'A' if base != 'A' else 'C'}\t.\t.\t.\n"
    )
