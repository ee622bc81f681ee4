"""Frozen, validated specifications of a run and of a study; a run's identity."""

from dissensus.config.base import Spec
from dissensus.config.explain import nearest
from dissensus.config.run import (
    FEWEST_STEPS,
    DatasetSpec,
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
    AnalysisSpec,
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
    "DatasetSpec",
    "Execution",
    "ExecutionRule",
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
    "TrainingSpec",
    "VariantSpec",
    "When",
    "nearest",
]
