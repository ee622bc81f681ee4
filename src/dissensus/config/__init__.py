"""Frozen, validated specifications of a run and of a study; a run's identity."""

from dissensus.config.analysis import AnalysisSpec, CartographySpec, Measure
from dissensus.config.base import Spec
from dissensus.config.dataset import DatasetSpec, EntropyCuts, HoldoutSpec, TrainGroups
from dissensus.config.explain import nearest
from dissensus.config.gradients import GradientSpec
from dissensus.config.run import (
    FEWEST_STEPS,
    MethodSpec,
    ModelSpec,
    NoiseSpec,
    Regime,
    RunSpec,
    TrackingSpec,
    TrainingSpec,
)
from dissensus.config.sources import SourceSpec
from dissensus.config.study import (
    NO_VARIANT,
    Execution,
    ExecutionRule,
    Override,
    StudySpec,
    VariantSpec,
    When,
)

__all__ = [
    "FEWEST_STEPS",
    "NO_VARIANT",
    "AnalysisSpec",
    "CartographySpec",
    "DatasetSpec",
    "EntropyCuts",
    "Execution",
    "ExecutionRule",
    "GradientSpec",
    "HoldoutSpec",
    "Measure",
    "MethodSpec",
    "ModelSpec",
    "NoiseSpec",
    "Override",
    "Regime",
    "RunSpec",
    "SourceSpec",
    "Spec",
    "StudySpec",
    "TrackingSpec",
    "TrainGroups",
    "TrainingSpec",
    "VariantSpec",
    "When",
    "nearest",
]
