"""A study on a real Ray cluster of two machines (raylets on the loopback interface) whose processes are killed."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dissensus.errors import SpecError
from dissensus.open import load_curves
from dissensus.remote import Remote
from dissensus.run.engines.ray import RayEngine
from dissensus.run.runner import run_study
from dissensus.study.folder import StudyFolder
from dissensus.study.status import CellStatus
from processes import gone
from remote.stores import make_bucket, s3_server
from run.engines.studies import eight_cells, fake_study, parent_of, same_curves

pytest.importorskip("ray")

FAKE = {"run_cell": "fake_cell:run_cell", "run_cells": "fake_cell:run_cells"}
GIB = 2**30


@pytest.fixture(autouse=True)
def _fake_importable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
    monkeypatch.setenv("DISSENSUS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without room, and two machines of two processors each, which find the stand-in for a cell."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        patch.setenv(
            "TORCHDYNAMO_DISABLE", "1"
        )  # cells compile nothing, and importing a compiler takes seconds
        patch.setenv(
            "PYTHONPATH", os.pathsep.join((str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")))
        )
        stack = contextlib.ExitStack()
        stack.enter_context(s3_server())  # before the machines, which take its address from here
        make_bucket("studies")
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        for _ in range(2):
            made.add_node(num_cpus=2, memory=8 * GIB, object_store_memory=100 * 2**20)
        with stack:
            yield made
            made.shutdown()


class Killer:
    """Kills Ray's process of the first cell that is half-way, then the whole machine of another cell."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self.process = self.machine = ""
        self.seen: list[CellStatus] = []

    def __call__(self, status: CellStatus) -> None:
        self.seen.append(status)
        # A point is told before its checkpoint is written: from the third one on there is one to go on from.
        half_way = status.state == "running" and 3 <= status.tracking_points_done <= 5
        if half_way and not self.process:
            self.process = status.cell
            os.kill(parent_of(status.pid), signal.SIGKILL)
        elif half_way and not self.machine and status.cell != self.process and self._was_cut(self.process):
            self.machine = status.cell
            raylet = parent_of(parent_of(status.pid))
            self._cluster.remove_node(self._of(raylet), allow_graceful=False)

    def _was_cut(self, cell: str) -> bool:
        return any(s.cell == cell and s.state == "interrupted" for s in self.seen)

    def _of(self, raylet: int) -> Any:
        return next(
            node
            for node in self._cluster.worker_nodes
            if node.all_processes["raylet"][0].process.pid == raylet
        )


def test_eight_cells_end_like_local_ones_though_a_worker_and_a_machine_die(
    cluster: Any, tiny_encoder_dir: Path, tmp_path: Path
) -> None:
    study = eight_cells(tiny_encoder_dir)
    killer = Killer(cluster)
    result = run_study(
        study, tmp_path / "ray", engine=RayEngine(cluster.address), threads=1, on_change=killer
    )
    assert [cell.state for cell in result.cells] == ["done"] * 8
    assert killer.process
    assert killer.machine
    words = {s.cell: s.error for s in killer.seen if s.state == "interrupted"}
    assert words[killer.process] == "worker lost: Ray's process died on its machine"
    assert words[killer.machine] == "worker lost: its machine died"
    # What was cut off went on from a checkpoint, on a machine that was left, not from its beginning.
    for cell in (killer.process, killer.machine):
        states = [(s.state, s.step) for s in killer.seen if s.cell == cell]
        cut = next(i for i, (state, _) in enumerate(states) if state == "interrupted")
        assert min(step for _, step in states[cut + 1 :]) > 0
    run_study(study, tmp_path / "local", workers=2, threads=1)
    same_curves(study, tmp_path / "ray", tmp_path / "local")
    assert not list((tmp_path / "ray").glob(".shared-*"))


def test_failures_and_lost_workers_are_told_as_on_ones_own_machine(cluster: Any, tmp_path: Path) -> None:
    out = tmp_path / "study"

    def change(status: CellStatus) -> None:
        if "kill" in status.cell and status.state == "interrupted":
            (out / "go").touch()  # at its second try it lives

    study = fake_study("fail", "refuse", "kill", "ok", execution=[{"set": {"memory_gib": 0.5}}])
    result = run_study(study, out, engine=RayEngine(cluster.address), on_change=change, **FAKE)
    states = {cell.cell.split(".")[1]: cell.state for cell in result.cells}
    assert states == {"fail": "failed", "refuse": "failed", "kill": "done", "ok": "done"}
    errors = {cell.cell.split(".")[1]: cell.error for cell in result.failures}
    assert errors["refuse"] == "no such file: here.jsonl; give --data-dir"
    assert errors["fail"] == "ZeroDivisionError: on purpose"
    assert "this goes to the log" in next(out.glob("cells/*ok*/log.txt")).read_text()


def test_machines_that_share_no_folder_meet_at_a_url(cluster: Any, tmp_path: Path) -> None:
    """Each brings a cell from S3 and publishes it there; this machine has an image of it in the end."""
    study = fake_study("kill", "ok", "fail", execution=[{"set": {"memory_gib": 0.5}}])
    url, image = "s3://studies/fake", tmp_path / "image"
    result = run_study(study, image, engine=RayEngine(cluster.address), remote=url, **FAKE)
    states = {cell.cell.split(".")[1]: cell.state for cell in result.cells}
    assert states == {"kill": "done", "ok": "done", "fail": "failed"}
    good = fake_study("kill", "ok")
    run_study(good, tmp_path / "local", retries=1, **FAKE)
    same_curves(good, image, tmp_path / "local")
    for cell in result.cells[:2]:
        there = load_curves(f"{url}/cells/{cell.cell}")
        here = load_curves(tmp_path / "local" / "cells" / cell.cell)
        np.testing.assert_array_equal(there.log_probs, here.log_probs)
    assert "on purpose" in Remote(f"{url}/cells/{result.cells[2].cell}").read("status.json").decode()
    again = run_study(good, tmp_path / "other", engine=RayEngine(cluster.address), remote=url, **FAKE)
    assert len(again.skipped) == 2  # from a machine that had nothing of it


def test_what_dies_at_every_try_fails_in_the_end(cluster: Any, tmp_path: Path) -> None:
    study = fake_study("doomed", execution=[{"set": {"memory_gib": 0.5}}])
    result = run_study(study, tmp_path / "study", engine=RayEngine(cluster.address), retries=1, **FAKE)
    assert result.cells[0].state == "failed"
    assert "SIGKILL" in result.cells[0].error


def test_a_stopped_run_leaves_no_worker_and_goes_on(cluster: Any, tmp_path: Path) -> None:
    out = tmp_path / "study"
    study = fake_study("slow", "ok", execution=[{"set": {"memory_gib": 0.5}}])
    pids: set[int] = set()

    def change(status: CellStatus) -> None:
        pids.add(status.pid)
        if "slow" in status.cell and status.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(study, out, engine=RayEngine(cluster.address), on_change=change, **FAKE)
    assert all(map(gone, pids))
    assert {cell.state for cell in StudyFolder(out).statuses} <= {"interrupted", "done", "pending"}
    (out / "go").touch()
    result = run_study(study, out, engine=RayEngine(cluster.address), **FAKE)
    assert [cell.state for cell in result.cells] == ["done", "done"]


def test_a_cell_that_no_machine_has_room_for_is_refused_before_anything_runs(
    cluster: Any, tmp_path: Path
) -> None:
    study = fake_study("ok", execution=[{"set": {"gpus": 2, "memory_gib": 0.5}}])
    with pytest.raises(
        SpecError, match=r"no machine of the Ray cluster has room for a cell that takes 1 proc"
    ):
        run_study(study, tmp_path / "study", engine=RayEngine(cluster.address), **FAKE)
    assert not list((tmp_path / "study" / "cells").glob("*/status.json"))


def test_a_cluster_that_does_not_answer_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"no Ray cluster answers at 127\.0\.0\.1:1: "):
        run_study(fake_study("ok"), tmp_path / "study", engine=RayEngine("127.0.0.1:1"), **FAKE)
