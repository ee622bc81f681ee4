"""Which cells share a process, and how much of the machine a study takes by default."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from dissensus.config import StudySpec
from dissensus.run import allocation as resources
from dissensus.run.allocation import DEFAULT_FUSE, available_gib, default_threads, default_workers, on_gpu
from dissensus.run.jobs import jobs
from dissensus.study.grid import expand


def study(**more: Any) -> StudySpec:
    return StudySpec.parse(
        {
            "name": "grouped",
            "models": [{"name": "a"}, {"name": "b"}],
            "datasets": [{"name": "sim", "tracked": {"source": "simulated"}}],
            "methods": [
                {"name": "lora", "rank": 2, "learning_rate": 1e-3},
                {"name": "full", "learning_rate": 1e-4},
                {"name": "lora", "rank": 8, "alpha": 3.0, "learning_rate": 1e-4},
            ],
            "regimes": ["trained_on"],
            "seeds": [0, 1, 2],
        }
        | more,
        "test",
    )


def names(**more: Any) -> list[list[str]]:
    fuse = more.pop("fuse", 16)
    return [
        [f"{c.model.name}.{c.method.label}.s{c.seed}" for c in job]
        for job in jobs(expand(study(**more)), fuse)
    ]


def test_lora_cells_over_one_model_share_a_job_and_others_stay_alone() -> None:
    assert names() == [
        ["a.lora-r2.s0", "a.lora-r8.s0", "a.lora-r2.s1", "a.lora-r8.s1", "a.lora-r2.s2", "a.lora-r8.s2"],
        ["a.full.s0"],
        ["b.lora-r2.s0", "b.lora-r8.s0", "b.lora-r2.s1", "b.lora-r8.s1", "b.lora-r2.s2", "b.lora-r8.s2"],
        ["b.full.s0"],
        ["a.full.s1"],
        ["b.full.s1"],
        ["a.full.s2"],
        ["b.full.s2"],
    ]


def test_a_group_that_is_too_large_is_shared_out_evenly() -> None:
    # 6 cells in jobs of at most 4 are two of 3, not one of 4 and one of 2.
    assert [len(job) for job in names(fuse=4, models=[{"name": "a"}])] == [3, 1, 1, 3, 1]
    assert all(len(job) == 1 for job in names(fuse=1))
    assert [cell for job in names(fuse=1) for cell in job] == [
        f"{c.model.name}.{c.method.label}.s{c.seed}" for c in expand(study())
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"training": {"batch_size": 8}},
        {"tracking": {"points": 3}},
        {"method": {"dropout": 0.1}},
        {"method": {"targets": ["query"]}},
        {"model": {"max_length": 64}},
        {"dataset": {"tracked": {"size": 50}}},
    ],
)
def test_cells_that_differ_in_more_do_not_share_a_job(change: dict[str, Any]) -> None:
    made = names(
        models=[{"name": "a"}],
        methods=[{"name": "lora", "rank": 2, "learning_rate": 1e-3}],
        overrides=[{"when": {"seed": 1}, "set": change}],
    )
    assert made == [["a.lora-r2.s0", "a.lora-r2.s2"], ["a.lora-r2.s1"]]


def test_cores_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    assert [default_threads(w) for w in (1, 2, 3, 16)] == [8, 4, 2, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert default_threads(2) == 5


def test_workers_are_as_many_as_cores_jobs_and_memory_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    for gib, expected in ((100.0, [1, 5, 8]), (7.0, [1, 2, 2]), (0.5, [1, 1, 1]), (None, [1, 5, 8])):
        monkeypatch.setattr(resources, "available_gib", lambda gib=gib: gib)
        assert [default_workers(n, "cpu") for n in (1, 5, 20)] == expected
    assert default_workers(0, "cpu") == 1
    # A GPU is one machine: cells take turns on it, each alone until a GPU has measured that one pass is faster.
    assert (default_workers(20, "cuda:1"), DEFAULT_FUSE) == (1, 1)


def test_a_gpu_is_looked_for_where_nobody_names_a_device(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(resources.sys, "platform", "linux")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(resources, "_DRIVERS", (str(tmp_path / "none"),))
    assert not on_gpu(None)  # without a driver torch is not asked
    monkeypatch.setattr(resources, "_DRIVERS", (str(tmp_path),))
    assert on_gpu(None)
    assert not on_gpu("cpu")


def test_available_memory_is_read(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  16777216 kB\nMemAvailable:    3145728 kB\n")
    assert available_gib(meminfo) == 3.0
    meminfo.write_text("MemTotal: what\n")
    here = available_gib(meminfo)  # what sysconf says
    assert here is None or here > 0
