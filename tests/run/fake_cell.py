"""Stands in for `dissensus.run.cell` in the runner's tests: a real curves store, no model, no torch.

What a cell does is said by its model's name: ok, fail, refuse, kill (once: when it goes on, it lives), doomed (killed
every time), leave, slow; `slow` waits at each step for the file `go` in the study's folder. With the name
`each-ok-fail-kill` the first seed's cell does the first, the second seed's the second, and so on.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dissensus.config import RunSpec
from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import DataError
from dissensus.run.progress import CellProgress
from dissensus.store import CurvesWriter

STEPS = 4
ROWS = [
    {"id": f"e{i}", "text": t, "gold": g, "counts": {"no": n, "yes": 10 - n}}
    for i, (t, g, n) in enumerate(
        [
            ("a b", "yes", 0),
            ("c", "no", 9),
            ("d e f", "yes", 5),
            ("g", "no", 6),
            ("h i", "yes", 3),
            ("j", "no", 10),
        ]
    )
]


def run_cell(
    spec: RunSpec,
    folder: Path,
    *,
    data_dir: Path | None = None,
    threads: int | None = None,
    device: str | None = None,
    execution: object = None,
    on_progress: Callable[[CellProgress], None] | None = None,
) -> None:
    behaviour = spec.model.name
    if behaviour.startswith("each-"):
        behaviour = behaviour.split("-")[1 + spec.seed]
    print("this goes to the log, not among the events")  # noqa: T201
    (folder / "spec.json").write_text(json.dumps(spec.model_dump(mode="json")))
    facts = {
        "threads": threads,
        "device": device,
        "omp": os.environ["OMP_NUM_THREADS"],
        "data_dir": str(data_dir) if data_dir else None,
        "modules": sorted(m for m in sys.modules if m.startswith(("dissensus", "torch"))),
    }
    (folder / "facts.json").write_text(json.dumps(facts))
    if behaviour == "doomed":
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "refuse":
        raise DataError("no such file: here.jsonl; give --data-dir")
    dataset = AnnotatedDataset.from_records(ROWS, labels=("no", "yes"), text=("text",), name="fake")
    writer = CurvesWriter(folder, dataset, total_steps=STEPS, regime=spec.regime)
    rng = np.random.default_rng(spec.seed)
    for step in range(STEPS + 1):
        raw = rng.normal(size=(len(ROWS), 2))
        if step in writer.steps:
            continue
        log_probs = raw - np.log(np.exp(raw).sum(axis=1, keepdims=True))
        writer.write(step, dataset.ids, log_probs.astype(np.float32))
        if on_progress is not None:
            on_progress(
                CellProgress(step, STEPS, step + 1, STEPS + 1, float("nan") if step == 0 else 1.0 / step)
            )
        if step == 2 and behaviour != "ok":
            _trouble(behaviour, folder)
    writer.finish()


def run_cells(
    cells: Sequence[tuple[RunSpec, Path]],
    *,
    on_progress: Callable[[int, CellProgress], None],
    on_end: Callable[[int, Exception | None], None],
    **common: Any,
) -> None:
    for place, (spec, folder) in enumerate(cells):
        try:
            run_cell(spec, folder, on_progress=partial(on_progress, place), **common)
        except ZeroDivisionError as error:
            on_end(place, error)
        else:
            on_end(place, None)


def _trouble(behaviour: str, folder: Path) -> None:
    go = folder.parents[1] / "go"
    if behaviour == "fail":
        raise ZeroDivisionError("on purpose")
    if behaviour == "kill" and not go.exists():
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "leave":
        print("leaving early", file=sys.stderr, flush=True)  # noqa: T201
        os._exit(7)
    if behaviour == "slow":
        while not go.exists():
            time.sleep(0.02)
