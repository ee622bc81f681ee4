"""Run by `test_processes.py` under torchrun: every cell with the processes that there are.

Cells are few steps of tiny models, with dropout, two micro-batches a step, a last batch of one example (fewer than the
processes), and a tracked set that no number of processes divides.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from dissensus.config import Execution, RunSpec
from dissensus.errors import ModelError, StoreError
from dissensus.run.cell import CellProgress, run_cell
from dissensus.train import loop

TRACKED, TRAINED, BATCH = 23, 25, 8  # 4 steps, the last of one example
CUT = 3  # a step after the checkpoint


@dataclass(frozen=True)
class Scenario:
    """One cell.

    Attributes:
        arch: which tiny model.
        method: its name.
        how: an `Execution` but for its processes.
        settings: what else the cell's specification says.
        worlds: with how many processes it is run.
        cut: whether those end it after `CUT` steps, 'ours'; or it was begun by one process that ended it, 'theirs'.
    """

    arch: str
    method: str
    how: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    worlds: tuple[int, ...] = (2, 3)
    cut: str = ""


FSDP = {"sharding": "fsdp"}
ONE_BATCH = {"tracking": {"points": 3, "token_budget": 4096}}
IN_BF16 = {"tracking": {"points": 3, "token_budget": 128, "precision": "bf16"}}
WORDS = {"model": {"head": "verbalizer", "label_words": ["dog", "bird", "no"]}}
FOUR_BITS = {"model": {"quantization": "nf4"}} if find_spec("bitsandbytes") else {}
PADDED = {"model": {"dropout": 0.0}}  # DeBERTa draws some of it from torch's generator
NOISE = {"training": {"batch_size": BATCH, "noise": {"kind": "uniform", "rate": 0.25}}}
PROBED = {
    "dataset": {
        "name": "panel",
        "tracked": {"source": "simulated", "size": TRACKED, "annotators": 20},
        "train": {"source": "simulated", "size": TRAINED, "split": "train", "annotators": 5},
        "entropy_cuts": {"low": 0.5, "high": 1.1},
    },
    "tracking": {"points": 3, "token_budget": 128, "gradients": {"every": 1, "norms": "end"}},
}

SCENARIOS = {
    "encoder-full-ddp": Scenario("bert", "full", settings=NOISE, worlds=(3,)),
    "encoder-full-fsdp": Scenario("bert", "full", FSDP, worlds=(2,)),
    "encoder-lora-ddp": Scenario("bert", "lora", settings=ONE_BATCH, worlds=(2,)),
    "encoder-lora-fsdp": Scenario("bert", "lora", FSDP, ONE_BATCH, worlds=(3,)),
    "encoder-ia3-ddp": Scenario("bert", "ia3", {"gradient_checkpointing": True}, PROBED, worlds=(2,)),
    "encoder-ia3-fsdp": Scenario("bert", "ia3", FSDP, worlds=(3,)),
    "decoder-full-ddp": Scenario("llama", "full", settings=WORDS, worlds=(3,)),
    "decoder-full-fsdp": Scenario(
        "llama", "full", {**FSDP, "gradient_checkpointing": True}, WORDS, worlds=(2,)
    ),
    "decoder-lora-ddp": Scenario("llama", "lora", settings=FOUR_BITS, worlds=(2,)),
    "decoder-lora-fsdp": Scenario("llama", "lora", {**FSDP, "cpu_offload": True}, IN_BF16, worlds=(3,)),
    "padded-lora-fsdp": Scenario("deberta-v2", "lora", FSDP, PADDED, worlds=(2,)),
    "half-base-fsdp": Scenario("llama", "lora", FSDP, {"model": {"dtype": "bf16"}}, worlds=(2,)),
    "cut-by-us": Scenario("bert", "full", FSDP, worlds=(3,), cut="ours"),
    "cut-by-one": Scenario("llama", "lora", FSDP, worlds=(3,), cut="theirs"),
    "cut-by-one-ddp": Scenario("bert", "full", settings=PROBED, worlds=(2,), cut="theirs"),
}


def spec(models: Path, scenario: Scenario) -> RunSpec:
    rank = {"rank": 2} if scenario.method == "lora" else {}
    base: dict[str, Any] = {
        "dataset": {
            "name": "panel",
            "tracked": {"source": "simulated", "size": TRACKED, "annotators": 20},
            "train": {"source": "simulated", "size": TRAINED, "split": "train", "annotators": 5},
        },
        "model": {},
        "method": {"name": scenario.method, "learning_rate": 5e-3, **rank},
        "regime": "held_out",
        "training": {"batch_size": BATCH, "gradient_accumulation_steps": 2},
        "tracking": {"points": 3, "token_budget": 128},
        **scenario.settings,
    }
    model = {"name": str(models / scenario.arch), "max_length": 120, "dropout": 0.1, **base["model"]}
    return RunSpec.parse({**base, "model": model}, "test")


class CutError(Exception):
    """The run ends here."""


def run_until(step: int, cell: RunSpec, folder: Path, how: Execution | None = None) -> None:
    """Run a cell, keep a checkpoint at each tracking point, and end it after so many steps."""
    update = loop.TrainingRun.update
    often = (how or Execution()).model_copy(update={"checkpoint_seconds": 0.0})

    def updated(run: Any, loss: float, norm: float) -> None:
        update(run, loss, norm)
        if run.taken == step:
            run.end()
            raise CutError

    loop.TrainingRun.update = updated
    try:
        run_cell(cell, folder, threads=1, device="cpu", execution=often)
    except CutError:
        return
    finally:
        loop.TrainingRun.update = update
    raise AssertionError("it went on")


def run_told(cell: RunSpec, folder: Path, how: Execution | None = None) -> None:
    """Run a cell; each step and its batch's loss, as they were told, go into a file beside it."""
    told: list[str] = []

    def listen(progress: CellProgress) -> None:
        line = f"{progress.step} {progress.loss}"
        if progress.phase == "training" and line not in told[-1:]:
            told.append(line)

    run_cell(
        cell,
        folder,
        threads=1,
        device="cpu",
        execution=how,
        on_progress=listen,
    )
    if not dist.is_initialized() or dist.get_rank() == 0:
        folder.with_suffix(".told").write_text("\n".join(told))
    else:
        assert not told  # the first process speaks for all


def cells(models: Path, out: Path) -> None:
    for name, scenario in SCENARIOS.items():
        if dist.get_world_size() not in scenario.worlds:
            continue
        cell, how = spec(models, scenario), Execution(processes=dist.get_world_size(), **scenario.how)
        if scenario.cut == "ours":
            run_until(CUT, cell, out / name, how)
        else:
            run_told(cell, out / name, how)


def failures(models: Path, out: Path) -> None:
    """What goes wrong in one process is raised in all, and what diverges diverges in all; nobody waits."""
    cell = spec(models, Scenario("bert", "lora"))
    folder = out / "of-another-cell"
    if dist.get_rank() == 0:
        folder.mkdir(parents=True)
        other = cell.model_copy(update={"seed": 1})
        (folder / "spec.json").write_text(other.model_dump_json())
    dist.barrier()
    heard = expect(StoreError, cell, folder)
    assert "holds another specification" in heard, heard

    last = dist.get_world_size() - 1
    if dist.get_rank() == last:
        loop.TrainingRun.__init__, kept = broken, loop.TrainingRun.__init__
    heard = expect(ModelError, spec(models, Scenario("gpt2", "lora")), out / "no-such-model")
    assert "gpt2" in heard, heard
    if dist.get_rank() == last:
        loop.TrainingRun.__init__ = kept

    for number, how in enumerate(({}, FSDP)):
        wild = spec(models, Scenario("bert", "full", how))
        wild = wild.model_copy(update={"method": wild.method.model_copy(update={"learning_rate": 1e30})})
        heard = expect(ModelError, wild, out / f"wild-{number}", **how)
        assert "the run diverged: at step" in heard, heard


def broken(*_: Any, **__: Any) -> None:
    raise AssertionError("never reached: the model is missing")


def expect(kind: type[Exception], cell: RunSpec, folder: Path, **how: Any) -> str:
    try:
        run_cell(cell, folder, threads=1, device="cpu", execution=Execution(**how))
    except kind as error:
        return str(error)
    raise AssertionError("nothing was raised")


def main() -> None:
    models, out = map(Path, sys.argv[1:])
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    cells(models, out)
    failures(models, out / "failures")
    dist.destroy_process_group()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
