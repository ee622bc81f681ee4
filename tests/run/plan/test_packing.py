"""Placing jobs on machines: examples by hand, and what holds for any jobs."""

from __future__ import annotations

import numpy as np
import pytest

from dissensus.errors import SpecError
from dissensus.run.engines.base import Machine, Needs
from dissensus.run.plan.packing import pack

GPU_NODE = Machine(16, 1, 128)


def one(cpus: float = 1, gpus: float = 0, memory: float = 1) -> Needs:
    return Needs(cpus, gpus, memory, 1)


def test_one_gpu_is_a_queue_and_eight_are_shared_out() -> None:
    needs = [one(gpus=1)] * 16
    assert pack([10.0] * 16, needs, [GPU_NODE]).wall_seconds == 160
    assert pack([10.0] * 16, needs, [GPU_NODE] * 8).wall_seconds == 20


def test_jobs_are_taken_in_their_order() -> None:
    # Two places. 5 and 3 begin; at 3 comes 4, at 5 comes 2: both end at 7.
    packing = pack([5.0, 3.0, 4.0, 2.0], [one(gpus=1)] * 4, [GPU_NODE] * 2)
    assert [(p.start, p.end, p.machine) for p in packing.placed] == [
        (0, 5, 0),
        (0, 3, 1),
        (3, 7, 1),
        (5, 7, 0),
    ]


def test_a_part_of_a_gpu_comes_from_one_gpu() -> None:
    # Of two GPUs, 0.6 is taken of each; 0.4 + 0.4 hold no third job of 0.6.
    two = Machine(16, 2, 128)
    assert pack([10.0] * 3, [one(gpus=0.6)] * 3, [two]).wall_seconds == 20
    assert pack([10.0] * 3, [one(gpus=0.5)] * 3, [two]).wall_seconds == 10
    # The two halves share a GPU, so that the whole one is free.
    assert pack([10.0] * 3, [one(gpus=0.5), one(gpus=0.5), one(gpus=1)], [two]).wall_seconds == 10


def test_one_that_does_not_fit_keeps_no_other_waiting() -> None:
    needs = [one(cpus=3), one(cpus=3), one(cpus=1)]
    packing = pack([10.0, 10.0, 5.0], needs, [Machine(4, 0, 8)])
    assert [p.start for p in packing.placed] == [0, 10, 0]


def test_memory_counts_too() -> None:
    assert pack([10.0] * 4, [one(memory=3)] * 4, [Machine(16, 0, 7)]).wall_seconds == 20


def test_jobs_without_a_gpu_leave_those_machines_alone() -> None:
    packing = pack([1.0, 1.0], [one(), one(cpus=4)], [GPU_NODE, Machine(4, 0, 8)])
    assert [p.machine for p in packing.placed] == [1, 0]


def test_a_limit_of_jobs_at_a_time() -> None:
    assert pack([10.0] * 6, [one()] * 6, [Machine(16, 0, 64)], at_once=2).wall_seconds == 30


def test_the_most_at_a_time() -> None:
    # 0 to 5 and 5 to 9 on one machine, 0 to 7 on the other: 1 + 10, then 100 + 10. What ends goes first.
    packing = pack([5.0, 7.0, 4.0], [one(gpus=1)] * 3, [GPU_NODE] * 2)
    assert packing.peak([1.0, 10.0, 100.0]) == 110


def test_nothing_to_do() -> None:
    assert pack([], [], [GPU_NODE]).wall_seconds == 0


@pytest.mark.parametrize("needs", [one(cpus=17), one(gpus=2), one(gpus=1.5), one(memory=129)])
def test_what_no_machine_holds_is_refused(needs: Needs) -> None:
    with pytest.raises(
        SpecError, match=r"no machine has room for a cell that takes .* there is: 16 processors"
    ):
        pack([1.0], [needs], [GPU_NODE] * 8)


@pytest.mark.parametrize("seed", range(20))
def test_what_holds_for_any_jobs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    machines = [Machine(8, 2, 32), Machine(16, 0, 64), Machine(4, 1, 16)]
    needs = [
        one(float(rng.integers(1, 5)), float(rng.choice([0, 0.25, 0.4, 1, 2])), float(rng.integers(1, 9)))
        for _ in range(60)
    ]
    seconds = rng.uniform(1, 50, size=60).tolist()
    packing = pack(seconds, needs, machines)
    assert [p.end - p.start for p in packing.placed] == pytest.approx(seconds)
    for moment in {p.start for p in packing.placed}:
        for place, machine in enumerate(machines):
            there = [
                n
                for n, p in zip(needs, packing.placed, strict=True)
                if p.machine == place and p.start <= moment < p.end
            ]
            assert sum(n.cpus for n in there) <= machine.cpus
            assert sum(n.gpus for n in there) <= machine.gpus + 1e-9
            assert sum(n.memory_gib for n in there) <= machine.memory_gib
    bounds = [max(seconds)]
    for resource in ("cpus", "gpus", "memory_gib"):
        used = sum(s * getattr(n, resource) for s, n in zip(seconds, needs, strict=True))
        bounds.append(used / sum(getattr(m, resource) for m in machines))
    assert packing.wall_seconds >= max(bounds) - 1e-6
    assert packing.wall_seconds <= sum(seconds)
