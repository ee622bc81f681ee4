"""False verdicts: their rate when the claims are judged on many simulated studies whose truth is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dissensus.analysis.claims.c4_controls import GOLD_SHARE
from dissensus.analysis.claims.judging import judge_claims
from dissensus.analysis.claims.simulated import simulated_study
from dissensus.analysis.claims.verdict import Verdict
from dissensus.analysis.claims.worlds import SHARE, WORLDS
from dissensus.errors import SpecError

LEVEL = 0.025
"""The share of false verdicts that the rule promises at most: half the level of 5%."""


@dataclass(frozen=True)
class ClaimRates:
    """What became of one claim over the simulated studies of one world.

    Attributes:
        world: name of the world.
        claim: name of the claim.
        true: whether the claim holds there.
        studies: how many were judged.
        right: share with the right verdict ('supported' where true; 'contradicted' where not).
        false: share with the wrong one; 'inconclusive' and 'not testable here' are neither.
        untested: share that was not testable.
        verdicts: verdict -> how many studies.
    """

    world: str
    claim: str
    true: bool
    studies: int
    right: float
    false: float
    untested: float
    verdicts: dict[Verdict, int]

    @property
    def within(self) -> bool:
        """Whether so many false verdicts may come from the stated level: a chance of at least 1 in 1000."""
        from scipy import special

        wrong = round(self.false * self.studies)
        return wrong == 0 or float(special.bdtrc(wrong - 1, self.studies, LEVEL)) >= 0.001


def try_verdicts(
    studies: int,
    *,
    seed: int = 0,
    worlds: Sequence[str] = tuple(WORLDS),
    resamples: int = 200,
    on_study: Callable[[str, int], None] = lambda _world, _number: None,
) -> tuple[ClaimRates, ...]:
    """Judge so many simulated studies of each world.

    Args:
        studies: of each world, at least 1.
        seed: the n-th study of a world is a function of this, the world's name and n.
        worlds: names of worlds.
        resamples: of each study's intervals.
        on_study: called after each study, with the world and how many of it are done.

    Raises:
        SpecError: fewer than one study.
    """
    if studies < 1:
        raise SpecError(f"the number of simulated studies is {studies}; expected at least 1")
    rates = []
    for name in worlds:
        verdicts: dict[str, Counter[Verdict]] = {}
        for number in range(studies):
            for claim, verdict in judged(name, number, seed=seed, resamples=resamples).items():
                verdicts.setdefault(claim, Counter())[verdict] += 1
            on_study(name, number + 1)
        for claim, counts in verdicts.items():
            true = claim in WORLDS[name].true
            good: Verdict = "supported" if true else "contradicted"
            bad: Verdict = "contradicted" if true else "supported"
            right, false, untested = (counts[v] / studies for v in (good, bad, "not testable here"))
            rates.append(ClaimRates(name, claim, true, studies, right, false, untested, dict(counts)))
    return tuple(rates)


def judged(world: str, number: int, *, seed: int = 0, resamples: int = 200) -> dict[str, Verdict]:
    """The verdicts on one simulated study, of the claims that are true or false in its world."""
    truth = WORLDS[world]
    rng = np.random.default_rng([seed, number, *world.encode()])
    harder = SHARE in truth.judged
    claims = judge_claims(simulated_study(truth, rng, resamples=resamples), thorough=harder)
    verdicts: dict[str, Verdict] = {claim.claim: claim.verdict for claim in claims}
    if harder:
        questions = {q.name: q for claim in claims if claim.claim == "C4" for q in claim.questions}
        verdicts[SHARE] = questions[GOLD_SHARE].verdict
    return {claim: verdicts[claim] for claim in truth.judged}
