"""Simulated studies: curves with a known effect or with none, to see how often the verdicts are false.

Not training: each example's loss moves along a straight line whose slope is drawn, so that a study takes milliseconds
and the truth is known. What makes real verdicts err is in it: the same items in every condition, items of one premise
that are alike, seeds that differ as wholes, tied entropies from a hundred annotators.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dissensus.config import RunSpec, StudySpec
from dissensus.curves import Curves, FloatArray
from dissensus.data.noise import NoisyLabels
from dissensus.study.evidence import Cell, Evidence
from dissensus.study.grid import plan

LABELS = ("entailment", "neutral", "contradiction")
POINTS = 5
SHARES = (0.5, 0.2, 0.3)
"""Of an item's slope: its own in every condition, its premise's, this cell's alone (variances, summing to 1)."""


@dataclass(frozen=True)
class Effect:
    """What is true of one method.

    Attributes:
        shift: mean change of loss over training, nats.
        rho: correlation of an item's change with its (normal) entropy score, in [-1, 1].
    """

    shift: float
    rho: float


@dataclass(frozen=True)
class World:
    """What is true of every condition of a simulated study.

    Attributes:
        effects: 'decoder', 'lora', 'full' and 'ia3' -> what is true there.
        exception: whether one condition has no effect at all, whatever `effects` says.
        flipped: how far the loss on a flipped label rises above that on a true one, nats.
    """

    effects: Mapping[str, Effect]
    exception: bool = False
    flipped: float = 0.0


_NOTHING = Effect(0.0, 0.0)
WORLDS = {
    # Contested minus settled thirds lie 2 x 1.09 standard deviations apart in a normal score.
    "planted": World(
        {
            "decoder": Effect(0.10, 0.60),
            "lora": Effect(0.10, 0.40),
            "full": Effect(-0.50, 0.30),
            "ia3": Effect(-0.15, 0.30),
        },
        flipped=0.5,
    ),
    "none": World(dict.fromkeys(("decoder", "lora", "full", "ia3"), _NOTHING)),
    "all but one condition": World(
        {
            "decoder": Effect(0.10, 0.60),
            "lora": Effect(0.10, 0.40),
            "full": Effect(-0.50, 0.30),
            "ia3": Effect(-0.15, 0.30),
        },
        exception=True,
        flipped=0.5,
    ),
}
"""Name -> world. In 'all but one condition' C1 and C4 are false by a single condition: the hardest case for them."""

SPREAD = 0.5
"""Standard deviation of an item's change of loss, nats."""


def simulated_study(
    world: World, rng: np.random.Generator, *, items: int = 240, resamples: int = 200
) -> Evidence:
    """One study: 12 conditions of an encoder, 4 of a decoder-only model, three seeds, two data sets, noise variants.

    Args:
        world: what is true.
        rng: generator that draws.
        items: tracked items of each data set, three to a premise.
        resamples: of the verdicts' intervals.
    """
    study = _study(resamples)
    panels = {dataset.name: _Panel.drawn(items, rng) for dataset in study.datasets}
    seeds = {seed: rng.normal(0, 0.02, size=2) for seed in study.seeds}
    cells = []
    for item in plan(study):
        panel = panels[item.cell.dataset.name]
        cells.append(_cell(item.cell, item.base, world, panel, seeds[item.cell.seed], rng))
    return Evidence(study, tuple(cells), len(cells))


@dataclass(frozen=True)
class _Panel:
    """The tracked items of one data set.

    Attributes:
        counts: annotators a label, shape (n, 3).
        score: normal score of the true disagreement, shape (n,).
        own: standard normal effect of each item, shape (n,).
        premise: standard normal effect of each item's premise, shape (n,).
    """

    counts: FloatArray
    score: FloatArray
    own: FloatArray
    premise: FloatArray

    @classmethod
    def drawn(cls, n: int, rng: np.random.Generator) -> _Panel:
        score = rng.standard_normal(n)
        # The first label's share falls from nearly 1 to nearly a third as disagreement rises.
        first = 1 - 0.62 / (1 + np.exp(-1.7 * score))
        rest = (1 - first)[:, None] * rng.dirichlet((2.0, 1.0), size=n)
        counts = rng.multinomial(100, np.column_stack([first, rest])).astype(np.float64)
        premise = np.repeat(rng.standard_normal(-(-n // 3)), 3)[:n]
        return cls(counts, score, rng.standard_normal(n), premise)


def _cell(
    spec: RunSpec,
    base: RunSpec | None,
    world: World,
    panel: _Panel,
    seed_effect: FloatArray,
    rng: np.random.Generator,
) -> Cell:
    n = len(panel.score)
    decoder = spec.model.name != "encoder"
    effect = world.effects["decoder" if decoder else spec.method.name]
    if world.exception and (spec.dataset.name, spec.method.name, decoder, spec.regime) == (
        "first", "lora", False, "held_out",
    ):  # fmt: skip
        effect = _NOTHING
    item, premise, cell = (np.sqrt(share) for share in SHARES)
    noise = item * panel.own + premise * panel.premise + cell * rng.standard_normal(n)
    rho = effect.rho
    slope = effect.shift + seed_effect[0] + SPREAD * (rho * panel.score + np.sqrt(1 - rho**2) * noise)
    start = 1.1 + seed_effect[1] + 0.05 * rng.standard_normal(n)
    u = np.linspace(0, 1, POINTS)
    losses = np.maximum(start[:, None] + slope[:, None] * u + 0.02 * rng.standard_normal((n, POINTS)), 0.02)
    gold = np.zeros(n, dtype=np.int64)
    given = None
    shares = np.array([0.6, 0.4])
    log_probs = np.log(np.stack([np.exp(-losses), *((1 - np.exp(-losses)) * s for s in shares)], axis=2))
    if spec.training.noise is not None:
        flipped = rng.random(n) < spec.training.noise.rate
        labels = np.where(flipped, 1, gold)
        on_flip = losses + world.flipped * u
        p = np.exp(-on_flip[flipped])
        log_probs[flipped] = np.log(np.stack([0.6 * (1 - p), p, 0.4 * (1 - p)], axis=2))
        given = NoisyLabels(labels, flipped)
    curves = Curves(
        ids=tuple(f"item-{i:04d}" for i in range(n)),
        labels=LABELS,
        steps=np.arange(POINTS, dtype=np.int64) * 25,
        total_steps=25 * (POINTS - 1),
        log_probs=log_probs.astype(np.float32),
        gold=gold,
        counts=panel.counts,
        regime=np.full(n, spec.regime),
        covariates={
            "token_count": rng.integers(10, 40, n).astype(np.float64),
            "lexical_overlap": rng.random(size=n),
        },
        text=tuple({"premise": f"Scene {i // 3}.", "hypothesis": f"Thing {i}."} for i in range(n)),
        provenance={"prompt": "{premise} {hypothesis}" if decoder else None},
    )
    return Cell(spec, curves, base, given)


def _study(resamples: int) -> StudySpec:
    pool = {"source": "simulated", "split": "train"}
    return StudySpec.parse(
        {
            "name": "simulated",
            "models": [{"name": "encoder"}, {"name": "decoder"}],
            "datasets": [
                {"name": name, "tracked": {"source": "simulated", "seed": seed}, "train": pool}
                for seed, name in enumerate(("first", "second"))
            ],
            "methods": [
                {"name": "lora", "rank": 8, "learning_rate": 1e-3},
                {"name": "full", "learning_rate": 1e-4},
                {"name": "ia3", "learning_rate": 5e-3},
            ],
            "regimes": ["held_out", "trained_on"],
            "seeds": [0, 1, 2],
            "exclude": [{"model": "decoder", "method": ["full", "ia3"]}],
            "variants": [
                {
                    "name": "noise-uniform",
                    "when": {
                        "model": "encoder",
                        "dataset": "first",
                        "method": ["lora", "full"],
                        "regime": "trained_on",
                    },
                    "set": {"training": {"noise": {"kind": "uniform", "rate": 0.2}}},
                }
            ],
            "analysis": {"resamples": resamples},
        },
        "the simulated study",
    )
