"""A session on a stored run, as in a notebook on a laptop without torch: open curves, correlate, analyse, report.

Run by `test_without_torch.py` in a process in which the modelling libraries cannot be imported, and by hand in
an environment that was installed without extras: `python tests/session_without_torch.py FOLDER`. Prints what it
found as JSON.
"""

from __future__ import annotations

import importlib.abc
import json
import sys
from pathlib import Path

import numpy as np

MODELLING = ("torch", "transformers", "peft", "safetensors", "accelerate", "tokenizers")
LABELS = ("entailment", "neutral", "contradiction")
N, STEPS = 90, (0, 5, 10, 20)


class Refuse(importlib.abc.MetaPathFinder):
    """Answers every import of the modelling libraries as if they were not installed."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname.partition(".")[0] in MODELLING:
            raise ModuleNotFoundError(f"No module named {fullname!r} (refused by this test)", name=fullname)


def main(folder: Path) -> dict[str, object]:
    """Write a study with one cell of known curves, and read it back with everything that needs no torch."""
    from dissensus import (
        AnnotatedDataset,
        CurveRecorder,
        annotation_entropy,
        aulc,
        load_curves,
        partial_spearman,
    )
    from dissensus.analysis.tables import analyze
    from dissensus.config import StudySpec
    from dissensus.errors import MissingDependencyError
    from dissensus.report import write_report
    from dissensus.study.grid import expand

    rng = np.random.default_rng(0)
    counts = rng.multinomial(10, rng.dirichlet((1, 1, 1), size=N))
    rows = [
        {"id": f"e{i}", "text": f"text {i}", "gold": LABELS[i % 3], "counts": counts[i].tolist()}
        for i in range(N)
    ]
    dataset = AnnotatedDataset.from_records(rows, labels=LABELS, text=("text",), name="known")

    try:
        CurveRecorder(folder / "recorded", dataset, total_steps=20)
    except MissingDependencyError as error:
        refusal = str(error)
    else:
        refusal = "none: CurveRecorder was made without torch"

    simulated = {"source": "simulated", "size": N}
    study = StudySpec.parse(
        {
            "name": "known",
            "models": [{"name": "minilm-l6"}],
            "datasets": [{"name": "panel", "tracked": simulated, "train": {**simulated, "split": "train"}}],
            "methods": [{"name": "lora", "rank": 8, "learning_rate": 1e-3}],
            "analysis": {"resamples": 100},
        },
        "the test's study",
    )
    (spec,) = expand(study)
    cell = folder / "cells" / spec.cell_id
    _write_cell(cell, dataset, rng)
    (folder / "study.yaml").write_text(study.to_yaml(), encoding="utf-8")
    (cell / "spec.json").write_text(spec.model_dump_json(), encoding="utf-8")
    (cell / "status.json").write_text(json.dumps({"state": "done"}), encoding="utf-8")

    curves = load_curves(cell)
    entropy, area = annotation_entropy(curves.counts), aulc(curves)
    tables = analyze(folder)
    report = write_report(folder)
    return {
        "refusal": refusal,
        "largest_aulc_error": float(np.max(np.abs(area - (0.5 + entropy / 2)))),
        "partial_rho": partial_spearman(entropy, area, curves.covariates).rho,
        "rows": tables.examples.num_rows,
        "rho": tables.conditions["rho"].to_pylist(),
        "report": report.name,
        "report_opens_with": report.read_text(encoding="utf-8")[:15].lower(),
        "modelling_imported": sorted(set(MODELLING) & set(sys.modules)),
    }


def _write_cell(cell: Path, dataset: object, rng: np.random.Generator) -> None:
    """Curves whose gold loss is 0.5 + H u: its integral over u in [0, 1] is 0.5 + H / 2."""
    from dissensus import annotation_entropy
    from dissensus.store import CurvesWriter

    entropy, gold = annotation_entropy(dataset.counts), dataset.gold
    token_count = rng.integers(5, 40, size=N).astype(np.float64)
    writer = CurvesWriter(cell, dataset, total_steps=STEPS[-1], covariates={"token_count": token_count})
    for step in STEPS:
        p = np.exp(-(0.5 + entropy * step / STEPS[-1]))
        probs = np.repeat(((1 - p) / 2)[:, None], 3, axis=1)
        probs[np.arange(N), gold] = p
        writer.write(step, dataset.ids, np.log(probs).astype(np.float32))
    writer.finish()


if __name__ == "__main__":
    if "--refuse-modelling" in sys.argv:
        sys.meta_path.insert(0, Refuse())
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]))) + "\n")
