"""One completed cell's curves to tables: a row an example, one row for the cell, a row a group and tracking point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dissensus.analysis.cell_source import CellSource, InMemory, mean_known
from dissensus.analysis.clusters import Clusters
from dissensus.analysis.correlations import STANDARD_COVARIATES, correlation_columns
from dissensus.analysis.learning import SIDES, Sided, learned_columns
from dissensus.config import NO_VARIANT, AnalysisSpec, RunSpec
from dissensus.curves import Curves, FloatArray
from dissensus.data.agreement import annotation_entropy, gold_share
from dissensus.data.annotations import NO_GOLD
from dissensus.metrics.learning import Learning
from dissensus.seeds import named_generator
from dissensus.stats import (
    GroupCurve,
    entropy_groups,
    group_curves,
    mean_difference,
)
from dissensus.stats.groups import GROUPS

__all__ = ["STANDARD_COVARIATES", "CellTables", "analyze_cell"]


@dataclass(frozen=True)
class CellTables:
    """What one cell adds to the study's tables.

    Attributes:
        examples: a row an example.
        cell: the row of the cell.
        groups: a row a (group, tracking point).
    """

    examples: pa.Table
    cell: dict[str, Any]
    groups: pa.Table


@dataclass(frozen=True)
class _Bootstrap:
    """Options of every interval in one cell: of means, and of what is resampled, with a generator for each quantity."""

    cell: str
    settings: AnalysisSpec
    clusters: Clusters

    def options(self, quantity: str) -> dict[str, Any]:
        """Keyword options; the seed comes from the study's seed, the cell's id and the quantity, nothing else."""
        return {
            **self.means,
            "resamples": self.settings.resamples,
            "rng": named_generator(self.settings.seed, self.cell, quantity),
        }

    @property
    def means(self) -> dict[str, Any]:
        """Keyword options of what needs no resamples."""
        return {"confidence": self.settings.confidence, "clusters": self.clusters.labels}


@dataclass(frozen=True)
class _PerExample:
    """Values of the n examples of one cell.

    Attributes:
        entropy: bits, by the study's estimator.
        group: entropy group, '' where entropy is undefined.
        values: column name -> numbers, shape (n,); a column of the examples table each.
        unlearned: flag of un-learning.
        defined: whether un-learning is defined, and not withheld because the cell learned nothing.
        sided: the groups, split by whether most annotators back the gold label.
        learning: whether the cell learned.
        withheld: examples whose flag is withheld for that reason.
    """

    entropy: FloatArray
    group: NDArray[np.str_]
    values: Mapping[str, FloatArray]
    unlearned: NDArray[np.bool_]
    defined: NDArray[np.bool_]
    sided: Sided
    learning: Learning
    withheld: int


def analyze_cell(name: str, spec: RunSpec, curves: Curves | CellSource, settings: AnalysisSpec) -> CellTables:
    """Metrics, correlations and group curves of one cell.

    Args:
        name: the cell's id; stands in every row and in the seed of every bootstrap.
        spec: the cell's specification.
        curves: its completed curves, in memory or as a source of them.
        settings: the study's analysis settings.
    """
    identity = {"cell": name, **condition_columns(spec), "seed": spec.seed}
    source: CellSource = InMemory(curves, settings.clusters) if isinstance(curves, Curves) else curves
    boot = _Bootstrap(name, settings, source.clusters)
    per = _per_example(source, settings, boot)
    row = {
        **identity,
        "gold_source": "majority" if settings.gold == "majority" else gold_source(spec),
        "cluster_field": source.clusters.field,
        "cluster_reason": source.clusters.reason,
        **_sizes(source, per, boot),
        **correlation_columns(per.entropy, source.gold, per.values, settings.partial, boot.options),
        **_group_numbers(source, per, boot),
        **per.sided.columns(per.values["delta"], boot.means),
        **learned_columns(per.learning),
        **_undefined(per),
    }
    return CellTables(
        examples=_examples_table(identity, source, per),
        cell=row,
        groups=_groups_table(identity, source, per, boot),
    )


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


def gold_source(spec: RunSpec) -> str:
    """Where the tracked gold labels come from: 'original', 'majority', 'published' or 'simulated'.

    'original': the corpus' own label beside newer annotations (ChaosNLI); 'majority': of the annotations that
    also give the entropy; 'published': whatever label the data set publishes.
    """
    return spec.dataset.tracked.gold_from()


def _per_example(curves: CellSource, settings: AnalysisSpec, boot: _Bootstrap) -> _PerExample:
    entropy = annotation_entropy(curves.counts, estimator=settings.entropy)
    found = curves.metrics(settings.noise_floor)
    back, card, lost, edge = found.unlearning, found.cartography, found.forgetting, found.margin
    annotations = curves.counts.sum(axis=1)
    values = {
        "aulc": found.aulc,
        "aulc_relative": found.aulc_relative,
        "aulc_soft": found.aulc_soft,
        "delta": back.delta,
        "slope": back.slope,
        "rise": back.rise,
        "confidence": card.confidence,
        "variability": card.variability,
        "correctness": card.correctness,
        "forgetting_events": lost.events,
        "learned_step": lost.learned_step,
        "margin_mean": edge.mean,
        "margin_final": edge.final,
        "initial_loss": found.initial_loss,
        "final_loss": found.final_loss,
        "gold_share": gold_share(curves.counts, curves.gold),
        "annotations": annotations,
        **found.further,
        **dict(sorted(curves.covariates.items())),
    }
    groups = entropy_groups(entropy, share=settings.contested_share, cuts=settings.cuts)
    sided = Sided(curves, groups, boot.means)
    learning = sided.learning(found.initial_loss, found.final_loss)
    # Nothing is un-learned where nothing was learned.
    nothing = learning.learned == "no"
    return _PerExample(
        entropy=entropy,
        group=groups,
        values=values,
        unlearned=back.flag,
        defined=np.zeros_like(back.defined) if nothing else back.defined,
        sided=sided,
        learning=learning,
        withheld=int(back.defined.sum()) if nothing else 0,
    )


def _group_numbers(curves: CellSource, per: _PerExample, boot: _Bootstrap) -> dict[str, Any]:
    """Group sizes, mean losses at the start, the lowest point and the end, un-learned shares, mean changes."""
    row: dict[str, Any] = {}
    delta = per.values["delta"]
    changes = group_curves(delta[:, None], per.group, **boot.means)
    means = curves.means(per.group)
    nothing = np.full(len(curves.steps), np.nan)
    for group in GROUPS:
        member = per.group == group
        curve = means.get(group, nothing)
        known = curve[np.isfinite(curve)]
        has_start = curves.steps[0] == 0
        row[f"n_{group}"] = int(member.sum())
        row[f"loss_{group}_start"] = float(curve[0]) if has_start else float("nan")
        row[f"loss_{group}_lowest"] = float(known.min()) if known.size else float("nan")
        row[f"loss_{group}_end"] = float(curve[-1])
        defined = member & per.defined
        row[f"unlearned_{group}"] = float(per.unlearned[defined].mean()) if defined.any() else float("nan")
        change = changes.get(group)
        row[f"delta_{group}"] = float(change.mean[0]) if change else float("nan")
        row[f"delta_{group}_low"] = float(change.low[0]) if change else float("nan")
        row[f"delta_{group}_high"] = float(change.high[0]) if change else float("nan")
        row[f"delta_{group}_withheld"] = change.withheld if change else "no example"
    gap = mean_difference(delta, per.group, **boot.means)
    row["delta_difference"] = gap.difference
    row["delta_difference_low"], row["delta_difference_high"] = gap.low, gap.high
    row["delta_difference_p"], row["delta_difference_withheld"] = gap.p_value, gap.withheld
    return row


def _sizes(curves: CellSource, per: _PerExample, boot: _Bootstrap) -> dict[str, Any]:
    margins = curves.margins()
    has_gold = curves.gold != NO_GOLD
    asked = has_gold & (per.values["annotations"] > 0)
    top = curves.counts.max(axis=1, initial=0) == np.take_along_axis(
        curves.counts, np.maximum(curves.gold, 0)[:, None], axis=1
    )[:, 0]  # fmt: skip
    # An undefined margin is neither right nor wrong.
    right = mean_known(np.where(np.isnan(margins), np.nan, margins > 0))
    return {
        "n": len(curves),
        "clusters": boot.clusters.count(len(curves)),
        "tracking_points": len(curves.steps),
        "last_step": int(curves.steps[-1]),
        "total_steps": curves.total_steps,
        "accuracy_start": float(right[0]) if curves.steps[0] == 0 else float("nan"),
        "accuracy_end": float(right[-1]),
        "gold_is_majority": float(top[asked].mean()) if asked.any() else float("nan"),
    }


def _undefined(per: _PerExample) -> dict[str, int]:
    """How many examples have no value, for what the results rest on."""
    columns = {
        "entropy": per.entropy,
        **{
            name: per.values[name]
            for name in ("aulc", "aulc_relative", "aulc_soft", "delta", "slope", "gold_share")
        },
    }
    counted = {f"undefined_{name}": int((~np.isfinite(values)).sum()) for name, values in columns.items()}
    return {**counted, "withheld_unlearned": per.withheld}


def _examples_table(identity: Mapping[str, Any], curves: CellSource, per: _PerExample) -> pa.Table:
    n = len(curves)
    known = pa.array(curves.gold, mask=curves.gold == NO_GOLD)
    gold = pa.DictionaryArray.from_arrays(known.cast(pa.int32()), pa.array(curves.labels, pa.string()))
    # Regime stands per example here: a trained-on cell may hold examples that were left out of training.
    fixed = {k: pa.repeat(pa.scalar(v), n) for k, v in identity.items() if k != "regime"}
    columns = {
        **{k: a.dictionary_encode() if pa.types.is_string(a.type) else a for k, a in fixed.items()},
        "regime": curves.regime.dictionary_encode(),
        "id": curves.ids,
        "gold": gold.cast(pa.string()).dictionary_encode(),  # in the order in which they come
        "entropy": pa.array(annotation_entropy(curves.counts)),
        "entropy_estimate": pa.array(per.entropy),
        "group": pa.array(per.group, pa.string()).dictionary_encode(),
        "unlearned": pa.array(per.unlearned, mask=~per.defined),
        **{name: pa.array(values) for name, values in per.values.items()},
    }
    return pa.table(columns)


def _groups_table(
    identity: Mapping[str, Any], curves: CellSource, per: _PerExample, boot: _Bootstrap
) -> pa.Table:
    bands = curves.bands(per.group, boot.means)
    sides = per.sided.bands
    rows = [
        {
            "cell": identity["cell"],
            "condition": identity["condition"],
            "seed": identity["seed"],
            "group": name,
            "step": int(step),
            "progress": float(u),
            "mean": float(band.mean[t]),
            "low": float(band.low[t]),
            "high": float(band.high[t]),
            "n": int(band.finite[t]),
            "withheld": band.withheld if np.isnan(band.low[t]) else "",
            **{
                key: value
                for side in SIDES
                for key, value in _side(sides.get(f"{name} {side}"), side, t).items()
            },
        }
        for name, band in bands.items()
        for t, (step, u) in enumerate(zip(curves.steps, curves.progress, strict=True))
    ]
    return pa.Table.from_pylist(rows, schema=GROUPS_SCHEMA)


def _side(band: GroupCurve | None, side: str, point: int) -> dict[str, Any]:
    """Columns of one side of a group at one tracking point; NaN and 0 where it has no example."""
    if band is None:
        return {**{f"{end}_{side}": float("nan") for end in ("mean", "low", "high")}, f"n_{side}": 0}
    ends = {"mean": band.mean, "low": band.low, "high": band.high}
    return {
        **{f"{end}_{side}": float(values[point]) for end, values in ends.items()},
        f"n_{side}": int(band.finite[point]),
    }


GROUPS_SCHEMA = pa.schema(
    [(c, pa.string()) for c in ("cell", "condition")]
    + [("seed", pa.int64()), ("group", pa.string()), ("step", pa.int64())]
    + [(c, pa.float64()) for c in ("progress", "mean", "low", "high")]
    + [("n", pa.int64()), ("withheld", pa.string())]
    # The sides of a group are columns, not rows: a reader of the older table still finds one row a group and point.
    + [
        column
        for side in SIDES
        for column in (
            *((f"{c}_{side}", pa.float64()) for c in ("mean", "low", "high")),
            (f"n_{side}", pa.int64()),
        )
    ]
)
