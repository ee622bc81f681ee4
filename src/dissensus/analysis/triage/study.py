"""Triage of a study's cells together, or of one recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dissensus.analysis.reading import CellReading
from dissensus.analysis.settings import groups_of
from dissensus.analysis.study_reading import StudyReading
from dissensus.analysis.triage.combining import combine
from dissensus.analysis.triage.curve_model import RegimeModel, curve_model, evidence_factors
from dissensus.analysis.triage.deciding import Run, Votes, decide, mean_over_runs
from dissensus.analysis.triage.evidence import CurveEvidence, curve_evidence, silence_of
from dissensus.analysis.triage.kinds import NOT_TOLD, Triaged
from dissensus.config import AnalysisSpec
from dissensus.curves import Curves, FloatArray
from dissensus.data.agreement import annotation_entropy, backed
from dissensus.metrics.learning import Learning, learning
from dissensus.stats.groups import SETTLED
from dissensus.stats.label_posterior import CUT, ENOUGH_VOTES, label_posterior

REGIMES = ("trained_on", "held_out")


def triage_study(reading: StudyReading) -> tuple[Triaged, ...]:
    """Every example of every data set and regime of a study, triaged from its votes and all cells that learned.

    Variants are left out. The label in question is the study's gold label, and in a cell with label noise the label
    that was trained on. Where the study or the data set sets an upper cut point of entropy, that is where contested
    begins (`stats.label_posterior.CUT` otherwise).

    Returns:
        An entry per data set, regime and example, in the order in which the cells have them.
    """
    recorded: dict[str, list[_Recorded]] = {}
    for cell in reading.own:
        curves = cell.curves if cell.given is None else cell.curves.on(cell.given.labels)
        recorded.setdefault(cell.spec.dataset.name, []).append(
            _Recorded(curves, cell.learning, cell.spec.condition, cell.spec.method.name, _cut_of(cell))
        )
    return tuple(row for name, cells in recorded.items() for row in _of_dataset(name, cells))


def triage_curves(curves: Curves) -> tuple[Triaged, ...]:
    """Every example of one recording, triaged from its votes, where it has any, and its curves.

    Its contested group begins at `stats.label_posterior.CUT`.
    """
    settled = groups_of(annotation_entropy(curves.counts), AnalysisSpec()) == SETTLED
    judged = learning(curves, settled=settled, backed=backed(curves.counts, curves.gold))
    return _of_dataset("", [_Recorded(curves, judged, "", "", CUT)])


@dataclass(frozen=True)
class _Recorded:
    """One recording of a data set.

    Attributes:
        curves: on the label in question.
        learning: whether it learned.
        condition: its name; '' for a single recording.
        method: 'lora', 'full' and so on; '' where it is not known.
        cut: bits from which on an example is contested.
    """

    curves: Curves
    learning: Learning
    condition: str
    method: str
    cut: float


def _cut_of(cell: CellReading) -> float:
    cuts = cell.settings.cuts_in_bits
    return CUT if cuts is None else cuts[1]


def _of_dataset(name: str, cells: Sequence[_Recorded]) -> tuple[Triaged, ...]:
    triaged: list[Triaged] = []
    for regime in REGIMES:
        parts = [
            replace(cell, curves=cell.curves.subset(cell.curves.regime == regime))
            for cell in cells
            if (cell.curves.regime == regime).any()
        ]
        if parts:
            triaged += _of_regime(name, regime, parts)
    return tuple(triaged)


def _of_regime(name: str, regime: str, parts: Sequence[_Recorded]) -> tuple[Triaged, ...]:
    position = {
        item: place for place, item in enumerate(dict.fromkeys(i for p in parts for i in p.curves.ids))
    }
    n, labels = len(position), parts[0].curves.labels
    if len(labels) < 2:
        why = "Only one label was recorded, so that no other can be right instead."
        return tuple(Triaged(item, name, regime, NOT_TOLD, float("nan"), None, why) for item in position)
    counts, given = np.zeros((n, len(labels))), np.full(n, -1)
    runs: list[Run] = []
    silences: list[str] = []
    for part in reversed(parts):  # so that of two recordings of an example the first has the last word
        places = np.array([position[item] for item in part.curves.ids], dtype=np.intp)
        counts[places], given[places] = part.curves.counts, part.curves.gold
        silence = silence_of(part.curves, part.learning)
        if silence:
            silences.append(silence)
        else:
            evidence = _spread(curve_evidence(part.curves), places, n)
            runs.append(Run(part.condition, part.method, evidence))
    model = _model(regime)
    voted = label_posterior(counts, given, cut=parts[0].cut)
    unvoted = label_posterior(np.zeros_like(counts), given, cut=parts[0].cut, weight=voted.weight)
    asked = counts.sum(axis=1)
    voted = voted.only(asked > 0)
    curves = (
        evidence_factors(mean_over_runs([run.evidence.features for run in runs]), model) if runs else None
    )
    enough = asked >= ENOUGH_VOTES
    together = combine(
        voted,
        unvoted,
        enough,
        curves,
        np.array(model.shares),
        own_majority=np.array_equal(given[enough], counts[enough].argmax(axis=1)),
    )
    votes = Votes(tuple(position), labels, counts, given, voted)
    silence = silences[-1] if silences and not runs else ""
    return decide(name, regime, votes, together.probabilities, tuple(runs), silence)


def _model(regime: str) -> RegimeModel:
    return curve_model().trained_on if regime == "trained_on" else curve_model().held_out


def _spread(evidence: CurveEvidence, places: NDArray[np.intp], n: int) -> CurveEvidence:
    def spread(values: FloatArray) -> FloatArray:
        everywhere = np.full((n, *values.shape[1:]), np.nan)
        everywhere[places] = values
        return everywhere

    return CurveEvidence(**{name: spread(values) for name, values in vars(evidence).items()})
