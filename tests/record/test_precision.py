"""Whether bf16 tracking pays is measured, and said; the model is left as it was."""

from __future__ import annotations

from pathlib import Path

import torch

from dissensus.config import ModelSpec
from dissensus.data.annotations import AnnotatedDataset
from dissensus.models.loading import load_scoring_model
from dissensus.record.precision import PrecisionTrial, try_precisions


def test_a_trial_tracks_in_both_precisions(tiny_encoder_dir: Path, tiny_dataset: AnnotatedDataset) -> None:
    spec = ModelSpec(name=str(tiny_encoder_dir))
    model = load_scoring_model(spec, tiny_dataset.labels, tiny_dataset.fields, head_seed=0)
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    encoded = model.encode(tiny_dataset)
    trial = try_precisions(model, encoded, tiny_dataset.gold, examples=10, rounds=1)
    assert trial.examples == 10
    # bf16 keeps 8 bits: the losses differ, and not by much.
    assert 0 < trial.largest_difference < 0.2
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())


def test_what_a_trial_says() -> None:
    slow, quick = PrecisionTrial(128, 1.0, 0.9, 3e-4), PrecisionTrial(128, 3.5, 1.0, 3e-4)
    assert not slow.pays
    assert quick.pays
    assert quick.in_words() == "3.5 times as fast, losses differ by up to 0.0003 nats"
