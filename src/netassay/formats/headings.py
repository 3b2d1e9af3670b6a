"""Headings of tables of peaks: which columns describe the peaks themselves, whatever a program calls them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

CHROMOSOME = ("chrom", "chr", "chromosome", "seqnames", "seqname", "seqid", "contig")
START = ("start", "chromstart", "begin")
END = ("end", "stop", "chromend")
SUMMIT = ("abssummit", "summit")
WIDTH = ("length", "width")
NAMES = ("interval", "region", "regions", "regionname", "peak", "peakid", "peakname", "name", "id", "geneid")
"""Columns that may hold the name of a peak, most likely first."""

REGION = re.compile(r"(?P<chromosome>[^\s:]+)[:_-](?P<start>[0-9][0-9,]*)[-_:](?P<end>[0-9][0-9,]*)")
"""Names that are regions: chr1:200-300, chr1-200-300, chr1_200_300."""


def place_of(name: str) -> tuple[str, int, int] | None:
    """Chromosome and the two numbers of a name that is a region, in whatever form; None for other names."""
    match = REGION.fullmatch(name.strip())
    if match is None:
        return None
    chromosome, start, end = match.group("chromosome", "start", "end")
    return chromosome, int(start.replace(",", "")), int(end.replace(",", ""))


_DESCRIBING = {
    *CHROMOSOME,
    *START,
    *END,
    *SUMMIT,
    *WIDTH,
    *NAMES,
    "strand",
    "size",
    "index",
    "unnamed0",
    "level0",
    # MACS, and columns of narrowPeak and BED
    "pileup",
    "score",
    "signalvalue",
    "pvalue",
    "qvalue",
    "log10pvalue",
    "log10qvalue",
    "foldenrichment",
    "fdr",
    "thickstart",
    "thickend",
    "itemrgb",
    "blockcount",
    "blocksizes",
    "blockstarts",
    "summitoffset",
    "relativesummit",
    # ImmGen's table of all regions
    "log10bestpvalue",
    "includedinsystematicanalysis",
    "tss",
    "geneswithin100kb",
    # HOMER, ChIPseeker and other annotations
    "peakscore",
    "focusratioregionsize",
    "annotation",
    "detailedannotation",
    "distancetotss",
    "distancetonearesttss",
    "nearestgene",
    "nearesttss",
    "nearestpromoterid",
    "nearestunigene",
    "nearestrefseq",
    "nearestensembl",
    "entrezid",
    "gene",
    "genename",
    "genesymbol",
    "symbol",
    "genealias",
    "genedescription",
    "genetype",
    "genebiotype",
    "peaktype",
    "gccontent",
    "percentgc",
    "gcpercent",
    "transcriptid",
}
_CONSERVATION = ("phastcons", "phylop")


def plain(heading: str) -> str:
    """A heading in small letters and digits alone: "-log10(pvalue)" and "log10_pvalue" are one."""
    return re.sub(r"[^a-z0-9]", "", heading.lower())


def column_of(kind: Sequence[str], headings: Iterable[str]) -> str | None:
    """The heading that matches the first possible word of `kind`, as written; None if there is none."""
    words = {plain(heading): heading for heading in reversed([*headings])}
    return next((words[word] for word in kind if word in words), None)


def describes_peaks(heading: str) -> bool:
    """Whether a column of this heading describes the peaks, rather than holding the heights of a cell type."""
    word = plain(heading)
    return word in _DESCRIBING or word.startswith("peakidcmd") or any(name in word for name in _CONSERVATION)


def has_places(headings: Sequence[str]) -> bool:
    """Whether the columns give regions: a chromosome with start and end, or with a summit."""
    ends = column_of(START, headings) and column_of(END, headings)
    return column_of(CHROMOSOME, headings) is not None and bool(ends or column_of(SUMMIT, headings))


_FILE = re.compile(r"\.(bam|sam|cram|bw|bigwig)$", re.IGNORECASE)
_STEPS = re.compile(
    r"[._-](sorted|sort|dedup|rmdup|markdup|mkdup|nodup|dups?marked|filtered|filt|uniq|unique|coordsorted|mapped)$",
    re.IGNORECASE,
)


def without_files(headings: Sequence[str]) -> list[str]:
    """Cell types of columns that are called by their files ("bam/B.sorted.bam" is B); unchanged where they are not.

    The folder, the ending and words for steps of the processing are taken off, as long as no two become one.
    """
    if not headings or not all(_FILE.search(heading) for heading in headings):
        return [*headings]
    shorter = [_FILE.sub("", re.split(r"[/\\]", heading)[-1]) for heading in headings]
    while any(_STEPS.search(name) for name in shorter):
        shorter = [_STEPS.sub("", name) for name in shorter]
    return shorter if len({*shorter}) == len(shorter) and all(shorter) else [*headings]
