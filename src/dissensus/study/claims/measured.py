"""What claims are made of: statistics of single cells, as they are and on other examples, and over seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dissensus.curves import FloatArray
from dissensus.measures import annotation_entropy, gold_share
from dissensus.metrics import aulc
from dissensus.stats import entropy_groups
from dissensus.stats.columns import complete_rows
from dissensus.stats.draws import Draws
from dissensus.stats.groups import CONTESTED, SETTLED
from dissensus.stats.partial import RankDesign
from dissensus.study.cell_tables import STANDARD_COVARIATES
from dissensus.study.claims.parts import Part, part
from dissensus.study.claims.sampled import Resampler, Sampled
from dissensus.study.claims.texts import names_of
from dissensus.study.evidence import Cell, Evidence


@dataclass(frozen=True)
class CellValue:
    """A statistic of one cell.

    Attributes:
        value: of the cell as it is, shape ().
        resampled: on other examples, shape (B,).
    """

    value: float
    resampled: FloatArray


@dataclass(frozen=True)
class GroupMeans:
    """Mean gold-label loss of the contested and the settled examples of one cell, in nats.

    Attributes:
        progress: of the tracking points, shape (T,).
        contested: shape (T,).
        settled: shape (T,).
        contested_resampled: on other examples, shape (B, T).
        settled_resampled: shape (B, T).
    """

    progress: FloatArray
    contested: FloatArray
    settled: FloatArray
    contested_resampled: FloatArray
    settled_resampled: FloatArray


class Measured:
    """Statistics of a study's cells under common resamples. Each is computed once.

    Args:
        evidence: the study's completed cells.
    """

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.settings = evidence.study.analysis
        clusters: dict[str, list[str]] = {}
        for cell in evidence.cells:
            clusters.setdefault(cell.spec.dataset.name, []).extend(np.unique(cell.clusters).tolist())
        self.resampler = Resampler(clusters, self.settings.resamples, self.settings.seed)
        self._columns: dict[str, Mapping[str, FloatArray]] = {}
        self._values: dict[tuple[object, ...], CellValue] = {}
        self._means: dict[str, GroupMeans] = {}

    def columns(self, cell: Cell) -> Mapping[str, FloatArray]:
        """Entropy in bits, AULC in nats and the covariates of the cell's n examples, each of shape (n,)."""
        if cell.name not in self._columns:
            curves = cell.curves
            self._columns[cell.name] = {
                **curves.covariates,
                "entropy": annotation_entropy(curves.counts, estimator=self.settings.entropy),
                "aulc": aulc(curves),
                "gold": curves.gold.astype(np.float64),
                "initial_loss": curves.losses[:, 0] if curves.steps[0] == 0 else np.full(len(curves), np.nan),
                "gold_share": gold_share(curves.counts, curves.gold),
            }
        return self._columns[cell.name]

    def covariates(self, cell: Cell) -> tuple[str, ...]:
        """The standard covariates that the cell has."""
        columns = self.columns(cell)
        return tuple(c for c in STANDARD_COVARIATES if c in columns and np.isfinite(columns[c]).any())

    def rho(
        self, cell: Cell, covariates: Sequence[str] = (), *, ids: frozenset[str] | None = None
    ) -> CellValue:
        """Spearman's rho of annotation entropy and AULC, partial if covariates are named.

        Args:
            cell: whose.
            covariates: what is held fixed.
            ids: only over these examples.
        """
        key = ("rho", cell.name, tuple(covariates), ids)
        if key not in self._values:
            columns = self.columns(cell)
            chosen = {name: columns[name] for name in ("entropy", "aulc", *covariates)}
            keep = complete_rows(chosen.values())
            if ids is not None:
                keep &= np.array([i in ids for i in cell.curves.ids])
            entropy, area, *held = (column[keep] for column in chosen.values())
            clusters = cell.clusters[keep]
            units = self.resampler.units(clusters)
            design = RankDesign.of(entropy, area, dict(zip(covariates, held, strict=True)), units=units.of)
            value = design.partial if covariates else design.plain
            resampled = np.full(self.settings.resamples, np.nan)
            if np.isfinite(value):
                resampled = self.resampler.over(cell.spec.dataset.name, clusters, design.resampled)
            self._values[key] = CellValue(value, resampled)
        return self._values[key]

    def group_means(self, cell: Cell) -> GroupMeans:
        """Mean curves of the contested and the settled examples; groups are the study's."""
        if cell.name not in self._means:
            entropy = self.columns(cell)["entropy"]
            groups = entropy_groups(entropy, share=self.settings.contested_share, cuts=self.settings.cuts)
            found = [self._mean_curve(cell, groups == group) for group in (CONTESTED, SETTLED)]
            (contested, contested_resampled), (settled, settled_resampled) = found
            self._means[cell.name] = GroupMeans(
                cell.curves.progress, contested, settled, contested_resampled, settled_resampled
            )
        return self._means[cell.name]

    def change(self, cell: Cell) -> CellValue:
        """Change of the contested examples' mean loss from the start of training to its end, in nats."""
        means = self.group_means(cell)
        if cell.curves.steps[0] != 0 or len(means.contested) < 2:
            return CellValue(float("nan"), np.full(self.settings.resamples, np.nan))
        resampled = means.contested_resampled[:, -1] - means.contested_resampled[:, 0]
        return CellValue(float(means.contested[-1] - means.contested[0]), resampled)

    def over_seeds(self, values: Iterable[CellValue]) -> Sampled:
        """The mean of one statistic over the seeds of a condition."""
        several = list(values)
        return self.resampler.over_seeds([v.value for v in several], [v.resampled for v in several])

    def of_condition(self, cells: Sequence[Cell], statistic: Callable[[Cell], CellValue]) -> Sampled:
        """A statistic of a condition: the mean over its seeds."""
        return self.over_seeds(statistic(cell) for cell in cells)

    @property
    def level(self) -> float:
        """Of the tests: 1 - the study's confidence."""
        return 1 - self.settings.confidence

    def rho_part(self, name: str, sampled: Sampled, cells: Sequence[Cell], note: str = "") -> Part:
        """A part that is a correlation."""
        return self._part(name, sampled, cells, self.settings.smallest_rho, note)

    def change_part(self, name: str, sampled: Sampled, cells: Sequence[Cell], note: str = "") -> Part:
        """A part that is a change of loss, in nats."""
        return self._part(name, sampled, cells, self.settings.smallest_change, note)

    def _part(self, name: str, sampled: Sampled, cells: Sequence[Cell], smallest: float, note: str) -> Part:
        confidence = self.settings.confidence
        return part(name, sampled, smallest=smallest, confidence=confidence, cells=names_of(cells), note=note)

    def _mean_curve(self, cell: Cell, member: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
        losses = cell.curves.losses[member]
        known = np.isfinite(losses).all(axis=1)
        losses, clusters = losses[known], cell.clusters[member][known]
        points = losses.shape[1]
        if not len(losses):
            return np.full(points, np.nan), np.full((self.settings.resamples, points), np.nan)

        def means(draws: Draws) -> FloatArray:
            found = np.full((len(draws.totals), points), np.nan)
            drawn = draws.weights.sum(axis=1)[:, None]
            np.divide(draws.weights @ losses, drawn, out=found, where=drawn > 0)
            return found

        return losses.mean(axis=0), self.resampler.over(cell.spec.dataset.name, clusters, means)


def contrast(first: CellValue, second: CellValue) -> CellValue:
    """The first less the second, on the same resamples."""
    return CellValue(first.value - second.value, first.resampled - second.resampled)


def is_decoder(cell: Cell) -> bool:
    """Whether the cell's model is decoder-only: only those read their input through a template."""
    return cell.curves.provenance.get("prompt") is not None
