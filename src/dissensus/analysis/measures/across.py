"""Measures across cells: concordance of learning orders, trend over ranks, noisy cells beside their base cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from dissensus.analysis.cell_tables import condition_columns
from dissensus.analysis.measures.cells import Row, identity_columns
from dissensus.analysis.reading import CellReading
from dissensus.config import RunSpec
from dissensus.curves import FloatArray
from dissensus.stats import spearman
from dissensus.stats.comparisons import paired_difference
from dissensus.stats.groups import CONTESTED, SETTLED
from dissensus.stats.over_seeds import concordance, pairwise_spearman, rank_trend

ALIKE = ("dataset", "model", "head", "regime")
"""Columns that adapters of several ranks share where they may be compared."""


@dataclass(frozen=True)
class KeptCell:
    """What measures across cells keep of one cell of n examples.

    Attributes:
        spec: what was run.
        base: of a variant, the cell that it is a variant of.
        ids: of the examples.
        entropy: bits, shape (n,).
        group: entropy group, shape (n,).
        aulc: nats, shape (n,).
        learning_point: number of the first tracking point below the study's `learned_loss`, shape (n,); None without.
    """

    spec: RunSpec
    base: RunSpec | None
    ids: tuple[str, ...]
    entropy: FloatArray
    group: NDArray[np.str_]
    aulc: FloatArray
    learning_point: FloatArray | None

    @classmethod
    def of(cls, cell: CellReading) -> KeptCell:
        """What is kept of a cell."""
        times = cell.learning_time
        return cls(
            cell.spec,
            cell.base,
            tuple(cell.ids.to_pylist()),
            cell.entropy,
            cell.group,
            cell.metrics.aulc,
            None if times is None else times.point,
        )


def concordance_rows(cells: Sequence[KeptCell]) -> list[Row]:
    """A row per condition with at least two seeds: Kendall's W of their learning times, and rho between every two.

    Examples are joined by id: those that all seeds track.
    """
    rows: list[Row] = []
    for seeds in _by(cells, "condition").values():
        times = _times_by_id(seeds)
        if times is None:
            continue
        result, pairs = concordance(times), pairwise_spearman(times)
        between = pairs[np.triu_indices(len(pairs), 1)]
        known = between[np.isfinite(between)]
        rows.append(
            {
                **condition_columns(seeds[0].spec),
                **{key.replace("p_value", "p_independent"): value for key, value in asdict(result).items()},
                "pair_rho_mean": float(known.mean()) if known.size else float("nan"),
                "pair_rho_min": float(known.min()) if known.size else float("nan"),
                "pair_rho_max": float(known.max()) if known.size else float("nan"),
            }
        )
    return rows


def rank_trend_rows(cells: Sequence[KeptCell]) -> list[Row]:
    """A row per data set, model and regime with three LoRA ranks or more: Spearman's rho over (rank, rho) pairs.

    For each seed by itself, then of the mean over seeds (`seed` is null). Variants are left out.
    """
    rows: list[Row] = []
    lora = [cell for cell in cells if cell.base is None and cell.spec.method.rank is not None]
    for alike in _by(lora, *ALIKE).values():
        values: dict[int | None, dict[int, list[float]]] = {}
        for cell in alike:
            rho = spearman(cell.entropy, cell.aulc).rho
            for seed in (cell.spec.seed, None):
                values.setdefault(seed, {}).setdefault(cell.spec.method.rank or 0, []).append(rho)
        for seed in (*sorted(seed for seed in values if seed is not None), None):
            ranks = sorted(values[seed])
            if len(ranks) < 3:
                continue
            trend = rank_trend(ranks, [float(np.mean(values[seed][rank])) for rank in ranks])
            rows.append(
                {
                    **{name: condition_columns(alike[0].spec)[name] for name in ALIKE},
                    "seed": seed,
                    "ranks": ", ".join(map(str, ranks)),
                    "trend_rho": trend.rho,
                    "trend_p": trend.p_value,
                    "n": trend.n,
                }
            )
    return rows


def paired_noise_rows(cells: Sequence[KeptCell]) -> list[Row]:
    """A row per cell with label noise and group: its AULC minus that of its base cell, example by example, by id.

    The cells are variants with `training.noise` whose base cell has none and is complete. Groups: all examples, and the
    settled and contested ones, as the base cell has them. Tests are one-sided, of a higher AULC with noise.
    """
    by_id = {cell.spec.cell_id: cell for cell in cells}
    rows: list[Row] = []
    for noisy in cells:
        noise, base = noisy.spec.training.noise, noisy.base
        plain = None if base is None else by_id.get(base.cell_id)
        if noise is None or plain is None or plain.spec.training.noise is not None:
            continue
        group_of = dict(zip(plain.ids, plain.group.tolist(), strict=True))
        for group in ("all", SETTLED, CONTESTED):
            ours, theirs = (
                np.array([group == "all" or group_of.get(i) == group for i in cell.ids], dtype=np.bool_)
                for cell in (noisy, plain)
            )
            pairs = paired_difference(
                [i for i, keep in zip(noisy.ids, ours, strict=True) if keep],
                noisy.aulc[ours],
                [i for i, keep in zip(plain.ids, theirs, strict=True) if keep],
                plain.aulc[theirs],
            )
            rows.append(
                {
                    **identity_columns(noisy.spec),
                    "base_cell": plain.spec.cell_id,
                    "noise": noise.kind,
                    "among": noise.among,
                    "rate": noise.rate,
                    "group": group,
                    "aulc_noisy": _mean(noisy.aulc[ours]),
                    "aulc_base": _mean(plain.aulc[theirs]),
                    **{
                        f"{key}_independent" if key.startswith("p_") else key: value
                        for key, value in asdict(pairs).items()
                    },
                }
            )
    return rows


def _times_by_id(seeds: Sequence[KeptCell]) -> FloatArray | None:
    """Learning times of the examples that all seeds have, shape (n, m); None for one seed, or without times."""
    columns = [
        dict(zip(cell.ids, cell.learning_point.tolist(), strict=True))
        for cell in seeds
        if cell.learning_point is not None
    ]
    if len(columns) < 2:
        return None
    common = [i for i in columns[0] if all(i in column for column in columns)]
    return np.array([[column[i] for column in columns] for i in common]).reshape(len(common), len(columns))


def _by(cells: Sequence[KeptCell], *names: str) -> dict[tuple[str, ...], list[KeptCell]]:
    groups: dict[tuple[str, ...], list[KeptCell]] = {}
    for cell in cells:
        columns = condition_columns(cell.spec)
        groups.setdefault(tuple(columns[name] for name in names), []).append(cell)
    return groups


def _mean(values: FloatArray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


ACROSS: Mapping[str, Callable[[Sequence[KeptCell]], list[Row]]] = {
    "concordance": concordance_rows,
    "rank_trend": rank_trend_rows,
    "paired_noise": paired_noise_rows,
}
"""Name of a measure that takes several cells -> its rows."""
