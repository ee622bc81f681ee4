"""What resuming needs: trainable weights, optimiser state and the step, in one file replaced atomically."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from dissensus.errors import StoreError


class Checkpoint:
    """One safetensors file under `folder`. Random state is not in it: every step's streams are keyed by the step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "state.safetensors"

    def save(
        self, step: int, parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer
    ) -> None:
        """Replace the checkpoint by the state after `step` steps."""
        self.folder.mkdir(exist_ok=True)
        tensors: dict[str, Tensor] = {}
        for name, parameter in parameters.items():
            tensors[f"weight/{name}"] = parameter.detach()
            for key, value in optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer/{key}/{name}"] = value
        beside = self.folder / f".state.{os.getpid()}.tmp"
        safetensors.torch.save_file(
            {k: v.contiguous() for k, v in tensors.items()}, beside, metadata={"step": str(step)}
        )
        with beside.open("rb") as handle:
            os.fsync(handle.fileno())
        beside.replace(self._file)

    def load(self, parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> int | None:
        """Put the stored state into place; the step it belongs to, or None when there is none.

        Raises `StoreError` if the file is of another model or damaged.
        """
        if not self._file.exists():
            return None
        try:
            with safetensors.safe_open(self._file, framework="pt") as stored:
                step = int(stored.metadata()["step"])
                tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118 - not a mapping
        except (safetensors.SafetensorError, KeyError, ValueError) as error:
            raise StoreError(
                f"{self._file} is damaged ({error}); delete the cell's folder and run again"
            ) from None
        wanted = {f"weight/{name}" for name in parameters}
        if wanted != {key for key in tensors if key.startswith("weight/")}:
            raise StoreError(
                f"{self._file} is a checkpoint of another model; delete the cell's folder and run again"
            )
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(tensors[f"weight/{name}"])
        for key, value in tensors.items():
            kind, _, rest = key.partition("/")
            if kind == "optimizer":
                field, _, name = rest.partition("/")
                parameter = parameters[name]
                # The fused AdamW wants its step counter, like its moments, where the weights are.
                optimizer.state[parameter][field] = value.to(parameter.device)
        return step

    def remove(self) -> None:
        """Delete the checkpoint; the run is done."""
        shutil.rmtree(self.folder, ignore_errors=True)
