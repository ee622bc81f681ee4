"""Tables of the gradient probe: norms and cosines of groups' mean gradients, and norms per example by group."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from scipy import stats

from dissensus.analysis.cell_tables import condition_columns
from dissensus.analysis.study_reading import StudyReader
from dissensus.config import RunSpec
from dissensus.curves import FloatArray
from dissensus.data.agreement import annotation_entropy
from dissensus.errors import StoreError
from dissensus.store.gradients import (
    GRADIENT_NORMS,
    GRADIENTS,
    ExampleGradientNorms,
    GroupGradients,
    load_gradient_norms,
    load_group_gradients,
)


def gradient_tables(reader: StudyReader) -> dict[str, pa.Table]:
    """The tables `gradients` and `gradient_norms` of a study's completed cells; each only where a cell has its file.

    `gradients`: a row per cell, point and pair of groups. `gradient_norms`: a row per cell, point and entropy class,
    with the tests of that point over all classes: Spearman's rho with annotation entropy (plug-in, bits), and
    Kruskal-Wallis' H over the classes with its p (no cluster correction). Standard deviations have the divisor n - 1.

    Raises:
        StoreError: a file is damaged, or is about other examples than the curves (the cell is named).
    """
    gradients: list[pa.Table] = []
    norms: list[pa.Table] = []
    for name in reader.folder.done:
        folder, spec = reader.folder.cell(name), reader.folder.planned[name].cell
        if (folder / GRADIENTS).is_file():
            gradients.append(pairs_table(spec, load_group_gradients(folder / GRADIENTS)))
        if (folder / GRADIENT_NORMS).is_file():
            stored, cell = load_gradient_norms(folder / GRADIENT_NORMS), reader.cell(name)
            if tuple(cell.ids.to_pylist()) != stored.ids:
                raise StoreError(
                    f"cell {name}: {GRADIENT_NORMS} is about other examples than the curves; delete the folder, run "
                    "again"
                )
            norms.append(norms_table(spec, stored, annotation_entropy(cell.counts)))
    tables = {"gradients": gradients, "gradient_norms": norms}
    return {name: pa.concat_tables(parts) for name, parts in tables.items() if parts}


def pairs_table(spec: RunSpec, gradients: GroupGradients) -> pa.Table:
    """A cell's part of `gradients`: a row per point and pair of groups; a single group is paired with itself."""
    rows: list[dict[str, Any]] = []
    norms = gradients.norms()
    count = len(gradients.groups)
    pairs = [(i, j) for i in range(count) for j in range(i + 1, count)] or [(0, 0)]
    for i, j in pairs:
        first, second = gradients.groups[i], gradients.groups[j]
        cosine = gradients.cosine(first, second)
        for at, step in enumerate(gradients.steps):
            rows.append(
                {
                    **_identity(spec),
                    "step": step,
                    "group": first,
                    "other": second,
                    "n": gradients.sizes[i],
                    "n_other": gradients.sizes[j],
                    "norm": float(norms[at, i]),
                    "norm_other": float(norms[at, j]),
                    "cosine": float(cosine[at]),
                }
            )
    return pa.Table.from_pylist(rows)


def norms_table(spec: RunSpec, norms: ExampleGradientNorms, entropy: FloatArray) -> pa.Table:
    """A cell's part of `gradient_norms`: a row per point and entropy class.

    Args:
        spec: the cell.
        norms: of its examples.
        entropy: annotation entropy of the same examples, bits, shape (n,).
    """
    rows: list[dict[str, Any]] = []
    groups = [name for name in ("settled", "middle", "contested") if (norms.groups == name).any()]
    for at, step in enumerate(norms.steps):
        values = norms.norms[at]
        known = np.isfinite(values) & np.isfinite(entropy)
        by_group = {name: values[(norms.groups == name) & np.isfinite(values)] for name in groups}
        tests = {
            "rho_entropy": _spearman(values[known], entropy[known]),
            **_kruskal_wallis([part for part in by_group.values() if len(part)]),
        }
        for name, part in by_group.items():
            rows.append(
                {
                    **_identity(spec),
                    "step": step,
                    "group": name,
                    "n": len(part),
                    "mean": float(part.mean()) if len(part) else float("nan"),
                    "sd": float(part.std(ddof=1)) if len(part) > 1 else float("nan"),
                    "median": float(np.median(part)) if len(part) else float("nan"),
                    **tests,
                }
            )
    return pa.Table.from_pylist(rows)


def _identity(spec: RunSpec) -> dict[str, Any]:
    return {"cell": spec.cell_id, **condition_columns(spec), "seed": spec.seed}


def _spearman(values: FloatArray, entropy: FloatArray) -> float:
    if len(values) < 3 or np.ptp(values) == 0 or np.ptp(entropy) == 0:
        return float("nan")
    return float(stats.spearmanr(values, entropy).statistic)


def _kruskal_wallis(parts: list[FloatArray]) -> dict[str, float]:
    if len(parts) < 2 or np.ptp(np.concatenate(parts)) == 0:
        return {"kruskal_h": float("nan"), "kruskal_p": float("nan")}
    found = stats.kruskal(*parts)
    return {"kruskal_h": float(found.statistic), "kruskal_p": float(found.pvalue)}
