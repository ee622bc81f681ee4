"""All claims of one study."""

from __future__ import annotations

from dissensus.analysis.claims.c1_positive import positive_everywhere
from dissensus.analysis.claims.c2_decoders import decoders_above_encoders
from dissensus.analysis.claims.c3_unlearning import REGIMES, unlearned_under_lora
from dissensus.analysis.claims.c4_controls import survives_controls
from dissensus.analysis.claims.c5_replication import replicates
from dissensus.analysis.claims.c6_label_noise import noise_is_consistent
from dissensus.analysis.claims.measured import Measured
from dissensus.analysis.claims.verdict import ClaimVerdict
from dissensus.analysis.study_reading import StudyReading


def judge_claims(reading: StudyReading, *, thorough: bool = True) -> tuple[ClaimVerdict, ...]:
    """The claims C1 to C6 of arXiv 2604.16332, each decided from the study's completed cells.

    Args:
        reading: the cells with their curves.
        thorough: whether also what stands beside the verdicts and takes long: C4's harder questions.
    """
    measured = Measured(reading)
    return (
        positive_everywhere(measured),
        decoders_above_encoders(measured),
        *(unlearned_under_lora(measured, regime) for regime in REGIMES),
        survives_controls(measured, thorough=thorough),
        replicates(measured),
        noise_is_consistent(measured),
    )
