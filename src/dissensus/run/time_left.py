"""Time left: how much of a study is done and how long the rest will take, from what its cells have done so far.

A cell's share is the mean of its steps' and its tracking points' share. The rest of a running cell is estimated at the
pace of its own run since it began to train; that of a waiting one from the seconds that its likes took: cells of its
condition, else of its model and data set, else of its model. What has no such like is not estimated, and the sum then
says so: it is a lower bound, and unknown where nothing at all is known.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dissensus.config import RunSpec
from dissensus.study.status import CellStatus

Kinds = tuple[str, ...]
"""What a cell has likes by, the closest first."""

ENOUGH = 0.02
"""Share of a cell that a run must have done before its pace says anything."""


@dataclass(frozen=True)
class Left:
    """How long the rest takes.

    Attributes:
        seconds: of the clock, at least 0; None where nothing is known.
        at_least: whether a part is not estimated, because nothing like it has run.
    """

    seconds: float | None
    at_least: bool = False


@dataclass
class _Run:
    """A cell's run under way: when it started and began to train, and its share then and now."""

    taken: float
    begun: float = 0.0
    begun_share: float = -1.0
    last: float = 0.0
    share: float = 0.0

    @property
    def whole(self) -> float | None:
        """Seconds that the whole cell takes at this pace, loading included; None while that is unknown."""
        done, took = self.share - self.begun_share, self.last - self.begun
        if self.begun_share < 0 or done < ENOUGH or took <= 0:
            return None
        return (self.begun - self.taken) + took / done

    def rest(self, now: float) -> float | None:
        """Seconds that are left of it."""
        done, took = self.share - self.begun_share, self.last - self.begun
        if self.whole is None:
            return None
        return max(0.0, (1 - self.share) * took / done - (now - self.last))


class TimeLeft:
    """Takes in what becomes of each cell; says how much is done and how long the rest takes.

    Args:
        kinds: id of each cell that is asked for -> what it has likes by.
        clock: seconds that only rise.
    """

    def __init__(self, kinds: Mapping[str, Kinds], clock: Callable[[], float] = time.monotonic) -> None:
        self._kinds = dict(kinds)
        self._clock = clock
        self._runs: dict[str, _Run] = {}
        self._shares = dict.fromkeys(kinds, 0.0)
        self._over: set[str] = set()
        self._took: dict[str, list[float]] = {}
        self._most = 1

    @classmethod
    def of(cls, cells: Sequence[RunSpec], clock: Callable[[], float] = time.monotonic) -> TimeLeft:
        """For the cells of a study."""
        return cls(
            {c.cell_id: (c.condition, f"{c.model.label} on {c.dataset.name}", c.model.label) for c in cells},
            clock,
        )

    @property
    def share(self) -> float:
        """Share of the cells that is done, in [0, 1]: each cell counts the same, a running one by its own share."""
        return sum(self._shares.values()) / len(self._shares) if self._shares else 1.0

    def update(self, status: CellStatus) -> None:
        """Take in a change of a cell."""
        name, now = status.cell, self._clock()
        if name not in self._kinds:
            return
        if status.state != "running":
            self._end(status, now)
            return
        self._over.discard(name)
        run = self._runs.setdefault(name, _Run(now))
        self._most = max(self._most, len(self._runs))
        if status.total_steps == 0 or status.phase not in ("measuring", "training", "saving"):
            return
        share = status.step / status.total_steps
        if status.tracking_points:
            share = (share + status.tracking_points_done / status.tracking_points) / 2
        self._shares[name] = min(share, 1.0)
        if run.begun_share < 0:
            run.begun, run.begun_share = now, share
        if share != run.share:
            run.last, run.share = now, share

    def left(self) -> Left:
        """How long the rest takes."""
        now = self._clock()
        open_cells = [name for name in self._kinds if name not in self._over]
        if not open_cells:
            return Left(0.0)
        rests = {name: self._rest(name, now) for name in open_cells}
        known = [rest for rest in rests.values() if rest is not None]
        if not known:
            return Left(None)
        longest = max((rests[name] or 0.0 for name in self._runs if name in rests), default=0.0)
        at_once = max(1, min(self._most, len(open_cells)))
        return Left(max(longest, sum(known) / at_once), at_least=len(known) < len(rests))

    def _end(self, status: CellStatus, now: float) -> None:
        name = status.cell
        run = self._runs.pop(name, None)
        if status.state in ("done", "failed"):
            self._over.add(name)
            self._shares[name] = 1.0
        if status.state == "done":
            fresh = run is not None and run.begun_share <= 0
            took = now - run.taken if run is not None and fresh else status.seconds
            if took > 0:
                for kind in self._kinds[name]:
                    self._took.setdefault(kind, []).append(took)

    def _rest(self, name: str, now: float) -> float | None:
        run = self._runs.get(name)
        if run is not None and (rest := run.rest(now)) is not None:
            return rest
        total = self._whole(name)
        return None if total is None else total * (1 - self._shares[name])

    def _whole(self, name: str) -> float | None:
        """Seconds of a whole cell like this one; None where none like it has run."""
        for kind in self._kinds[name]:
            took = list(self._took.get(kind, []))
            if not took:
                paces = [run.whole for other, run in self._runs.items() if kind in self._kinds[other]]
                took = [pace for pace in paces if pace is not None]
            if took:
                return statistics.fmean(took)
        return None
