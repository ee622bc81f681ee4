"""One small cell's worth of parts: a scoring model and a training set on the tiny encoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dissensus.config import MethodSpec, ModelSpec
from dissensus.data.annotations import AnnotatedDataset
from dissensus.models.loading import load_scoring_model
from dissensus.models.scoring import ScoringModel
from dissensus.train.loss import TrainingSet
from dissensus.train.methods import apply_method

Build = Callable[..., tuple[ScoringModel, TrainingSet]]


@pytest.fixture
def build(tiny_encoder_dir: Path, tiny_dataset: AnnotatedDataset) -> Build:
    def make(method: str = "lora") -> tuple[ScoringModel, TrainingSet]:
        model = load_scoring_model(
            ModelSpec(name=str(tiny_encoder_dir), max_length=48),
            tiny_dataset.labels,
            tiny_dataset.fields,
            head_seed=3,
        )
        rank = {"rank": 4} if method == "lora" else {}
        apply_method(
            model, MethodSpec.parse({"name": method, "learning_rate": 1e-3, **rank}, "t"), adapter_seed=1
        )
        return model, TrainingSet(model.encode(tiny_dataset), tiny_dataset.gold)

    return make
