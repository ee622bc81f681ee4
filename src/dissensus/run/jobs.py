"""Jobs: which cells share a worker process. LoRA cells over one frozen model can train in one pass (train/fused.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dissensus.config import Execution, MethodSpec, RunSpec

Job = tuple[RunSpec, ...]
"""Cells that one worker trains together; most often a single one."""


def jobs(
    cells: Sequence[RunSpec], fuse: int, executions: Mapping[str, Execution] | None = None
) -> tuple[Job, ...]:
    """Group cells into jobs of at most `fuse`, in the order in which each job's first cell comes.

    Cells train together when they are LoRA without dropout in the adapters and agree in everything but seed, rank,
    alpha and learning rate. A group that is too large for one job is shared out evenly.

    Args:
        cells: what is to be run.
        fuse: most cells per job.
        executions: how each is carried out, by id; one that takes several processes or keeps no activations is alone.
    """
    groups: dict[str, list[RunSpec]] = {}
    for cell in cells:
        execution = (executions or {}).get(cell.cell_id, Execution())
        plain = execution.processes == 1 and not execution.gradient_checkpointing
        together = plain and cell.method.name == "lora" and cell.method.dropout == 0
        groups.setdefault(_common(cell) if together else cell.cell_id, []).append(cell)
    place = {cell.cell_id: i for i, cell in enumerate(cells)}
    grouped = [job for group in groups.values() for job in _shared_out(group, fuse)]
    return tuple(sorted(grouped, key=lambda job: place[job[0].cell_id]))


def _common(cell: RunSpec) -> str:
    """What cells that train together agree in."""
    method = MethodSpec(name="lora", rank=1, learning_rate=1.0, targets=cell.method.targets)
    return cell.model_copy(update={"seed": 0, "method": method}).digest()


def _shared_out(group: Sequence[RunSpec], fuse: int) -> list[Job]:
    count = -(-len(group) // fuse)
    size = -(-len(group) // count)
    return [tuple(group[at : at + size]) for at in range(0, len(group), size)]
