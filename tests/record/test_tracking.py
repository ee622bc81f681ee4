"""The tracking pass of a scoring model: packed, folded, shared at step 0; and its memory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dissensus.config import TrainingSpec
from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import SpecError
from dissensus.models.scoring import ScoringModel
from dissensus.models.shared_states import SharedStates
from dissensus.record import measurer
from dissensus.record.probes.labels import LabelProbe
from dissensus.record.recorder import CurveRecorder
from dissensus.record.schedule import total_steps
from dissensus.record.tracking import PackedSet, PaddedSet, tracked_set, tracking_pass
from dissensus.store import load_curves
from dissensus.train.loop import TrainingRun, train

SPEC = TrainingSpec(epochs=3, batch_size=7)


def stir(model: ScoringModel) -> None:
    """Adapters with something in them."""
    torch.manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.module.named_parameters():
            if "lora_B" in name or "ia3_l" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))


@pytest.mark.parametrize("method", ["full", "lora", "ia3"])
@pytest.mark.parametrize("budget", [1, 60, 10_000])
def test_a_pass_is_what_each_example_gives_alone(method: str, budget: int, build: Any) -> None:
    model, data = build(method)
    stir(model)
    tracked = tracked_set(data.encoded, model, token_budget=budget)
    assert isinstance(tracked, PackedSet)
    got = tracking_pass(model.module, tracked, 24)
    model.module.eval()
    with torch.no_grad():
        for row in range(24):
            alone = model.module(**data.encoded.batch([row], model.pad_id)).logits.log_softmax(-1)[0]
            np.testing.assert_allclose(got[row], alone.numpy(), atol=1e-5)


def test_a_model_that_cannot_pack_is_padded(build: Any) -> None:
    model, data = build("lora")
    stir(model)
    packed = tracking_pass(model.module, tracked_set(data.encoded, model, token_budget=100), 24)
    model.packs = False
    tracked = tracked_set(data.encoded, model, token_budget=100)
    assert isinstance(tracked, PaddedSet)
    np.testing.assert_allclose(tracking_pass(model.module, tracked, 24), packed, atol=1e-5)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_run_in_fp32_is_the_padded_run(
    method: str, build: Any, tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    """Every fast path at once, against the plain one: recorded losses of a short run, dropout on."""
    curves = []
    for packs in (True, False):
        model, data = build(method)
        assert any(isinstance(m, nn.Dropout) and m.p > 0 for m in model.module.modules())
        if not packs:
            model.packs = False
            for layer in model.module.modules():
                layer.__dict__.pop("forward", None)  # PEFT's own layers
        recorder = CurveRecorder(
            tmp_path / str(packs),
            LabelProbe.of_cell(tiny_dataset, model),
            total_steps=total_steps(24, SPEC),
            points=7,
        )
        train(TrainingRun(model, data, SPEC, learning_rate=1e-3, seed=0, recorder=recorder))
        recorder.finish()
        curves.append(load_curves(tmp_path / str(packs)).losses)
    assert np.abs(curves[0] - curves[1]).max() < 1e-5
    assert np.abs(curves[0][:, -1] - curves[0][:, 0]).max() > 0.01  # something was learned


def test_states_at_step_0_are_shared_bit_for_bit(
    build: Any, tiny_dataset: AnnotatedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = []
    own = ScoringModel.features

    def counted(self: ScoringModel, batch: Any) -> torch.Tensor:
        computed.append(len(batch.rows))
        return own(self, batch)

    monkeypatch.setattr(ScoringModel, "features", counted)

    def measured(shared: Path | None, steps: tuple[int, ...] = (0,)) -> np.ndarray:
        model, data = build("lora")
        computed.clear()  # a model that is loaded is asked about two rows of its own
        states = None
        if shared is not None:
            states = SharedStates.of(
                shared, model, data.encoded, method="lora", token_budget=50, precision="fp32"
            )
            assert states is not None
        tracked = tracked_set(data.encoded, model, token_budget=50, states=states)
        passes = [tracking_pass(model.module, tracked, 24, untrained=step == 0) for step in steps]
        return np.stack(passes)

    alone = measured(None)
    first = measured(tmp_path)
    second = measured(tmp_path)
    assert computed == []
    assert np.array_equal(alone, first)
    assert np.array_equal(first, second)
    measured(tmp_path, steps=(1,))  # after a step the body is another
    assert sum(computed) == 24
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:-8])
    computed.clear()
    assert np.array_equal(measured(tmp_path), alone)  # damaged: computed, and left whole again
    assert sum(computed) == 24


def test_states_that_differ_from_seed_to_seed_are_not_shared(build: Any, tmp_path: Path) -> None:
    model, data = build("lora")
    options: dict[str, Any] = {"method": "lora", "token_budget": 50, "precision": "fp32"}
    model.fresh = ("classifier", "bert.encoder.layer.0.output")
    assert SharedStates.of(tmp_path, model, data.encoded, **options) is None


def test_an_error_of_the_writer_reaches_the_loop(
    build: Any, tiny_dataset: AnnotatedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = build("lora")
    recorder = CurveRecorder(
        tmp_path, LabelProbe.of_cell(tiny_dataset, model), total_steps=2, on_error="raise"
    )

    def full(*_: Any, **_values: object) -> None:
        raise OSError("no space left on the device")

    monkeypatch.setattr(recorder.writer, "write", full)
    recorder.step(model.module, 0)
    with pytest.raises(OSError, match="no space left"):
        recorder.step(model.module, 1)


def test_an_unknown_precision_is_refused(build: Any, tiny_dataset: AnnotatedDataset, tmp_path: Path) -> None:
    model, _ = build("lora")
    with pytest.raises(SpecError, match="expected 'fp32' or 'bf16'"):
        CurveRecorder(tmp_path, LabelProbe.of_cell(tiny_dataset, model), total_steps=2, precision="fp8")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_number_of_tracking_points(
    build: Any, tiny_dataset: AnnotatedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """300 points of 200,000 x 3 numbers would be 720 MB; only one is held, while it is written."""
    model, _ = build("lora")
    recorder = CurveRecorder(tmp_path, LabelProbe.of_cell(tiny_dataset, model), total_steps=300, points=301)
    wide = np.zeros((200_000, 3), dtype=np.float32)
    monkeypatch.setattr(measurer, "tracking_pass", lambda *_a, **_k: wide.copy() + 1)
    monkeypatch.setattr(recorder.writer, "write", lambda *_, **_values: None)

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    for step in range(10):
        recorder.step(model.module, step)
    before = resident()
    for step in range(10, 301):
        recorder.step(model.module, step)
    assert resident() - before < 40e6
