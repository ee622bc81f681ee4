"""All metrics of a cell in one walk over its examples, which share the losses, margins and probabilities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dissensus.curves import Curves, CurveSource, FloatArray
from dissensus.display import ShortRepr
from dissensus.errors import SpecError
from dissensus.metrics.aulc import Rule, block_aulc
from dissensus.metrics.blocks import Block, by_blocks
from dissensus.metrics.cartography import Cartography, cartography_of
from dissensus.metrics.forgetting import Forgetting, forgetting_of
from dissensus.metrics.margin import Margin, margin_of
from dissensus.metrics.points import kept_points
from dissensus.metrics.unlearning import Trend, Unlearning, judge, trend_of

Kernel = Callable[[Block, FloatArray], FloatArray]
"""From a block of b examples at T points, and the points' progress in [0, 1], to one value per example, shape (b,)."""


@dataclass(frozen=True, repr=False)
class ExampleMetrics(ShortRepr):
    """What a study's tables hold of n examples. Arrays have shape (n,); losses are in nats.

    Attributes:
        aulc: area under the curve of gold losses; see `aulc`.
        aulc_relative: the same less the loss at step 0.
        aulc_soft: the area under the curve of soft losses.
        initial_loss: gold loss at step 0; NaN where that was not measured.
        final_loss: gold loss at the last tracking point; NaN where there is none.
        unlearning: of the gold loss; see `unlearning`.
        cartography: step 0 left out, unless it is asked for; see `cartography`.
        forgetting: step 0 left out; see `forgetting`.
        margin: step 0 left out of the mean; see `margin`.
        further: those of other packages, by name.
    """

    aulc: FloatArray
    aulc_relative: FloatArray
    aulc_soft: FloatArray
    initial_loss: FloatArray
    final_loss: FloatArray
    unlearning: Unlearning
    cartography: Cartography
    forgetting: Forgetting
    margin: Margin
    further: Mapping[str, FloatArray]


def example_metrics(
    curves: Curves | CurveSource,
    *,
    noise_floor: float = 0.1,
    further: Mapping[str, Kernel] | None = None,
    rule: Rule = "trapezoid",
    map_start: bool = False,
    map_threshold: float | None = None,
) -> ExampleMetrics:
    """The values that `aulc`, `unlearning`, `cartography`, `forgetting` and `margin` give, computed together.

    Args:
        curves: n examples at T tracking points, in memory or stored (`open_curves`).
        noise_floor: the smallest rise that counts as un-learning, nats; see `unlearning`.
        further: more metrics, by name.
        rule: of every AULC: 'trapezoid' or 'mean'; see `aulc`.
        map_start: take step 0 into the data map; see `cartography`.
        map_threshold: of its correctness.

    Raises:
        SpecError: the noise floor is negative or not a number, or one of `further` gives something else than a number
            per example.
    """
    u, kept, mapped = curves.progress, kept_points(curves, False), kept_points(curves, map_start)
    has_start = len(curves.steps) > 0 and curves.steps[0] == 0

    def values(block: Block) -> dict[str, NDArray[Any]]:
        losses = block.losses
        unknown = np.full(len(block.rows), np.nan)
        plain = {
            "aulc": block_aulc(block, u, rule=rule),
            "aulc_soft": block_aulc(block, u, loss="soft", rule=rule),
            "initial_loss": losses[:, 0] if has_start else unknown,
            "final_loss": losses[:, -1] if losses.shape[1] else unknown,
        }
        groups: dict[str, Mapping[str, NDArray[Any]]] = {
            "trend": vars(trend_of(losses, u)),
            "cartography": vars(cartography_of(block, mapped, map_threshold)),
            "forgetting": vars(forgetting_of(block, curves, kept)),
            "margin": vars(margin_of(block.margins, kept)),
            "further": {
                name: _checked(name, kernel(block, u), block) for name, kernel in (further or {}).items()
            },
        }
        return plain | {
            f"{group}.{name}": v for group, group_values in groups.items() for name, v in group_values.items()
        }

    computed = by_blocks(curves, values)
    start = computed["initial_loss"]

    def group(name: str) -> dict[str, NDArray[Any]]:
        return {key.removeprefix(f"{name}."): v for key, v in computed.items() if key.startswith(f"{name}.")}

    return ExampleMetrics(
        **{name: v for name, v in computed.items() if "." not in name},
        aulc_relative=computed["aulc"] - np.where(np.isfinite(start), start, np.nan),
        # What takes only one number per example is left until here: the threads would wait for each other over it.
        unlearning=judge(Trend(**group("trend")), noise_floor=noise_floor),
        cartography=Cartography(**group("cartography")),
        forgetting=Forgetting(**group("forgetting")),
        margin=Margin(**group("margin")),
        further=group("further"),
    )


def _checked(name: str, values: Any, block: Block) -> FloatArray:
    """What a further metric gave, if it is one number per example."""
    array = np.asarray(values)
    if array.shape != (len(block.rows),) or array.dtype.kind not in "biuf":
        raise SpecError(
            f"the metric {name!r} gave {array.dtype} of shape {array.shape}; expected a number per example, shape "
            f"({len(block.rows)},)"
        )
    return array
