"""Metrics: pure functions from `Curves` to one value per example. NaN where a value is not defined."""

from dissensus.metrics.aulc import aulc, aulc_of
from dissensus.metrics.cartography import Cartography, cartography, cartography_classes
from dissensus.metrics.forgetting import Forgetting, forgetting
from dissensus.metrics.learning import Learning, did_it_learn, learning
from dissensus.metrics.learning_time import LearningTime, learning_time, learning_time_of
from dissensus.metrics.margin import Margin, gold_margins, margin
from dissensus.metrics.points import losses_for
from dissensus.metrics.together import ExampleMetrics, example_metrics
from dissensus.metrics.unlearning import (
    Unlearning,
    noise_floor_between_seeds,
    unlearning,
)

__all__ = [
    "Cartography",
    "ExampleMetrics",
    "Forgetting",
    "Learning",
    "LearningTime",
    "Margin",
    "Unlearning",
    "aulc",
    "aulc_of",
    "cartography",
    "cartography_classes",
    "did_it_learn",
    "example_metrics",
    "forgetting",
    "gold_margins",
    "learning",
    "learning_time",
    "learning_time_of",
    "losses_for",
    "margin",
    "noise_floor_between_seeds",
    "unlearning",
]
