"""How often the intervals that dissensus prints cover the truth, in 54 settings whose truth is known.

    python validation/coverage.py                    run what is missing, write docs/validation.md
    python validation/coverage.py --table            only write the page from what was run
    python validation/coverage.py --only n=50 seeds=1

Settings: 50, 200 or 1,000 examples; entropies without ties, of 100 annotators, of 5; each example its own cluster,
clusters of three, 25 clusters; one seed or three. With one seed the intervals are those of a study's tables
(`stats`); with three those of its claims (`analysis.claims.parts`), which cover other seeds too. What is covered: rho
of entropy and loss, partial rho with gold share held fixed, the contested group's mean change of loss, that less the
settled group's, and the AUROC and average precision of a score.

Results are kept in validation/coverage.jsonl, a line a setting, so that a run that was cut off is resumed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from dissensus.analysis.claims.parts import ABOVE_CHANCE, part
from dissensus.analysis.claims.sampled import CellValue, ConditionValue, Resampler
from dissensus.data.agreement import annotation_entropy
from dissensus.stats import (
    entropy_groups,
    group_curves,
    mean_difference,
    partial_spearman,
    rank_correlations,
    spearman,
)
from dissensus.stats.design import RankDesign
from dissensus.stats.draws import Draws
from dissensus.stats.groups import CONTESTED, SETTLED
from dissensus.stats.intervals import FISHER, MIN_CLUSTERS, PLAIN, IntervalScale
from dissensus.stats.ranking import auroc, average_precision, weighted_auroc

FloatArray = NDArray[np.float64]

TOP = Path(__file__).resolve().parent.parent
RESULTS, PAGE = TOP / "validation" / "coverage.jsonl", TOP / "docs" / "validation.md"
STATISTICS = ("rho", "partial", "change", "difference", "auroc", "ap")
REPETITIONS, RESAMPLES = 1000, 100
POPULATION = 200_000
ALPHA = (1.0, 0.4, 0.1)
"""Of the Dirichlet distribution of label shares, the gold label's first: like ChaosNLI's SNLI items, a line in gold
share's rank explains half of entropy's."""
SHARED = 0.3
"""Share of each latent variance that the examples of one cluster have in common."""
SEED_SLOPE, SEED_SHIFT, SEED_SCORE = 0.25, 0.05, 0.2
"""Spread between seeds: of the effect of entropy on loss (a share of it), of the mean change, of the score's shift."""


@dataclass(frozen=True)
class Setting:
    """One world.

    Attributes:
        n: examples.
        annotators: of each; 0: their shares themselves, without ties.
        clusters: 'own', 'threes' or '25'.
        seeds: 1 or 3.
    """

    n: int
    annotators: int
    clusters: str
    seeds: int

    @property
    def unit(self) -> NDArray[np.int64]:
        """Number of each example's cluster, shape (n,)."""
        rows = np.arange(self.n)
        return {"own": rows, "threes": rows // 3, "25": rows % 25}[self.clusters]


def settings() -> Iterator[Setting]:
    """All 54, small ones first."""
    for n, seeds, annotators, clusters in product(
        (50, 200, 1000), (1, 3), (0, 100, 5), ("own", "threes", "25")
    ):
        yield Setting(n, annotators, clusters, seeds)


@dataclass(frozen=True)
class Examples:
    """What a study would have measured. Arrays of shape (n,), those of `by_seed` of shape (seeds, n)."""

    entropy: FloatArray
    gold_share: FloatArray
    flags: NDArray[np.bool_]
    unit: NDArray[np.int64]
    loss: FloatArray
    change: FloatArray
    score: FloatArray


@cache
def _gamma_table(shape: float) -> tuple[FloatArray, FloatArray]:
    z = np.linspace(-6, 6, 4001)
    return z, special.gammaincinv(shape, special.ndtr(z))


def draw(
    annotators: int,
    unit: NDArray[np.int64],
    seeds: Sequence[tuple[float, float, float]],
    rng: np.random.Generator,
) -> Examples:
    """Examples of a world; `seeds` has the deviations of slope, shift and score of each seed."""
    n, clusters = len(unit), int(unit.max()) + 1

    def latent() -> FloatArray:
        common = rng.standard_normal(clusters)[unit]
        return math.sqrt(SHARED) * common + math.sqrt(1 - SHARED) * rng.standard_normal(n)

    gamma = np.stack([np.interp(latent(), *_gamma_table(a)) for a in ALPHA], axis=1) + 1e-12
    shares = gamma / gamma.sum(axis=1, keepdims=True)
    counts = rng.multinomial(annotators, shares).astype(np.float64) if annotators else shares
    entropy = annotation_entropy(counts)
    share = counts[:, 0] / counts.sum(axis=1)
    # Losses are skewed: most examples are learned, some are not.
    base = 1 - 0.7 * share + 0.5 * latent() + 0.3 * rng.standard_gamma(1, n)
    moved = 0.25 * (entropy - 0.5) + 0.3 * latent() + 0.4 * (rng.standard_gamma(1, n) - 1)
    flags = special.ndtr(latent()) < 0.2
    score = latent()
    loss, change, scores = [], [], []
    for slope, shift, more in seeds:
        loss.append(base + (0.35 + slope) * entropy + 0.15 * rng.standard_normal(n) * (len(seeds) > 1))
        change.append(moved + shift + 0.1 * rng.standard_normal(n) * (len(seeds) > 1))
        own = score + (2.1 + more) * flags
        # As coarse as the annotators are few: a share of them.
        scores.append(np.round((np.clip(own, -3, 5) + 3) / 8 * annotators) if annotators else own)
    return Examples(entropy, share, flags, unit, np.array(loss), np.array(change), np.array(scores))


@dataclass(frozen=True)
class Truth:
    """The values that intervals are to cover, of an endless sample and every seed.

    Attributes:
        rho, partial, auroc, ap: as named.
        entropy: of the population, sorted.
        change: running sums of its changes in this order, from 0.
    """

    rho: float
    partial: float
    auroc: float
    ap: float
    entropy: FloatArray
    change: FloatArray

    def means(self, entropy: FloatArray, groups: NDArray[np.str_]) -> tuple[float, float]:
        """Mean change of the contested and the settled, with the cuts that a sample's groups were made by."""
        cut = np.searchsorted(self.entropy, entropy[groups == CONTESTED].min() - 1e-9)
        end = np.searchsorted(self.entropy, entropy[groups == SETTLED].max() + 1e-9)
        contested = (self.change[-1] - self.change[cut]) / (len(self.entropy) - cut)
        return float(contested), float(self.change[end] / end)


@cache
def truth(annotators: int, several: bool) -> Truth:
    """From 200,000 examples; over seeds by Gauss-Hermite quadrature over their deviations."""
    nodes, weights = (np.zeros(1), np.ones(1)) if not several else np.polynomial.hermite_e.hermegauss(7)
    weights = weights / weights.sum()
    deviations = [(SEED_SLOPE * 0.35 * z, 0.0, SEED_SCORE * z) for z in nodes]
    rng = np.random.default_rng(7)
    unit = np.arange(POPULATION)
    all_of = draw(annotators, unit, deviations, rng)
    held = {"gold_share": all_of.gold_share}
    order = np.argsort(all_of.entropy)

    def over(values: Sequence[float]) -> float:
        return float(np.dot(weights, values))

    return Truth(
        rho=over([spearman(all_of.entropy, loss).rho for loss in all_of.loss]),
        partial=over([partial_spearman(all_of.entropy, loss, held).rho for loss in all_of.loss]),
        auroc=over([auroc(score, all_of.flags).value for score in all_of.score]),
        ap=over([average_precision(score, all_of.flags).value for score in all_of.score]),
        entropy=all_of.entropy[order],
        change=np.append(0.0, np.cumsum(all_of.change.mean(axis=0)[order])),
    )


Ends = tuple[float, float]


def one_seed(found: Examples, rng: np.random.Generator, resamples: int) -> dict[str, Ends]:
    """The intervals of a study's tables."""
    unit = None if len(np.unique(found.unit)) == len(found.unit) else found.unit
    groups = entropy_groups(found.entropy)
    options: dict[str, Any] = {"resamples": resamples, "rng": rng, "clusters": unit}
    both = rank_correlations(found.entropy, found.loss[0], {"gold_share": found.gold_share}, **options)
    curve = group_curves(found.change[0][:, None], groups, clusters=unit)[CONTESTED]
    gap = mean_difference(found.change[0], groups, clusters=unit)
    area, precision = (
        measure(found.score[0], found.flags, **options) for measure in (auroc, average_precision)
    )
    return {
        "rho": (both.plain.low, both.plain.high),
        "partial": (both.partial.low, both.partial.high),
        "change": (float(curve.low[0]), float(curve.high[0])),
        "difference": (gap.low, gap.high),
        "auroc": (area.low, area.high),
        "ap": (precision.low, precision.high),
    }


def several_seeds(found: Examples, rng: np.random.Generator, resamples: int) -> dict[str, Ends]:
    """The intervals of a study's claims: means over the seeds, on common resamples."""
    names = np.array([f"{unit:05d}" for unit in found.unit])
    resampler = Resampler({"data": np.unique(names).tolist()}, resamples, int(rng.integers(2**31)))
    unit = resampler.units(names)
    groups = entropy_groups(found.entropy)
    members = {group: groups == group for group in (CONTESTED, SETTLED)}
    values: dict[str, dict[int, CellValue]] = {name: {} for name in STATISTICS}

    def add(name: str, seed: int, value: float, resampled: FloatArray, clusters: int) -> None:
        values[name][seed] = CellValue(value, resampled, clusters)

    everything = len(unit.sizes)
    flagged = min(len(np.unique(names[side])) for side in (found.flags, ~found.flags))
    for seed, (loss, change, score) in enumerate(zip(found.loss, found.change, found.score, strict=True)):
        held = {"gold_share": found.gold_share}
        design = RankDesign.of(found.entropy, loss, held, units=unit.of)
        both = resampler.over("data", names, design.correlations)
        add("rho", seed, design.plain, both[:, 0], everything)
        add("partial", seed, design.partial, both[:, 1], everything)
        means = {}
        for group, member in members.items():

            def mean(draws: Draws, own: NDArray[np.bool_] = member, moved: FloatArray = change) -> FloatArray:
                drawn = draws.weights * own
                total = drawn.sum(axis=1)
                mean_change = np.full(len(total), np.nan)
                np.divide(drawn @ moved, total, out=mean_change, where=total > 0)
                return mean_change

            means[group] = resampler.over("data", names, mean)
        fewest = {group: len(np.unique(names[member])) for group, member in members.items()}
        first = float(change[members[CONTESTED]].mean())
        second = float(change[members[SETTLED]].mean())
        add("change", seed, first, means[CONTESTED], fewest[CONTESTED])
        add("difference", seed, first - second, means[CONTESTED] - means[SETTLED], min(fewest.values()))

        def area(draws: Draws, own: FloatArray = score) -> FloatArray:
            return weighted_auroc(own, found.flags, draws.weights)

        value = auroc(score, found.flags).value
        add("auroc", seed, value - 0.5, resampler.over("data", names, area) - 0.5, flagged)
    scales: dict[str, IntervalScale] = {"rho": FISHER, "partial": FISHER, "auroc": ABOVE_CHANCE}
    found_ends: dict[str, Ends] = {"ap": (math.nan, math.nan)}  # no claim is about average precision
    for name, own in values.items():
        if own:
            condition = ConditionValue.of(name, own, ("cell",))
            one = part(name, [condition], smallest=0.05, confidence=0.95, scale=scales.get(name, PLAIN))
            shift = 0.5 if name == "auroc" else 0.0
            found_ends[name] = (one.low + shift, one.high + shift)
    return found_ends


def run(setting: Setting, *, repetitions: int = REPETITIONS, resamples: int = RESAMPLES) -> dict[str, Any]:
    """How often each interval was printed, and how often it then covered the truth."""
    known = truth(setting.annotators, setting.seeds > 1)
    digest = hashlib.sha256(json.dumps(asdict(setting), sort_keys=True).encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    unit = setting.unit
    measure: Callable[..., Mapping[str, Ends]] = several_seeds if setting.seeds > 1 else one_seed
    printed, covered = dict.fromkeys(STATISTICS, 0), dict.fromkeys(STATISTICS, 0)
    for _ in range(repetitions):
        spread = np.array([SEED_SLOPE * 0.35, SEED_SHIFT, SEED_SCORE]) * (setting.seeds > 1)
        seeds = [tuple(spread * rng.standard_normal(3)) for _ in range(setting.seeds)]
        found = draw(setting.annotators, unit, seeds, rng)
        ends = measure(found, rng, resamples)
        first, second = known.means(found.entropy, entropy_groups(found.entropy))
        true = {
            "rho": known.rho,
            "partial": known.partial,
            "change": first,
            "difference": first - second,
            "auroc": known.auroc,
            "ap": known.ap,
        }
        for name, (low, high) in ends.items():
            if math.isfinite(low) and math.isfinite(high):
                printed[name] += 1
                covered[name] += low <= true[name] <= high
    return {**asdict(setting), "repetitions": repetitions, "printed": printed, "covered": covered}


def recorded() -> dict[Setting, dict[str, Any]]:
    """What was run so far: the last line of each setting."""
    lines = RESULTS.read_text(encoding="utf-8").splitlines() if RESULTS.exists() else []
    rows = [json.loads(line) for line in lines]
    return {Setting(row["n"], row["annotators"], row["clusters"], row["seeds"]): row for row in rows}


HEADS = {
    "rho": "rho",
    "partial": "partial rho",
    "change": "mean change",
    "difference": "difference",
    "auroc": "AUROC",
    "ap": "average precision",
}
OPENING = f"""# Validation: how often an interval covers the truth

Every interval that dissensus prints is meant to cover the truth 95 times in 100. These are worlds whose truth is known
(from {POPULATION:,} examples of each), drawn {REPETITIONS:,} times each, with {RESAMPLES} resamples to an interval. A
coverage of 95.0 % is so known to within 1.4 points either way; over all values of this page about one in 20 is outside.

- **n**: examples. **Entropies**: without ties, of 100 annotators, of 5 (at most five different values).
- **Clusters**: each example its own; threes; 25 clusters. Examples of one share {SHARED:.0%} of every latent variance.
- **Seeds**: 1: the intervals of a study's tables. 3: those of its claims, means over seeds that differ.
- **Mean change** is that of the contested third, **difference** that minus the settled third's. Losses and changes are
  skewed (an exponential part), scores of the ranking lie near an AUROC of .93.
- **-**: withheld, because there are fewer than {MIN_CLUSTERS} clusters behind the number (n = 50 in threes are 17
  clusters, and a third of 50 examples is 17). In brackets: in what share of the samples it was
  printed; of few samples a coverage is known less well.

`make validate` does it again (`python validation/coverage.py`; it resumes). {{minutes}}

"""


def page(rows: Mapping[Setting, Mapping[str, Any]]) -> str:
    """The table, and what it comes to."""
    lines = [
        f"| n | entropies | clusters | seeds | {' | '.join(HEADS.values())} |",
        f"| --- | --- | --- | --- |{' --- |' * len(HEADS)}",
    ]
    values: dict[str, list[float]] = {name: [] for name in STATISTICS}
    for setting in settings():
        row = rows.get(setting)
        if row is None:
            continue
        cells = []
        for name in STATISTICS:
            printed = row["printed"][name]
            if 20 * printed < row["repetitions"]:
                cells.append("-")
                continue
            share = 100 * row["covered"][name] / printed
            values[name].append(share)
            part_of = "" if printed > 0.99 * row["repetitions"] else f" ({printed / row['repetitions']:.0%})"
            cells.append(f"{share:.1f}{part_of}")
        entropies = f"{setting.annotators} annotators" if setting.annotators else "no ties"
        lines.append(
            f"| {setting.n} | {entropies} | {setting.clusters} | {setting.seeds} | {' | '.join(cells)} |"
        )
    summary = [
        "",
        "| interval | settings where it is printed | lowest | mean | highest |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, own in values.items():
        if own:
            numbers = f"{min(own):.1f} | {np.mean(own):.1f} | {max(own):.1f}"
            summary.append(f"| {HEADS[name]} | {len(own)} | {numbers} |")
    count = f"{len(rows)} of {sum(1 for _ in settings())} settings are run."
    return OPENING.format(minutes=count) + "\n".join(lines + summary) + "\n"


def main() -> None:
    """Run what is missing, then write the page."""
    parser = argparse.ArgumentParser(description="How often intervals cover the truth.")
    parser.add_argument("--table", action="store_true", help="only write the page")
    parser.add_argument("--fresh", action="store_true", help="run every setting again")
    parser.add_argument(
        "--only", nargs="*", default=[], metavar="KEY=VALUE", help="settings, e.g. n=50 seeds=1"
    )
    given = parser.parse_args()
    if given.fresh:
        RESULTS.unlink(missing_ok=True)
    wanted = dict(one.split("=", 1) for one in given.only)
    done = recorded()
    for setting in settings():
        if given.table or setting in done or any(str(asdict(setting)[k]) != v for k, v in wanted.items()):
            continue
        row = run(setting)
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        shown = {k: row["covered"][k] / v for k, v in row["printed"].items() if v}
        print(setting, {name: f"{share:.1%}" for name, share in shown.items()}, flush=True)  # noqa: T201
    PAGE.write_text(page(recorded()), encoding="utf-8")


if __name__ == "__main__":
    main()
