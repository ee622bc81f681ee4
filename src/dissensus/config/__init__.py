"""Frozen, validated specifications of a run and of a study; a run's identity."""

from dissensus.config.base import Spec
from dissensus.config.execution import Execution
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
from dissensus.config.sources import (
    ChaosNLISource,
    LeWiDiSource,
    NLISource,
    SimulatedSource,
    SourceSpec,
    TableSource,
)
from dissensus.config.study import (
    NO_VARIANT,
    AnalysisSpec,
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
    "ChaosNLISource",
    "DatasetSpec",
    "Execution",
    "ExecutionRule",
    "LeWiDiSource",
    "MethodSpec",
    "ModelSpec",
    "NLISource",
    "NoiseSpec",
    "Override",
    "Regime",
    "RunSpec",
    "SimulatedSource",
    "SourceSpec",
    "Spec",
    "StudySpec",
    "TableSource",
    "TrackingSpec",
    "TrainingSpec",
    "VariantSpec",
    "When",
    "nearest",
]
