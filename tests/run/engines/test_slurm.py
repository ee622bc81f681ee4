"""Slurm's engine with submitit's local executor: the same calls, files and processes, on this machine."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from dissensus.errors import SpecError
from dissensus.run.engines.base import Needs
from dissensus.run.engines.slurm import SlurmEngine
from dissensus.run.runner import run_study
from dissensus.study.folder import StudyFolder
from dissensus.study.status import CellStatus
from processes import gone, wait_for
from run.engines.studies import fake_study, parent_of, same_curves

pytest.importorskip("submitit")

FAKE = {"run_cell": "fake_cell:run_cell", "run_cells": "fake_cell:run_cells"}


@pytest.fixture(autouse=True)
def _fake_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_ins = str(Path(__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((stand_ins, os.environ.get("PYTHONPATH", ""))))
    monkeypatch.syspath_prepend(stand_ins)


def engine_in(out: Path, **options: str) -> SlurmEngine:
    return SlurmEngine(out / ".slurm", {"cluster": "local", **options})


def test_jobs_end_as_on_ones_own_machine(tmp_path: Path) -> None:
    study = fake_study("ok", "fail", "refuse", "kill", seeds=[0, 1])
    seen: list[CellStatus] = []
    result = run_study(
        study, tmp_path / "slurm", engine=engine_in(tmp_path / "slurm"), on_change=seen.append, **FAKE
    )
    states = [cell.state for cell in result.cells]
    assert states == ["done", "failed", "failed", "done"] * 2
    assert next(s.error for s in seen if "kill" in s.cell and s.state == "interrupted").startswith(
        "worker died with signal 9"
    )
    assert not (tmp_path / "slurm" / ".slurm").exists()
    good = fake_study("ok", "kill", seeds=[0, 1])
    run_study(good, tmp_path / "local", retries=1, **FAKE)
    same_curves(good, tmp_path / "slurm", tmp_path / "local")


def test_a_job_that_slurm_warns_is_queued_again_and_goes_on(tmp_path: Path) -> None:
    """At a time limit or before preemption Slurm sends a signal, and submitit hands the call in once more."""
    out = tmp_path / "study"
    engine = engine_in(out)
    seen: list[CellStatus] = []

    def change(status: CellStatus) -> None:
        seen.append(status)
        first = status.step == 2 and sum(s.step == 2 for s in seen) == 1
        if first:
            os.kill(parent_of(status.pid), signal.SIGUSR2)
        elif len({s.pid for s in seen if s.pid}) > 1:
            (out / "go").touch()

    result = run_study(fake_study("slow"), out, engine=engine, on_change=change, **FAKE)
    assert result.cells[0].state == "done"
    assert len({s.pid for s in seen if s.pid}) == 2
    assert not [s for s in seen if s.state == "interrupted"]  # the runner had nothing to do


def test_a_stopped_run_cancels_its_jobs_and_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "study"
    pids: set[int] = set()

    def change(status: CellStatus) -> None:
        pids.add(status.pid)
        if status.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(fake_study("slow"), out, engine=engine_in(out), on_change=change, **FAKE)
    wait_for(lambda: all(map(gone, pids)), "the workers to end")
    assert [cell.state for cell in StudyFolder(out).statuses] == ["interrupted"]
    (out / "go").touch()
    result = run_study(fake_study("slow"), out, engine=engine_in(out), **FAKE)
    assert result.cells[0].state == "done"


def test_a_job_that_dies_without_a_word_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dissensus.run.engines.slurm._GRACE", 0.5)
    out = tmp_path / "study"
    engine = engine_in(out)
    words: list[str] = []

    def change(status: CellStatus) -> None:
        if status.state == "interrupted":
            words.append(status.error)
            threading.Thread(target=(out / "go").touch).start()
        elif status.step == 2 and not words:
            (submitted,) = engine._jobs.values()
            submitted.ticket._process.kill()

    result = run_study(fake_study("slow"), out, engine=engine, on_change=change, **FAKE)
    assert result.cells[0].state == "done"
    assert words[0].startswith("worker lost: Slurm job ")
    assert list((out / ".slurm").glob("*_log.err"))  # the logs of a lost job are kept


def test_what_a_cell_needs_is_what_slurm_is_asked_for(tmp_path: Path) -> None:
    engine = SlurmEngine(tmp_path, {"partition": "gpu", "time": "90", "gpus": "yes"})
    assert engine.has_gpus()
    assert engine._parameters(Needs(cpus=2.5, gpus=2, memory_gib=24, threads=2), "cell") == {
        "name": "cell",
        "timeout_min": 90,
        "cpus_per_task": 3,
        "mem_gb": 24,
        "gpus_per_node": 2,
        "slurm_partition": "gpu",
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"partitoin": "gpu"}, "partitoin=gpu: unknown to Slurm's engine; known: partition, "),
        ({"time": "2h"}, "time=2h: expected the minutes"),
        ({"gpus": "2"}, "gpus=2: expected yes or no"),
        ({}, "Slurm is not on this machine"),
    ],
)
def test_what_slurm_cannot_do_is_said_before_anything_runs(
    tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(SpecError, match=words):
        run_study(
            fake_study("ok"), tmp_path / "study", engine=SlurmEngine(tmp_path / "jobs", options), **FAKE
        )


def test_a_part_of_a_gpu_is_refused(tmp_path: Path) -> None:
    study = fake_study("ok", execution=[{"set": {"gpus": 0.5}}])
    with pytest.raises(SpecError, match=r"reserves 0\.5 GPUs, and Slurm gives whole ones"):
        run_study(study, tmp_path / "study", engine=engine_in(tmp_path / "study"), **FAKE)
