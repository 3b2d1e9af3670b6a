"""Loops that say how far they have come, to whoever listens."""

from netassay.cli import main, output
from netassay.processes import heard, paced, stage


def test_without_a_listener_items_are_untouched():
    items = [1, 2]
    assert paced(items, "peaks") is items
    stage("nobody hears this")


def test_items_are_counted_when_they_are_done_and_never_beyond_the_total():
    said = []
    with heard(lambda *words: said.append(words)):
        said.extend(paced([[1, 2], [3, 4], [5]], "peaks", total=5, size=2))
        stage("the page")
    assert said == [
        ("peaks", 0, 5), [1, 2], ("peaks", 2, 5), [3, 4], ("peaks", 4, 5), [5], ("peaks", 5, 5), ("the page", 0, None),
    ]  # fmt: skip
    with heard(lambda *words: said.append(words)):
        list(paced(["ab", "c"], "letters", size=len))
    assert said[-1] == ("letters", 3, None)


def test_rate_and_time_left_are_those_since_the_loop_began(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(output.time, "monotonic", lambda: clock[0])
    loop = output._Loop()
    assert loop.words(101.0, 100.0) == "1 s"
    loop.note("sequences", 0, 400)
    clock[0] = 104.0
    loop.note("sequences", 100, 400)
    assert loop.words(104.0, 90.0) == "sequences 100/400, 25/s, 12 s left, 14 s so far"
    loop.note("sequences", 10, 20)  # another loop of that name
    assert loop.words(106.0, 90.0) == "sequences 10/20, 5/s, 2 s left, 16 s so far"
    loop.note("the page", 0, None)
    assert loop.words(106.0, 90.0) == "the page, 16 s"


def test_a_command_says_how_far_it_has_come_and_nothing_when_quiet(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(output, "_FIRST_SECONDS", 0.0)
    (tmp_path / "words.txt").write_text("the cat sat\nthe dog sat\n" * 200)
    words = ["entropy", str(tmp_path / "words.txt"), "--document", "line", "--length", "3"]
    assert main(words) == 0
    assert capsys.readouterr().err.startswith("entropy: ")
    assert main([*words, "--quiet"]) == 0
    assert capsys.readouterr().err == ""
