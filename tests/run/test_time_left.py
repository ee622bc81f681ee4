"""How much of a study is done and how long the rest takes."""

from __future__ import annotations

from dissensus.run.time_left import Left, TimeLeft
from dissensus.study.status import CellStatus

KINDS = {"a": ("c1", "m on d", "m"), "b": ("c1", "m on d", "m"), "x": ("c2", "big on d", "big")}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def running(cell: str, step: int) -> CellStatus:
    """100 steps, and 11 tracking points evenly over them: (step / 100 + points / 11) / 2."""
    return CellStatus(
        cell,
        state="running",
        phase="training",
        step=step,
        total_steps=100,
        tracking_points_done=step * 11 // 100,
        tracking_points=11,
    )


def test_nothing_is_known_before_a_cell_has_trained_and_never_a_crash() -> None:
    left = TimeLeft(KINDS, Clock())
    assert (left.share, left.left()) == (0.0, Left(None))
    left.update(CellStatus("a", state="running", phase="loading data"))
    assert (left.share, left.left()) == (0.0, Left(None))
    left.update(running("a", 0))
    assert left.left() == Left(None)
    left.update(CellStatus("of another study", state="done"))
    assert TimeLeft({}, Clock()).share == 1.0


def test_the_rest_is_at_the_pace_of_the_cells_and_what_nothing_is_like_makes_it_a_bound() -> None:
    clock = Clock()
    left = TimeLeft(KINDS, clock)
    left.update(CellStatus("a", state="running", phase="starting"))
    clock.now = 10.0  # ten seconds of loading
    left.update(running("a", 0))
    clock.now = 60.0
    left.update(running("a", 100 * 5 // 10))  # (50/100 + 5/11) / 2 = 0.477 in 50 s
    share = (0.5 + 5 / 11) / 2
    assert left.share == share / 3
    own = (1 - share) * 50 / share
    whole = 10 + 50 / share  # of b, which is like it; of x nothing is known
    found = left.left()
    assert found.at_least
    assert found.seconds is not None
    assert abs(found.seconds - (own + whole)) < 1e-9
    # Two at a time: (own + whole) / 2 would be less than the longer one takes.
    left.update(CellStatus("b", state="running", phase="starting"))
    found = left.left()
    assert found.seconds is not None
    assert abs(found.seconds - whole) < 1e-9


def test_cells_that_were_done_before_say_how_long_their_likes_take() -> None:
    left = TimeLeft(KINDS, Clock())
    left.update(CellStatus("a", state="done", seconds=120.0))
    assert left.share == 1 / 3
    assert left.left() == Left(120.0, at_least=True)
    left.update(CellStatus("x", state="failed"))
    assert left.left() == Left(120.0)
    left.update(CellStatus("b", state="done", seconds=100.0))
    assert (left.share, left.left()) == (1.0, Left(0.0))
