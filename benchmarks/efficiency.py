"""Where a contender's time goes: useful operations, operations on padding, slow products, everything else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.flops import computed, kernel_share, peak_rate
from benchmarks.result import Value
from benchmarks.timing import Spread
from benchmarks.work import Work


@dataclass(frozen=True)
class Efficiency:
    """Shares of the time that a run takes; with R the rate of bare linear layers, they add up to 1.

    Attributes:
        useful: useful operations / (R x time): the efficiency.
        padding: operations beyond the useful ones, the same way; below 0 where useful ones by the formula were
            not needed (the last layer computes label tokens alone).
        kernel: products that ran slower than R.
        overhead: all that is no product: activations, norms, softmax, copies, Python.
        of_peak: useful operations / (peak x time) on a GPU whose peak is known (MFU), else None.
    """

    useful: float
    padding: float
    kernel: float
    overhead: float
    of_peak: float | None

    @classmethod
    def of(
        cls,
        run: Callable[[], object],
        seconds: Spread,
        useful_flops: float,
        linear_flops: float,
        linear_seconds: Spread,
        work: Work,
    ) -> Efficiency:
        """Split a timed contender's time; it runs twice more, counted and profiled."""
        # Round by round, so that a machine that slows down slows both.
        rates = [linear_flops / s for s in linear_seconds.values]
        useful = Spread(
            tuple(useful_flops / (r * s) for r, s in zip(rates, seconds.values, strict=True))
        ).median
        padding = useful * (computed(run) / useful_flops - 1)
        inside = kernel_share(run, work.device)
        peak = peak_rate(work.device, "fp32")
        return cls(
            useful=useful,
            padding=padding,
            kernel=inside - useful - padding,
            overhead=1 - inside,
            of_peak=None if peak is None else useful_flops / (peak * seconds.median),
        )

    def facts(self) -> dict[str, Value]:
        """For the table."""
        found: dict[str, Value] = {
            "efficiency": round(self.useful, 3),
            "padding_share": round(self.padding, 3),
            "kernel_share": round(self.kernel, 3),
            "overhead_share": round(self.overhead, 3),
        }
        return found if self.of_peak is None else {**found, "mfu": round(self.of_peak, 4)}
