"""The claims of arXiv 2604.16332 as tests of stored curves: statistic, interval, multiplicity, verdict.

`verdict.py` has the rule by which every claim is judged; each claim has files of its own, `c1_positive` to
`c6_label_noise`. `measured` and `sampled` make their numbers.
"""

from dissensus.analysis.claims.judging import judge_claims
from dissensus.analysis.claims.parts import Part
from dissensus.analysis.claims.verdict import ClaimVerdict, Question, Verdict

__all__ = ["ClaimVerdict", "Part", "Question", "Verdict", "judge_claims"]
