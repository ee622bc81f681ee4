"""The loop: exact under accumulation, under tracking, and under interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dissensus.config import TrainingSpec
from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import ModelError, StoreError
from dissensus.models.scoring import ScoringModel
from dissensus.record.probes.labels import LabelProbe
from dissensus.record.recorder import CurveRecorder
from dissensus.record.schedule import total_steps
from dissensus.store import load_curves
from dissensus.train import loop
from dissensus.train.checkpoint import Checkpoint
from dissensus.train.loop import TrainingRun, train
from dissensus.train.loss import TrainingSet
from dissensus.train.methods import trainable_parameters

# 24 examples: 4 steps per epoch, the last of 3 examples.
SPEC = TrainingSpec(epochs=3, batch_size=7, gradient_accumulation_steps=2)


def weights(model: ScoringModel) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in trainable_parameters(model.module).items()}


def recorder(path: Path, dataset: AnnotatedDataset, model: ScoringModel) -> CurveRecorder:
    return CurveRecorder(
        path,
        LabelProbe.of_cell(dataset, model),
        total_steps=total_steps(len(dataset), SPEC),
        points=7,
        token_budget=200,
        resume=True,
    )


def run(build: Any, method: str = "full", **kwargs: Any) -> dict[str, torch.Tensor]:
    model, data = build(method)
    train(TrainingRun(model, data, kwargs.pop("spec", SPEC), learning_rate=1e-3, seed=0, **kwargs))
    return weights(model)


def no_dropout(model: ScoringModel) -> None:
    for module in model.module.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


@pytest.mark.parametrize("method", ["full", "lora", "ia3"])
def test_tracking_leaves_the_trained_weights_bit_identical(
    method: str, build: Any, tmp_path: Path, tiny_dataset: AnnotatedDataset
) -> None:
    plain = run(build, method)
    model, data = build(method)
    assert any(isinstance(m, nn.Dropout) and m.p > 0 for m in model.module.modules())
    start = weights(model)
    train(
        TrainingRun(
            model,
            data,
            SPEC,
            learning_rate=1e-3,
            seed=0,
            recorder=recorder(tmp_path / "r", tiny_dataset, model),
        )
    )
    tracked = weights(model)
    assert all(torch.equal(plain[n], tracked[n]) for n in plain)
    assert any(not torch.equal(start[n], tracked[n]) for n in start)


def test_the_callers_random_state_does_not_matter(build: Any) -> None:
    torch.manual_seed(1)
    first = run(build)
    torch.manual_seed(2)
    second = run(build)
    assert all(torch.equal(first[n], second[n]) for n in first)


@pytest.mark.parametrize("parts", [2, 5, 100])
def test_micro_batches_give_the_whole_batchs_gradient(parts: int, build: Any) -> None:
    gradients = []
    for n in (1, parts):
        model, data = build("full")
        no_dropout(model)
        model.module.double()
        rows = np.array([0, 3, 5, 8, 11, 17, 23])
        spec = TrainingSpec(gradient_accumulation_steps=n)
        device = torch.device("cpu")
        loss = loop.accumulate(model, data, rows, spec, seed=0, step=1, device=device)
        named = model.module.named_parameters()
        gradients.append((loss, {name: p.grad.clone() for name, p in named if p.grad is not None}))
    assert gradients[0][0] == pytest.approx(gradients[1][0], abs=1e-12)
    for name, grad in gradients[0][1].items():
        torch.testing.assert_close(grad, gradients[1][1][name], atol=1e-12, rtol=1e-9)


def test_every_epoch_sees_every_example_once_in_an_order_of_its_own() -> None:
    epochs = [
        np.concatenate([loop._batch_rows(s, 24, 7, 0) for s in range(e * 4 + 1, e * 4 + 5)]) for e in (0, 1)
    ]
    assert all(sorted(e.tolist()) == list(range(24)) for e in epochs)
    assert not np.array_equal(epochs[0], epochs[1])
    assert np.array_equal(epochs[0][:7], loop._batch_rows(1, 24, 7, 0))
    assert not np.array_equal(epochs[0][:7], loop._batch_rows(1, 24, 7, 1))


def test_an_interrupted_run_ends_bit_identical(
    build: Any, tmp_path: Path, tiny_dataset: AnnotatedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)  # at every tracking point
    model, data = build("full")
    train(
        TrainingRun(
            model,
            data,
            SPEC,
            learning_rate=1e-3,
            seed=0,
            recorder=recorder(tmp_path / "whole", tiny_dataset, model),
        )
    )
    whole = weights(model)

    class StopError(Exception):
        pass

    def stop_at_nine(step: int, _loss: float) -> None:
        if step == 9:  # tracking points are 0, 2, 4, ..., 12: the state of step 8 is stored
            raise StopError

    checkpoint = Checkpoint(tmp_path / "cut" / "checkpoint")
    for on_step in (stop_at_nine, None):
        model, data = build("full")
        rec = recorder(tmp_path / "cut", tiny_dataset, model)
        try:
            train(
                TrainingRun(
                    model,
                    data,
                    SPEC,
                    learning_rate=1e-3,
                    seed=0,
                    recorder=rec,
                    checkpoint=checkpoint,
                    on_step=on_step,
                )
            )
        except StopError:
            assert max(rec.steps) == 8
            rec.flush()
    resumed = weights(model)
    assert all(torch.equal(whole[n], resumed[n]) for n in whole)
    for name in ("whole", "cut"):
        assert len(list((tmp_path / name / "curves").iterdir())) == 7
    for shard in (tmp_path / "whole" / "curves").iterdir():
        assert shard.read_bytes() == (tmp_path / "cut" / "curves" / shard.name).read_bytes()
    stored = load_curves(tmp_path / "cut", partial=True)
    assert stored.steps.tolist() == [0, 2, 4, 6, 8, 10, 12]


def test_a_foreign_or_damaged_checkpoint_is_refused(build: Any, tmp_path: Path) -> None:
    full, _ = build("full")
    checkpoint = Checkpoint(tmp_path / "checkpoint")
    parameters = trainable_parameters(full.module)
    optimizer = torch.optim.AdamW(parameters.values())
    checkpoint.save(3, parameters, optimizer)
    assert checkpoint.load(parameters, optimizer) == 3
    lora = trainable_parameters(build("lora")[0].module)
    with pytest.raises(StoreError, match="another model"):
        checkpoint.load(lora, torch.optim.AdamW(lora.values()))
    (tmp_path / "checkpoint" / "state.safetensors").write_bytes(b"cut sh")
    with pytest.raises(StoreError, match="damaged"):
        checkpoint.load(parameters, optimizer)
    checkpoint.remove()
    assert checkpoint.load(parameters, optimizer) is None


def test_a_run_that_diverges_is_told_from_weights_that_were_broken_before(build: Any) -> None:
    model, data = build("full")
    with pytest.raises(ModelError) as caught:
        train(TrainingRun(model, data, SPEC, learning_rate=1e30, seed=0))
    assert str(caught.value).startswith(
        "the run diverged: at step 2 of "
    )  # the first one is taken, and is too long
    assert "the weights that it began with were finite. Lower the learning rate (now 1e+30)" in str(
        caught.value
    )


@pytest.mark.parametrize("method", ["full", "lora"])
def test_broken_weights_are_not_blamed_on_the_learning_rate(build: Any, method: str) -> None:
    model, data = build(method)
    name, weight = next((n, p) for n, p in model.module.named_parameters() if "word_embeddings" in n)
    with torch.no_grad():
        weight[3:] = float("nan")
    with pytest.raises(ModelError) as caught:
        train(TrainingRun(model, data, SPEC, learning_rate=1e-3, seed=0))
    rows, width = weight.shape
    said = f"{name} ({(rows - 3) * width} NaN of {rows * width} numbers)"
    assert f"the weights that the run began with are damaged, {said}" in str(caught.value)
    assert "Lower the learning rate" not in str(caught.value)


def test_logits_that_overflow_at_once_are_not_blamed_on_the_learning_rate(build: Any) -> None:
    model, data = build("full")
    model.module.classifier.register_forward_hook(lambda _m, _i, logits: logits * float("inf"))
    with pytest.raises(
        ModelError, match="although the weights are finite and no step was taken yet"
    ) as caught:
        train(TrainingRun(model, data, SPEC, learning_rate=1e-3, seed=0))
    assert "Lower the learning rate" not in str(caught.value)


def test_a_gradient_that_overflows_is_named_before_it_reaches_the_weights(build: Any) -> None:
    model, data = build("full")
    before = weights(model)
    model.module.classifier.bias.register_hook(lambda grad: grad * float("inf"))
    with pytest.raises(ModelError, match="gradient's norm"):
        train(TrainingRun(model, data, SPEC, learning_rate=1e-3, seed=0))
    assert all(torch.equal(before[n], p) for n, p in weights(model).items())


def test_training_lowers_the_loss(build: Any) -> None:
    model, data = build("full")
    seen: list[float] = []
    spec = TrainingSpec(epochs=30, batch_size=24)
    train(
        TrainingRun(
            model, data, spec, learning_rate=3e-3, seed=0, on_step=lambda _step, loss: seen.append(loss)
        )
    )
    assert np.mean(seen[-5:]) < 0.7 * np.mean(seen[:5])


def test_bf16_stays_near_fp32(build: Any) -> None:
    fp32 = run(build, spec=TrainingSpec(epochs=1, batch_size=8))
    bf16 = run(build, spec=TrainingSpec(epochs=1, batch_size=8, precision="bf16"))
    assert all(p.dtype == torch.float32 for p in bf16.values())
    assert any(not torch.equal(fp32[n], bf16[n]) for n in fp32)
    # Three AdamW steps at 1e-3 move a weight by at most about 3e-3 either way.
    assert max(float((fp32[n] - bf16[n]).abs().max()) for n in fp32) < 7e-3


def test_steps_count_the_shorter_last_batch() -> None:
    assert total_steps(24, SPEC) == 12  # ceil(24 / 7) = 4 steps per epoch
    assert total_steps(24, TrainingSpec(epochs=0.5, batch_size=7)) == 2
    assert total_steps(1, TrainingSpec(epochs=0.1, batch_size=32)) == 1


def test_vectors_are_not_decayed(build: Any) -> None:
    groups = loop.parameter_groups(trainable_parameters(build("full")[0].module), TrainingSpec())
    assert all(p.ndim > 1 for p in groups[0]["params"])
    assert all(p.ndim == 1 for p in groups[1]["params"])
    assert [g["weight_decay"] for g in groups] == [0.01, 0.0]
    # IA3's scales start at one and are stored as (d, 1): decay would pull keys and values towards nothing.
    ia3 = trainable_parameters(build("ia3")[0].module)
    scales = [p for name, p in ia3.items() if ".ia3_l." in name]
    assert scales
    assert all(p.ndim > 1 for p in scales)
    decayed, kept = loop.parameter_groups(ia3, TrainingSpec())
    assert all(any(p is q for q in kept["params"]) for p in scales)
    assert len(decayed["params"]) == 2  # type: ignore[arg-type]  # matrices of the fresh pooler and head


def test_noise_in_the_labels_is_what_is_trained_on(build: Any) -> None:
    model, data = build("full")
    flipped = TrainingSet(data.encoded, (data.labels + 1) % 3)
    train(TrainingRun(model, flipped, TrainingSpec(epochs=30, batch_size=24), learning_rate=3e-3, seed=0))
    model.module.eval()
    with torch.no_grad():
        logits = model.logits(data.encoded.batch(range(24), model.pad_id)).log_softmax(-1).numpy()
    on = -np.take_along_axis(logits, flipped.labels[:, None], 1).mean()
    off = -np.take_along_axis(logits, data.labels[:, None], 1).mean()
    assert on < off
