"""What the benchmark works on: a model, real items where they are found, and the machine's description."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.result import Value
from dissensus.config import MethodSpec, ModelSpec
from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.sources import load_source
from dissensus.data.sources.chaosnli import ChaosNLISource
from dissensus.data.sources.simulated import SimulatedSource
from dissensus.errors import DataError
from dissensus.models.encoding import Encoded
from dissensus.models.loading import load_scoring_model
from dissensus.models.scoring import ScoringModel, device_for
from dissensus.train.methods import apply_method

LORA = MethodSpec(name="lora", rank=8, alpha=16, learning_rate=1e-3)
FULL = MethodSpec(name="full", learning_rate=5e-5)


@dataclass(frozen=True)
class Work:
    """One model and the examples it reads.

    Attributes:
        model: name of the model.
        dataset: the examples.
        source: where they come from, for the table.
        device: where it runs.
        max_length: tokens per example.
    """

    model: str
    dataset: AnnotatedDataset
    source: str
    device: torch.device
    max_length: int = 128

    @classmethod
    def load(cls, model: str, items: int, *, device: str | None, data_dir: Path | None) -> Work:
        """`items` ChaosNLI-SNLI items where they are found, else pairs of the simulated panel."""
        try:
            whole, source = load_source(ChaosNLISource(part="snli"), data_dir=data_dir), "ChaosNLI-SNLI"
        except DataError:
            whole, source = load_source(SimulatedSource(size=max(items, 50))), "simulated panel"
        chosen = np.random.default_rng(0).permutation(len(whole))[:items]
        return cls(model, whole.subset([whole.ids[i] for i in chosen]), source, device_for(device))

    def scoring_model(self, method: MethodSpec) -> ScoringModel:
        """The model, made trainable, on its device."""
        spec = ModelSpec(name=self.model, max_length=self.max_length)
        model = load_scoring_model(spec, self.dataset.labels, self.dataset.fields, head_seed=0)
        apply_method(model, method, adapter_seed=0)
        model.module.to(self.device)
        return model

    def batches(self, encoded: Encoded, count: int, size: int = 32) -> list[NDArray[np.int64]]:
        """Shuffled training batches, rows of `encoded`, the same for every contender."""
        rng = np.random.default_rng(1)
        size = min(size, len(encoded))
        return [rng.permutation(len(encoded))[:size].astype(np.int64) for _ in range(count)]

    def waiting(self, run: Callable[[], object]) -> Callable[[], None]:
        """`run`, and then until the device has done it."""

        def whole() -> None:
            run()
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)

        return whole

    def setting(self) -> dict[str, Value]:
        """The work's size and the machine."""
        return {
            "model": self.model,
            "data": self.source,
            "items": len(self.dataset),
            **machine(self.device),
        }


def machine(device: torch.device | None = None) -> dict[str, Value]:
    """The machine and the versions that a figure depends on."""
    name = platform.processor() or platform.machine()
    flags = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        pairs = (line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line)
        lines = {key.strip(): value.strip() for key, value in pairs}
        name = lines.get("model name", name)
        units = {"avx512f": "AVX-512", "avx512_bf16": "AVX-512 BF16", "amx_bf16": "AMX BF16"}
        flags = ", ".join(word for flag, word in units.items() if flag in lines.get("flags", "").split())
    found: dict[str, Value] = {
        "processor": name,
        "units": flags,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": version("torch"),
        "transformers": version("transformers"),
        "peft": version("peft"),
    }
    if device is not None:
        found["device"] = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return found
