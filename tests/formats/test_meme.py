"""MEME files: written and read back, against another reader, and what must not be read."""

import gzip
import warnings
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netassay.errors import DataError, NetassayError
from netassay.formats.meme import read_meme, write_meme
from netassay.formats.motifs import Motifs

HEAD = "MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n\n"
ONE = "MOTIF m1 Spi1 and more\nletter-probability matrix: alength= 4 w= 2 nsites= 20 E= 0\n0.25 0.25 0.5 0\n1 0 0 0\n"
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1)
LETTERS = """ALPHABET "DNA" DNA-LIKE
A "Adenine" CC0000 ~ T "Thymine" 008000
C "Cytosine" 0000CC ~ G "Guanine" FFB300
N "Any" = ACGT
END ALPHABET
"""
OTHER = "log-odds matrix: alength= 4 w= 2 n= 9 E= 0\n1 2 3 4\n1 2 3 4\n\n"
LAW = "Background letter frequencies (from file x):\nA 0.25 C 0.25 G 0.25 T 0.25\n\n"


def motifs(n=3, width=6, seed=0):
    g = torch.Generator().manual_seed(seed)
    counts = torch.randint(0, 9, (n, 4, width), generator=g).double()
    counts[0, :, 4:] = 0
    return Motifs(tuple(f"m{i}" for i in range(n)), counts, counts.sum(1).amax(1).long(), ("", "a b", "x::y")[:n])


@pytest.fixture
def file(tmp_path):
    def written(text):
        path = tmp_path / "motifs.meme"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return written


def test_what_is_written_is_read_back(tmp_path):
    held = replace(motifs(), background=(0.3, 0.2, 0.2, 0.3))
    back = read_meme(write_meme(held, tmp_path / "m.meme"))
    assert (back.names, back.titles) == (held.names, held.titles)
    assert torch.equal(back.sites, held.sites)
    torch.testing.assert_close(back.pwm, held.pwm, rtol=0, atol=1e-9)
    torch.testing.assert_close(back.information, held.information, rtol=0, atol=1e-8)
    assert back.background == pytest.approx(held.background)
    assert [path.name for path in tmp_path.iterdir()] == ["m.meme"]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(NAMES, min_size=1, max_size=4, unique=True),
    seed=st.integers(0, 9),
)
def test_any_names_come_back(tmp_path, names, seed):
    counts = torch.rand(len(names), 4, 3, generator=torch.Generator().manual_seed(seed)).double() + 0.1
    held = Motifs(tuple(names), counts, torch.full((len(names),), 7))
    back = read_meme(write_meme(held, tmp_path / "m.meme"))
    assert back.names == held.names
    torch.testing.assert_close(back.pwm, held.pwm, rtol=0, atol=1e-9)


def test_a_silent_motif_comes_back_silent(tmp_path):
    counts = torch.zeros(1, 4, 5, dtype=torch.float64)
    back = read_meme(write_meme(Motifs(("f",), counts, torch.zeros(1, dtype=torch.int64)), tmp_path / "m.meme"))
    assert back.sites.tolist() == [0]
    assert torch.equal(back.counts, counts)


def test_as_universalmotif_reads_it(tmp_path):
    import universalmotif

    held = motifs()
    theirs = universalmotif.read_meme(write_meme(held, tmp_path / "m.meme"))
    assert [motif.name for motif in theirs] == list(held.names)
    for i, motif in enumerate(theirs):
        width = int(held.seen[i].sum())
        mine, told = held.pwm[i, :, :width], torch.tensor(motif.matrix)[:, :width]
        torch.testing.assert_close(told, mine, rtol=0, atol=1e-6)
    universalmotif.write_meme(theirs, tmp_path / "theirs.meme")
    torch.testing.assert_close(read_meme(tmp_path / "theirs.meme").pwm[1:], held.pwm[1:], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: gzip.compress(text.encode()),
        lambda text: "\n\n" + text,
        lambda text: f"{'*' * 80}\nMEME - Motif discovery tool\n{'*' * 80}\n" + text,
        lambda text: text.replace("4 w= 2", "4 w=2").replace("nsites= 20 E= 0", "nsites=20"),
        lambda text: text.replace("ALPHABET= ACGT\n", LETTERS),
        lambda text: text.replace("ALPHABET= ACGT\n", "").replace("nsites= 20 ", ""),
        lambda text: text.replace("letter-prob", OTHER + "letter-prob"),
        lambda text: text + "URL http://example.org/m1\n",
        lambda text: text.replace("MOTIF", LAW + "MOTIF"),
        lambda text: text.replace("\n", "\r"),
        lambda text: text + "\x1a",
        lambda text: "# downloaded\n" + text.replace("0.25 0.25", "# the first row\n0.25 0.25"),
        lambda text: text.replace("ALPHABET= ACGT", "ALPHABET= acgt"),
        lambda text: text.replace("ALPHABET= ACGT\n", LETTERS.replace(' "Thymine" 008000', "")),
        lambda text: text.replace("E= 0\n", "E= 0\n\n").replace("\n1 0", "\n\n1 0"),
        lambda text: text.replace("alength= 4 w= 2 nsites= 20 E= 0", ""),
        lambda text: text.replace("w= 2 ", ""),
        lambda text: text.replace("E= 0", "E= nan"),
    ],
)
def test_forms_of_one_file(file, change):
    found = read_meme(file(change(HEAD + ONE)))
    assert (found.names, found.titles, found.sites.tolist()) == (("m1",), ("Spi1 and more",), [20])
    assert found.counts[0].T.tolist() == [[5, 5, 10, 0], [20, 0, 0, 0]]
    assert found.background == (0.25,) * 4


def test_a_matrix_without_its_number_of_sites_is_not_lost(file):
    found = read_meme(file(HEAD + ONE.replace("nsites= 20", "nsites= 0")))
    assert found.counts[0].T.tolist() == [[5, 5, 10, 0], [20, 0, 0, 0]]
    assert found.sites.tolist() == [20]
    assert found.notes == {"motifs with nsites= 0, read as missing": 1}


def test_one_motif_that_is_empty_or_double_does_not_take_the_others_with_it(file):
    empty = ONE.partition("\n")[0].replace("m1", "m0") + "\n"
    bare = "MOTIF m9\nletter-probability matrix: alength= 4 w= 0 nsites= 0 E= 0\n\n"
    other = ONE.replace("1 0 0 0", "0 1 0 0")
    found = read_meme(file(HEAD + empty + ONE + bare + ONE + other + ONE.replace("m1", "m2")))
    assert found.names == ("m1", "m1#2", "m2")
    assert found.counts[1].T.tolist() == [[5, 5, 10, 0], [0, 20, 0, 0]]
    assert found.notes == {
        "motifs without a letter-probability matrix, left out": 2,
        "motifs that are there twice, left out": 1,
        "motifs named as one before with another matrix, called NAME#2": 1,
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty; a file in MEME format begins with"),
        ("hello\nworld\n", r"motifs.meme:1: is not a MEME file, it begins with 'hello'"),
        ("<html>MOTIF</html>" + HEAD + ONE, r":1: is not a MEME file"),
        (HEAD, "holds no motifs"),
        (HEAD.replace("ACGT", "ACDEFGHIKLMNPQRSTVWY") + ONE, ":3: motifs over the letters 'ACDEF"),
        (HEAD.replace("ACGT", "ACGU") + ONE, ":3: motifs over the letters 'ACGU'"),
        (HEAD + ONE.replace("alength= 4", "alength= 20"), ":8: motif 'm1' has 20 letters; DNA has 4"),
        (HEAD + ONE.replace("1 0 0 0", "1 1 0 0"), ":10: row 2 of motif 'm1' is '1 1 0 0'; a row is four shares"),
        (HEAD + ONE.replace("1 0 0 0", "1.5 -0.5 0 0"), ":10: row 2"),
        (HEAD + ONE.replace("1 0 0 0", "1 0 0"), ":10: row 2"),
        (HEAD + ONE.replace("1 0 0 0", "1 x 0 0"), ":10: 'x' is not a number"),
        (HEAD + ONE.replace("1 0 0 0", "nan 0 0 1"), ":10: 'nan' is not a number"),
        (HEAD + ONE.removesuffix("1 0 0 0\n"), ":9: motif 'm1' ends after 1 of 2 rows"),
        (HEAD + ONE.replace("w= 2", "w= 3") + ONE.replace("m1", "m2"), ":11: motif 'm1' ends after 2 of 3 rows"),
        (HEAD + "MOTIF a\n", r"holds no motifs with a letter-probability matrix \(1 motifs without"),
        (HEAD + "MOTIF\n", ":7: a MOTIF line without a name"),
        (HEAD + ONE.replace("w= 2", "w= 1"), ":10: motif 'm1' has more rows than the 1 that w= says"),
        (HEAD + ONE.replace("w= 2", "w= 1.5"), ":8: motif 'm1' has w= 1.5; give the number of its rows"),
        (HEAD + ONE.replace("w= 2", "w= 0"), ":9: motif 'm1' has more rows than the 0"),
        (f"MEME version 4\n{LETTERS.partition('END')[0]}{ONE}", "block of the ALPHABET does not end"),
        (HEAD + ONE.split("\n", 1)[1], ":7: a letter-probability matrix that belongs to no motif"),
        (HEAD + "Background letter frequencies\nA 0.5 C 0.5 G 0 T 0\n" + ONE, ":8: background 'A 0.5 C"),
        (HEAD + "Background letter frequencies\n", "background ''"),
        (b"MEME version 4\n\xff\n", ":2: byte 0xff"),
        (gzip.compress((HEAD + ONE).encode())[:-9], "gzip stream is damaged or cut"),
    ],
)
def test_what_cannot_be_read_is_reported_with_its_line(file, text, says):
    with pytest.raises(DataError, match=says):
        read_meme(file(text))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_file_is_refused_or_holds_sound_motifs(file, data):
    whole = (HEAD + ONE + ONE.replace("m1", "m2")).encode()
    start = data.draw(st.integers(0, len(whole) - 1))
    stop = data.draw(st.integers(start, min(len(whole), start + 30)))
    path = file(whole[:start] + data.draw(st.binary(max_size=12)) + whole[stop:])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            found = read_meme(path)
        except NetassayError:
            return
    assert bool(((found.pwm.sum(1) - 1).abs() < 1e-9)[found.seen].all())


def test_what_cannot_be_written(tmp_path):
    held = Motifs(("a b",), torch.ones(1, 4, 2, dtype=torch.float64), torch.ones(1, dtype=torch.int64))
    with pytest.raises(DataError, match="'a b'"):
        write_meme(held, tmp_path / "m.meme")
    with pytest.raises(DataError, match="cannot be written"):
        write_meme(motifs(), tmp_path)
    assert not list(tmp_path.iterdir())
