"""Correlations and changes of loss of a study's stored tables, computed anew from its examples.parquet.

    python results/recompute.py chaosnli-mini --data-dir DATA
    python results/recompute.py md-agreement

For studies whose curves are no longer stored: the examples table holds what correlations and changes of loss are made
of. It does so through `study.cell_correlations` and `stats`, as `dissensus analyze` does, from the same seeds.
ChaosNLI's premises, which make clusters, are not in the tables; they are read from the corpus by id. Rewrites cells and
conditions (.csv and .parquet) and summary.txt; what needs curves (mean losses, bands) is left as it was.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from dissensus.analysis.clusters import Clusters, cluster_by
from dissensus.analysis.condition_tables import CORRELATIONS
from dissensus.analysis.correlations import STANDARD_COVARIATES, correlation_columns
from dissensus.config import AnalysisSpec, StudySpec
from dissensus.seeds import named_generator
from dissensus.stats import group_curves, holm, mean_difference
from dissensus.stats.groups import GROUPS

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Rewrite one folder's tables."""
    parser = argparse.ArgumentParser(description="Compute correlations of stored tables anew.")
    parser.add_argument("study", choices=("chaosnli-mini", "md-agreement"))
    parser.add_argument("--data-dir", type=Path, help="where ChaosNLI is")
    given = parser.parse_args()
    folder = HERE / given.study
    study = StudySpec.from_yaml(folder / "study.yaml")
    examples = pq.read_table(folder / "examples.parquet")
    premises = premises_of(given.data_dir) if given.study == "chaosnli-mini" else {}
    cells = []
    for row in pq.read_table(folder / "cells.parquet").to_pylist():
        own = examples.filter(pc.equal(examples["cell"], row["cell"]))
        cells.append({**row, **columns_of(own, row["cell"], study.analysis, premises)})
    conditions = pq.read_table(folder / "conditions.parquet").to_pylist()
    by_name = {cell["condition"]: cell for cell in cells}  # one seed each
    assert len(by_name) == len(cells) == len(conditions)
    for row in conditions:
        cell = by_name[row["condition"]]
        row.update({key: cell[key] for key in cell if key not in ("cell", "seed")})
        for name in CORRELATIONS:
            row[f"{name}_min"] = row[f"{name}_max"] = cell[name]
    for name in CORRELATIONS:
        adjusted = holm(np.array([row[f"{name}_p"] for row in conditions]))
        for row, p in zip(conditions, adjusted.tolist(), strict=True):
            row[f"{name}_p_holm"] = p
    for name, rows in (("cells", cells), ("conditions", conditions)):
        table = pa.Table.from_pylist(rows)
        pq.write_table(table, folder / f"{name}.parquet", compression="zstd")
        pyarrow.csv.write_csv(table, folder / f"{name}.csv")
    (folder / "summary.txt").write_text(summary(conditions), encoding="utf-8")


def premises_of(data_dir: Path) -> dict[str, str]:
    """Id -> premise of ChaosNLI's SNLI and MultiNLI items."""
    found = {}
    for name in ("snli", "mnli_m"):
        with (data_dir / "chaosnli" / f"chaosNLI_{name}.jsonl").open(encoding="utf-8") as lines:
            for line in lines:
                item = json.loads(line)
                found[item["uid"]] = item["example"]["premise"]
    return found


def columns_of(own: pa.Table, cell: str, settings: AnalysisSpec, premises: dict[str, str]) -> dict[str, Any]:
    """What the examples of one cell say."""
    names = own["gold"].to_pylist()
    labels = sorted({name for name in names if name is not None})
    gold = np.array([labels.index(name) if name is not None else -1 for name in names], dtype=np.int64)
    ids = own["id"].to_pylist()
    clusters: Clusters = cluster_by(
        [(ids, [{"premise": premises[i], "hypothesis": ""} if premises else {"text": ""} for i in ids])]
    )
    means: dict[str, Any] = {"confidence": settings.confidence, "clusters": clusters.labels}

    def options(quantity: str) -> dict[str, Any]:
        rng = named_generator(settings.seed, cell, quantity)
        return {**means, "resamples": settings.resamples, "rng": rng}

    wanted = ("aulc", "slope", "gold_share", *STANDARD_COVARIATES)
    values = {c: own[c].to_numpy() for c in wanted if c in own.column_names and c != "gold"}
    row = correlation_columns(own["entropy"].to_numpy(), gold, values, settings.partial, options)
    row |= {
        "clusters": clusters.count(len(ids)),
        "cluster_field": clusters.field,
        "cluster_reason": clusters.reason,
    }
    delta, groups = own["delta"].to_numpy(), np.array(own["group"].to_pylist())
    changes = group_curves(delta[:, None], groups, **means)
    for group in GROUPS:
        change = changes[group]
        row[f"delta_{group}"] = float(change.mean[0])
        row[f"delta_{group}_low"], row[f"delta_{group}_high"] = float(change.low[0]), float(change.high[0])
        row[f"delta_{group}_withheld"] = change.withheld
    gap = mean_difference(delta, groups, **means)
    row |= {
        "delta_difference": gap.difference,
        "delta_difference_low": gap.low,
        "delta_difference_high": gap.high,
        "delta_difference_p": gap.p_value,
        "delta_difference_withheld": gap.withheld,
    }
    return row


def summary(conditions: list[dict[str, Any]]) -> str:
    """The main numbers as text."""
    head = (
        "condition",
        "n",
        "clusters",
        "rho(entropy, AULC)",
        "partial rho",
        "and gold share",
        "contested",
        "settled",
    )
    rows = [head]
    for row in conditions:
        rhos = [
            f"{row[m]:.2f} [{row[f'{m}_low']:.2f}, {row[f'{m}_high']:.2f}]"
            if np.isfinite(row[m])
            else "not defined"
            for m in ("rho", "partial", "partial_gold_share")
        ]
        losses = [
            f"{row[f'loss_{g}_start']:.2f} -> {row[f'loss_{g}_end']:.2f}" for g in ("contested", "settled")
        ]
        rows.append((row["condition"], str(round(row["n"])), str(round(row["clusters"])), *rhos, *losses))
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return "".join(
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() + "\n" for row in rows
    )


if __name__ == "__main__":
    main()
