"""Damaged files for every reader that is ours: an answer or a refusal in a sentence, never anything else.

    python tests/fuzzing.py COUNT [--seed S] [--only READER]

Files are sound ones changed at random: bytes, lines, numbers, cuts, repeats. A line a reader, with the number of inputs
refused; then what raised anything but a NetassayError, with the seed that makes it again. Exit code 1 if there is any.
"""

import argparse
import contextlib
import gzip
import io
import json
import random
import struct
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

import numpy as np
import polars as pl

from netassay.errors import NetassayError

TABLE = "name\tA\tB\np1\t1.5\t2\np2\t0\t-3e4\n"
BED = "chr1\t10\t60\tp1\t0\t+\nchr2\t5\t55\tp2\t0\t-\n"
FASTA = ">p1 one\nACGTNACGT\nACGT\n>p2\nacgtacgtacgta\n"
FRAGMENTS = "# a header\nchr1\t10\t60\tAAAC-1\t2\nchr1\t20\t90\tAAAG-1\t1\nchr2\t5\t55\tAAAC-1\t1\n"
VCF = (
    "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    "chr1\t12\trs1\tA\tC,G\t.\tPASS\t.\nchr2\t9\t.\tAC\tA\t30\tPASS\tDP=3\n"
)
MEME = (
    "MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n\nBackground letter frequencies\nA 0.25 C 0.25 G 0.25 T 0.25\n\n"
    "MOTIF M1 GATA\nletter-probability matrix: alength= 4 w= 2 nsites= 20 E= 0\n0.5 0.2 0.2 0.1\n0.1 0.1 0.7 0.1\n"
)
LINES = '{"text": "the cat sat", "ids": [1, 2, 3]}\n{"text": "a dog", "ids": [4, 5]}\n'
CONFIG = 'study = "edge"\nwidth = 4\nsteps = 10\nstep_size = 0.1\nexamples = 60\n'
PLAN = 'study = "edge"\nrepeats = 2\n[base]\nwidth = 4\nsteps = 10\n[axes]\nstep_size = [0.1, 0.2]\n'
LINKS = "GATA1,GATA\nGATA2,GATA\nSPI1,SPI\n"
TOKENIZER = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [],
    "normalizer": None,
    "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": None,
    "decoder": None,
    "model": {"type": "WordLevel", "vocab": {"the": 0, "cat": 1, "[UNK]": 2}, "unk_token": "[UNK]"},
}


def written(write, *values):
    """The bytes that a writer of files gives."""
    stream = io.BytesIO()
    write(stream, *values)
    return stream.getvalue()


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def two_bit():
    head = struct.pack("<4I", 0x1A412743, 0, 1, 0)
    index = b"\x04chr1" + struct.pack("<I", 25)
    return head + index + struct.pack("<4I", 8, 0, 0, 0) + b"\x1b\x1b"


def weights(kind):
    import torch
    from safetensors.torch import save

    tensors = {"layer.weight": torch.arange(6.0).view(2, 3), "layer.bias": torch.zeros(2, dtype=torch.float16)}
    if kind == "safetensors":
        return save(tensors)
    stream = io.BytesIO()
    torch.save({"state_dict": tensors}, stream)
    return stream.getvalue()


def arrow(table):
    stream = io.BytesIO()
    table.write_ipc_stream(stream)
    return stream.getvalue()


def of(module, reader, **how):
    """A reader by the place where it lives; what it yields is read to its end."""

    def read(path):
        from importlib import import_module

        answer = getattr(import_module(f"netassay.{module}"), reader)(path, **how)
        if hasattr(answer, "__next__"):
            for _ in answer:
                pass

    return read


def plan(path):
    from netassay.sweeps import Plan

    for _ in zip(range(50), Plan.named(path).configs(), strict=False):
        pass


def readers():
    """Name -> (ending of the file, sound bytes, function of a path)."""
    frame = pl.DataFrame({"text": ["the cat", "a dog"], "ids": [[1, 2], [3]]})
    numbers = np.arange(12, dtype=np.uint16).reshape(3, 4)
    text = {
        "FASTA": (".fa", FASTA, of("formats.fasta", "read_fasta")),
        "BED": (".bed", BED, of("formats.peak_tables", "read_regions")),
        "peak table": (
            ".tsv",
            "chrom\tstart\tend\tB\tT\nchr1\t1\t9\t2\t3\n",
            of("formats.peak_tables", "read_peak_table"),
        ),
        "numbers": (".tsv", TABLE, of("formats.tables", "read_numbers")),
        "pairs": (".csv", "cell,group\nA,x\nB,y\n", of("formats.tables", "read_pairs")),
        "links": (".csv", LINKS, of("formats.tables", "read_links")),
        "words": (".tsv", "name\ttype\np1\tB\np2\tT\n", of("formats.word_tables", "read_word_table")),
        "fragments": (".tsv", FRAGMENTS, of("formats.fragments", "read_fragments")),
        "VCF": (".vcf", VCF, of("formats.vcf", "read_vcf")),
        "alleles": (".vcf", VCF, of("formats.vcf", "read_alleles")),
        "MEME": (".meme", MEME, of("formats.meme", "read_meme")),
        "text": (".txt", "the cat\na dog\n", of("formats.corpus", "read_corpus")),
        "JSON lines": (".jsonl", LINES, of("formats.corpus", "read_corpus")),
        "token lines": (".jsonl", LINES, of("formats.corpus", "read_corpus", column="ids")),
        "JSON": (".json", json.dumps([{"text": "a b"}, {"text": "c"}]), of("formats.corpus", "read_corpus")),
        "CSV": (".csv", 'text,n\n"a, b",1\nc,2\n', of("formats.corpus", "read_corpus")),
        "tokenizer": (".json", json.dumps(TOKENIZER), of("formats.tokenizers", "encoder")),
        "config": (".toml", CONFIG, of("study", "configure_from")),
        "config in JSON": (".json", json.dumps({"study": "edge", "width": 4}), of("study", "configure_from")),
        "plan": (".toml", PLAN, plan),
    }
    binary = {
        "text, gzip": (".txt.gz", gzip.compress(b"the cat\na dog\n" * 20), of("formats.corpus", "read_corpus")),
        "fragments, gzip": (".tsv.gz", gzip.compress(FRAGMENTS.encode()), of("formats.fragments", "read_fragments")),
        "Parquet": (
            ".parquet",
            written(lambda stream: frame.write_parquet(stream)),
            of("formats.corpus", "read_corpus"),
        ),
        "Arrow": (".arrow", arrow(frame), of("formats.corpus", "read_corpus", column="ids")),
        "npy": (".npy", written(np.save, numbers), of("formats.npy", "read_array")),
        "npy of a corpus": (".npy", written(np.save, numbers), of("formats.corpus", "read_corpus")),
        "npz": (".npz", written(lambda stream: np.savez(stream, x=numbers)), of("formats.arrays", "read", name="x")),
        "raw ids": (".bin", numbers.tobytes(), of("formats.token_files", "read_tokens", dtype="uint16", end=3)),
        "IDX": ("-idx2-ubyte", idx(numbers), of("formats.images", "read_idx")),
        "CIFAR": (".bin", bytes(3073) * 2, of("formats.images", "read_cifar")),
        "2bit": (".2bit", two_bit(), of("formats.twobit", "twobit_contigs")),
        "safetensors": (".safetensors", weights("safetensors"), of("formats.weights", "read_weights")),
        "state dict": (".pt", weights("pt"), of("formats.weights", "read_weights")),
    }
    return {name: (end, data.encode(), read) for name, (end, data, read) in text.items()} | binary


ODD = (
    b"",
    b"nan",
    b"inf",
    b"-1",
    b"1e999",
    b"9" * 30,
    b"0x1",
    b"\t",
    b"\n",
    b"\r",
    b"\x00",
    b"\xff\xfe",
    b'"',
    b"[" * 40,
)
ODD += (
    b"\xef\xbb\xbf",
    "é".encode(),
    b"{}",
    b"null",
    b"true",
    b"99999999999",
    b"-0",
    b" ",
    b",",
    b"\x1f\x8b",
    b"PK\x03\x04",
)


def damaged(data, draws):
    """Sound bytes with one to four changes."""
    for _ in range(draws.randint(1, 4)):
        at = draws.randrange(len(data) + 1)
        end = min(len(data), at + draws.choice((1, 1, 2, 4, 8, 30)))
        kind = draws.randrange(7)
        if kind == 0 and data:  # a bit
            at = min(at, len(data) - 1)
            data = data[:at] + bytes([data[at] ^ 1 << draws.randrange(8)]) + data[at + 1 :]
        elif kind == 1:  # a word in place of some bytes
            data = data[:at] + draws.choice(ODD) + data[end:]
        elif kind == 2:  # a word between
            data = data[:at] + draws.choice(ODD) + data[at:]
        elif kind == 3:  # an end
            data = data[:at]
        elif kind == 4:  # a piece again, elsewhere
            piece, to = data[at:end], draws.randrange(len(data) + 1)
            data = data[:to] + piece * draws.choice((1, 1, 3)) + data[to:]
        elif kind == 5:  # lines in another order, one left out
            lines = data.split(b"\n")
            draws.shuffle(lines)
            data = b"\n".join(lines[draws.randrange(2) :])
        else:  # numbers of a header
            data = data[:at] + struct.pack("<I", draws.choice((0, 1, 2**31, 2**32 - 1))) + data[at + 4 :]
    return data


def attempts(name, count, seed, folder):
    """(refused, [(seed, what was raised)]) of `count` damaged files of a reader."""
    ending, sound, read = readers()[name]
    path = folder / f"file{ending}"
    path.write_bytes(sound)
    read(path)  # the sound file is read
    refused, wrong = 0, []
    for number in range(count):
        draws = random.Random(f"{name} {seed + number}")
        path.write_bytes(damaged(sound, draws))
        try:
            with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
                warnings.simplefilter("ignore")
                read(path)
        except NetassayError as error:
            refused += 1
            if "\n" in str(error).strip() and len(str(error)) > 2_000:
                wrong.append((seed + number, f"a long message: {str(error)[:200]}"))
        except KeyboardInterrupt:
            raise
        except BaseException:  # panics of libraries are no Exception
            wrong.append((seed + number, traceback.format_exc(limit=-3)))
    return refused, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=[*readers()])
    words = parser.parse_args()
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in [words.only] if words.only else readers():
            refused, wrong = attempts(name, words.count, words.seed, Path(folder))
            print(f"{name:18} {words.count} inputs, {refused} refused, {len(wrong)} wrong", flush=True)
            for seed, what in wrong[:3]:
                print(f"  seed {seed}: {what}", flush=True)
            failures += len(wrong)
    print(f"{words.count * (1 if words.only else len(readers())):,} inputs, {failures} wrong")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
