"""The suites by name."""

from __future__ import annotations

from pathlib import Path

from benchmarks.result import SuiteResult
from dissensus.errors import MissingDependencyError, SpecError


def run_suite(
    name: str,
    *,
    model: str = "minilm-l6",
    rounds: int = 5,
    device: str | None = None,
    threads: int | None = None,
    data_dir: Path | None = None,
) -> SuiteResult:
    """Run one suite.

    Args:
        name: 'tracking', 'train', 'grid', 'analysis' or 'size'.
        model: which model trains and tracks.
        rounds: times each contender runs.
        device: torch device of training and tracking.
        threads: torch threads of 'tracking' and 'train'; the grid's workers share the cores by themselves.
        data_dir: where real items are looked up first.

    Raises:
        SpecError: no such suite.
        MissingDependencyError: the suite needs an extra that is not installed.
    """
    if name == "analysis":
        from benchmarks import analysis

        return analysis.run(rounds=rounds)
    if name == "size":
        from benchmarks import size

        return (
            size.run()
        )  # a minute of it is enough to extrapolate from; `python -m benchmarks.size` has options
    try:
        import torch
    except ImportError:
        raise MissingDependencyError("torch", "train", f"the suite {name!r}") from None
    from benchmarks import grid, tracking, train

    suites = {"tracking": tracking.run, "train": train.run, "grid": grid.run}
    if name not in suites:
        raise SpecError(f"unknown suite {name!r}; expected one of {', '.join([*suites, 'analysis', 'size'])}")
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        return suites[name](model=model, rounds=rounds, device=device, data_dir=data_dir)
    finally:
        torch.set_num_threads(before)
