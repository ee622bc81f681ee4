"""How often verdicts are false: the claims judged on many simulated studies whose truth is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dissensus.errors import SpecError
from dissensus.study.claims.judging import judge_claims
from dissensus.study.claims.simulated import WORLDS, simulated_study
from dissensus.study.claims.verdict import Verdict

TRUE_IN = {
    "planted": frozenset({"C1", "C2", "C3, trained on", "C3, held out", "C4", "C5", "C6"}),
    "none": frozenset[str](),
    "all but one condition": frozenset({"C2", "C5", "C6", "C3, trained on"}),
}
"""World -> the claims that are true in it. C3, held out, is left open where a LoRA condition has no effect."""
OPEN_IN = {"all but one condition": frozenset({"C3, held out"})}


@dataclass(frozen=True)
class ClaimRates:
    """What became of one claim over the simulated studies of one world.

    Attributes:
        world: name of the world.
        claim: name of the claim.
        true: whether the claim holds there.
        studies: how many were judged.
        right: share with the right verdict ('supported' where true; 'contradicted' where not).
        false: share with the wrong one; 'inconclusive' is neither.
        verdicts: verdict -> how many studies.
    """

    world: str
    claim: str
    true: bool
    studies: int
    right: float
    false: float
    verdicts: dict[Verdict, int]


def try_verdicts(
    studies: int, *, seed: int = 0, on_study: Callable[[str, int], None] = lambda _world, _number: None
) -> tuple[ClaimRates, ...]:
    """Judge so many simulated studies of each world.

    Args:
        studies: of each world, at least 1.
        seed: the n-th study of a world is a function of this, the world and n.
        on_study: called after each study, with the world and how many of it are done.

    Raises:
        SpecError: fewer than one study.
    """
    if studies < 1:
        raise SpecError(f"the number of simulated studies is {studies}; expected at least 1")
    rates = []
    for place, (name, world) in enumerate(WORLDS.items()):
        found: dict[str, Counter[Verdict]] = {}
        for number in range(studies):
            evidence = simulated_study(world, np.random.default_rng([seed, place, number]))
            for verdict in judge_claims(evidence, thorough=False):
                found.setdefault(verdict.claim, Counter())[verdict.verdict] += 1
            on_study(name, number + 1)
        for claim, counts in found.items():
            if claim in OPEN_IN.get(name, ()):
                continue
            true = claim in TRUE_IN[name]
            good: Verdict = "supported" if true else "contradicted"
            bad: Verdict = "contradicted" if true else "supported"
            rates.append(
                ClaimRates(
                    name, claim, true, studies, counts[good] / studies, counts[bad] / studies, dict(counts)
                )
            )
    return tuple(rates)
