"""Settings of a study's analysis, applied to arrays: entropy groups, metrics, AULC. Each setting is read here alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dissensus.config import AnalysisSpec
from dissensus.curves import Curves, CurveSource, FloatArray
from dissensus.metrics import ExampleMetrics, aulc_of, example_metrics
from dissensus.metrics.together import Kernel
from dissensus.stats import entropy_groups


def groups_of(entropy: FloatArray, settings: AnalysisSpec) -> NDArray[np.str_]:
    """Entropy groups by a study's settings; see `entropy_groups`."""
    return entropy_groups(entropy, share=settings.contested_share, cuts=settings.cuts_in_bits)


def metrics_of(
    source: Curves | CurveSource, settings: AnalysisSpec, further: Mapping[str, Kernel] | None = None
) -> ExampleMetrics:
    """Metrics of each example by a study's settings; `further` as in `example_metrics`."""
    return example_metrics(
        source,
        noise_floor=settings.noise_floor,
        further=further,
        rule=settings.aulc,
        map_start=settings.cartography.include_start,
        map_threshold=settings.cartography.threshold,
    )


def area_of(losses: FloatArray, progress: FloatArray, settings: AnalysisSpec) -> FloatArray:
    """AULC of losses, shape (n, T), by a study's settings, shape (n,)."""
    return aulc_of(losses, progress, rule=settings.aulc)
