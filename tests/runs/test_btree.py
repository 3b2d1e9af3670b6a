"""What is read from the pages of a run's file is what SQLite answers, whatever is in the file; or nothing."""

import math
import random
import shutil
import sqlite3
import struct
from pathlib import Path

import pytest
from hostile_stores import HOSTILE

from netassay.errors import NetassayError
from netassay.runs import btree, ledger

BASELINE = sorted((Path(__file__).parents[1] / "baseline").glob("*/*/*-????????????"))
EDGE = next(folder for folder in BASELINE if folder.name.startswith("edge-") and folder.parent.name == "finished")


def by_sqlite(folder):
    """Facts and status, or None where SQLite or the checks of what it answers refuse."""
    try:
        return ledger.read(folder, lambda connection: (ledger.facts(connection), ledger.status(connection)))
    except NetassayError:
        return None


def by_pages(folder):
    path = folder / "run.sqlite"
    return btree.read(str(path), path.lstat().st_size)


@pytest.mark.parametrize("folder", BASELINE, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_every_run_of_an_earlier_version_is_read(folder):
    assert by_pages(folder) == by_sqlite(folder) is not None


def test_states_numbers_and_long_texts(new_run):
    run = new_run(words=["word"] * 3000, width=3, name="é" * 700, text="日" * 40)
    assert by_pages(run.folder) == by_sqlite(run.folder) is not None
    for i, size in enumerate((0, 57, 58, 484, 485, 486, 487, 1000, 1003, 4055, 4058, 4061, 8150, 12_000)):
        with run.writer({"torch": "2" * size}, from_step=0 if i else None) as writer:
            writer.finish("failed", step=(1 << 5 * i % 62) - i % 2, message="ü" * size)
        facts, status = by_pages(run.folder)
        assert (facts, status) == by_sqlite(run.folder)
        assert len(status.message) == size


@pytest.mark.parametrize("seconds", [0, 1, -3, 300, 1 << 20, 1 << 40, -1.5, 1e300, -0.0, "inf"])
def test_numbers_as_sqlite_stores_them(finished, seconds):
    connection = sqlite3.connect(finished.folder / "run.sqlite")
    number = float(seconds)
    connection.execute("UPDATE status SET seconds = ?, step = ?", (number, int(number) if abs(number) < 1e9 else 0))
    connection.commit()
    connection.close()
    for path in finished.folder.glob("run.sqlite-*"):
        path.unlink()
    answer = by_pages(finished.folder)
    assert answer == by_sqlite(finished.folder) is not None
    assert repr(answer[1].seconds) == repr(by_sqlite(finished.folder)[1].seconds)


@pytest.mark.parametrize("damage", HOSTILE)
def test_hostile_runs(damage, tmp_path):
    folder = Path(shutil.copytree(EDGE, tmp_path / EDGE.name))
    HOSTILE[damage](folder)
    if not any(folder.glob("run.sqlite-*")):  # with such a file the pages are not asked
        assert by_pages(folder) in (None, by_sqlite(folder))


def long_facts(run):
    with run.writer({"packages": ["word"] * 900}) as writer:
        writer.finish("failed", step=3, message="a message " * 900)
    return (run.folder / "run.sqlite").read_bytes()


def agreed(folder, data):
    """Whether there is an answer to the file with this content; it must be that of SQLite."""
    (folder / "run.sqlite").write_bytes(data)
    answer = by_pages(folder)
    assert answer is None or answer == by_sqlite(folder)
    return answer is not None


def test_every_byte_that_leads_to_others(new_run):
    """Headers, pointers, and the beginnings of all cells, where sizes and types are."""
    run = new_run(width=3)
    sound, answers, places = long_facts(run), [], list(range(100))
    for head in (100, 4096, 8192):
        count = int.from_bytes(sound[head + 3 : head + 5], "big")
        pointers = range(head + 8, head + 8 + 2 * count)
        cells = [head // 4096 * 4096 + int.from_bytes(sound[at : at + 2], "big") for at in pointers[::2]]
        places += [*range(head, pointers.stop), *(at for cell in cells for at in range(cell, cell + 10))]
    for at in places:
        for change in (-2, -1, 1, 2, 0x80):
            data = bytearray(sound)
            data[at] = (data[at] + change) % 256
            answers.append(agreed(run.folder, data))
    assert 0.2 < sum(answers) / len(answers) < 0.6


@pytest.mark.parametrize(
    ("sound", "changed"),
    [
        (struct.pack(">d", 1.5), struct.pack(">d", math.nan)),
        (struct.pack(">d", 1.5), struct.pack(">d", -math.inf)),
        (b"CREATE TABLE facts", b"CREATE TABLE facks"),
        (b"failed", b"fail\xff\xff"),
        (b"failed", b"fa\0led"),
        (b"sealseal\x08CREATE", b"sealseal\x64CREATE"),  # a page behind the end
        (b"metricsmetrics\x05CREATE", b"metricsmetrics\x01CREATE"),  # the page of the schema itself
        (b"metricsmetrics\x05CREATE", b"metricsmetrics\xffCREATE"),  # a page below 1
    ],
)
def test_values_that_sqlite_reads_in_its_own_way(new_run, sound, changed):
    run = new_run(width=3)
    long_facts(run)
    connection = sqlite3.connect(run.folder / "run.sqlite")
    connection.execute("UPDATE status SET seconds = 1.5")
    connection.commit()
    connection.close()
    data = (run.folder / "run.sqlite").read_bytes()
    assert sound in data
    agreed(run.folder, data.replace(sound, changed))


@pytest.mark.parametrize(("seed", "count"), [(1, 400), pytest.param(2, 50_000, marks=pytest.mark.slow)])
def test_changed_bytes_change_the_answer_as_they_do_sqlites_or_leave_it_to_it(new_run, seed, count):
    run, chooser = new_run(words=["word"] * 300), random.Random(seed)
    sound, answers = long_facts(run), 0
    used = [at for at, byte in enumerate(sound) if byte]
    for _ in range(count):
        data = bytearray(sound)
        for _ in range(chooser.choice((1, 1, 1, 2, 3))):
            at = chooser.choice(chooser.choice((used, range(100))))
            data[at] = chooser.choice((data[at] ^ 1 << chooser.randrange(8), chooser.randrange(256), 0, 1, 0xFF))
        answers += agreed(run.folder, data)
    assert answers > count // 4


def test_files_of_other_forms_are_left_to_sqlite(finished):
    path = finished.folder / "run.sqlite"
    connection = sqlite3.connect(path)
    for statement in ("PRAGMA journal_mode = DELETE", "PRAGMA page_size = 8192", "VACUUM"):
        connection.execute(statement)
    connection.close()
    assert by_pages(finished.folder) is None
    assert by_sqlite(finished.folder) is not None
    assert btree.read(str(path / "none"), 1) is None
    path.write_bytes(b"")
    assert by_pages(finished.folder) is None
