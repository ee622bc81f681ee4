"""Curves at size: a store of millions of examples written, opened, walked by the metrics and asked for statistics.

Every stage runs in a process of its own, so that its peak memory is its own. The data are synthetic and seeded:
examples that are learned sooner or later, three labels, five annotators. Making them is not timed. From what was
measured, the figures for 5 million examples at 200 points follow in proportion, and are called extrapolated.

    python -m benchmarks.size --examples 5000000 --points 200 --resamples 10 --folder /somewhere/with/15/GB
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from benchmarks.analysis import peak_memory
from benchmarks.result import Measurement, SuiteResult, Value
from benchmarks.timing import Spread
from dissensus import threads
from dissensus.analysis.cell_tables import analyze_cell
from dissensus.analysis.example_rows import ExampleRows
from dissensus.analysis.reading import CellReading
from dissensus.config import AnalysisSpec, RunSpec
from dissensus.curves import FloatArray
from dissensus.errors import DissensusError
from dissensus.metrics import example_metrics
from dissensus.metrics.aulc import aulc
from dissensus.stats import entropy_groups, partial_spearman, spearman, stored_group_curves
from dissensus.store import CurvesWriter, ExampleColumns, open_curves

GIB = 2**30
LABELS = ("entailment", "neutral", "contradiction")
AIM = (5_000_000, 200)
"""Examples and points of the set that the figures are extrapolated to."""
STORAGE, COMPUTE = 0.023, 0.04
"""Assumed prices, US dollars: a GB in object storage for a month, and a core for an hour. Put your own in place."""


@dataclass(frozen=True)
class Sizes:
    """How much work.

    Attributes:
        examples: tracked examples.
        points: tracking points.
        resamples: of each correlation's bootstrap.
    """

    examples: int = 250_000
    points: int = 200
    resamples: int = 10

    @property
    def nbytes(self) -> int:
        """Bytes of the log-probabilities, in memory."""
        return 4 * self.examples * self.points * len(LABELS)


QUICK = Sizes(2_000, 6, 4)


def run(
    *,
    rounds: int = 1,
    quick: bool = False,
    sizes: Sizes | None = None,
    folder: Path | None = None,
    said: Callable[[str], None] = lambda _line: None,
) -> SuiteResult:
    """Run the suite.

    Args:
        rounds: how often the store is opened and walked; it is written once.
        quick: tiny sizes, which show that it works and nothing about speed.
        sizes: how much work; a laptop does the default in a minute or two.
        folder: where the store goes (a folder below it, deleted in the end); default: the system's temporary folder.
        said: is told of each stage as it ends.

    Raises:
        DissensusError: the walk gave other numbers than the curves in memory (looked at on the first 2,000 examples).
        StoreError: there is no room for the store.
    """
    sizes = sizes or (QUICK if quick else Sizes())
    place = Path(tempfile.mkdtemp(prefix="dissensus-size-", dir=folder))
    try:
        _room(place, sizes)
        rows = []
        for stage, times in STAGES.items():
            seconds: list[float] = []
            facts: dict[str, Value] = {}
            for _ in range(rounds if times else 1):
                with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                    taken, facts = pool.submit(_staged, stage, place / "store", sizes).result()
                seconds.append(taken)
            rows.append(_row(stage, tuple(seconds), facts, sizes))
            said(f"{stage}: {seconds[-1]:.1f} s, {facts}")
    finally:
        shutil.rmtree(place, ignore_errors=True)
    setting: dict[str, Value] = {
        "examples": sizes.examples,
        "points": sizes.points,
        "labels": len(LABELS),
        "resamples": sizes.resamples,
        "raw_gb": round(sizes.nbytes / 1e9, 3),
        "threads": threads.available(),
        "extrapolated_to": f"{AIM[0]:,} examples x {AIM[1]} points",
        "assumed_dollars_gb_month": STORAGE,
        "assumed_dollars_core_hour": COMPUTE,
        **{package: version(package) for package in ("numpy", "scipy", "pyarrow")},
    }
    return SuiteResult("size", setting, tuple(rows))


class Clock:
    """Seconds by the wall and of processors, all threads together, inside `with clock:` blocks."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def __enter__(self) -> None:
        self._begin = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        self.wall += time.perf_counter() - self._begin[0]
        self.cpu += time.process_time() - self._begin[1]


def write(folder: Path, sizes: Sizes, clock: Clock) -> dict[str, Value]:
    """Write the store; the writing alone is timed."""
    rng = np.random.default_rng(0)
    columns, covariates, ease = synthetic_examples(sizes.examples, rng)
    with clock:
        steps = max(1, (sizes.points - 1) * 50)
        writer = CurvesWriter(folder, columns, total_steps=steps, covariates=covariates)
    for point in range(sizes.points):
        log_probs = synthetic_point(columns.gold, ease, point / max(1, sizes.points - 1), rng)
        with clock:
            writer.write(point * 50, None, log_probs)
    with clock:
        writer.finish()
    size = sum(path.stat().st_size for path in (folder / "curves").iterdir())
    return {
        "mb_per_s": _round(sizes.nbytes / clock.wall / 1e6),
        "bytes_per_million_example_points": round(size / (sizes.examples * sizes.points) * 1e6),
        "curves_gb": _round(size / 1e9),
        "examples_gb": _round((folder / "examples.parquet").stat().st_size / 1e9),
    }


def opened(folder: Path, sizes: Sizes, clock: Clock) -> dict[str, Value]:
    """Open it and look at nothing but footers."""
    with clock:
        open_curves(folder, verify=False)
    return {"files": sizes.points + 1}


def verified(folder: Path, sizes: Sizes, clock: Clock) -> dict[str, Value]:
    """Open it with every checksum."""
    with clock:
        open_curves(folder)
    return {"mb_per_s": _round(sizes.nbytes / clock.wall / 1e6)}


def walked(folder: Path, sizes: Sizes, clock: Clock) -> dict[str, Value]:
    """All metrics of all examples; the first ones are held against the same in memory."""
    stored = open_curves(folder, verify=False)
    with clock:
        found = example_metrics(stored)
    few = stored.read(0, min(2_000, len(stored)))
    own = example_metrics(few)
    for ours, theirs in ((found.aulc, own.aulc), (found.unlearning.slope, own.unlearning.slope)):
        if not np.array_equal(ours[: len(few)], theirs, equal_nan=True):
            raise DissensusError("the walk through the store gave other numbers than the curves in memory")
    return {"mb_per_s": _round(sizes.nbytes / clock.wall / 1e6)}


def grouped(folder: Path, _sizes: Sizes, clock: Clock) -> dict[str, Value]:
    """Entropy groups and their mean curves with bands."""
    stored = open_curves(folder, verify=False)
    with clock:
        groups = entropy_groups(stored.column("entropy").to_numpy())
        curves = stored_group_curves(stored, groups)
    return {f"{name}_end": _round(float(curve.mean[-1])) for name, curve in curves.items()}


def correlated(folder: Path, sizes: Sizes, clock: Clock) -> dict[str, Value]:
    """Spearman's rho and the partial one, with intervals; AULC is computed before and not timed."""
    stored = open_curves(folder, verify=False)
    area = aulc(stored)
    entropy = stored.column("entropy").to_numpy()
    covariates = {name: stored.column(name).to_numpy() for name in stored.covariates}
    covariates["gold"] = stored.column("gold").to_numpy().astype(np.float64)
    with clock:
        plain = spearman(entropy, area, resamples=sizes.resamples, rng=0)
    first = clock.wall
    with clock:
        partial = partial_spearman(entropy, area, covariates, resamples=sizes.resamples, rng=0)
    return {
        "rho": _round(plain.rho),
        "partial": _round(partial.rho),
        "rho_seconds": _round(first),
        "partial_seconds": _round(clock.wall - first),
    }


def analysed(folder: Path, sizes: Sizes, clock: Clock) -> dict[str, Value]:
    """All tables of a cell, as `dissensus analyze` makes them of one that is streamed, and the examples on the disk."""
    spec = RunSpec.parse(
        {
            "dataset": {"name": "made", "tracked": {"source": "simulated", "size": 3}},
            "model": {"name": "none"},
            "method": {"name": "full", "learning_rate": 1e-4},
            "regime": "trained_on",
        },
        "the benchmark",
    )
    settings = AnalysisSpec().model_copy(update={"resamples": sizes.resamples})
    with clock:
        tables = analyze_cell(CellReading(spec, open_curves(folder, verify=False), settings))
        with ExampleRows(folder.parent, limit=0) as rows:
            rows.add(tables.examples)
            rows.write(folder.parent / "rows.parquet")
    made = (folder.parent / "rows.parquet").stat().st_size
    return {"columns": tables.examples.num_columns, "table_gb": _round(made / 1e9)}


STAGES: dict[str, bool] = {
    "write": False,
    "open": True,
    "open, every checksum": True,
    "all metrics of every example": True,
    "entropy groups, mean curves with bands": True,
    "rho and partial rho with intervals": True,
    "all tables of a cell": False,
}
"""Stages in their order, and whether more rounds repeat them."""
_WORK: dict[str, Callable[[Path, Sizes, Clock], dict[str, Value]]] = dict(
    zip(STAGES, (write, opened, verified, walked, grouped, correlated, analysed), strict=True)
)


def _staged(stage: str, folder: Path, sizes: Sizes) -> tuple[float, dict[str, Value]]:
    clock = Clock()
    facts = _WORK[stage](folder, sizes, clock)
    return clock.wall, {
        **facts,
        "cpu_seconds": _round(clock.cpu),
        "peak_rss_gib": round(peak_memory() / GIB, 3),
    }


def _row(stage: str, seconds: tuple[float, ...], facts: dict[str, Value], sizes: Sizes) -> Measurement:
    """The figures of a stage, per million examples and extrapolated in proportion."""
    spread = Spread(seconds)
    # The bootstrap does not see the points; everything else reads them all. (Of the tables both is true.)
    points = 1.0 if stage.startswith("rho") else AIM[1] / sizes.points
    million = points / sizes.examples * 1e6
    processors = facts["cpu_seconds"]
    assert isinstance(processors, float)
    derived: dict[str, Value] = {
        "seconds_per_million_examples_at_200": _round(spread.median * million),
        "cpu_seconds_per_million_examples_at_200": _round(processors * million),
        "dollars_per_million_examples_at_200": _round(processors * million / 3600 * COMPUTE),
        "extrapolated_seconds": _round(spread.median * million * AIM[0] / 1e6),
    }
    if stage == "write":
        each = facts["bytes_per_million_example_points"]
        assert isinstance(each, int)
        gb = each * AIM[1] / 1e9
        derived |= {
            "gb_per_million_examples_at_200": _round(gb),
            "extrapolated_gb": _round(gb * AIM[0] / 1e6),
            "dollars_month_per_million_examples_at_200": _round(gb * STORAGE),
        }
    work = f"{stage}: {sizes.examples:,} examples x {sizes.points} points"
    return Measurement(work=work, contender="dissensus", seconds=spread, facts={**facts, **derived})


def synthetic_examples(
    n: int, rng: np.random.Generator
) -> tuple[ExampleColumns, dict[str, FloatArray], NDArray[np.float32]]:
    """n examples as columns, their covariates, and how easily each is learned, shape (n,), in [0, 1]."""
    ease = rng.random(n, dtype=np.float32)
    gold = rng.integers(0, 3, n)
    votes = rng.binomial(5, 0.45 + 0.5 * ease.astype(np.float64))
    second = rng.binomial(5 - votes, 0.7)
    counts = np.zeros((n, 3))
    rows = np.arange(n)
    counts[rows, gold], counts[rows, (gold + 1) % 3], counts[rows, (gold + 2) % 3] = (
        votes,
        second,
        5 - votes - second,
    )
    ids = pc.binary_join_element_wise("e", pa.array(rows).cast(pa.string()), "")
    covariates = {
        "token_count": rng.integers(8, 60, n).astype(np.float64),
        "lexical_overlap": rng.integers(0, 12, n) / rng.integers(12, 20, n),
    }
    return ExampleColumns.from_arrays(ids, labels=LABELS, gold=gold, counts=counts), covariates, ease


def synthetic_point(
    gold: NDArray[np.int64], ease: NDArray[np.float32], progress: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Log-probabilities at one point, shape (n, 3): the gold label gains with progress, the easier the more."""
    log_probs = rng.standard_normal((len(gold), 3), dtype=np.float32)
    log_probs *= np.float32(0.6)
    log_probs[np.arange(len(gold)), gold] += np.float32(4 * progress) * ease
    for begin in range(0, len(gold), 65_536):
        block = log_probs[begin : begin + 65_536]
        block -= np.log(np.exp(block).sum(axis=1, keepdims=True))
    return log_probs


def _room(folder: Path, sizes: Sizes) -> None:
    free, needed = shutil.disk_usage(folder).free, 1.1 * sizes.nbytes + 100 * sizes.examples
    if free < needed:
        raise DissensusError(
            f"{folder} has {free / 1e9:.1f} GB free, and this size needs {needed / 1e9:.1f}; choose another folder, or "
            "fewer examples or points"
        )


def _round(value: float) -> float:
    return float(f"{value:.4g}")


def main(arguments: list[str] | None = None) -> None:
    """The command of this module, for sizes of one's own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.size", description="Time curves at size.")
    default = Sizes()
    parser.add_argument("--examples", type=int, default=default.examples)
    parser.add_argument("--points", type=int, default=default.points)
    parser.add_argument("--resamples", type=int, default=default.resamples)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=None, help="where the store goes while this runs")
    parser.add_argument("--out", type=Path, default=None, help="a JSON file for the figures")
    given = parser.parse_args(arguments)
    result = run(
        rounds=given.rounds,
        sizes=Sizes(given.examples, given.points, given.resamples),
        folder=given.folder,
        said=lambda line: (sys.stderr.write(line + "\n"), None)[1],
    )
    content: dict[str, Any] = result.to_json()
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    if given.out is None:
        sys.stdout.write(text)
    else:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
