"""C1: annotation entropy correlates positively with AULC in every condition."""

from __future__ import annotations

from dissensus.study.claims.measured import Measured
from dissensus.study.claims.texts import counted, spread
from dissensus.study.claims.verdict import ClaimVerdict, claim_verdict, question


def positive_everywhere(measured: Measured) -> ClaimVerdict:
    """One part a condition: Spearman's rho of entropy and AULC, the mean over its seeds."""
    parts = [
        measured.rho_part(name, measured.of_condition(cells, measured.rho), cells)
        for name, cells in measured.evidence.conditions().items()
    ]
    every = question(
        "every condition",
        "rho of annotation entropy and AULC is above 0 in every condition",
        "Spearman's rho, mean over the condition's seeds",
        parts,
        level=measured.level,
    )
    level = measured.level
    holm = sum(p.value > 0 and p.p_holm < level for p in every.parts)
    bh = sum(p.value > 0 and p.p_bh < level for p in every.parts)
    above = sum(p.value > 0 for p in every.parts)
    total = counted(len(every.parts), "condition")
    return claim_verdict(
        "C1",
        "Annotation entropy correlates positively with AULC in every condition.",
        [every],
        finding=f"rho is {spread(p.value for p in every.parts)} over {total}: above 0 in {above}, shown to be so in "
        f"{holm} after Holm's adjustment and in {bh} after Benjamini and Hochberg's",
        level=measured.level,
    )
