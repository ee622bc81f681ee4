"""Useful floating-point operations of a pass or a step, and the rate that this machine's linear layers reach.

Per token of an example of T tokens a forward pass needs F = 2 N + 4 L T d operations: N weights in the linear
layers of the body, L layers, width d (embeddings and heads are left out). A full training step needs 3 F; a LoRA
step 2 F + 3 f, with f = 2 (weights of the adapters): the gradient of a frozen weight is not needed. Only real
tokens count: what is computed on padding is not useful.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

PEAKS = {
    "H100": {"fp32": 67e12, "bf16": 989e12},
    "H200": {"fp32": 67e12, "bf16": 989e12},
    "A100": {"fp32": 19.5e12, "bf16": 312e12},
}
"""Dense peak rates in FLOP/s, without sparsity, of GPUs known here (NVIDIA's data sheets, SXM boards)."""


@dataclass(frozen=True)
class Costs:
    """What a model costs.

    Attributes:
        shapes: (out, in) of each linear layer in the body, with how often it occurs.
        layers: L.
        width: d.
        adapter_weights: weights of the adapters; 0 without.
    """

    shapes: Counter[tuple[int, int]]
    layers: int
    width: int
    adapter_weights: int

    @classmethod
    def of(cls, module: nn.Module) -> Costs:
        """Read off a transformers model, with PEFT's adapters or without."""
        from transformers.pytorch_utils import Conv1D

        shapes: Counter[tuple[int, int]] = Counter()
        for stack in module.modules():
            if not isinstance(stack, nn.ModuleList):
                continue
            for name, layer in stack.named_modules():
                if ".lora_" in name or not isinstance(layer, nn.Linear | Conv1D):
                    continue
                rows, columns = layer.weight.shape
                shapes[(columns, rows) if isinstance(layer, Conv1D) else (rows, columns)] += 1
        base: Any = module
        config = (base.get_base_model() if hasattr(base, "get_base_model") else base).config
        adapters = sum(p.numel() for n, p in module.named_parameters() if ".lora_" in n)
        return cls(shapes, int(config.num_hidden_layers), int(config.hidden_size), adapters)

    def forward(self, lengths: NDArray[np.int64]) -> float:
        """Operations of a forward pass over examples of these lengths, shape (b,)."""
        weights = sum(times * rows * columns for (rows, columns), times in self.shapes.items())
        tokens = lengths.astype(np.float64)
        return float((2 * weights * tokens + 4 * self.layers * self.width * tokens**2).sum())

    def step(self, lengths: NDArray[np.int64], *, full: bool) -> float:
        """Operations of a training step over examples of these lengths."""
        if full:
            return 3 * self.forward(lengths)
        return 2 * self.forward(lengths) + 6 * self.adapter_weights * float(lengths.sum())

    def linear_pass(
        self, tokens: int, device: torch.device, dtype: torch.dtype
    ) -> tuple[Callable[[], None], float]:
        """A bare `F.linear` of every layer's shape over so many tokens, and its operations.

        What it takes gives R, the rate of the machine on this model's shapes: the operations over the time.
        """
        with torch.random.fork_rng(devices=[]):
            inputs = {k: torch.randn(tokens, k, device=device, dtype=dtype) for _, k in self.shapes}
            weights = {
                shape: [torch.randn(*shape, device=device, dtype=dtype) for _ in range(times)]
                for shape, times in self.shapes.items()
            }

        def run() -> None:
            with torch.no_grad():
                for (_, columns), layers in weights.items():
                    for weight in layers:
                        nn.functional.linear(inputs[columns], weight)

        return run, float(sum(2 * tokens * r * c * times for (r, c), times in self.shapes.items()))


def computed(run: Callable[[], object]) -> float:
    """Operations that a run really carries out in products, padding and all."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops())


def kernel_share(run: Callable[[], object], device: torch.device) -> float:
    """Share of a run's time that is spent inside products (addmm, mm, bmm, ...), by torch's profiler."""
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.type == "cuda" else [])
    with profile(activities=activities) as profiled:
        run()
    times: dict[str, float] = {}
    for event in profiled.key_averages():
        spent = event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total
        times[event.key] = times.get(event.key, 0.0) + spent
    total = sum(times.values())
    products = ("aten::addmm", "aten::mm", "aten::bmm", "aten::baddbmm", "aten::_int_mm")
    inside = sum(spent for name, spent in times.items() if name in products or "gemm" in name.lower())
    return inside / total if total else float("nan")


def peak_rate(device: torch.device, precision: str) -> float | None:
    """The device's peak in FLOP/s, where it is known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((rates[precision] for gpu, rates in PEAKS.items() if gpu in name), None)
