"""Tables of one cell: a row per example, one row for the cell, a row per entropy group and tracking point."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from dissensus.analysis.correlations import STANDARD_COVARIATES, correlation_columns
from dissensus.analysis.group_tables import group_columns, groups_table, side_columns
from dissensus.analysis.reading import CellReading, mean_known
from dissensus.config import NO_VARIANT, RunSpec
from dissensus.curves import FloatArray
from dissensus.data.annotations import NO_GOLD
from dissensus.errors import SpecError
from dissensus.metrics.learning import Learning
from dissensus.seeds import named_generator
from dissensus.store.run_facts import RunFacts

__all__ = ["STANDARD_COVARIATES", "CellTables", "analyze_cell"]


@dataclass(frozen=True)
class CellTables:
    """What one cell adds to the study's tables.

    Attributes:
        examples: a row per example.
        cell: the row of the cell.
        groups: a row a (group, tracking point).
    """

    examples: pa.Table
    cell: dict[str, Any]
    groups: pa.Table


def analyze_cell(cell: CellReading) -> CellTables:
    """Metrics, correlations and group curves of one cell."""
    spec, settings = cell.spec, cell.settings
    identity = {"cell": cell.name, **condition_columns(spec), "seed": spec.seed}
    values = example_values(cell)

    def interval(quantity: str) -> dict[str, Any]:
        """Keyword options of an interval; its draws come from the study's seed, the cell's id and the quantity."""
        return {
            "confidence": settings.confidence,
            "clusters": cell.clusters.numbers,
            "resamples": settings.resamples,
            "rng": named_generator(settings.seed, cell.name, quantity),
        }

    row = {
        **identity,
        "gold_source": "majority" if settings.gold == "majority" else gold_source(spec, cell.facts),
        "cluster_field": cell.clusters.field,
        "cluster_reason": cell.clusters.reason,
        **_sizes(cell),
        **correlation_columns(cell.entropy, cell.gold, values, settings.partial, interval),
        **group_columns(cell),
        **side_columns(cell),
        **learned_columns(cell.learning),
        **_undefined(cell, values),
    }
    return CellTables(examples=_examples_table(identity, cell, values), cell=row, groups=groups_table(cell))


def example_values(cell: CellReading) -> dict[str, FloatArray]:
    """Column of the examples table -> numbers, shape (n,)."""
    metrics = cell.metrics
    values = {
        "aulc": metrics.aulc,
        "aulc_relative": metrics.aulc_relative,
        "aulc_soft": metrics.aulc_soft,
        "delta": metrics.unlearning.delta,
        "slope": metrics.unlearning.slope,
        "rise": metrics.unlearning.rise,
        "confidence": metrics.cartography.confidence,
        "variability": metrics.cartography.variability,
        "correctness": metrics.cartography.correctness,
        "forgetting_events": metrics.forgetting.events,
        "learned_step": metrics.forgetting.learned_step,
        "margin_mean": metrics.margin.mean,
        "margin_final": metrics.margin.final,
        "initial_loss": metrics.initial_loss,
        "final_loss": metrics.final_loss,
        "gold_share": cell.gold_share,
        "annotations": cell.annotations,
    }
    covariates = dict(sorted(cell.covariates.items()))
    _refuse_taken(metrics.further, (*values, *covariates))
    return {**values, **metrics.further, **covariates}


def condition_columns(spec: RunSpec) -> dict[str, str]:
    """The columns that name a condition."""
    return {
        "condition": spec.condition,
        "dataset": spec.dataset.name,
        "model": "-".join(
            part
            for part in (spec.model.name.replace("\\", "/").rstrip("/").rpartition("/")[2], spec.model.tag)
            if part
        ),
        "head": spec.model.head,
        "method": spec.method.label,
        "regime": spec.regime,
        "variant": spec.variant or NO_VARIANT,
    }


GOLD_SOURCES = ("original", "majority", "published", "simulated")


def gold_source(spec: RunSpec, facts: RunFacts) -> str:
    """Where the tracked gold labels come from: 'original', 'majority', 'published' or 'simulated'.

    'original': the corpus' own label beside newer annotations (ChaosNLI); 'majority': of the annotations that
    also give the entropy; 'published': whatever label the data set publishes.
    """
    stored = facts.gold_source  # of a package's source, whose code is not loaded here
    return stored if stored in GOLD_SOURCES else spec.dataset.tracked.gold_from()


def learned_columns(learning: Learning) -> dict[str, Any]:
    """The columns that say whether a cell learned, and from what numbers."""
    return {
        "learned": learning.learned,
        "learned_why": learning.why,
        "judged_on": learning.judged_on,
        "judged_n": learning.n,
        "judged_loss_start": learning.start,
        "judged_loss_lowest": learning.lowest,
        "judged_loss_end": learning.end,
        "constant_loss": learning.constant,
        "judged_accuracy_start": learning.accuracy_start,
        "judged_accuracy_end": learning.accuracy_end,
        "majority_share": learning.majority,
        "judged_recall_start": learning.recall_start,
        "judged_recall_end": learning.recall_end,
        "top_answer": learning.top_label,
        "top_answer_share": learning.top_share,
    }


def _sizes(cell: CellReading) -> dict[str, Any]:
    annotated = (cell.gold != NO_GOLD) & (cell.annotations > 0)
    top = cell.counts.max(axis=1, initial=0) == np.take_along_axis(
        cell.counts, np.maximum(cell.gold, 0)[:, None], axis=1
    )[:, 0]  # fmt: skip
    # An undefined margin is neither right nor wrong.
    right = mean_known(np.where(np.isnan(cell.margins), np.nan, cell.margins > 0))
    return {
        "n": len(cell),
        "clusters": cell.clusters.count(len(cell)),
        "tracking_points": len(cell.steps),
        "last_step": int(cell.steps[-1]),
        "total_steps": cell.total_steps,
        "accuracy_start": float(right[0]) if cell.measured_start else float("nan"),
        "accuracy_end": float(right[-1]),
        "gold_is_majority": float(top[annotated].mean()) if annotated.any() else float("nan"),
    }


def _undefined(cell: CellReading, values: Mapping[str, FloatArray]) -> dict[str, int]:
    """How many examples have no value, for what the results rest on, and no flag because the cell learned nothing."""
    names = ("aulc", "aulc_relative", "aulc_soft", "delta", "slope", "gold_share")
    columns = {"entropy": cell.entropy, **{name: values[name] for name in names}}
    counted = {f"undefined_{name}": int((~np.isfinite(column)).sum()) for name, column in columns.items()}
    withheld = int(cell.metrics.unlearning.defined.sum()) if cell.learned_nothing else 0
    return {**counted, "withheld_unlearned": withheld}


def _examples_table(
    identity: Mapping[str, Any], cell: CellReading, values: Mapping[str, FloatArray]
) -> pa.Table:
    n = len(cell)
    known = pa.array(cell.gold, mask=cell.gold == NO_GOLD)
    gold = pa.DictionaryArray.from_arrays(known.cast(pa.int32()), pa.array(cell.labels, pa.string()))
    # Regime stands per example here: a trained-on cell may hold examples that were left out of training.
    fixed = {k: pa.repeat(pa.scalar(v), n) for k, v in identity.items() if k != "regime"}
    columns = {
        **{k: a.dictionary_encode() if pa.types.is_string(a.type) else a for k, a in fixed.items()},
        "regime": cell.regime.dictionary_encode(),
        "id": cell.ids,
        "gold": gold.cast(pa.string()).dictionary_encode(),  # in the order in which they come
        "entropy": pa.array(cell.plugin_entropy),
        "entropy_estimate": pa.array(cell.entropy),
        "group": pa.array(cell.group, pa.string()).dictionary_encode(),
        "unlearned": pa.array(cell.unlearned, mask=~cell.flag_shown),
    }
    _refuse_taken(cell.metrics.further, columns)
    return pa.table(columns | {name: pa.array(column) for name, column in values.items()})


def _refuse_taken(further: Iterable[str], columns: Collection[str]) -> None:
    for name in further:
        if name in columns:
            raise SpecError(
                f"the metric {name!r} has the name of a column that the table of examples has already; its package "
                "must offer it by another name"
            )
