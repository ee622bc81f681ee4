"""The process that starts a cell's processes: progress, errors, and nobody is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dissensus.config import Execution
from dissensus.errors import DataError, ModelError, SpecError, StoreError
from dissensus.run import launch
from dissensus.run.cell import CellProgress, run_cell
from dissensus.store import load_curves
from processes import gone, wait_for
from run.processes_script import Scenario, spec
from tiny import make_tiny

TWO = Execution(processes=2)

# A process that joins nobody: it says who it is, and waits.
FAKE = """
import os, time
from dissensus.errors import ModelError
from dissensus.run.progress import CellProgress

def run_process(spec, folder, *, on_progress, **_):
    rank = int(os.environ["RANK"])
    on_progress(CellProgress(os.getpid(), 0, 0, 0, 0.0))
    own, other = (folder / f"pid-{{n}}" for n in (rank, 1 - rank))
    own.write_text(str(os.getpid()))
    while not other.exists():
        time.sleep(0.01)
    {then}
"""


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Lets each process run what `FAKE` says, and then what the test says."""

    def stand_in(then: str) -> None:
        run_instead(FAKE.format(then=then), tmp_path, monkeypatch)

    return stand_in


def run_instead(module: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Lets each process run `run_process` of a module."""
    (folder / "stand_in.py").write_text(module)
    patch.syspath_prepend(str(folder))
    patch.setattr(launch, "RUN_PROCESS", "stand_in:run_process")


def test_one_fails_and_then_all_go_on_from_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second process fails after a checkpoint, while the first waits for its gradient."""
    cell, folder = spec(tmp_path, Scenario("bert", "lora")), tmp_path / "cell"
    make_tiny("bert", tmp_path / "bert")
    breaks = """
import os
from dissensus.errors import DataError
from dissensus.run.cell import run_process
from dissensus.train import loop
rows = loop.TrainingRun.batch_rows
def batch_rows(run):
    if os.environ["RANK"] == "1" and run.taken == 3:
        raise DataError("row 17 is not to be had")
    return rows(run)
loop.TrainingRun.batch_rows = batch_rows
"""
    seen: list[CellProgress] = []
    often = Execution(processes=2, checkpoint_seconds=0)
    with monkeypatch.context() as patch:
        run_instead(breaks, tmp_path, patch)
        with pytest.raises(DataError, match="row 17 is not to be had") as caught:
            run_cell(cell, folder, threads=2, device="cpu", on_progress=seen.append, execution=often)
    assert str(caught.value) == "row 17 is not to be had"
    assert "In process 1 of the cell:" in "".join(caught.value.__notes__)
    steps = list(dict.fromkeys(p.step for p in seen if p.phase == "training"))
    assert steps[:3] == [0, 1, 2]  # the third step's may come too late
    again: list[CellProgress] = []
    sharded = Execution(processes=2, sharding="fsdp")
    run_cell(cell, folder, threads=2, device="cpu", on_progress=again.append, execution=sharded)
    assert list(dict.fromkeys(p.step for p in again if p.phase == "training")) == [2, 3, 4]
    assert (again[-1].tracking_points_done, again[-1].tracking_points) == (3, 3)
    assert np.isfinite(again[-1].loss)
    curves = load_curves(folder)
    assert curves.provenance["versions"]["threads"] == "1"  # two, shared
    run_cell(cell, tmp_path / "alone", threads=1, device="cpu")
    np.testing.assert_allclose(curves.losses, load_curves(tmp_path / "alone").losses, atol=1e-5)


def test_a_failure_ends_the_others_at_once(tmp_path: Path, fake: Callable[[str], None]) -> None:
    fake("time.sleep(600) if rank == 0 else (_ for _ in ()).throw(ModelError('no weights'))")
    with pytest.raises(ModelError, match="no weights"):
        run_cell(cell_of(tmp_path), tmp_path / "cell", execution=TWO)
    pids = [int((tmp_path / "cell" / f"pid-{rank}").read_text()) for rank in range(2)]
    assert all(map(gone, pids))


@pytest.mark.parametrize(
    ("then", "words"),
    [
        ("os.kill(os.getpid(), 9) if rank else time.sleep(600)", "process 1 .* signal 9 .* memory ran out"),
        ("os._exit(3) if rank else time.sleep(600)", "process 1 of the cell ended with exit code 3"),
        ("1 / 0 if rank else time.sleep(600)", "ZeroDivisionError in process 1: division by zero"),
    ],
)
def test_a_death_is_told(tmp_path: Path, fake: Callable[[str], None], then: str, words: str) -> None:
    fake(then)
    with pytest.raises(RuntimeError, match=words):
        run_cell(cell_of(tmp_path), tmp_path / "cell", execution=TWO)


def test_an_error_of_ours_is_told_before_its_consequences(
    tmp_path: Path, fake: Callable[[str], None]
) -> None:
    """The connection breaks in one process because another has failed; what is raised is why."""
    fake(
        "time.sleep(0.3) if rank else None; "
        "raise ModelError('the cause') if rank else RuntimeError('Connection closed by peer')"
    )
    with pytest.raises(ModelError, match="the cause"):
        run_cell(cell_of(tmp_path), tmp_path / "cell", execution=TWO)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
def test_nobody_outlives_whoever_started_them(tmp_path: Path) -> None:
    (tmp_path / "stand_in.py").write_text(FAKE.format(then="time.sleep(600)"))
    script = f"""
import sys
from pathlib import Path
from dissensus.config import Execution, RunSpec
from dissensus.run import cell, launch
sys.path.insert(0, {str(tmp_path)!r})
launch.RUN_PROCESS = "stand_in:run_process"
spec = RunSpec.parse({json.loads(cell_of(tmp_path).model_dump_json())!r}, "t")
cell.run_cell(
    spec, Path({str(tmp_path / "cell")!r}), device="cpu", execution=Execution(processes=2),
    on_progress=lambda progress: print(progress.step, flush=True),
)
"""
    parent = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pids = [int(parent.stdout.readline()) for _ in range(2)]
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    wait_for(lambda: all(map(gone, pids)), "the orphaned processes to end")


def test_refused_before_anything_is_started(tmp_path: Path, fake: Callable[[str], None]) -> None:
    fake("raise AssertionError('started')")
    cell = cell_of(tmp_path)
    with pytest.raises(SpecError, match="name the kind alone"):
        run_cell(cell, tmp_path / "cell", device="cuda:0", execution=TWO)
    with pytest.raises(StoreError, match="holds another specification"):
        run_cell(cell.model_copy(update={"seed": 1}), tmp_path / "cell", execution=TWO)
    with pytest.raises(SpecError, match=r"sharding: fsdp leaves a part .* and this is one; set processes"):
        run_cell(cell, tmp_path / "cell", execution=Execution(sharding="fsdp"))


def cell_of(folder: Path) -> Any:
    return spec(folder, Scenario("bert", "lora"))
