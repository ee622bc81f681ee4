"""Simulated worlds whose truth is known: each method's effect on examples, and the claims that hold there.

Each was chosen because an earlier form of the verdicts failed in it, or because it is the hardest case for a claim.
With z an example's (normal) score of disagreement and v = speed * u the method's own time, its loss is

    start + (head + head_tilt z) exp(-u / .08) + fall (1 - exp(-3 v)) + tilt z v + (late v^4 + early w(v)) max(0, z)

plus what items, premises, cells and seeds add; w(v) = (v / .35) exp(1 - v / .35) rises to 1 at v = .35 and falls again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

CLAIMS = ("C1", "C2", "C3, trained on", "C3, held out", "C4", "C5", "C6")
SHARE = "C4, gold share"
"""What C4's harder question is called where verdicts are tried."""


@dataclass(frozen=True)
class Effect:
    """What one method does to the examples, in nats.

    Attributes:
        fall: change of everyone's loss in the method's own time; negative where it learns.
        tilt: what a standard deviation of the score adds by then.
        late: what a standard deviation above 0 adds late in training.
        early: what it adds early and loses again.
        head: what an untrained head adds at the start; gone soon.
        head_tilt: the same for a standard deviation of the score.
        speed: how far the method gets in its own time.
        noise: standard deviation of what items, premises and cells add by the end.
        share: the loss falls with the share of the gold label, and with nothing else.
    """

    fall: float = -0.4
    tilt: float = 0.2
    late: float = 0.0
    early: float = 0.0
    head: float = 0.0
    head_tilt: float = 0.0
    speed: float = 1.0
    noise: float = 0.4
    share: bool = False


@dataclass(frozen=True)
class World:
    """What is true of a simulated study.

    Attributes:
        says: what is special, in a few words.
        effects: 'decoder', 'lora', 'full' and 'ia3' -> what each does; a method that is not named is not in the study.
        true: claims that hold.
        open: claims that are not judged: words alone decide whether they hold.
        points: tracking points of the decoder and of the others.
        odd: what LoRA does instead to the encoder on the first data set, held out.
        flipped: how far flipped examples end above contested ones, nats; None: no label noise.
        items: tracked items of each data set.
        clusters: texts that the items share; None: three items to a text.
        one_seed: whether conditions on the second data set have one seed instead of three.
        seed_noise: standard deviation of what a seed adds to everyone's change of loss, nats.
        jitter: standard deviation of what a tracking point of a cell adds to everyone's loss, nats.
        regimes: in which items are tracked.
        rejected: share of the items whose gold label most annotators reject.
    """

    says: str
    effects: Mapping[str, Effect]
    true: frozenset[str] = frozenset()
    open: frozenset[str] = frozenset()
    points: tuple[int, int] = (8, 8)
    odd: Effect | None = None
    flipped: float | None = None
    items: int = 240
    clusters: int | None = None
    one_seed: bool = False
    seed_noise: float = 0.02
    jitter: float = 0.01
    regimes: tuple[str, ...] = ("trained_on",)
    rejected: float = 0.0

    @property
    def judged(self) -> tuple[str, ...]:
        """Claims that are true or false here."""
        share = (SHARE,) if any(effect.share for effect in self.effects.values()) else ()
        return tuple(claim for claim in (*CLAIMS, *share) if claim not in self.open)


_LORA, _FULL = Effect(fall=-0.10, tilt=0.24), Effect(fall=-0.30, tilt=0.16)
_PLANTED = {
    "decoder": Effect(fall=-0.20, tilt=0.38),
    "lora": _LORA,
    "full": _FULL,
    "ia3": Effect(fall=-0.28, tilt=0.16),
}
_ENCODER = {"lora": _LORA, "full": _FULL}
_NOTHING = Effect(fall=-0.5, tilt=0.0)
# Contested loss rises to v = .35 and falls again; settled loss only falls.
_BUMP = Effect(fall=-0.5, tilt=0.0, early=0.6)
_BOTH = ("trained_on", "held_out")


def _slower(points: int, speed: float) -> World:
    return World(
        f"LoRA does what full fine-tuning does, at {speed:g} of its speed; {points} tracking points",
        {"lora": replace(_BUMP, speed=speed), "full": _BUMP},
        true=frozenset({"C1", "C4", "C5"}),
        points=(points, points),
    )


WORLDS: Mapping[str, World] = {
    "planted": World(
        "an effect in every condition", _PLANTED, frozenset(CLAIMS), flipped=0.15, regimes=_BOTH
    ),
    "none": World(
        "every method learns, and disagreement has nothing to do with it",
        dict.fromkeys(_PLANTED, _NOTHING),
        flipped=0.0,
        regimes=_BOTH,
    ),
    "all but one condition": World(
        "planted, and nothing in one condition",
        _PLANTED,
        frozenset({"C2", "C3, trained on", "C5", "C6"}),
        frozenset({"C3, held out"}),
        odd=_NOTHING,
        flipped=0.15,
        regimes=_BOTH,
    ),
    "one reversed condition": World(
        "planted, and the opposite in one condition",
        _ENCODER,
        frozenset({"C3, trained on", "C5"}),
        frozenset({"C3, held out"}),
        odd=Effect(fall=-0.4, tilt=-0.2),
        regimes=_BOTH,
    ),
    "slower LoRA, 3 points": _slower(3, 0.35),
    "slower LoRA, 4 points": _slower(4, 0.5),
    "slower LoRA, 8 points": _slower(8, 0.5),
    "noisy head": World(
        "a real rise late in training, after a start far above an even guess",
        {
            "lora": Effect(fall=-0.42, tilt=0.16, late=0.25, head=0.3),
            "full": Effect(fall=-0.70, tilt=0.10, head=0.3),
        },
        frozenset({"C1", "C3, trained on", "C4", "C5"}),
    ),
    "noisy head, no rise": World(
        "the same start, and a contested loss that is flat but for each point's noise",
        dict.fromkeys(("lora", "full"), Effect(fall=-0.25, tilt=0.06, head=0.3, noise=0.2)),
        frozenset({"C1", "C4", "C5"}),
        jitter=0.04,
    ),
    "settled never falls": World(
        "under LoRA nothing is learned and contested loss rises; full fine-tuning learns",
        {"lora": Effect(fall=0.3, tilt=0.1), "full": Effect(fall=-0.5, tilt=0.1)},
        frozenset({"C1", "C4", "C5"}),
    ),
    "flipped above contested above plain": World(
        "flipped labels are learned far worse than contested ones",
        _ENCODER,
        frozenset({"C1", "C3, trained on", "C4", "C5"}),
        flipped=0.9,
    ),
    "untrained decoder": World(
        "the decoder learns nothing, its fresh head goes with disagreement; it has 3 points, the encoder 8",
        {
            "decoder": Effect(fall=0.0, tilt=0.0, head_tilt=0.4, noise=0.1),
            "lora": Effect(fall=-0.5, tilt=0.12),
        },
        open=frozenset({"C1", "C4", "C5"}),
        points=(3, 8),
    ),
    "decoder with a telling head": World(
        "the decoder's fresh head goes with disagreement, what it learns does not; the encoder's does a little",
        {
            "decoder": Effect(fall=-0.5, tilt=0.0, head=0.7, head_tilt=0.6, noise=0.2),
            "lora": Effect(fall=-0.5, tilt=0.05),
        },
        open=frozenset({"C1", "C4", "C5"}),
    ),
    "confounded gold share": World(
        "the loss depends on the share of the gold label alone",
        dict.fromkeys(("lora", "full"), Effect(share=True, noise=0.3)),
        open=frozenset({"C1", "C3, trained on", "C4", "C5"}),
        items=480,
        rejected=0.25,
    ),
    "few clusters": World(
        "no effect; the items of a data set share 12 texts, and each text has its own",
        dict.fromkeys(("lora", "full"), _NOTHING),
        clusters=12,
    ),
    "three seeds and one": World(
        "under LoRA contested loss does not change; one data set has three seeds, the other one",
        {"lora": Effect(fall=-0.25, tilt=0.23, noise=0.2), "full": Effect(fall=-0.45, tilt=0.16, noise=0.2)},
        frozenset({"C1", "C4", "C5"}),
        one_seed=True,
        seed_noise=0.06,
    ),
}
"""Name -> world."""
