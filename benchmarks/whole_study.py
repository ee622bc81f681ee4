"""Seconds that `analyze`, `claims` and `report` take for a whole study of 77 cells: `python -m benchmarks.whole_study`.

The study is synthetic: 2 data sets of 1,500 items with 100 annotators each, 20 tracking points, 3 seeds, an encoder
with four methods and a decoder-only model with one, in both regimes, and variants (learning rates, denser tracking,
label noise). With `--against SRC` another version of the package runs in turn with this one, in processes of its own;
what is compared is the user time of each process on one core, which other load on the machine changes a little: it
shares the caches.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from dissensus.cli.output import say
from dissensus.config import RunSpec, StudySpec
from dissensus.curves import Curves
from dissensus.data.noise import NoisyLabels, save_noise
from dissensus.exchange.imported import write_store
from dissensus.study.grid import expand

LABELS = ("entailment", "neutral", "contradiction")
COMMANDS = ("analyze", "claims", "report")
_RATES = {"lora": 1e-3, "full": 5e-5, "ia3": 5e-3}


def study() -> StudySpec:
    """77 cells: 48 of an encoder, 12 of a decoder-only model, 17 variants."""
    encoder, first = {"model": "minilm-l6", "dataset": "first"}, ["lora-r8", "full", "ia3"]
    rates = [
        {
            "name": f"rate-{name}-{method.partition('-')[0]}",
            "when": {**encoder, "method": method, "seed": 0},
            "set": {"method": {"learning_rate": factor * _RATES[method.partition("-")[0]]}},
        }
        for name, factor in (("high", 2.0), ("low", 0.5))
        for method in first
    ]
    return StudySpec.parse(
        {
            "name": "whole-study",
            "models": [{"name": "minilm-l6"}, {"name": "smollm2-135m"}],
            "datasets": [
                {
                    "name": name,
                    "tracked": {"source": "simulated", "size": 1500, "seed": place},
                    "train": {"source": "simulated", "size": 3000, "seed": 10 + place},
                    "train_size": 2000,
                }
                for place, name in enumerate(("first", "second"))
            ],
            "methods": [
                {"name": "lora", "rank": 8, "learning_rate": _RATES["lora"]},
                {"name": "lora", "rank": 32, "learning_rate": _RATES["lora"]},
                {"name": "full", "learning_rate": _RATES["full"]},
                {"name": "ia3", "learning_rate": _RATES["ia3"]},
            ],
            "regimes": ["held_out", "trained_on"],
            "seeds": [0, 1, 2],
            "exclude": [{"model": "smollm2-135m", "method": ["lora-r32", "full", "ia3"]}],
            "variants": [
                *rates,
                {
                    "name": "dense",
                    "when": {**encoder, "method": "lora-r8", "seed": 0},
                    "set": {"tracking": {"points": 40}},
                },
                {
                    "name": "noise",
                    "when": {**encoder, "method": "lora-r8", "regime": "trained_on"},
                    "set": {"training": {"noise": {"kind": "uniform", "rate": 0.2}}},
                },
            ],
        },
        "the benchmark's study",
    )


def write_study(
    folder: Path,
    *,
    items: int = 1500,
    points: int = 20,
    most: int | None = None,
    spec: StudySpec | None = None,
    longer: str = "",
) -> int:
    """Write the study's folder with curves in every cell (the first `most` of them); how many cells there are.

    `spec`: another study; `longer`: what every text ends with.
    """
    spec = spec or study()
    folder.mkdir(parents=True)
    (folder / "study.yaml").write_text(spec.to_yaml(), encoding="utf-8")
    cells = expand(spec)[:most]
    for number, cell in enumerate(cells):
        _write_cell(folder / "cells" / cell.cell_id, cell, number, items, points, longer)
    return len(cells)


def _write_cell(folder: Path, cell: RunSpec, number: int, items: int, points: int, longer: str) -> None:
    panel = np.random.default_rng([cell.dataset.name == "first", items])
    score = panel.standard_normal(items)
    behind = 1 - 0.62 / (1 + np.exp(-1.7 * score))
    rest = (1 - behind)[:, None] * panel.dirichlet((2.0, 1.0), size=items)
    counts = panel.multinomial(100, np.column_stack([behind, rest])).astype(np.float64)
    turn = panel.integers(0, 3, size=items)
    counts = np.take_along_axis(counts, (np.arange(3) - turn[:, None]) % 3, axis=1)
    gold = np.where(panel.random(items) < 0.1, (turn + 1) % 3, turn)
    premise = panel.standard_normal(items)[np.arange(items) // 2]
    rng = np.random.default_rng([number, 1])
    steps = np.linspace(0, 400, 40 if cell.variant == "dense" else points).round().astype(np.int64)
    u = steps / 400
    losses = (
        1.1
        - 0.8 * (1 - np.exp(-3 * u))
        + (0.5 * np.maximum(score, 0)[:, None] + 0.3 * premise[:, None]) * u
        + 0.3 * rng.standard_normal((items, 1)) * u
        + 0.05 * rng.standard_normal((items, len(u)))
    )
    p = np.exp(-np.maximum(losses, 0.02))
    given, flipped = gold, np.zeros(items, dtype=np.bool_)
    if cell.training.noise is not None:
        flipped = rng.random(items) < cell.training.noise.rate
        given = np.where(flipped, (gold + 1) % 3, gold)
    log_probs = np.repeat(np.log((1 - p) / 2)[:, :, None], 3, axis=2)
    np.put_along_axis(log_probs, given[:, None, None], np.log(p)[:, :, None], axis=2)
    folder.parent.mkdir(exist_ok=True)
    write_store(
        Curves(
            ids=tuple(f"item-{i:05d}" for i in range(items)),
            labels=LABELS,
            steps=steps,
            total_steps=400,
            log_probs=log_probs.astype(np.float32),
            gold=gold,
            counts=counts,
            regime=np.full(items, cell.regime),
            covariates={
                "token_count": panel.integers(10, 40, items).astype(np.float64),
                "lexical_overlap": panel.random(size=items),
            },
            text=tuple(
                {
                    "premise": f"Something is seen, for the {i // 2}th time.",
                    "hypothesis": f"It is thing {i}.{longer}",
                }
                for i in range(items)
            ),
            provenance={"prompt": "{premise} {hypothesis}" if "smollm" in cell.model.name else None},
        ),
        folder,
    )
    text = json.dumps(cell.model_dump(mode="json"), indent=1, sort_keys=True) + "\n"
    (folder / "spec.json").write_text(text, encoding="utf-8")
    (folder / "status.json").write_text('{"state": "done"}', encoding="utf-8")
    if cell.training.noise is not None:
        save_noise(
            folder / "noise.parquet",
            [f"item-{i:05d}" for i in range(items)],
            gold,
            NoisyLabels(given, flipped),
        )


def _on_one_core() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def user_seconds(source: Path | None, command: str, folder: Path) -> float:
    """User time of one command in a process of its own, on one core."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    if source is not None:
        environment["PYTHONPATH"] = str(source)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    subprocess.run(
        [sys.executable, "-m", "dissensus", command, str(folder)],
        env=environment,
        check=True,
        capture_output=True,
        preexec_fn=_on_one_core,
    )
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


def main() -> None:
    """Make the study, run the commands, print the seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", type=Path, metavar="SRC", help="another version's `src` folder")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="make the study here, or use it, and keep it"
    )
    parser.add_argument("--cells", type=int, metavar="N", help="the first N cells alone")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        made = options.keep or Path(temporary) / "study"
        if not made.is_dir():
            write_study(made, most=options.cells)
        sources = {"here": None, **({"against": options.against} if options.against else {})}
        folders = {name: Path(shutil.copytree(made, Path(temporary) / name)) for name in sources}
        total = dict.fromkeys(sources, 0.0)
        for command in COMMANDS:
            for name, source in sources.items():
                seconds = user_seconds(source, command, folders[name])
                total[name] += seconds
                say(f"{command:8} {name:8} {seconds:6.1f} s of user time")
        for name, seconds in total.items():
            say(f"together {name:8} {seconds:6.1f} s")


if __name__ == "__main__":
    main()
