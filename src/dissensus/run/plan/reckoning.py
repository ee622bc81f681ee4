"""What a plan's jobs take together: GPU-hours, processor-hours and room for checkpoints, here or on a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dissensus.run.engines.base import Machine, Needs
from dissensus.run.jobs import Job
from dissensus.run.plan.findings import Findings
from dissensus.run.plan.packing import Packing
from dissensus.run.plan.work import CellPlan, Resources, summed

_HOUR = 3600.0


@dataclass(frozen=True)
class Reckoned:
    """The jobs whose seconds are known, in their order.

    Attributes:
        seconds: of each.
        needs: what each reserves.
        checkpoints: bytes of the checkpoints of each.
        weighed: whether the weights of any cell are known.
    """

    seconds: tuple[float, ...]
    needs: tuple[Needs, ...]
    checkpoints: tuple[int, ...]
    weighed: bool

    @classmethod
    def of(
        cls,
        jobs: Sequence[Job],
        needs: Sequence[Needs],
        planned: Mapping[str, CellPlan],
        findings: Findings,
    ) -> Reckoned:
        """From the plans of the jobs' cells."""
        kept: list[tuple[float, Needs, int]] = []
        for job, need in zip(jobs, needs, strict=True):
            seconds = summed([planned[cell.cell_id].work for cell in job]).seconds
            if seconds is None:
                continue
            weights = [(cell, findings.known[cell.cell_id].weights) for cell in job]
            room = sum(found.checkpoint_bytes(cell.method.rank) for cell, found in weights if found)
            kept.append((seconds, need, room))
        return cls(
            tuple(seconds for seconds, _, _ in kept),
            tuple(need for _, need, _ in kept),
            tuple(room for _, _, room in kept),
            any(room for _, _, room in kept),
        )

    def on_cluster(self, packing: Packing, machines: Sequence[Machine]) -> Resources:
        """What they take on machines, placed so."""
        gpus = sum(machine.gpus for machine in machines)
        return Resources(
            gpu_hours=self._hours([need.gpus for need in self.needs]),
            standing_gpu_hours=gpus * packing.wall_seconds / _HOUR,
            cpu_hours=self._hours([need.cpus for need in self.needs]),
            checkpoint_bytes=int(packing.peak(self.checkpoints)) if self.weighed else None,
            jobs_at_once=int(packing.peak([1.0] * len(self.seconds))),
        )

    def here(self, wall: float, workers: int, *, gpus: bool) -> Resources:
        """What they take on this machine, whose GPU, if it has one, they share."""
        largest = sorted(self.checkpoints, reverse=True)[:workers]
        return Resources(
            gpu_hours=wall / _HOUR if gpus else 0.0,
            standing_gpu_hours=wall / _HOUR if gpus else 0.0,
            cpu_hours=self._hours([float(need.threads) for need in self.needs]),
            checkpoint_bytes=sum(largest) if self.weighed else None,
            jobs_at_once=workers,
        )

    def _hours(self, reserved: Sequence[float]) -> float:
        return sum(s * share for s, share in zip(self.seconds, reserved, strict=True)) / _HOUR
