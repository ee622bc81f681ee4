"""Contested and settled curves while a model trains: aggregates for a tracker, and a warning when it un-learns.

The figures are those of `metrics` and `stats` for the points so far, from running sums instead of stored curves.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dissensus.data.agreement import annotation_entropy
from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import DataError, SpecError
from dissensus.live.rise import LEAST_RISE, GroupRise, finite_mean
from dissensus.metrics.unlearning import Trend, Unlearning, judge
from dissensus.stats.correlation import spearman
from dissensus.stats.groups import CONTESTED, SETTLED, entropy_groups

FloatArray = NDArray[np.float64]
Log = Callable[[dict[str, float], int], None]
"""Takes aggregates by name and the optimiser step; `live_trackers` makes one of each tracker."""

_logger = logging.getLogger("dissensus")


class LiveCurves:
    """Follows a tracked set during training: `begin` once, then `observe` at each tracking point::

        live = LiveCurves(to_tensorboard(writer))
        live.begin(dataset, total_steps=1000)
        live.observe(step, losses)

    Logged at each point, under `prefix`; a name whose value is not defined is left out, never 0:

    - `points`: tracking points so far.
    - `contested_loss`, `settled_loss`: mean gold loss of the group, nats, over its finite ones.
    - `contested_change`, `settled_change`: mean change since the first point, nats, over the examples that are
      finite at both; above 0: worse than at the start. From the second point on.
    - `contested_unlearned`, `settled_unlearned`: share of the group that is un-learned so far, in [0, 1], by the flag
      of `metrics.unlearning`. From the second point on.
    - `rho_aulc`: Spearman's rho of annotation entropy and AULC so far, in [-1, 1]. From the second point on.

    Groups are those of `stats.entropy_groups`; without annotations (or when all have one entropy) there are none, and
    `points` alone is left. Losses that are not finite are gaps, left out as `metrics` leaves them out.

    Warning: through Python's logger "dissensus", when the contested group's mean loss has stood clearly above its
    lowest at each of the last `warn_after` points. Clearly (`live/rise.py` has the formulas): by `least_rise`, by more
    than the examples' spread and the curve's own jitter make by chance, by more than the settled group's loss has risen
    since then; and something was learned before: the settled group's loss has fallen. Once, until that is over.

    Memory: eight numbers per example and its group, up to six more once a loss is not finite, for any number of points.

    Args:
        log: called with the aggregates and the step; None only returns them.
        warn_after: points in a row that make a warning, at least 1.
        noise_floor: the smallest rise that counts as un-learning of one example, nats.
        least_rise: the smallest rise of the contested group's mean that is warned of, nats.
        share: share of each group, in (0, 1/2].
        prefix: put before each name.

    Attributes:
        rising: at how many points in a row, up to the last, the contested group's mean loss stood clearly above its
            lowest.
        prefix: put before each name.

    Raises:
        SpecError: an option is not valid.
    """

    def __init__(
        self,
        log: Log | None = None,
        *,
        warn_after: int = 3,
        noise_floor: float = 0.1,
        least_rise: float = LEAST_RISE,
        share: float = 1 / 3,
        prefix: str = "dissensus/",
    ) -> None:
        if warn_after < 1:
            raise SpecError(f"warn_after is {warn_after!r}; expected a number of points of at least 1")
        if not noise_floor >= 0:
            raise SpecError(f"noise_floor is {noise_floor!r}; expected a number of at least 0, in nats")
        if not least_rise >= 0:
            raise SpecError(f"least_rise is {least_rise!r}; expected a number of at least 0, in nats")
        if not 0 < share <= 0.5:
            raise SpecError(f"share is {share!r}; expected a number above 0, at most 0.5")
        self.rising = 0
        self._log = log
        self._warn_after, self._least_rise = warn_after, least_rise
        self._noise_floor, self._share, self.prefix = noise_floor, share, prefix
        self._curves: _Running | None = None

    def begin(self, dataset: AnnotatedDataset, total_steps: int) -> None:
        """Start a run, or start over: everything observed is forgotten.

        Args:
            dataset: the tracked set.
            total_steps: optimiser steps of the whole run; one that continues beyond them is followed.

        Raises:
            SpecError: `total_steps` is below 1.
        """
        if total_steps < 1:
            raise SpecError(f"total_steps is {total_steps!r}; expected the run's optimiser steps, at least 1")
        self._entropy = annotation_entropy(dataset.counts)
        names = entropy_groups(self._entropy, share=self._share)
        self._groups = {name: np.flatnonzero(names == name) for name in (CONTESTED, SETTLED)}
        self._curves = _Running(len(dataset))
        self._total_steps, self._step = total_steps, -1
        self.rising, self._warned = 0, False
        self._rise = GroupRise(self._least_rise)

    def observe(self, step: int, losses: ArrayLike, *, replay: bool = False) -> dict[str, float]:
        """Take in a tracking point, log its aggregates and warn if there is cause. Returns what it logged.

        Args:
            step: optimiser steps taken so far; must rise from point to point.
            losses: gold loss of each tracked example, nats, shape (n,), in the data set's order; NaN without one.
            replay: the point was logged before an interruption: take it in, and neither log nor warn again.

        Raises:
            SpecError: `begin` was not called.
            DataError: the step does not rise, or the losses do not fit the data set.
        """
        curves = self._running()
        if not self._step < step:
            raise DataError(
                f"step {step} came after step {self._step} (-1: none yet); expected a later one. To resume an "
                "interrupted run, call begin() and observe its points in order"
            )
        values, n = np.array(losses, dtype=np.float64), len(self._entropy)
        if values.shape != (n,):
            raise DataError(f"losses have shape {values.shape}; expected ({n},), in the data set's order")
        self._step = step = int(step)  # trackers write it down, and may not know NumPy's numbers
        curves.add(step / self._total_steps, values)
        aggregates = {self.prefix + k: v for k, v in self._aggregates(curves).items() if np.isfinite(v)}
        if self._log is not None and not replay:
            self._log(dict(aggregates), step)
        self._watch(step, *(values[rows] for rows in self._groups.values()), silent=replay)
        return aggregates

    @property
    def aulc(self) -> FloatArray:
        """AULC of each example so far, nats, shape (n,); what `metrics.aulc` gives for the points so far."""
        return self._running().aulc()

    @property
    def unlearning(self) -> Unlearning:
        """Un-learning of each example so far; what `metrics.unlearning` gives for the points so far."""
        return judge(self._running().trend(), noise_floor=self._noise_floor)

    def _running(self) -> _Running:
        if self._curves is None:
            raise SpecError("LiveCurves has no data set yet; call begin(dataset, total_steps) first")
        return self._curves

    def _aggregates(self, curves: _Running) -> dict[str, float]:
        unlearning = self.unlearning
        values = {"points": float(curves.points)}
        for name, rows in self._groups.items():
            values[f"{name}_loss"] = finite_mean(curves.last[rows])
            values[f"{name}_change"] = finite_mean(unlearning.delta[rows])
            values[f"{name}_unlearned"] = finite_mean(
                np.where(unlearning.defined, unlearning.flag, np.nan)[rows]
            )
        if curves.points > 1:
            values["rho_aulc"] = spearman(self._entropy, curves.aulc()).rho
        return values

    def _watch(self, step: int, contested: FloatArray, settled: FloatArray, *, silent: bool) -> None:
        """Count the points at which the contested group stood above its lowest, and warn once a streak."""
        rise = self._rise.add(step, contested, settled)
        self.rising = 0 if rise is None else self.rising + 1
        self._warned = self._warned and rise is not None
        if rise is None or self.rising < self._warn_after or self._warned:
            return
        self._warned = True
        _logger.log(
            logging.DEBUG if silent else logging.WARNING,
            f"step {step}: the mean gold loss of the contested group ({len(contested)} examples) has stood above its "
            f"lowest for {self.rising} tracking points: {rise.mean:.3f} nats more than at step {rise.since}, now "
            f"{rise.now:.3f}; the settled group's changed by {rise.settled:+.3f}. The model un-learns labels on which "
            "people disagree. You may stop here, lower the learning rate, or train on soft labels.",
        )


class _Running:
    """n curves as a few numbers each, from which AULC and un-learning follow at every point.

    What depends on the points alone (`count`, `begin`, `at` and the two of u) has shape (1,) while no curve has a
    gap, and (n,) from then on: NumPy broadcasts either. The sums for the slope are of deviations from running means
    (Welford, "Note on a method for calculating corrected sums of squares and products", 1962), which do not cancel.
    """

    def __init__(self, n: int) -> None:
        self.points = 0
        self.first = self.last = np.full(n, np.nan)  # as they are, finite or not
        self.lowest = np.full(n, np.inf)
        self.height, self.area = (
            np.zeros(n),
            np.zeros(n),
        )  # the last finite loss, where the next trapezoid starts
        self.mean_y, self.sum_uy = np.zeros(n), np.zeros(n)
        self.count, self.begin, self.at = np.zeros(1), np.zeros(1), np.zeros(1)
        self.mean_u, self.sum_uu = np.zeros(1), np.zeros(1)

    def add(self, u: float, losses: FloatArray) -> None:
        """Take in the losses, shape (n,), at progress u."""
        finite = np.isfinite(losses)
        complete = bool(finite.all())
        present = np.ones(1, dtype=np.bool_) if complete else finite
        y = losses if complete else np.where(finite, losses, self.height)
        self.first = self.first if self.points else losses
        self.last = losses
        self.points += 1
        self.lowest = np.minimum(self.lowest, y if complete else np.where(finite, losses, np.inf))
        known = self.count > 0
        self.area += np.where(known & present, u - self.at, 0.0) * (self.height + y) / 2
        self.begin = np.where(known | ~present, self.begin, u)
        self.at = np.where(present, u, self.at)
        self.height = y
        self.count = self.count + present
        step_u = np.where(present, u - self.mean_u, 0.0)
        each = np.maximum(self.count, 1.0)
        self.mean_u = self.mean_u + step_u / each
        self.mean_y += np.where(present, y - self.mean_y, 0.0) / each
        self.sum_uu = self.sum_uu + step_u * (u - self.mean_u)
        self.sum_uy += step_u * (y - self.mean_y)

    def aulc(self) -> FloatArray:
        """Area over the span covered so far, divided by it, shape (n,); NaN below two finite points."""
        return self._ratio(self.area, self.at - self.begin)

    def trend(self) -> Trend:
        """See `metrics.unlearning.Trend`."""
        slope = self._ratio(self.sum_uy, self.sum_uu)
        if self.points < 2:  # a single point is both ends, with nothing between
            return Trend(slope, slope, slope, slope)
        return Trend(slope, self.first, self.last, self.lowest)

    def _ratio(self, above: FloatArray, below: FloatArray) -> FloatArray:
        return np.asarray(above / np.where(self.count > 1, below, np.nan), dtype=np.float64)
