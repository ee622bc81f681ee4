"""Checkpoints: trainable weights, optimiser state and the step, in one file replaced atomically."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from dissensus.errors import StoreError
from dissensus.files import atomic_file
from dissensus.models.sharded import part_like, whole


class Checkpoint:
    """One safetensors file under `folder`. Random state is not in it: every step's streams are keyed by the step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "state.safetensors"

    def save(
        self,
        step: int,
        parameters: Mapping[str, nn.Parameter],
        optimizer: torch.optim.Optimizer,
        *,
        first: bool = True,
    ) -> None:
        """Replace the checkpoint by the state after `step` steps.

        Sharded tensors are gathered one after the other, so every process calls this; the `first` writes.
        """
        tensors: dict[str, Tensor] = {}
        for name, parameter in parameters.items():
            state = {
                f"optimizer/{key}/{name}": value for key, value in optimizer.state.get(parameter, {}).items()
            }
            for key, value in {f"weight/{name}": parameter.detach(), **state}.items():
                gathered = whole(value)
                if first:
                    tensors[key] = gathered if gathered is value else gathered.cpu()
        if not first:
            return
        self.folder.mkdir(exist_ok=True)
        with atomic_file(self._file) as beside:
            safetensors.torch.save_file(
                {k: v.contiguous() for k, v in tensors.items()}, beside, metadata={"step": str(step)}
            )

    def load(self, parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> int | None:
        """Put the stored state into place; the step it belongs to, or None when there is none.

        Every process reads the file; of a sharded tensor it keeps its part.

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
                parameter.copy_(part_like(tensors[f"weight/{name}"], parameter))
        for key, value in tensors.items():
            kind, _, rest = key.partition("/")
            if kind == "optimizer":
                field, _, name = rest.partition("/")
                # The fused AdamW wants its step counter, like its moments, where the weights are.
                parameter = parameters[name]
                counter = value.ndim == 0
                optimizer.state[parameter][field] = (
                    value.to(parameter.device) if counter else part_like(value, parameter)
                )
        return step

    def remove(self) -> None:
        """Delete the checkpoint; the run is done."""
        shutil.rmtree(self.folder, ignore_errors=True)
