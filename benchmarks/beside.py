"""Another version of the package beside this one: `python -m benchmarks.beside --against SRC`.

Each version has a process of its own with everything loaded: a tracking pass, training steps with LoRA and of all
weights, and a small grid of cells in one worker. They are asked in turn, and what is compared is their processor time
on one thread, children included: other load on the machine changes it little, and both alike.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.timing import Spread, speedup
from dissensus.cli.output import say

WORK = ("tracking", "train lora", "train full", "grid")


def answer(data_dir: Path | None, items: int, model: str) -> None:
    """Do the work that standard input names, a line each, and print the processor time of each."""
    import torch

    torch.set_num_threads(1)
    contenders: dict[str, Callable[[], object]] = {}
    for name in sys.stdin:
        if name.strip() not in contenders:
            contenders[name.strip()] = _contender(name.strip(), data_dir, items, model)
        gc.collect()
        begin = _processor_seconds()
        contenders[name.strip()]()
        print(f"seconds {_processor_seconds() - begin}", flush=True)  # noqa: T201


def _contender(name: str, data_dir: Path | None, items: int, model: str) -> Callable[[], object]:
    """What is timed, made of the suites of whichever version is imported here."""
    suites = "benchmarks" if importlib.util.find_spec("dissensus.bench") is None else "dissensus.bench"
    if name == "grid":
        grid = importlib.import_module(f"{suites}.grid")
        study = grid._study(model, items // 4, 5, 3, 1, (4, 8), data_dir)

        def whole() -> None:
            with tempfile.TemporaryDirectory() as out:
                done = grid.run_study(study, Path(out), workers=1, threads=1, device="cpu", data_dir=data_dir)
                if done.failures:
                    raise SystemExit(done.failures[0].error)

        return whole
    work = importlib.import_module(f"{suites}.work")
    loaded = work.Work.load(model, items, device="cpu", data_dir=data_dir)
    method = work.FULL if name == "train full" else work.LORA
    scoring = loaded.scoring_model(method)
    encoded = scoring.encode(loaded.dataset)
    if name == "tracking":
        tracking = importlib.import_module(f"{suites}.tracking")
        tracked = tracking.tracked_set(encoded, scoring, token_budget=tracking.TOKENS)
        return lambda: tracking.tracking_pass(scoring.module, tracked, len(encoded))
    train = importlib.import_module(f"{suites}.train")
    labels = np.maximum(loaded.dataset.gold, 0)
    steps: Callable[[], object] = train._steps(
        scoring, encoded, labels, loaded.batches(encoded, train.STEPS), method
    )
    return steps


def _processor_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _started(source: Path | None, options: argparse.Namespace) -> subprocess.Popen[str]:
    here = Path(__file__).resolve().parents[1]
    sources = [str(source or here / "src"), str(here)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(sources)
    command = [sys.executable, "-m", "benchmarks.beside", "--answer", "--items", str(options.items)]
    command += [
        "--model",
        options.model,
        *(["--data-dir", str(options.data_dir)] if options.data_dir else []),
    ]
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _asked(process: subprocess.Popen[str], name: str) -> float:
    assert process.stdin is not None  # PIPE
    assert process.stdout is not None
    process.stdin.write(f"{name}\n")
    process.stdin.flush()
    for line in process.stdout:
        if line.startswith("seconds "):
            return float(line.split()[1])
    raise SystemExit(f"{name} ended without an answer")


def main() -> None:
    """Ask both versions in turn, and print seconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", type=Path, metavar="SRC", help="another version's `src` folder")
    parser.add_argument("--work", action="append", choices=WORK, help="what to time; default: all")
    parser.add_argument("--rounds", type=int, default=7, metavar="N")
    parser.add_argument("--items", type=int, default=512, metavar="N")
    parser.add_argument("--model", default="minilm-l6")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--answer", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.answer:
        answer(options.data_dir, options.items, options.model)
        return
    processes = {"before": _started(options.against, options), "now": _started(None, options)}
    try:
        for name in options.work or WORK:
            seconds: dict[str, list[float]] = {version: [] for version in processes}
            for turn in range(options.rounds + 1):
                for version in sorted(processes, reverse=bool(turn % 2)):
                    taken = _asked(processes[version], name)
                    if turn:  # the first round loads
                        seconds[version].append(taken)
            before, now = (Spread(tuple(seconds[version])) for version in ("before", "now"))
            ratio = speedup(now, before)
            shown = " | ".join(f"{s.median:.3f} [{s.low:.3f}, {s.high:.3f}]" for s in (before, now, ratio))
            say(f"| {name} | {shown} |")
    finally:
        for process in processes.values():
            process.terminate()


if __name__ == "__main__":
    main()
