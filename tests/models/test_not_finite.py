"""What the recorder says, in somebody's own script, of losses that are not finite."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
import transformers

from dissensus import CurveRecorder
from dissensus.data.annotations import AnnotatedDataset


def warned(
    folder: Path, model: torch.nn.Module, dataset: AnnotatedDataset, out: Path, log: pytest.LogCaptureFixture
) -> list[str]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    recorder = CurveRecorder(out, dataset, tokenizer=tokenizer, total_steps=2)
    with log.at_level(logging.WARNING, logger="dissensus"):
        recorder.step(model, 0)
        recorder.step(model, 1)
    recorder.discard()
    return [record.getMessage() for record in log.records if "not finite" in record.getMessage()]


def test_weights_that_are_nan_are_named_once(
    tiny_encoder_dir: Path, tiny_dataset: AnnotatedDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tiny_encoder_dir, num_labels=3)
    with torch.no_grad():
        model.classifier.bias[1] = float("nan")
    assert warned(tiny_encoder_dir, model, tiny_dataset, tmp_path, caplog) == [
        "at step 0 the loss of 24 of 24 tracked examples is not finite: the model's weights are damaged, "
        "classifier.bias (1 NaN of 3 numbers)"
    ]


def test_logits_that_are_nan_over_finite_weights_are_called_that(
    tiny_encoder_dir: Path, tiny_dataset: AnnotatedDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tiny_encoder_dir, num_labels=3)
    model.classifier.register_forward_hook(lambda _m, _i, logits: logits * float("inf"))
    (said,) = warned(tiny_encoder_dir, model, tiny_dataset, tmp_path, caplog)
    assert said.startswith(
        "at step 0 the loss of 24 of 24 tracked examples is not finite, although the weights"
    )


def test_nothing_is_said_of_finite_losses(
    tiny_encoder_dir: Path, tiny_dataset: AnnotatedDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tiny_encoder_dir, num_labels=3)
    assert warned(tiny_encoder_dir, model, tiny_dataset, tmp_path, caplog) == []
