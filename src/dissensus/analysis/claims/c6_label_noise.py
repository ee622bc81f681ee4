"""C6: injected label noise behaves consistently with the claims: flipped examples learn as contested ones do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dissensus.analysis.claims.parts import Part
from dissensus.analysis.claims.sampled import CellValue
from dissensus.analysis.claims.statistics import ClaimStatistics
from dissensus.analysis.claims.texts import counted
from dissensus.analysis.claims.verdict import ClaimVerdict, claim_verdict, question
from dissensus.analysis.clusters import fewest_clusters
from dissensus.analysis.noise.groups import (
    FLIPPED,
    PLAIN,
    NoisyCell,
    behind_distances,
    distances,
    noisy_cell,
)
from dissensus.analysis.reading import CellReading
from dissensus.analysis.study_reading import by_condition
from dissensus.curves import FloatArray
from dissensus.metrics import aulc_of
from dissensus.stats.draws import Draws
from dissensus.stats.groups import CONTESTED
from dissensus.stats.ranking import weighted_auroc
from dissensus.wording import number

NEARER = "flipped nearer to contested than to plain"
ALIKE = "flipped nearer to contested than contested to plain"


@dataclass(frozen=True)
class _Likeness:
    """Both differences of distances in one cell.

    Attributes:
        nearer: from plain minus from contested examples.
        alike: contested from plain minus flipped from contested examples.
    """

    nearer: CellValue
    alike: CellValue


def noise_is_consistent(measured: ClaimStatistics) -> ClaimVerdict:
    """AULC on the given labels ranks flipped examples high, and flipped examples move as contested ones do.

    One part per condition with noise for the ranking, two for the likeness, each a mean over its seeds. Likeness is an
    equivalence: that flipped examples lie on the far side of contested ones, seen from plain ones, is none.
    So flipped must be nearer to contested examples than either is to plain ones.
    """
    noisy = [cell for cell in measured.reading.cells if cell.given is not None and cell.given.flipped.any()]
    conditions = by_condition(cell for cell in noisy if measured.counts(cell))
    ranks = [
        measured.condition(k, cells, lambda c: _above_chance(measured, c)) for k, cells in conditions.items()
    ]
    likeness = {cell.name: _likeness(measured, cell) for cells in conditions.values() for cell in cells}
    nearer = [
        measured.condition(k, cells, lambda c: likeness[c.name].nearer) for k, cells in conditions.items()
    ]
    alike = [
        measured.condition(k, cells, lambda c: likeness[c.name].alike) for k, cells in conditions.items()
    ]
    note = "" if conditions else (
        "every cell with label noise learned nothing" if noisy else
        "no cell with label noise among examples that are trained on"
    )  # fmt: skip
    ranked = question(
        "flipped labels rank high",
        "AULC on the labels that were trained on ranks flipped examples above the others",
        "AUROC of AULC for finding flipped labels, minus 0.5",
        [measured.area_part(one.name, [one], pool=ranks) for one in ranks],
        level=measured.level,
        note=note,
        needed=True,
    )
    like = question(
        "flipped and contested examples move alike",
        "the mean curve of flipped examples is nearer to that of contested ones than either is to that of plain ones",
        "differences of distances between groups' mean changes of loss, on the labels that were trained on, root mean "
        "square over tracking points, corrected for the noise of the means, nats",
        [
            measured.change_part(f"{one.name}: {words}", [one], pool=pool, smallest=0.0)
            for pool, words in ((nearer, NEARER), (alike, ALIKE))
            for one in pool
        ],
        level=measured.level,
        note=note,
        needed=True,
    )
    rates = sorted({c.spec.training.noise.rate for c in noisy if c.spec.training.noise is not None})
    flips = f"flips of {' or '.join(f'{rate:.0%}' for rate in rates)} of the examples that are trained on"
    return claim_verdict(
        "C6",
        "Injected label noise behaves consistently: flipped examples are learned as contested ones are.",
        [ranked, like],
        finding=_finding(ranked.parts, like.parts) if ranked.parts or like.parts else
        f"nothing that can be judged: {'; '.join((*ranked.undefined, *like.undefined)) or note}",
        level=measured.level,
        limits=[*measured.left_out(noisy), f"{flips}; other rates may differ"] if noisy else [],
    )  # fmt: skip


def _above_chance(measured: ClaimStatistics, cell: CellReading) -> CellValue:
    noisy = noisy_cell(cell)
    area = aulc_of(noisy.losses("given"), noisy.curves.progress)
    flipped = noisy.flipped
    resampled = _resampled(measured, noisy, lambda weights: weighted_auroc(area, flipped, weights))
    value = float(weighted_auroc(area, flipped, np.ones((1, len(flipped))))[0])
    known = ~np.isnan(area)
    sides = [fewest_clusters(noisy.clusters, [known & (flipped == side)]) for side in (True, False)]
    fewest = min(sides)
    return CellValue(value - 0.5, resampled - 0.5, fewest, least_se=_least_error(value, *sides))


def _least_error(area: float, flipped: int, others: int) -> float:
    """Standard error of the logit of an AUROC if examples were independent, near its end; the bootstrap's is no less.

    Hanley and McNeil, "The meaning and use of the area under a receiver operating characteristic (ROC) curve",
    Radiology 143, 1982, at the area moved off its end by half of a flipped example: a perfect ranking has no spread
    in any resample, which does not make it certain.
    """
    if not np.isfinite(area) or min(flipped, others) < 1:
        return 0.0
    off = 0.5 / (min(flipped, others) + 1)
    a = float(np.clip(area, off, 1 - off))
    spread = (flipped - 1) * (a / (2 - a) - a**2) + (others - 1) * (2 * a**2 / (1 + a) - a**2)
    variance = (a * (1 - a) + spread) / (flipped * others)
    return float(np.sqrt(variance)) / (a * (1 - a))


def _likeness(measured: ClaimStatistics, cell: CellReading) -> _Likeness:
    """Differences of distances, each corrected by the bootstrap for what the noise of the three means adds."""
    noisy = noisy_cell(cell)
    losses, groups = noisy.losses("given"), noisy.groups
    members = {name: groups == name for name in (FLIPPED, CONTESTED, PLAIN)}
    empty = [name for name, member in members.items() if not member.any()]
    if empty or noisy.curves.steps[0] != 0:
        why = f"no {' and no '.join(empty)} example" if empty else "the loss before training was not measured"
        return _Likeness(measured.undefined(why), measured.undefined(why))
    clusters = behind_distances(losses, groups, noisy.clusters)
    observed = distances(losses, groups, np.ones((1, len(groups))))
    drawn = _resampled(
        measured, noisy, lambda weights: np.stack(distances(losses, groups, weights).columns, axis=1)
    )
    point = dict(zip(observed.names, (float(column[0]) for column in observed.columns), strict=True))
    resampled = dict(zip(observed.names, drawn.T, strict=True))

    def minus(first: str, second: str) -> CellValue:
        value, values = point[first] - point[second], resampled[first] - resampled[second]
        bias = float(np.nanmean(values)) - value if np.isfinite(values).any() else 0.0
        return CellValue(value - bias, values - bias, clusters)

    return _Likeness(minus("from_plain", "from_contested"), minus("contested_from_plain", "from_contested"))


def _resampled(
    measured: ClaimStatistics, noisy: NoisyCell, statistic: Callable[[FloatArray], FloatArray]
) -> FloatArray:
    """A statistic of weights (b, n) under the study's common draws."""

    def over(draws: Draws) -> FloatArray:
        return statistic(draws.weights)

    return measured.resampler.over(noisy.cell.spec.dataset.name, noisy.clusters, over)


def _finding(ranked: tuple[Part, ...], like: tuple[Part, ...]) -> str:
    sentences = []
    if ranked:
        areas = "; ".join(f"{p.name} {number(p.value + 0.5)}" for p in ranked)
        sentences.append(f"AUROC of AULC for flipped labels: {areas}")
    for words in (NEARER, ALIKE):
        named = [p for p in like if p.name.endswith(words)]
        sentences += (
            [f"{words} in {sum(p.value > 0 for p in named)} of {counted(len(named), 'condition')}"]
            if named
            else []
        )
    return ". ".join(sentences)
