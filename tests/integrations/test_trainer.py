"""The recorder inside `transformers.Trainer`: the numbers, and the traps that users of other tools fell into."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from spy import Spy
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainingArguments

from dissensus import AnnotatedDataset, load_curves
from dissensus.errors import StoreError
from dissensus.integrations.transformers import CurveCallback, record
from dissensus.store import writing
from schedule_free_sgd import ScheduleFreeSGD

Make = Callable[..., Trainer]


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


@pytest.mark.parametrize("lora", [False, True])
def test_losses_are_those_of_one_by_one_passes(
    make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path, lora: bool
) -> None:
    spy = Spy(tiny_dataset)
    trainer = make(lora=lora, callbacks=[spy])
    record(trainer, tmp_path / "run", tiny_dataset, points=4)
    trainer.train()
    curves = load_curves(tmp_path / "run")
    assert curves.steps.tolist() == [0, 2, 5, 7]
    for t, step in enumerate(curves.steps.tolist()):
        np.testing.assert_allclose(curves.losses[:, t], spy.losses[step], atol=1e-5)


@pytest.mark.parametrize("lora", [False, True])
def test_training_is_the_same_with_and_without(
    make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path, lora: bool
) -> None:
    """Weights, random state, mode, the trainer's own evaluation and what it logs."""
    options: dict[str, Any] = {"lora": lora, "eval_strategy": "steps", "eval_steps": 3}
    plain = make(out="a", **options)
    plain.train()
    state = torch.get_rng_state()
    recorded = make(out="b", **options)
    record(recorded, tmp_path / "run", tiny_dataset, points=8)
    recorded.train()
    for (name, expected), found in zip(weights(plain).items(), weights(recorded).values(), strict=True):
        assert torch.equal(expected, found), name
    assert torch.equal(torch.get_rng_state(), state)
    logs = [
        [
            {k: v for k, v in entry.items() if k in ("loss", "eval_loss", "grad_norm", "step")}
            for entry in t.state.log_history
        ]
        for t in (plain, recorded)
    ]
    assert logs[0] == logs[1]


def test_a_resumed_trainer_has_each_point_once(
    make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    whole = make(out="whole", save_strategy="steps", save_steps=3)
    record(whole, tmp_path / "whole", tiny_dataset, points=8)
    whole.train()

    class Cut(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 5:
                assert callback.recorder is not None
                callback.recorder.flush()  # so that there is a point after the last checkpoint
                raise KeyboardInterrupt

    cut = make(out="cut", save_strategy="steps", save_steps=3)
    cut.add_callback(Cut())
    callback = record(cut, tmp_path / "cut", tiny_dataset, points=8)
    with pytest.raises(KeyboardInterrupt):
        cut.train()
    assert (tmp_path / "cut" / "curves" / "step-00000005.parquet").exists()
    again = make(out="cut", save_strategy="steps", save_steps=3)
    record(again, tmp_path / "cut", tiny_dataset, points=8)
    again.train(resume_from_checkpoint=True)
    expected, found = load_curves(tmp_path / "whole"), load_curves(tmp_path / "cut")
    assert found.steps.tolist() == list(range(8))
    np.testing.assert_array_equal(found.log_probs, expected.log_probs)


def test_a_second_run_does_not_overwrite_the_first(
    make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    first = make()
    record(first, tmp_path / "run", tiny_dataset, points=2)
    first.train()
    second = make()
    record(second, tmp_path / "run", tiny_dataset, points=2)
    with pytest.raises(StoreError, match="holds the curves of a run already"):
        second.train()


def test_resuming_a_run_that_was_not_recorded(
    make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    plain = make(save_strategy="steps", save_steps=3)
    plain.train()
    again = make(save_strategy="steps", save_steps=3)
    record(again, tmp_path / "run", tiny_dataset)
    with pytest.raises(StoreError, match="holds no tracking point 0: it was begun without recording"):
        again.train(resume_from_checkpoint=str(tmp_path / "trainer" / "checkpoint-3"))


def test_a_run_that_stops_early_ends_where_it_stopped(
    make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    stop = EarlyStoppingCallback(early_stopping_patience=1, early_stopping_threshold=1e9)
    trainer = make(
        max_steps=50, eval_strategy="steps", eval_steps=2, save_strategy="steps", save_steps=2,
        load_best_model_at_end=True, metric_for_best_model="eval_loss", callbacks=[stop],
    )  # fmt: skip
    record(trainer, tmp_path / "run", tiny_dataset, points=11)
    trainer.train()
    curves = load_curves(tmp_path / "run")
    assert trainer.state.global_step == 4
    assert curves.steps.tolist() == [0, 4]
    assert curves.progress.tolist() == [0, 1]
    assert curves.provenance["planned_steps"] == 50


def test_accumulation_and_a_short_last_batch(
    make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    """24 examples in batches of 5, two per step: 3 steps per epoch, the last of one batch of 4."""
    spy = Spy(tiny_dataset)
    trainer = make(max_steps=-1, num_train_epochs=2, gradient_accumulation_steps=2, callbacks=[spy])
    record(trainer, tmp_path / "run", tiny_dataset, points=7)
    trainer.train()
    curves = load_curves(tmp_path / "run")
    assert curves.steps.tolist() == list(range(7))
    np.testing.assert_allclose(curves.losses, np.stack(list(spy.losses.values()), axis=1), atol=1e-5)


def test_gradient_checkpointing_and_half_precision(
    make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    """Training under bf16 autocast; what is recorded are the fp32 weights' own losses, computed in fp32."""
    fields = TrainingArguments.__dataclass_fields__
    old = "gradient_checkpointing"  # its name before transformers 5.23
    trainer = make(
        bf16=True, **{"activation_checkpointing" if "activation_checkpointing" in fields else old: True}
    )
    record(trainer, tmp_path / "run", tiny_dataset, points=2)
    trainer.train()
    spy = Spy(tiny_dataset)
    model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    spy.look(7, {"model": model, "processing_class": trainer.processing_class})
    np.testing.assert_allclose(load_curves(tmp_path / "run").losses[:, -1], spy.losses[7], atol=1e-5)


def test_aggregates_go_where_the_trainer_logs(
    make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    trainer = make(report_to="tensorboard", logging_steps=2)
    record(trainer, tmp_path / "run", tiny_dataset, points=8)
    trainer.train()
    folder = next(tmp_path.rglob("events.out.tfevents*")).parent
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    tags = [tag for tag in events.Tags()["scalars"] if "dissensus" in tag]
    curves = load_curves(tmp_path / "run")
    assert any("contested_loss" in tag for tag in tags), events.Tags()
    assert any("rho_aulc" in tag for tag in tags)
    logged = [entry for entry in trainer.state.log_history if "dissensus/contested_loss" in entry]
    assert logged
    assert np.isfinite(curves.losses).all()


def test_a_callback_in_the_trainers_list_records_as_well(
    make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    callback = CurveCallback(tmp_path / "run", tiny_dataset, points=3)
    make(callbacks=[callback]).train()
    assert load_curves(tmp_path / "run").steps.tolist() == [0, 4, 7]
    assert callback.recorder is not None
    assert callback.recorder.timing.overhead > 0


def test_a_frozen_head_is_pointed_out(make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path) -> None:
    trainer = make(lora=True)
    for name, parameter in trainer.model.named_parameters():
        if "classifier" in name:
            parameter.requires_grad_(False)
    record(trainer, tmp_path / "run", tiny_dataset, points=2)
    with pytest.warns(UserWarning, match="the classifier head `classifier` is frozen .* task_type='SEQ_CLS'"):
        trainer.train()


def test_a_budget_spaces_the_points(
    make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make(max_steps=60)
    callback = record(trainer, tmp_path / "run", tiny_dataset, points=40, max_overhead=1e-4)
    trainer.train()
    assert load_curves(tmp_path / "run").steps.tolist() == [0, 60]  # none but the two that are kept
    assert callback.recorder is not None
    monkeypatch.setattr("dissensus.record.budget.SPENT", 1e3)  # all points fit
    trainer = make(max_steps=60)
    record(trainer, tmp_path / "more", tiny_dataset, points=13, max_overhead=1.0)
    trainer.train()
    steps = load_curves(tmp_path / "more").steps.tolist()
    assert len(steps) == 13
    assert steps[0] == 0
    assert steps[-1] == 60


def test_a_schedule_free_optimiser_is_measured_at_its_evaluation_weights(
    make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    """The trainer's own `evaluate` switches to them; nothing is said to the recorder of the optimiser."""
    found: list[tuple[int, float]] = []

    class Keep(TrainerCallback):
        def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any, **kwargs: Any) -> None:
            found.append((state.global_step, metrics["eval_loss"]))

    def trainer(out: str) -> Trainer:
        made = make(out=out, callbacks=[Keep()], eval_strategy="steps", eval_steps=3)
        made.optimizer = ScheduleFreeSGD(made.model.parameters(), lr=0.3)
        made.lr_scheduler = torch.optim.lr_scheduler.ConstantLR(made.optimizer, 1.0)
        return made

    plain = trainer("a")
    plain.train()
    recorded = trainer("b")
    record(recorded, tmp_path / "run", tiny_dataset, points=8)
    recorded.train()
    for (name, expected), value in zip(weights(plain).items(), weights(recorded).values(), strict=True):
        assert torch.equal(expected, value), name
    assert found[: len(found) // 2] == found[len(found) // 2 :]
    curves = load_curves(tmp_path / "run")
    for step, loss in found:
        assert curves.losses[:, step].mean() == pytest.approx(loss, abs=1e-5)


def test_a_full_disk_does_not_end_the_training(
    make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    plain = make(out="a")
    plain.train()
    recorded = make(out="b", save_strategy="steps", save_steps=3)
    callback = record(recorded, tmp_path / "run", tiny_dataset, points=8)
    own = writing.write_point

    def write(path: Path, *rest: Any) -> Any:
        if "00000004" in path.name:
            raise OSError(28, "No space left on device")
        return own(path, *rest)

    monkeypatch.setattr(writing, "write_point", write)
    recorded.train()
    assert recorded.state.global_step == 7
    for (name, expected), value in zip(weights(plain).items(), weights(recorded).values(), strict=True):
        assert torch.equal(expected, value), name
    assert "recording has STOPPED" in caplog.text
    assert callback.recorder is not None
    assert "No space left" in (callback.recorder.stopped or "")
    assert load_curves(tmp_path / "run", partial=True).steps.tolist() == [0, 1, 2, 3]


def test_a_run_is_extended_by_more_epochs(
    make: Make, tiny_dataset: AnnotatedDataset, tmp_path: Path, caplog: Any
) -> None:
    """One epoch of five steps, then resumed for three: points 0, 2, 5 stay; of 0, 5, 10, 15 the last two are new."""
    spy = Spy(tiny_dataset)
    first = make(max_steps=-1, num_train_epochs=1, save_strategy="epoch", callbacks=[spy])
    record(first, tmp_path / "run", tiny_dataset, points=3)
    first.train()
    assert load_curves(tmp_path / "run").steps.tolist() == [0, 2, 5]
    again = make(max_steps=-1, num_train_epochs=3, save_strategy="epoch", callbacks=[spy])
    record(again, tmp_path / "run", tiny_dataset, points=4)
    again.train(resume_from_checkpoint=True)
    curves = load_curves(tmp_path / "run")
    assert curves.steps.tolist() == [0, 2, 5, 10, 15]
    assert curves.total_steps == 15
    for t, step in enumerate(curves.steps.tolist()):
        np.testing.assert_allclose(curves.losses[:, t], spy.losses[step], atol=1e-5)
    assert "was to have 5 steps and now has 15: its 3 tracking points stay" in caplog.text
