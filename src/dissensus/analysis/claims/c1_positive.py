"""C1: annotation entropy correlates positively with AULC in every condition."""

from __future__ import annotations

from dissensus.analysis.claims.statistics import ClaimStatistics
from dissensus.analysis.claims.texts import counted, spread
from dissensus.analysis.claims.verdict import ClaimVerdict, claim_verdict, question


def positive_everywhere(measured: ClaimStatistics) -> ClaimVerdict:
    """One part per condition that learned: Spearman's rho of entropy and AULC, the mean over its seeds."""
    correlations = [
        measured.condition(name, cells, measured.rho) for name, cells in measured.conditions().items()
    ]
    every = question(
        "every condition",
        "rho of annotation entropy and AULC is above 0 in every condition",
        "Spearman's rho, mean over the condition's seeds",
        [measured.rho_part(one.name, [one], pool=correlations) for one in correlations],
        level=measured.level,
        note="" if correlations else "no cell learned anything",
    )
    level = measured.level
    holm = sum(p.value > 0 and p.p_holm < level for p in every.parts)
    bh = sum(p.value > 0 and p.p_bh < level for p in every.parts)
    below = [p.name for p in every.parts if p.value < 0 and p.p_holm < level]
    above = sum(p.value > 0 for p in every.parts)
    total = counted(len(every.parts), "condition")
    finding = (
        f"rho is {spread(p.value for p in every.parts)} over {total}: above 0 in {above}, shown to be so in {holm} "
        f"after Holm's adjustment and in {bh} after Benjamini and Hochberg's"
    )
    if below:
        finding += f"; shown to be below 0 in {', '.join(below)}"
    return claim_verdict(
        "C1",
        "Annotation entropy correlates positively with AULC in every condition.",
        [every],
        finding=finding
        if every.parts
        else f"no condition can be judged: {'; '.join(every.undefined) or every.note}",
        limits=measured.left_out(measured.reading.own),
        level=measured.level,
    )
