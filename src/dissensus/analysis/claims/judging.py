"""Judging: all claims of one study."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dissensus.analysis.claims.c1_positive import positive_everywhere
from dissensus.analysis.claims.c2_decoders import decoders_above_encoders
from dissensus.analysis.claims.c3_unlearning import REGIMES, unlearned_under_lora
from dissensus.analysis.claims.c4_controls import survives_controls
from dissensus.analysis.claims.c5_replication import replicates
from dissensus.analysis.claims.c6_label_noise import noise_is_consistent
from dissensus.analysis.claims.statistics import ClaimStatistics
from dissensus.analysis.claims.verdict import ClaimVerdict
from dissensus.analysis.extensions import CLAIMS, extensions_at
from dissensus.analysis.study_reading import StudyReading
from dissensus.errors import SpecError

Judge = Callable[[ClaimStatistics, bool], Sequence[ClaimVerdict]]
"""From what was measured, and whether to ask the longer questions too, to verdicts."""

BUILTIN: tuple[Judge, ...] = (
    lambda measured, _: [positive_everywhere(measured)],
    lambda measured, _: [decoders_above_encoders(measured)],
    lambda measured, _: [unlearned_under_lora(measured, regime) for regime in REGIMES],
    lambda measured, thorough: [survives_controls(measured, thorough=thorough)],
    lambda measured, _: [replicates(measured)],
    lambda measured, _: [noise_is_consistent(measured)],
)
"""C1 to C6 of arXiv 2604.16332, in the order of the table of `dissensus claims`; a study's extensions come after."""


def judge_claims(reading: StudyReading, *, thorough: bool = True) -> tuple[ClaimVerdict, ...]:
    """Every claim of `BUILTIN` and of the study's extensions, each decided from the study's completed cells.

    Args:
        reading: the cells with their curves.
        thorough: whether also what stands beside the verdicts and takes long: C4's harder questions.
    """
    measured = ClaimStatistics(reading)
    verdicts = [verdict for judge in BUILTIN for verdict in judge(measured, thorough)]
    for name, judge in extensions_at(CLAIMS, reading.study.analysis).items():
        more = judge(measured, thorough)
        if not isinstance(more, Sequence) or not all(isinstance(verdict, ClaimVerdict) for verdict in more):
            raise SpecError(f"the claim {name!r} gave {more!r:.80}; expected a list of ClaimVerdict")
        verdicts += more
    return tuple(verdicts)
