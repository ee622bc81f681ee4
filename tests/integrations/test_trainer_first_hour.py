"""What a user of `Trainer` runs into in the first hour: stopping, going on, other labels, other tokenizers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from spy import Spy
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    EarlyStoppingCallback,
    Trainer,
    TrainerCallback,
)

from dissensus import AnnotatedDataset, CurveRecorder, load_curves
from dissensus.errors import DataError, ModelError, StoreError
from dissensus.integrations.transformers import record
from dissensus.live import LiveCurves
from dissensus.record.probes.completions import CompletionProbe
from dissensus.record.probes.labels import LabelProbe

Make = Callable[..., Trainer]


class Stop(TrainerCallback):
    """A time limit, a signal, a pruner: training is asked to end at a step."""

    def __init__(self, at: int) -> None:
        self.at = at

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = control.should_training_stop or state.global_step == self.at


@pytest.mark.parametrize("when", ["steps", "epoch"])
def test_what_is_recorded_last_are_not_the_best_weights(
    make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path, when: str
) -> None:
    """`load_best_model_at_end` puts the best checkpoint's weights in before training ends for the callbacks."""
    spy = Spy(tiny_dataset)
    stop = EarlyStoppingCallback(early_stopping_patience=1, early_stopping_threshold=1e9)
    more = {"eval_steps": 3, "save_steps": 3} if when == "steps" else {}
    trainer = make(
        max_steps=50, eval_strategy=when, save_strategy=when, load_best_model_at_end=True,
        metric_for_best_model="eval_loss", greater_is_better=True, callbacks=[spy, stop], **more,
    )  # fmt: skip
    record(trainer, tmp_path / "run", tiny_dataset, points=2)
    trainer.train()
    stopped = trainer.state.global_step
    curves = load_curves(tmp_path / "run")
    assert stopped < 50
    assert curves.steps.tolist() == [0, stopped]
    np.testing.assert_allclose(curves.losses[:, -1], spy.losses[stopped], atol=1e-5)
    assert trainer.state.best_global_step != stopped


def test_a_run_that_was_stopped_goes_on(make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path) -> None:
    whole = make(out="whole")
    record(whole, tmp_path / "whole", tiny_dataset, points=8)
    whole.train()
    stopped = make(out="cut", save_strategy="steps", save_steps=2, callbacks=[Stop(4)])
    record(stopped, tmp_path / "cut", tiny_dataset, points=8)
    stopped.train()
    assert load_curves(tmp_path / "cut").total_steps == 4
    again = make(out="cut", save_strategy="steps", save_steps=2)
    record(again, tmp_path / "cut", tiny_dataset, points=8)
    again.train(resume_from_checkpoint=True)
    curves = load_curves(tmp_path / "cut")
    assert curves.total_steps == 7
    assert "planned_steps" not in curves.provenance
    np.testing.assert_array_equal(curves.log_probs, load_curves(tmp_path / "whole").log_probs)


def test_two_runs_are_not_spliced(make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path) -> None:
    first = make(callbacks=[Stop(4)])
    record(first, tmp_path / "run", tiny_dataset, points=8)
    first.train()
    fresh = make()
    record(fresh, tmp_path / "run", tiny_dataset, points=8, resume=True)  # which the trainer knows better
    with pytest.raises(StoreError, match="holds the curves of a run already"):
        fresh.train()
    recorder = CurveRecorder(
        tmp_path / "run", tiny_dataset, tokenizer=fresh.processing_class, total_steps=7, points=8, resume=True
    )
    with pytest.raises(
        StoreError, match=r"points up to 4, and the run is at step 0: .* recorder.rewind\(0\)"
    ):
        recorder.step(fresh.model, 0)


def test_what_evaluate_returns_is_the_callers(
    make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    found: list[dict[str, float]] = []

    class Keep(TrainerCallback):
        def on_evaluate(
            self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any
        ) -> None:
            found.append(dict(metrics))

    trainer = make(eval_strategy="steps", eval_steps=2, logging_steps=100, callbacks=[Keep()])
    record(trainer, tmp_path / "run", tiny_dataset, points=8)
    trainer.train()
    assert found
    assert not [name for metrics in found for name in metrics if "dissensus" in name]


def test_labels_in_another_order_than_the_models(
    make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    trainer = make()
    trainer.model.config.id2label = {0: "CONTRADICTION", 1: "neutral", 2: "entailment"}
    record(trainer, tmp_path / "run", tiny_dataset)
    with pytest.raises(DataError, match="the same in another order"):
        trainer.train()


def test_padding_is_the_models(
    tiny_decoder_dir: Path, tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    """A decoder's classifier looks for the last token by its own padding id; ours must be the same."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_decoder_dir)
    model = AutoModelForSequenceClassification.from_pretrained(tiny_decoder_dir, num_labels=3)
    model.config.pad_token_id = 7
    recorder = CurveRecorder(tmp_path, LabelProbe(tiny_dataset, tokenizer=tokenizer, pad_id=5), total_steps=1)
    found = recorder.look(model)
    model.eval()
    for row, e in enumerate(tiny_dataset):
        ids = tokenizer(e.text["premise"], e.text["hypothesis"], return_tensors="pt")
        with torch.no_grad():
            logits = model(input_ids=ids["input_ids"], attention_mask=ids["attention_mask"]).logits[0]
        assert found[row] == pytest.approx(-float(torch.log_softmax(logits, -1)[e.gold or 0]), abs=1e-5)


def test_a_score_of_another_shape(make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path) -> None:
    for number, shape in enumerate([(1, 3), (24,)]):
        trainer = make()
        record(
            trainer,
            tmp_path / str(number),
            lambda tokenizer, s=shape: LabelProbe(
                tiny_dataset, tokenizer=tokenizer, score=lambda m, b: torch.zeros(s)
            ),
        )
        with pytest.raises(ModelError, match="expected \\(examples, labels\\)"):
            trainer.train()


def test_a_budget_goes_on_after_an_interruption(
    make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dissensus.record.budget.SPENT", 1e3)  # all points fit
    options: dict[str, Any] = {"max_steps": 40, "save_strategy": "steps", "save_steps": 10}
    first = make(callbacks=[Stop(20)], **options)
    record(first, tmp_path / "run", tiny_dataset, points=21, max_overhead=1.0)
    first.train()
    again = make(**options)
    record(again, tmp_path / "run", tiny_dataset, points=21, max_overhead=1.0)
    again.train(resume_from_checkpoint=True)
    steps = load_curves(tmp_path / "run").steps
    assert steps[-1] == 40
    assert len(steps) <= 21
    assert sum((steps > 20) & (steps < 40)) >= 5


def test_a_processor_holds_a_tokenizer(
    tiny_decoder_dir: Path, make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    given: list[Any] = []
    trainer = make()
    tokenizer = trainer.processing_class

    class Processor:
        def __init__(self) -> None:
            self.tokenizer = tokenizer

        def save_pretrained(self, *_: Any) -> None: ...

    def tracked(found: Any) -> AnnotatedDataset:
        given.append(found)
        return tiny_dataset

    callback = record(trainer, tmp_path / "run", tracked, tokenizer=tokenizer, points=2)
    trainer.callback_handler.processing_class = Processor()
    trainer.train()
    assert given == [tokenizer]
    assert callback.recorder is not None


def test_a_completion_stands_for_a_gold_label(tiny_decoder_dir: Path) -> None:
    rows = [{"id": "a", "text": "a dog", "counts": [0, 0]}]
    data = AnnotatedDataset.from_records(rows, labels=["x", "y"], text=["text"], gold=None)
    tokenizer = AutoTokenizer.from_pretrained(tiny_decoder_dir)
    with pytest.raises(DataError, match=r"1 example.* no gold label, e\.g\. 'a'"):
        CompletionProbe.from_texts(
            data, tokenizer, prompt="{text}", completion=lambda e: f" {data.labels[e.gold]}"
        )


def test_padding_that_a_trainer_put_in_is_no_text(tiny_decoder_dir: Path) -> None:
    rows = [{"id": "a", "text": "a dog", "gold": "x", "counts": [1, 0]}]
    data = AnnotatedDataset.from_records(rows, labels=["x", "y"], text=["text"])
    plain: dict[str, Any] = {"id": "a", "input_ids": [5, 6, 7, 8], "labels": [-100, -100, 7, 8]}
    left = {
        "id": "a",
        "input_ids": [0, 0, 5, 6, 7, 8],
        "attention_mask": [0, 0, 1, 1, 1, 1],
        "labels": [-100] * 4 + [7, 8],
    }
    right = {
        "id": "a",
        "input_ids": [5, 6, 7, 8, 0],
        "attention_mask": [1, 1, 1, 1, 0],
        "labels": [-100, -100, 7, 8, 0],
    }
    found = [CompletionProbe.from_tokens(data, [row])._sequences for row in (plain, left, right)]
    assert found[0] == found[1] == found[2]


def test_a_smaller_batch_after_running_out_of_memory(
    make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    """`auto_find_batch_size` begins training anew, with more steps."""
    trainer = make(max_steps=-1, num_train_epochs=1, auto_find_batch_size=True)
    plain = type(trainer.model).forward

    @functools.wraps(plain)  # its signature says which columns it takes
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.training and len(kwargs["input_ids"]) == 5:
            raise RuntimeError("CUDA out of memory.")
        return plain(self, *args, **kwargs)

    trainer.model.__class__ = type("Hungry", (type(trainer.model),), {"forward": forward})
    record(trainer, tmp_path / "run", tiny_dataset, points=3)
    trainer.train()
    curves = load_curves(tmp_path / "run")
    assert curves.total_steps == trainer.state.max_steps > 5
    assert len(curves.steps) == 3


def test_two_recordings_of_one_trainer(make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path) -> None:
    """Held-out and trained-on examples, say: their aggregates have names of their own."""
    trainer = make()
    half = tiny_dataset.subset(tiny_dataset.ids[::2])
    record(trainer, tmp_path / "all", tiny_dataset, points=3)
    record(trainer, tmp_path / "half", half, points=3, live=LiveCurves(prefix="half/"))
    trainer.train()
    assert len(load_curves(tmp_path / "half")) == 12
    names = {name for entry in trainer.state.log_history for name in entry}
    assert {"dissensus/contested_loss", "half/contested_loss", "half/step"} <= names


def test_a_resumed_loop_counts_from_where_it_goes_on(
    make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = make()
    options: dict[str, Any] = {
        "total_steps": 5,
        "points": 6,
    }
    probe = LabelProbe(tiny_dataset, tokenizer=trainer.processing_class, max_length=8)
    first = CurveRecorder(tmp_path, probe, **options)
    for step in range(3):
        first.step(trainer.model, step)
    first.flush()
    again = CurveRecorder(tmp_path, probe, resume=True, **options)
    assert list(again.watch(trainer.model, [3, 4, 5], start=2)) == [3, 4, 5]
    assert load_curves(tmp_path).steps.tolist() == list(range(6))
    assert "tracked examples are longer than max_length and were cut" in caplog.text
