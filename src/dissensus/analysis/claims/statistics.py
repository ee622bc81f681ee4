"""Statistics that claims are made of: of single cells, as they are and on other examples, and over seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dissensus.analysis.cell_tables import STANDARD_COVARIATES
from dissensus.analysis.claims.designs import RankDesigns
from dissensus.analysis.claims.parts import ABOVE_CHANCE, FISHER, PLAIN, IntervalScale, Part, part
from dissensus.analysis.claims.sampled import CellValue, ConditionValue, Resampler
from dissensus.analysis.claims.texts import names_of
from dissensus.analysis.reading import BACKED, REJECTED, CellReading
from dissensus.analysis.study_reading import StudyReading, by_condition
from dissensus.curves import FloatArray
from dissensus.stats.columns import complete_rows
from dissensus.stats.draws import Draws
from dissensus.stats.groups import CONTESTED, SETTLED

ALL = "all"
"""Beside the sides of an entropy group: everything in it."""


@dataclass(frozen=True)
class MeanCurve:
    """Mean gold-label loss of one group of one cell's examples, in nats.

    Attributes:
        mean: at each tracking point, shape (T,); NaN where the group is empty.
        resampled: on other examples, shape (B, T).
        n: examples in the group.
        clusters: clusters that they come from.
    """

    mean: FloatArray
    resampled: FloatArray
    n: int
    clusters: int


@dataclass(frozen=True)
class GroupMeans:
    """Mean curves of the groups of one cell.

    Attributes:
        progress: of the tracking points, shape (T,).
        chance: loss of an even guess, ln K, in nats; NaN where the labels' probabilities do not sum to 1.
        starts: whether the first tracking point is before training.
        whole: of all examples, shape (T,).
        contested: by side.
        settled: by side.
        halves: of the contested examples of two halves of the clusters, the same halves in every cell.
    """

    progress: FloatArray
    chance: float
    starts: bool
    whole: FloatArray
    contested: Mapping[str, MeanCurve]
    settled: Mapping[str, MeanCurve]
    halves: tuple[MeanCurve, MeanCurve]


@dataclass(frozen=True)
class _Columns:
    """The n examples of one cell.

    Attributes:
        values: name -> shape (n,).
        clusters: what is resampled together, shape (n,).
        group: entropy group, shape (n,).
        sides: side -> which examples, shape (n,).
    """

    values: Mapping[str, FloatArray]
    clusters: NDArray[np.str_]
    group: NDArray[np.str_]
    sides: Mapping[str, NDArray[np.bool_]]


class ClaimStatistics:
    """Statistics of a study's cells under common resamples. Each is computed once.

    Args:
        reading: the study's completed cells.
    """

    def __init__(self, reading: StudyReading) -> None:
        self.reading = reading
        self.settings = reading.study.analysis
        self._columns: dict[str, _Columns] = {}
        self._values: dict[tuple[object, ...], CellValue] = {}
        self._means: dict[str, GroupMeans] = {}
        clusters: dict[str, set[str]] = {}
        for cell in reading.cells:
            clusters.setdefault(cell.spec.dataset.name, set()).update(self.clusters(cell).tolist())
        named = {dataset: sorted(own) for dataset, own in clusters.items()}
        self.resampler = Resampler(named, self.settings.resamples, self.settings.seed)
        self._designs = RankDesigns(self.resampler, self.settings)

    def columns(self, cell: CellReading) -> Mapping[str, FloatArray]:
        """Entropy in bits, AULC in nats and the covariates of the cell's n examples, each of shape (n,)."""
        return self._of(cell).values

    def clusters(self, cell: CellReading) -> NDArray[np.str_]:
        """What is resampled together: a label for each example, shape (n,)."""
        return self._of(cell).clusters

    def covariates(self, cell: CellReading) -> tuple[str, ...]:
        """The standard covariates that the cell has."""
        columns = self.columns(cell)
        return tuple(c for c in STANDARD_COVARIATES if c in columns and np.isfinite(columns[c]).any())

    def counts(self, cell: CellReading) -> bool:
        """Whether the cell is evidence: one that learned nothing is none, for or against."""
        return not cell.learned_nothing

    def conditions(self) -> dict[str, tuple[CellReading, ...]]:
        """The study's own conditions with those of their cells that count."""
        return by_condition(cell for cell in self.reading.own if self.counts(cell))

    def left_out(self, cells: Iterable[CellReading]) -> tuple[str, ...]:
        """Of these cells those that do not count, as a limit of a verdict; nothing where all do."""
        idle = [cell for cell in cells if not self.counts(cell)]
        if not idle:
            return ()
        named = [
            f"{name} (seed {', '.join(str(c.spec.seed) for c in condition_cells)}: {condition_cells[0].learning.why})"
            for name, condition_cells in by_condition(idle).items()
        ]
        shown = "; ".join(named[:3]) + (f"; and {len(named) - 3} more conditions" if len(named) > 3 else "")
        return (f"left out, because they learned nothing: {shown}",)

    def rho(
        self, cell: CellReading, covariates: Sequence[str] = (), *, ids: frozenset[str] | None = None
    ) -> CellValue:
        """Spearman's rho of annotation entropy and AULC, partial if covariates are named.

        Args:
            cell: whose.
            covariates: what is held fixed.
            ids: only over these examples.
        """
        key = ("rho", cell.name, tuple(covariates), ids)
        if key not in self._values:
            self.rhos(cell, (tuple(covariates),), ids=ids)
        return self._values[key]

    def rhos(
        self, cell: CellReading, sets: Sequence[tuple[str, ...]], *, ids: frozenset[str] | None = None
    ) -> None:
        """Compute `rho` under several sets of covariates at once: sets with the same examples share their sums."""
        own, chosen = self._of(cell), np.ones(len(cell), dtype=np.bool_)
        if ids is not None:
            chosen = np.array([i in ids for i in cell.curves.ids])
        together: dict[bytes, list[tuple[str, ...]]] = {}
        for names in sets:
            if ("rho", cell.name, names, ids) not in self._values:
                complete = complete_rows(own.values[name] for name in ("entropy", "aulc", *names))
                together.setdefault((chosen & complete).tobytes(), []).append(names)
        for mask, members in together.items():
            keep = np.frombuffer(mask, dtype=np.bool_)
            values = {name: column[keep] for name, column in own.values.items()}
            clusters = own.clusters[keep]
            distinct = len(self.resampler.units(clusters).sizes)
            designs = [
                self._designs.of(values["entropy"], values["aulc"], {c: values[c] for c in names}, clusters)
                for names in members
            ]
            rhos = [d.partial if names else d.plain for names, d in zip(members, designs, strict=True)]
            defined = [place for place, rho in enumerate(rhos) if np.isfinite(rho)]
            resampled = np.full((self.settings.resamples, len(members)), np.nan)
            if defined:
                resampled[:, defined] = self._designs.resampled(
                    cell.spec.dataset.name, values, clusters, [members[i] for i in defined],
                    [designs[i] for i in defined],
                )  # fmt: skip
            for names, design, rho, column in zip(members, designs, rhos, resampled.T, strict=True):
                why = "" if np.isfinite(rho) else _why_no_rho(values["entropy"], values["aulc"])
                df = float(len(clusters) - 2 - (design.basis.shape[1] if names else 0))
                self._values["rho", cell.name, names, ids] = CellValue(
                    rho, np.ascontiguousarray(column), distinct, why=why, df=df
                )

    def group_means(self, cell: CellReading) -> GroupMeans:
        """Mean curves of the contested and the settled examples; groups are the study's, split by who backs gold."""
        if cell.name not in self._means:
            own, curves = self._of(cell), cell.curves
            known = np.isfinite(curves.losses).all(axis=1)
            first = self._halves(cell)
            members = {
                (group, side): known & (own.group == group) & own.sides[side]
                for group in (CONTESTED, SETTLED)
                for side in (ALL, BACKED, REJECTED)
            }
            contested = known & (own.group == CONTESTED)
            members |= {("half", "0"): contested & first, ("half", "1"): contested & ~first}
            group_curves = self._mean_curves(cell, members)
            total = (
                np.exp(curves.log_probs[:, 0].astype(np.float64)).sum(axis=1)
                if len(curves.steps)
                else np.empty(0)
            )
            even = bool(total.size and np.nanmax(np.abs(total - 1), initial=0.0) < 0.01)
            self._means[cell.name] = GroupMeans(
                curves.progress,
                float(np.log(len(curves.labels))) if even else float("nan"),
                bool(len(curves.steps) and curves.steps[0] == 0),
                curves.losses[known].mean(axis=0) if known.any() else np.full(len(curves.steps), np.nan),
                {side: group_curves[CONTESTED, side] for side in (ALL, BACKED, REJECTED)},
                {side: group_curves[SETTLED, side] for side in (ALL, BACKED, REJECTED)},
                (group_curves["half", "0"], group_curves["half", "1"]),
            )
        return self._means[cell.name]

    def condition(
        self, name: str, cells: Sequence[CellReading], statistic: Callable[[CellReading], CellValue]
    ) -> ConditionValue:
        """A statistic of a condition: the mean over the seeds of its cells."""
        return ConditionValue.of(name, {cell.spec.seed: statistic(cell) for cell in cells}, names_of(cells))

    @property
    def level(self) -> float:
        """Of the tests: 1 - the study's confidence."""
        return 1 - self.settings.confidence

    def undefined(self, why: str) -> CellValue:
        """A statistic that a cell does not have."""
        return CellValue(float("nan"), np.full(self.settings.resamples, np.nan), 0, why=why)

    def rho_part(
        self,
        name: str,
        conditions: Sequence[ConditionValue],
        *,
        pool: Sequence[ConditionValue] = (),
        fixed_seeds: bool = False,
        note: str = "",
    ) -> Part:
        """A part that is a correlation, or a mean of some."""
        return self._part(name, conditions, FISHER, self.settings.smallest_rho, pool, note, fixed_seeds)

    def difference_part(
        self, name: str, conditions: Sequence[ConditionValue], *, note: str = "", spared: str = ""
    ) -> Part:
        """A part that is a difference of correlations."""
        return self._part(name, conditions, PLAIN, self.settings.smallest_rho, (), note, spared=spared)

    def area_part(
        self, name: str, conditions: Sequence[ConditionValue], *, pool: Sequence[ConditionValue] = ()
    ) -> Part:
        """A part that is an AUROC minus 0.5."""
        return self._part(name, conditions, ABOVE_CHANCE, self.settings.smallest_rho, pool)

    def change_part(
        self,
        name: str,
        conditions: Sequence[ConditionValue],
        *,
        pool: Sequence[ConditionValue] = (),
        note: str = "",
        spared: str = "",
        smallest: float | None = None,
    ) -> Part:
        """A part that is a change of loss, in nats; the smallest that counts is the study's unless one is given."""
        least = self.settings.smallest_change if smallest is None else smallest
        return self._part(name, conditions, PLAIN, least, pool, note, spared=spared)

    def _part(
        self,
        name: str,
        conditions: Sequence[ConditionValue],
        scale: IntervalScale,
        smallest: float,
        pool: Sequence[ConditionValue],
        note: str = "",
        fixed_seeds: bool = False,
        spared: str = "",
    ) -> Part:
        return part(
            name, conditions, smallest=smallest, confidence=self.settings.confidence, scale=scale, pool=pool,
            fixed_seeds=fixed_seeds, note=note, spared=spared,
        )  # fmt: skip

    def _of(self, cell: CellReading) -> _Columns:
        if cell.name not in self._columns:
            values = {
                **cell.covariates,
                "entropy": cell.entropy,
                "aulc": cell.metrics.aulc,
                "gold": cell.gold.astype(np.float64),
                "initial_loss": cell.metrics.initial_loss,
                "gold_share": cell.gold_share,
            }
            sides = {
                ALL: np.ones(len(cell), dtype=np.bool_),
                BACKED: cell.backed,
                REJECTED: ~cell.backed & np.isfinite(cell.gold_share),
            }
            self._columns[cell.name] = _Columns(values, cell.cluster_names, cell.group, sides)
        return self._columns[cell.name]

    def _halves(self, cell: CellReading) -> NDArray[np.bool_]:
        """Whether each example's cluster is of the first half of its data set's clusters, shape (n,)."""
        return self.resampler.first_half(cell.spec.dataset.name, self.clusters(cell))

    def _mean_curves(
        self, cell: CellReading, members: Mapping[tuple[str, str], NDArray[np.bool_]]
    ) -> dict[tuple[str, str], MeanCurve]:
        """Mean curves of several groups from one set of draws."""
        own = self._of(cell)
        losses, points = cell.curves.losses, len(cell.curves.steps)
        masks = np.stack(list(members.values())).astype(np.float64)
        # (groups, n, T): the loss where an example is a member, 0 elsewhere.
        held = np.where(masks[:, :, None] > 0, losses[None], 0.0)
        table = held.transpose(1, 0, 2).reshape(len(losses), -1)

        def means(draws: Draws) -> FloatArray:
            drawn = draws.weights @ masks.T
            sums = (draws.weights @ table).reshape(len(drawn), len(masks), points)
            found = np.full_like(sums, np.nan)
            np.divide(sums, drawn[:, :, None], out=found, where=drawn[:, :, None] > 0)
            return found

        resampled = self.resampler.over(cell.spec.dataset.name, own.clusters, means)
        return {
            key: MeanCurve(
                losses[member].mean(axis=0) if member.any() else np.full(points, np.nan),
                resampled[:, place],
                int(member.sum()),
                len(np.unique(own.clusters[member])),
            )
            for place, (key, member) in enumerate(members.items())
        }


def contrast(first: CellValue, second: CellValue) -> CellValue:
    """The first minus the second, on the same resamples."""
    return CellValue(
        first.value - second.value,
        first.resampled - second.resampled,
        min(first.clusters, second.clusters),
        why=first.why or second.why,
        df=min(first.df, second.df),
    )


def is_decoder(cell: CellReading) -> bool:
    """Whether the cell's model is decoder-only: only those read their input through a template."""
    return cell.facts.prompt is not None


def _why_no_rho(entropy: FloatArray, area: FloatArray) -> str:
    if len(entropy) < 3:
        return f"{len(entropy)} examples have both an entropy and an AULC"
    for name, column in (("entropy", entropy), ("AULC", area)):
        if np.ptp(column) == 0:
            return f"all {name} values are equal"
    return "the covariates determine it"
