"""The analysis: metrics of large cells, and clustered bootstraps of rank correlations.

Everything is synthetic and seeded, for only the sizes matter here: curves whose losses fall and scatter, and one
condition's worth of ChaosNLI-sized columns. Making the data is not timed.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.analysis_peers import (
    by_function,
    by_group,
    long_table,
    pandas_module,
    scipy_partial,
    scipy_spearman,
    scipy_spearman_vectorized,
)
from benchmarks.result import Measurement, SuiteResult
from benchmarks.timing import Spread, interleave, speedup
from dissensus import threads
from dissensus.curves import Curves
from dissensus.data.agreement import annotation_entropy
from dissensus.errors import DissensusError
from dissensus.metrics import ExampleMetrics, aulc, example_metrics, unlearning
from dissensus.stats import partial_spearman, rank_correlations, spearman

FloatArray = NDArray[np.float64]
GIB = 2**30
EQUAL = 1e-9
"""The largest difference between our numbers and a peer's that still counts as the same answer."""


@dataclass(frozen=True)
class Sizes:
    """How much work.

    Attributes:
        points: tracking points of a curve.
        slice_examples: examples of the slice that pandas gets as well.
        cell_examples: examples of a full-size cell.
        cells: how many such cells.
        items: examples of a condition in the bootstrap.
        conditions: how many conditions.
        resamples: of each of them.
        peer_resamples: resamples of one condition where scipy runs as well.
    """

    points: int = 100
    slice_examples: int = 20_000
    cell_examples: int = 550_000
    cells: int = 25
    items: int = 3_113
    conditions: int = 25
    resamples: int = 10_000
    peer_resamples: int = 1_000


QUICK = Sizes(5, 40, 300, 2, 60, 2, 40, 20)


def run(*, rounds: int = 5, quick: bool = False) -> SuiteResult:
    """Run the suite.

    Args:
        rounds: how often each contender runs.
        quick: tiny sizes, which show that it works and nothing about speed.

    Raises:
        MissingDependencyError: pandas is not installed.
        DissensusError: a peer's answer is not ours.
    """
    sizes = QUICK if quick else Sizes()
    pandas_module()  # its absence is better told before the first minute of work than after it
    rows = (
        *metrics_beside_pandas(sizes, rounds),
        full_size_metrics(sizes, rounds),
        *bootstrap_beside_scipy(sizes, rounds),
        *full_size_bootstrap(sizes, rounds),
    )
    setting = {
        "threads": threads.available(),
        **{f"{name}": value for name, value in vars(sizes).items()},
        **{package: version(package) for package in ("numpy", "scipy", "pandas")},
    }
    return SuiteResult("analysis", setting, rows)


def metrics_beside_pandas(sizes: Sizes, rounds: int) -> tuple[Measurement, ...]:
    """The metrics of a slice, by us and by a pandas group-by."""
    curves = synthetic_curves(sizes.slice_examples, sizes.points, seed=0)
    table = long_table(curves)
    ours, theirs = example_metrics(curves), by_group(table)
    own = flat(ours)
    difference = max(_largest(own[name], theirs[name].to_numpy(np.float64)) for name in theirs)
    size = f"{sizes.slice_examples:,} examples x {sizes.points} points"
    columns = _beside(
        f"metrics of {size}",
        {"pandas group-by": lambda: by_group(table), "dissensus": lambda: example_metrics(curves)},
        rounds,
        target=20,
        facts={"max_difference": _same(difference, "a pandas group-by"), "columns": theirs.shape[1]},
        notes={
            "pandas group-by": "from log-probabilities, like ours; in columns of the whole table, no Python a group"
        },
    )
    own = {"aulc": ours.aulc, "slope": ours.unlearning.slope}
    slowly = by_function(table)
    difference = max(_largest(values, slowly[name].to_numpy()) for name, values in own.items())
    return columns + _beside(
        f"AULC and slope of {size}",
        {
            "pandas group-by, apply": lambda: by_function(table),
            "dissensus": lambda: (aulc(curves), unlearning(curves)),
        },
        rounds,
        target=20,
        facts={"max_difference": _same(difference, "a pandas group-by"), "columns": slowly.shape[1]},
        notes={"pandas group-by, apply": "a function of one example's rows, as it is mostly written"},
    )


def flat(metrics: ExampleMetrics) -> dict[str, FloatArray]:
    """Every array of the metrics by its own name."""
    groups = (metrics.cartography, metrics.forgetting, metrics.margin)
    plain = {name: v for name, v in vars(metrics).items() if isinstance(v, np.ndarray)}
    return {
        **plain,
        **metrics.unlearning.arrays(),
        **{k: v for group in groups for k, v in vars(group).items()},
    }


def full_size_metrics(sizes: Sizes, rounds: int) -> Measurement:
    """All metrics of full-size cells, in a process of its own, so that the memory is that of this work alone."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        seconds, peak = pool.submit(walk_cells, sizes, rounds).result()
    return Measurement(
        work=f"metrics of {sizes.cells} cells of {sizes.cell_examples:,} examples x {sizes.points} points",
        contender="dissensus",
        seconds=Spread(tuple(seconds)),
        facts={
            "limit_seconds": 60,
            "limit_gib": 4,
            "peak_rss_gib": round(peak / GIB, 3),
            "threads": threads.available(),
        },
        note="one cell's log-probabilities in memory at a time, the values of all cells kept; reading is not timed",
    )


def walk_cells(sizes: Sizes, rounds: int) -> tuple[list[float], int]:
    """Seconds for all cells in each round, and this process's peak memory in bytes."""
    curves = synthetic_curves(sizes.cell_examples, sizes.points, seed=1)
    seconds = []
    for _ in range(rounds):
        kept: list[ExampleMetrics] = []
        begin = time.perf_counter()
        for _ in range(sizes.cells):
            kept.append(example_metrics(curves))
        seconds.append(time.perf_counter() - begin)
    return seconds, peak_memory()


def bootstrap_beside_scipy(sizes: Sizes, rounds: int) -> tuple[Measurement, ...]:
    """One condition's intervals, by us and by `scipy.stats.bootstrap`; from one seed both make the same draws."""
    x, ys, covariates, clusters = synthetic_condition(sizes.items, 1)
    y, given = ys[0], covariates[0]
    options: dict[str, Any] = {"resamples": sizes.peer_resamples, "rng": 3}
    peer: dict[str, Any] = {"resamples": sizes.peer_resamples, "seed": 3}
    size = f"{sizes.peer_resamples:,} resamples of {sizes.items:,}"

    ours = spearman(x, y, **options)
    difference = max(
        _gap((ours.low, ours.high), scipy_spearman(x, y, **peer)),
        _gap((ours.low, ours.high), scipy_spearman_vectorized(x, y, **peer)),
    )
    plain = _beside(
        f"Spearman's rho, {size}",
        {
            "scipy.stats.bootstrap, spearmanr": lambda: scipy_spearman(x, y, **peer),
            "scipy.stats.bootstrap, vectorized": lambda: scipy_spearman_vectorized(x, y, **peer),
            "dissensus": lambda: spearman(x, y, **options),
            "dissensus, clustered": lambda: spearman(x, y, clusters=clusters, **options),
        },
        rounds,
        target=50,
        facts={"max_difference": _same(difference, "scipy.stats.bootstrap")},
        notes={"dissensus, clustered": "scipy has no clusters: other work, for comparison only"},
    )
    partial = partial_spearman(x, y, given, **options)
    difference = _gap((partial.low, partial.high), scipy_partial(x, y, given, **peer))
    both = _beside(
        f"rho and partial rho, {size}",
        {
            "scipy.stats.bootstrap, twice": lambda: (
                scipy_spearman(x, y, **peer),
                scipy_partial(x, y, given, **peer),
            ),
            "dissensus": lambda: rank_correlations(x, y, given, **options),
            "dissensus, clustered": lambda: rank_correlations(x, y, given, clusters=clusters, **options),
        },
        rounds,
        target=50,
        facts={"max_difference": _same(difference, "scipy.stats.bootstrap")},
        notes={
            "dissensus": "both from one set of draws",
            "dissensus, clustered": "scipy has no clusters: other work, for comparison only",
        },
    )
    alone = _beside(
        f"partial rho, {size}",
        {
            "scipy.stats.bootstrap, rankdata and inv": lambda: scipy_partial(x, y, given, **peer),
            "dissensus": lambda: partial_spearman(x, y, given, **options),
            "dissensus, clustered": lambda: partial_spearman(x, y, given, clusters=clusters, **options),
        },
        rounds,
        target=50,
        facts={"max_difference": _same(difference, "scipy.stats.bootstrap")},
        notes={"dissensus, clustered": "scipy has no clusters: other work, for comparison only"},
    )
    return (*plain, *alone, *both)


def full_size_bootstrap(sizes: Sizes, rounds: int) -> tuple[Measurement, ...]:
    """Clustered intervals of the plain and the partial correlation for every condition."""
    x, ys, covariates, clusters = synthetic_condition(sizes.items, sizes.conditions)
    options: dict[str, Any] = {"resamples": sizes.resamples, "clusters": clusters}

    def one_by_one() -> None:
        for number, (y, given) in enumerate(zip(ys, covariates, strict=True)):
            spearman(x, y, rng=2 * number, **options)
            partial_spearman(x, y, given, rng=2 * number + 1, **options)

    def together() -> None:
        for number, (y, given) in enumerate(zip(ys, covariates, strict=True)):
            rank_correlations(x, y, given, rng=number, **options)

    times = interleave({"one by one": one_by_one, "together": together}, rounds=rounds, warmup=0)
    notes = {
        "one by one": "each of the intervals draws its own resamples",
        "together": "each condition draws its own resamples, for both of its intervals",
    }
    return tuple(
        Measurement(
            work=(
                f"clustered bootstrap of rho and partial rho: {sizes.conditions} conditions of {sizes.items:,}, "
                f"{sizes.resamples:,} resamples each"
            ),
            contender=f"dissensus, {name}",
            seconds=seconds,
            facts={
                "limit_seconds": 30,
                "clusters": len(np.unique(clusters)),
                "covariates": len(covariates[0]),
                "threads": threads.available(),
            },
            note=notes[name],
        )
        for name, seconds in times.items()
    )


def synthetic_curves(n: int, points: int, *, seed: int) -> Curves:
    """n curves over three labels whose gold label grows likelier, made block by block so that memory stays small."""
    rng = np.random.default_rng(seed)
    gold, counts = rng.integers(0, 3, n), rng.multinomial(5, [0.6, 0.3, 0.1], n).astype(np.float64)
    log_probs = np.empty((n, points, 3), dtype=np.float32)
    trend = np.linspace(0, 2, points, dtype=np.float32)
    for start in range(0, n, 10_000):
        block = log_probs[start : start + 10_000]
        rows = np.arange(len(block))
        rng.standard_normal(block.shape, dtype=np.float32, out=block)
        block[rows, :, gold[start : start + 10_000]] += trend
        block -= np.log(np.exp(block).sum(axis=2, keepdims=True))
    return Curves(
        ids=tuple(f"e{i}" for i in range(n)),
        labels=("entailment", "neutral", "contradiction"),
        steps=np.arange(points) * 50,
        total_steps=max(1, (points - 1) * 50),
        log_probs=log_probs,
        gold=gold,
        counts=counts,
        regime=np.full(n, "held_out"),
    )


def synthetic_condition(
    n: int, conditions: int
) -> tuple[FloatArray, list[FloatArray], list[dict[str, FloatArray]], NDArray[np.int64]]:
    """Entropies of 100 annotations, and for each condition AULCs and covariates; clusters of one or more premises."""
    rng = np.random.default_rng(2)
    counts = [rng.multinomial(100, p) for p in rng.dirichlet([0.7, 0.7, 0.7], n)]
    entropy = annotation_entropy(np.array(counts))
    pair = {
        "token_count": rng.integers(8, 60, n).astype(np.float64),
        "lexical_overlap": rng.integers(0, 12, n) / rng.integers(12, 20, n),
        "gold": rng.integers(0, 3, n).astype(np.float64),
    }
    areas = [0.3 * entropy + rng.gamma(2.0, 0.3, n) for _ in range(conditions)]
    covariates = [{**pair, "initial_loss": rng.normal(1.1, 0.1, n)} for _ in range(conditions)]
    return entropy, areas, covariates, rng.integers(0, max(1, 7 * n // 10), n)


def peak_memory() -> int:
    """The most memory that this process held at a time, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # A process that was started by another inherits that one's peak in `getrusage`, but not in this file.
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource  # here, because only Unix has it

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _beside(
    work: str,
    contenders: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    target: float,
    facts: Mapping[str, float],
    notes: Mapping[str, str],
) -> tuple[Measurement, ...]:
    """Rows for one piece of work; the first contender is the reference, the ones named dissensus have the target."""
    times = interleave(contenders, rounds=rounds)
    reference = next(iter(contenders))
    return tuple(
        Measurement(
            work=work,
            contender=name,
            seconds=seconds,
            speedup=None if name == reference else speedup(times[reference], seconds),
            reference=None if name == reference else reference,
            target=target if name == "dissensus" else None,
            facts=dict(facts) if name == "dissensus" else {},
            note=notes.get(name, ""),
        )
        for name, seconds in times.items()
    )


def _largest(ours: FloatArray, theirs: FloatArray) -> float:
    """The largest difference; infinite where one is NaN and the other is not."""
    if not np.array_equal(np.isnan(ours), np.isnan(theirs)):
        return float("inf")
    return float(np.nanmax(np.abs(ours - theirs), initial=0.0))


def _gap(ours: tuple[float, float], theirs: tuple[float, float]) -> float:
    return max(abs(a - b) for a, b in zip(ours, theirs, strict=True))


def _same(difference: float, peer: str) -> float:
    if not difference <= EQUAL:
        raise DissensusError(
            f"our numbers differ from those of {peer} by {difference}; expected {EQUAL} at most"
        )
    return difference
