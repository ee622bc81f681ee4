"""Simulated studies: curves of a world whose truth is known, to see how often the verdicts are false.

Not training: each example's loss follows a formula (`worlds.py`), so that a study takes a second. What makes real
verdicts err is in it: the same items in every condition, items of one premise that are alike, seeds that differ as
wholes, tied entropies from a hundred annotators, noise of single tracking points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dissensus.analysis.claims.worlds import Effect, World
from dissensus.analysis.reading import CellReading
from dissensus.analysis.study_reading import StudyReading
from dissensus.config import AnalysisSpec, RunSpec, StudySpec
from dissensus.curves import Curves, FloatArray
from dissensus.data.agreement import gold_share
from dissensus.data.noise import NoisyLabels
from dissensus.study.grid import planned_cells

LABELS = ("entailment", "neutral", "contradiction")
SHARES = (0.5, 0.2, 0.3)
"""Of an item's noise: its own in every condition, its premise's, this cell's alone (variances, summing to 1)."""
START, HEAD_TIME, PEAK = 1.05, 0.08, 0.35
CONTESTED = 1.09
"""Mean score of the upper third of a normal distribution."""
SHARE_FALL = 0.8
"""Nats by which an example with a gold share of 1 falls where nothing but that share counts."""
_RATES = {"lora": 1e-3, "full": 1e-4, "ia3": 5e-3}


def simulated_study(world: World, rng: np.random.Generator, *, resamples: int = 200) -> StudyReading:
    """One study of a world: two data sets, three seeds, its methods and regimes, label noise where the world has it.

    Args:
        world: what is true.
        rng: generator that draws.
        resamples: of the verdicts' intervals.
    """
    study = _study(world, resamples)
    panels = {dataset.name: _Panel.drawn(world, rng) for dataset in study.datasets}
    seeds = {seed: rng.normal(0, (world.seed_noise, 0.02)) for seed in study.seeds}
    cells = []
    for item in planned_cells(study):
        if world.one_seed and item.cell.dataset.name == "second" and item.cell.seed:
            continue
        panel = panels[item.cell.dataset.name]
        cells.append(_cell(item.cell, item.base, world, panel, seeds[item.cell.seed], rng, study.analysis))
    return StudyReading(study, tuple(cells), len(cells))


@dataclass(frozen=True)
class _Panel:
    """The tracked items of one data set.

    Attributes:
        counts: annotators per label, shape (n, 3).
        gold: label indices, shape (n,).
        share: of the gold label among the annotators, shape (n,).
        score: normal score of the true disagreement, shape (n,).
        own: standard normal effect of each item, shape (n,).
        premise: standard normal effect of each item's premise, shape (n,).
        text: number of each item's premise, shape (n,).
    """

    counts: FloatArray
    gold: NDArray[np.int64]
    share: FloatArray
    score: FloatArray
    own: FloatArray
    premise: FloatArray
    text: NDArray[np.int64]

    @classmethod
    def drawn(cls, world: World, rng: np.random.Generator) -> _Panel:
        n = world.items
        score = rng.standard_normal(n)
        # The first label's share falls from nearly 1 to nearly a third as disagreement rises.
        first = 1 - 0.62 / (1 + np.exp(-1.7 * score))
        rest = (1 - first)[:, None] * rng.dirichlet((2.0, 1.0), size=n)
        counts = rng.multinomial(100, np.column_stack([first, rest]))
        order = rng.permuted(np.tile(np.arange(3), (n, 1)), axis=1)
        placed = np.take_along_axis(counts, order, axis=1).astype(np.float64)
        gold = np.where(rng.random(n) < world.rejected, order.argmax(axis=1), order.argmin(axis=1)).astype(
            np.int64
        )
        text = np.arange(n) // 3 if world.clusters is None else np.arange(n) % world.clusters
        premise = rng.standard_normal(int(text.max()) + 1)[text]
        return cls(placed, gold, gold_share(placed, gold), score, rng.standard_normal(n), premise, text)


def _cell(
    spec: RunSpec,
    base: RunSpec | None,
    world: World,
    panel: _Panel,
    seed_effect: FloatArray,
    rng: np.random.Generator,
    settings: AnalysisSpec,
) -> CellReading:
    n = len(panel.score)
    decoder = spec.model.name != "encoder"
    effect = world.effects["decoder" if decoder else spec.method.name]
    place = (spec.dataset.name, spec.method.name, decoder, spec.regime)
    if world.odd is not None and place == ("first", "lora", False, "held_out"):
        effect = world.odd
    points = world.points[0 if decoder else 1]
    u = np.linspace(0, 1, points)
    item, premise, cell = (np.sqrt(share) for share in SHARES)
    noise = effect.noise * (item * panel.own + premise * panel.premise + cell * rng.standard_normal(n))
    wobble = (
        seed_effect[1]
        + 0.05 * rng.standard_normal((n, 1))
        + (noise + seed_effect[0])[:, None] * u
        + world.jitter * rng.standard_normal(points)
        + 0.02 * rng.standard_normal((n, points))
    )
    losses = np.maximum(_mean_losses(effect, panel.score, panel.share, u) + wobble, 0.02)
    noisy_labels = None
    log_probs = _log_probs(losses, panel.gold)
    if spec.training.noise is not None:
        flipped = rng.random(n) < spec.training.noise.rate
        labels = np.where(flipped, (panel.gold + 1) % 3, panel.gold)
        # Flipped examples are learned as contested ones are, and worse by what the world says.
        alike = CONTESTED + 0.3 * rng.standard_normal(n)
        on_flip = _mean_losses(effect, alike, panel.share, u) + wobble + (world.flipped or 0.0) * u
        log_probs[flipped] = _log_probs(np.maximum(on_flip, 0.02), labels)[flipped]
        noisy_labels = NoisyLabels(labels, flipped)
    curves = Curves(
        ids=tuple(f"item-{i:04d}" for i in range(n)),
        labels=LABELS,
        steps=np.round(u * 420).astype(np.int64),
        total_steps=420,
        log_probs=log_probs,
        gold=panel.gold,
        counts=panel.counts,
        regime=np.full(n, spec.regime),
        covariates={
            "token_count": rng.integers(10, 40, n).astype(np.float64),
            "lexical_overlap": rng.random(size=n),
        },
        text=tuple({"premise": f"Scene {t}.", "hypothesis": f"Thing {i}."} for i, t in enumerate(panel.text)),
        provenance={"prompt": "{premise} {hypothesis}" if decoder else None},
    )
    return CellReading(spec, curves, settings, base, noisy_labels)


def _mean_losses(effect: Effect, score: FloatArray, share: FloatArray, u: FloatArray) -> FloatArray:
    """What a world says of examples with these scores, shape (n, T)."""
    z, v = score[:, None], effect.speed * u
    if effect.share:
        # Flat below 0.7: there a line through the ranks leaves entropy a correlation that is none.
        return np.asarray(START - SHARE_FALL * u * np.maximum(share[:, None] - 0.7, 0) / 0.3)
    head = (effect.head + effect.head_tilt * z) * np.exp(-u / HEAD_TIME)
    above = effect.late * v**4 + effect.early * (v / PEAK) * np.exp(1 - v / PEAK)
    return np.asarray(
        START + head + effect.fall * (1 - np.exp(-3 * v)) + effect.tilt * z * v + above * np.maximum(z, 0)
    )


def _log_probs(losses: FloatArray, labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Log-probabilities of three labels, the rest of each label's shared 6 to 4 between the other two, (n, T, 3)."""
    p = np.exp(-losses)
    log_probs = np.empty((*losses.shape, 3))
    rows = np.arange(len(labels))
    log_probs[rows, :, labels] = p
    log_probs[rows, :, (labels + 1) % 3] = 0.6 * (1 - p)
    log_probs[rows, :, (labels + 2) % 3] = 0.4 * (1 - p)
    return np.log(log_probs).astype(np.float32)


def _study(world: World, resamples: int) -> StudySpec:
    pool = {"source": "simulated", "split": "train"}
    methods = [name for name in world.effects if name != "decoder"]
    noise = {"kind": "uniform", "rate": 0.2}
    models = [{"name": "encoder"}, *([{"name": "decoder"}] if "decoder" in world.effects else [])]
    others = [name for name in methods if name != "lora"]
    return StudySpec.parse(
        {
            "name": "simulated",
            "models": models,
            "datasets": [
                {"name": name, "tracked": {"source": "simulated", "seed": seed}, "train": pool}
                for seed, name in enumerate(("first", "second"))
            ],
            "methods": [
                {"name": name, "learning_rate": _RATES[name], **({"rank": 8} if name == "lora" else {})}
                for name in methods
            ],
            "regimes": list(world.regimes),
            "seeds": [0, 1, 2],
            "exclude": [{"model": "decoder", "method": others}] if len(models) > 1 and others else [],
            "variants": []
            if world.flipped is None
            else [
                {
                    "name": "noise-uniform",
                    "when": {
                        "model": "encoder",
                        "dataset": "first",
                        "method": ["lora", "full"],
                        "regime": "trained_on",
                    },
                    "set": {"training": {"noise": noise}},
                }
            ],
            "analysis": {"resamples": resamples},
        },
        "the simulated study",
    )
