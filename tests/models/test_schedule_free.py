"""Schedule-free optimisers: what is recorded are the weights that they evaluate with; training stays bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from dissensus import AnnotatedDataset, CurveRecorder, load_curves
from dissensus.models.schedule_free import evaluation_weights, schedule_free
from schedule_free_sgd import ScheduleFreeSGD

STEPS = 5


def optimizers() -> list[Any]:
    found = [lambda p: ScheduleFreeSGD(p, lr=0.5)]
    try:
        import schedulefree
    except ImportError:
        return found
    return [*found, lambda p: schedulefree.AdamWScheduleFree(p, lr=0.01)]


def train(
    folder: Path, tracked: AnnotatedDataset, make: Any, *, record: Path | None, accelerate: bool = False
) -> tuple[dict[str, torch.Tensor], list[np.ndarray]]:
    """The trained weights; and each example's loss, one by one, at the evaluation weights after each step."""
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    optimizer = bare = make(model.parameters())
    if accelerate:
        model, optimizer = Accelerator(cpu=True).prepare(model, optimizer)
    model.train()
    bare.train()
    recorder = None
    if record is not None:
        recorder = CurveRecorder(
            record, tracked, tokenizer=tokenizer, total_steps=STEPS, points=STEPS + 1, optimizer=optimizer
        )
        recorder.step(model, 0)
    seen = [one_by_one(model, tokenizer, tracked, bare)] if record is None else []
    torch.manual_seed(1)
    for step in range(1, STEPS + 1):
        rows = list(tracked)[4 * step - 4 : 4 * step]
        batch = tokenizer(
            *([e.text[f] for e in rows] for f in tracked.fields), padding=True, return_tensors="pt"
        )
        model(**batch, labels=torch.tensor([e.gold for e in rows])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if recorder is not None:
            recorder.step(model, step)
            assert all(group["train_mode"] for group in bare.param_groups)
        else:
            seen.append(one_by_one(model, tokenizer, tracked, bare))
    if recorder is not None:
        recorder.finish()
    return {name: value.clone() for name, value in model.state_dict().items()}, seen


def one_by_one(model: Any, tokenizer: Any, tracked: AnnotatedDataset, optimizer: Any) -> np.ndarray:
    """As the optimiser's own documentation has it, on a copy of weights and state, so that nothing is rounded."""
    kept = [p.detach().clone() for p in model.parameters()]
    optimizer.eval()
    model.eval()
    with torch.no_grad(), torch.random.fork_rng():
        found = [
            -float(
                model(**tokenizer(*e.text.values(), return_tensors="pt")).logits.log_softmax(-1)[0, e.gold]
            )
            for e in tracked
        ]
    model.train()
    optimizer.train()
    with torch.no_grad():
        for p, value in zip(model.parameters(), kept, strict=True):
            p.copy_(value)
    return np.array(found)


@pytest.mark.parametrize("make", optimizers())
@pytest.mark.parametrize("accelerate", [False, True])
def test_the_evaluation_weights_are_measured_and_training_is_left_alone(
    tiny_encoder_dir: Path, tiny_dataset: AnnotatedDataset, tmp_path: Path, make: Any, accelerate: bool
) -> None:
    plain, seen = train(tiny_encoder_dir, tiny_dataset, make, record=None)
    weights, _ = train(tiny_encoder_dir, tiny_dataset, make, record=tmp_path / "run", accelerate=accelerate)
    for name, value in plain.items():
        assert torch.equal(value, weights[name]), name
    curves = load_curves(tmp_path / "run")
    for t, losses in enumerate(seen):
        np.testing.assert_allclose(curves.losses[:, t], losses, atol=1e-5)


def test_the_training_weights_say_something_else(
    tiny_encoder_dir: Path, tiny_dataset: AnnotatedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the test above can fail."""
    _, seen = train(tiny_encoder_dir, tiny_dataset, optimizers()[0], record=None)
    monkeypatch.setattr("dissensus.record.measurer.schedule_free", lambda _: ())
    train(tiny_encoder_dir, tiny_dataset, optimizers()[0], record=tmp_path / "run")
    assert np.abs(load_curves(tmp_path / "run").losses[:, -1] - seen[-1]).max() > 1e-3


def test_which_optimisers_have_weights_of_their_own() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    plain, free = torch.optim.SGD([weight], lr=1.0), ScheduleFreeSGD([weight], lr=1.0)
    wrapped = Accelerator(cpu=True).prepare(plain)  # its class has `train` and `eval`, whatever it holds
    assert schedule_free(None) == ()
    assert schedule_free(wrapped) == ()
    assert schedule_free([plain, free]) == (free,)
    with evaluation_weights((free,)):  # in evaluation mode already: left as it is
        assert not free.param_groups[0]["train_mode"]
    assert not free.param_groups[0]["train_mode"]


def test_the_weights_come_back_when_a_pass_fails() -> None:
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.rand(50))
    free = ScheduleFreeSGD([weight], lr=0.3)
    free.train()
    for _ in range(3):
        weight.grad = torch.rand(50)
        free.step()
    before = weight.detach().clone()
    with pytest.raises(RuntimeError, match="out of memory"), evaluation_weights((free,)):  # noqa: PT012
        assert not torch.equal(weight, before)
        raise RuntimeError("out of memory")
    assert torch.equal(weight, before)
    assert free.param_groups[0]["train_mode"]
