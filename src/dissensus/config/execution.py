"""Execution of a cell: the resources that it asks of a machine. No part of its identity: the curves stay the same."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from dissensus.config.base import Spec


class Execution(Spec):
    """What one cell is given, and how it uses it. None leaves a choice to the engine."""

    cpus: float | None = Field(
        None, gt=0, description="Processors to reserve; default: the worker's threads."
    )
    gpus: float | None = Field(
        None,
        ge=0,
        description="GPUs to reserve, fractions too; default: one per process where there are any.",
    )
    memory_gib: float | None = Field(
        None, gt=0, description="Memory to reserve, in GiB; default: 3 a process."
    )
    processes: int = Field(1, ge=1, description="Processes that train one cell together, a GPU each.")
    sharding: Literal["none", "fsdp"] = Field(
        "none", description="Several processes: each holds all weights (DDP), or a part of them (FSDP)."
    )
    cpu_offload: bool = Field(
        False, description="FSDP: weights wait in the CPU's memory until they are needed."
    )
    gradient_checkpointing: bool = Field(
        False, description="Compute activations again on the way back instead of keeping them: less memory."
    )
    checkpoint_seconds: float | None = Field(
        None,
        ge=0,
        description="A checkpoint at the first tracking point so long after the last one; default: 60; 0: at each.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Execution:
        if self.cpu_offload and self.sharding != "fsdp":
            raise ValueError("cpu_offload belongs to sharding: fsdp")
        if self.gpus is not None and 0 < self.gpus < self.processes and self.processes > 1:
            raise ValueError(
                f"{self.processes} processes need a GPU each, or none; given: gpus: {self.gpus:g}"
            )
        return self
