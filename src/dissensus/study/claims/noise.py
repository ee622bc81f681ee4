"""C6: injected label noise behaves consistently with the claims: flipped examples learn as contested ones do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dissensus.curves import FloatArray
from dissensus.metrics import aulc_of
from dissensus.stats.draws import Draws
from dissensus.stats.ranking import weighted_auroc
from dissensus.study.claims.measured import CellValue, Measured
from dissensus.study.claims.parts import Part
from dissensus.study.claims.sampled import Sampled
from dissensus.study.claims.texts import counted
from dissensus.study.claims.verdict import ClaimVerdict, claim_verdict, question
from dissensus.study.evidence import Cell, by_condition
from dissensus.study.noise.groups import NoisyCell, likeness, noisy_cell
from dissensus.wording import number


def noise_is_consistent(measured: Measured) -> ClaimVerdict:
    """AULC on the given labels ranks flipped examples high, and flipped examples move as contested ones do.

    One part a condition with noise for each of the two, the mean over its seeds.
    """
    noisy = [cell for cell in measured.evidence.cells if cell.given is not None and cell.given.flipped.any()]
    conditions = by_condition(noisy)
    ranks = {name: _over(measured, cells, _above_chance) for name, cells in conditions.items()}
    nearness = {name: _over(measured, cells, _likeness) for name, cells in conditions.items()}
    ranked = question(
        "flipped labels rank high",
        "AULC on the labels that were trained on ranks flipped examples above the others",
        "AUROC of AULC for finding flipped labels, less 0.5",
        [measured.rho_part(name, one, conditions[name]) for name, one in ranks.items()],
        level=measured.level,
        note="" if noisy else "no cell with label noise among examples that are trained on",
    )
    alike = question(
        "flipped and contested examples move alike",
        "the mean curve of flipped examples is nearer to that of contested than to that of plain ones",
        "distance of the flipped examples' mean change of loss to the plain ones' less that to the contested ones', on "
        "the labels that were trained on, root mean square over tracking points, nats",
        [measured.change_part(name, one, conditions[name]) for name, one in nearness.items()],
        level=measured.level,
        note=ranked.note,
    )
    return claim_verdict(
        "C6",
        "Injected label noise behaves consistently: flipped examples are learned as contested ones are.",
        [ranked, alike],
        finding=_finding(ranked.parts, alike.parts),
        level=measured.level,
        limits=["flips of one example in five among examples that are trained on; other rates may differ"]
        if noisy
        else [],
    )


def _over(
    measured: Measured, cells: tuple[Cell, ...], statistic: Callable[[Measured, Cell], CellValue]
) -> Sampled:
    return measured.over_seeds(statistic(measured, cell) for cell in cells)


def _above_chance(measured: Measured, cell: Cell) -> CellValue:
    noisy = noisy_cell(cell, measured.settings)
    area = aulc_of(noisy.losses("given"), noisy.curves.progress)
    value = _resampled(measured, noisy, lambda weights: weighted_auroc(area, noisy.flipped, weights))
    return CellValue(value.value - 0.5, value.resampled - 0.5)


def _likeness(measured: Measured, cell: Cell) -> CellValue:
    noisy = noisy_cell(cell, measured.settings)
    losses, groups = noisy.losses("given"), noisy.groups
    return _resampled(measured, noisy, lambda weights: likeness(losses, groups, weights))


def _resampled(
    measured: Measured, noisy: NoisyCell, statistic: Callable[[FloatArray], FloatArray]
) -> CellValue:
    """A statistic of weights (b, n), on the examples as they are and under the study's common draws."""

    def over(draws: Draws) -> FloatArray:
        return statistic(draws.weights)

    dataset = noisy.cell.spec.dataset.name
    resampled = measured.resampler.over(dataset, noisy.clusters, over)
    return CellValue(float(statistic(np.ones((1, len(noisy.curves))))[0]), resampled)


def _finding(ranked: tuple[Part, ...], alike: tuple[Part, ...]) -> str:
    if not ranked:
        return "no cells with label noise"
    found = "; ".join(f"{p.name} {number(p.value + 0.5)}" for p in ranked)
    near = sum(p.value > 0 for p in alike)
    return (
        f"AUROC of AULC for flipped labels: {found}. Flipped examples are nearer to contested than to plain ones in "
        f"{near} of {counted(len(alike), 'condition')}"
    )
