"""Tables that fit their console are printed without Rich's layout, and look as Rich lays them out."""

import random

import pytest

from netassay.cli import output

WORDS = (
    *("", "a", "finished", "日本", "é", "x y", "1e-05", "[b]x[/b]", ":smile:", "a" * 30),
    *("👩\u200d👩\u200d👧", "e\u0301", "two\nlines", "end "),
)


@pytest.mark.parametrize("seed", range(60))
def test_a_table_that_fits_looks_as_rich_lays_it_out(seed, monkeypatch, capsys):
    chooser = random.Random(seed)
    names = chooser.sample(["id", "n", "日本", "step", "a longer name"], chooser.randint(1, 5))
    numbers = (None, 1, 22.5)
    rows = [
        {name: chooser.choice(numbers if name == "n" else (*numbers, float("nan"), *WORDS)) for name in names}
        for _ in range(chooser.randint(1, 5))
    ]
    output.table(rows, "table", columns=names)
    plain = capsys.readouterr().out
    monkeypatch.setattr(
        output, "_print_lines", lambda console, cells, widths, is_numeric: output._wrapped(console, cells, is_numeric)
    )
    output.table(rows, "table", columns=names)
    assert plain == capsys.readouterr().out


def test_a_table_wider_than_the_console_is_folded(capsys):
    output.table([{"id": "a", "words": "x" * 300}], "table")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 5 and max(map(len, lines)) <= 200
