"""Lines of the view of a plan."""

import io

from rich.console import Console

from netassay.cli import main, view
from netassay.sweeps import Standing

RUNNING = Standing("edge-1", "step_size=0.1", "running", 120, 1000, 25.0, 35.2, "eta lambda/2", 0.8412, (0.1, 0.4, 0.8))
DONE = Standing("edge-2", "step_size=0.2", "finished", 1000, 1000, 25.0, None, "eta lambda/2", 1.02, (0.2, 1.0))
PLANNED = Standing("edge-3", "step_size=0.3")


def test_cells_of_a_run():
    words = ("edge-1", "step_size=0.1", "running", "120/1000", "25/s", "35 s", "eta lambda/2 0.841", "▁▄█")
    assert view.line(RUNNING) == words
    assert view.line(DONE)[2:6] == ("finished", "1000", "", "")
    assert view.line(PLANNED) == ("edge-3", "step_size=0.3", "planned", "", "", "", "", "")


def test_what_is_under_way_or_went_wrong_comes_before_what_is_done_and_planned():
    many = [DONE._replace(run=f"done-{i}") for i in range(5)] + [PLANNED] * 5
    killed = DONE._replace(run="edge-9", state="killed")
    shown = view.select([*many, killed, RUNNING], 4)
    assert [each.run for each in shown] == ["done-3", "done-4", "edge-9", "edge-1"]


def test_the_table_fits_its_room_and_says_what_is_left_out():
    out = io.StringIO()
    Console(file=out, width=120).print(view._table([RUNNING, DONE, PLANNED], "about 35 s left", height=7))
    lines = out.getvalue().splitlines()
    assert [row.split()[0] for row in lines] == ["run", "edge-1", "edge-2", "3"]
    assert lines[-1] == "3 runs: 1 running, 1 finished, 1 planned (1 not shown); about 35 s left"


def test_a_trend_without_change_is_level():
    assert view._bars((2.0, 2.0, 2.0)) == "▁▁▁"
    assert view._bars((2.0,)) == ""


def test_watch_ends_at_once_where_nothing_is_left(tmp_path, capsys):
    words = ["edge", "--steps", "2", "--examples", "60", "--width", "4", "--store", str(tmp_path)]
    assert main(words) == 0
    capsys.readouterr()
    assert main(["watch", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert "finished  2  eta lambda/2" in out
    assert "1 run: 1 finished" in err
    assert main(["watch", "nowhere.toml", "--once"]) == 2
