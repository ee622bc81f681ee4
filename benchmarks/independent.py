"""One cell of the paper's study beside its independent re-implementation: `python -m benchmarks.independent --help`.

`plain_cell.py` trains it in plain PyTorch and PEFT, dissensus as ever; both on MiniLM-L6. Curves and rho are compared.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from dissensus.config import RunSpec
from dissensus.models.resolve import resolve_model
from dissensus.run.cell import run_cell
from dissensus.store import load_curves

POOL = "snli/snli_dev_test_pool.jsonl.gz"
CHAOSNLI = "chaosnli/chaosNLI_snli.jsonl"


def cell(*, rate: float, rank: int, epochs: int, every: int) -> RunSpec:
    """The cell that `plain_cell.py` trains, as a study has it."""
    return RunSpec.parse(
        {
            "dataset": {
                "name": "chaosnli-snli",
                "tracked": {"source": "chaosnli", "part": "snli", "gold": "majority"},
                "entropy_cuts": {"low": 0.4, "high": 0.7, "unit": "nats"},
                "holdout": {"share": 0.2, "seed": 42},
                "train": {"source": "snli", "splits": ["dev", "test"]},
                "exclude_shared": ["premise"],
            },
            "model": {"name": "minilm-l6", "segments": False, "dropout": 0.0},
            "method": {"name": "lora", "rank": rank, "learning_rate": rate},
            "regime": "trained_on",
            "seed": 42,
            "training": {
                "epochs": epochs,
                "weight_decay_on": "all",
                "warmup_from": "zero",
                "decay": "cosine",
                "min_factor": 0.1,
                "class_weights": "inverse",
            },
            "tracking": {"every": every, "epoch_ends": True},
        },
        "the cell",
    )


def main() -> None:
    """Train both, and print the largest distance of the curves and of rho."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True, help="folder with chaosnli/ and snli/")
    parser.add_argument("--out", type=Path, required=True, help="folder to work in")
    # On the pairs that lie here an epoch has 549 updates; every 82 gives the paper's number of points, 39.
    parser.add_argument("--every", type=int, default=82)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rate", type=float, default=2e-5)
    parser.add_argument("--rank", type=int, default=4)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    options = {name: getattr(asked, name) for name in ("every", "epochs", "rate", "rank")}
    run_cell(cell(**options), asked.out / "cell", data_dir=asked.data_dir, threads=1, device="cpu")
    plain = asked.out / "plain.npz"
    if not plain.exists():
        subprocess.run(
            [
                sys.executable,
                str(Path(__file__).with_name("plain_cell.py")),
                *("--model", str(resolve_model("minilm-l6", None).location)),
                *("--chaosnli", str(asked.data_dir / CHAOSNLI), "--pool", str(asked.data_dir / POOL)),
                *("--out", str(plain)),
                *(word for name, value in options.items() for word in (f"--{name}", str(value))),
            ],
            check=True,
        )
    theirs, curves = np.load(plain), load_curves(asked.out / "cell")
    losses = curves.losses
    assert tuple(theirs["steps"]) == tuple(curves.steps)
    rho = spearmanr(losses.mean(axis=1), theirs["entropy"]).statistic
    print(f"{losses.shape[0]} curves of {losses.shape[1]} points")  # noqa: T201
    print(f"largest distance of a loss: {np.abs(losses - theirs['losses']).max():.2e} nats")  # noqa: T201
    print(f"rho: {rho:.6f} and {float(theirs['rho']):.6f}, {abs(rho - float(theirs['rho'])):.2e} apart")  # noqa: T201


if __name__ == "__main__":
    main()
