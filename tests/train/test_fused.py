"""Runs fused into one pass per step against the same runs alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dissensus.config import MethodSpec, ModelSpec, TrainingSpec
from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import ModelError
from dissensus.models import attention
from dissensus.models.fused_layers import FusedLayers, _Rows, obstacle
from dissensus.models.loading import load_scoring_model
from dissensus.models.scoring import ScoringModel
from dissensus.record.probes.labels import LabelProbe
from dissensus.record.recorder import CurveRecorder
from dissensus.record.schedule import total_steps
from dissensus.store import load_curves
from dissensus.train import loop
from dissensus.train.checkpoint import Checkpoint
from dissensus.train.fused import share_frozen_weights, train_fused
from dissensus.train.loop import TrainingRun, train
from dissensus.train.loss import TrainingSet
from dissensus.train.methods import apply_method, trainable_parameters
from tiny import make_tiny

# Each slot has a sample of a size of its own, so an epoch has 2, 3 or 4 steps and the runs end one by one, the
# first slot's first. The last batches hold 3, 4 and 2 examples: some slots have fewer micro-batches than others.
SIZES = (10, 18, 23)
SPEC = TrainingSpec(epochs=2, batch_size=7, gradient_accumulation_steps=4)
STRATEGIES = pytest.mark.parametrize("stacked", [False, True], ids=["by slot", "stacked"])


@dataclass(frozen=True)
class Slot:
    """What one run has of its own."""

    seed: int
    rank: int
    learning_rate: float
    alpha: float | None = None


SLOTS = (Slot(0, 4, 1e-2), Slot(1, 1, 3e-2, alpha=5.0), Slot(2, 7, 2e-3))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("fused")
    return {
        arch: make_tiny(arch, root / arch)
        for arch in ("bert", "llama", "gpt2", "modernbert", "distilbert", "deberta-v2")
    }


@pytest.fixture
def make(folders: dict[str, Path], tiny_dataset: AnnotatedDataset) -> Callable[..., list[ScoringModel]]:
    """Models of one architecture, one a slot, with dropout of 0.1 everywhere and one set of frozen weights."""

    def made(
        arch: str,
        slots: Sequence[Slot] = SLOTS,
        *,
        dtype: torch.dtype = torch.float64,
        head: str = "classifier",
        **method: Any,
    ) -> list[ScoringModel]:
        models = []
        for slot in slots:
            spec = ModelSpec(
                name=str(folders[arch]), head=head, max_length=96, label_words=("yes", "maybe", "no")
            )
            model = load_scoring_model(spec, tiny_dataset.labels, tiny_dataset.fields, head_seed=slot.seed)
            _drop(model.module, 0.1)
            settings = {
                "name": "lora",
                "rank": slot.rank,
                "alpha": slot.alpha,
                "learning_rate": 1e-3,
            } | method
            apply_method(model, MethodSpec.parse(settings, "t"), adapter_seed=10 + slot.seed)
            model.module.to(dtype)
            if models:
                share_frozen_weights(model, models[0])
            models.append(model)
        return models

    return made


def _drop(module: nn.Module, share: float) -> None:
    config: Any = module.config
    for key in ("attention_dropout", "attention_probs_dropout_prob", "attn_pdrop"):
        if hasattr(config, key):
            setattr(config, key, share)
    for part in module.modules():
        if hasattr(part, "attention_dropout"):
            part.attention_dropout = share
        if isinstance(part, nn.Dropout):
            part.p = share


def weights(model: ScoringModel) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in trainable_parameters(model.module).items()}


def samples(dataset: AnnotatedDataset, model: ScoringModel, slots: Sequence[Slot]) -> list[TrainingSet]:
    """Each slot's own training sample."""
    encoded = model.encode(dataset)
    found = []
    for slot in slots:
        rows = np.random.default_rng(slot.seed).permutation(len(dataset))[: SIZES[slot.seed]]
        own = type(encoded)(
            tuple(encoded.ids[r] for r in rows),
            tuple(encoded.input_ids[r] for r in rows),
            None if encoded.token_type_ids is None else tuple(encoded.token_type_ids[r] for r in rows),
            0,
        )
        found.append(TrainingSet(own, dataset.gold[rows]))
    return found


def both_ways(
    make: Callable[..., list[ScoringModel]],
    dataset: AnnotatedDataset,
    arch: str,
    *,
    stacked: bool,
    spec: TrainingSpec = SPEC,
    slots: Sequence[Slot] = SLOTS,
    **settings: Any,
) -> tuple[
    list[list[float]], list[dict[str, torch.Tensor]], list[list[float]], list[dict[str, torch.Tensor]]
]:
    """Losses and weights of each slot: alone, and fused."""
    results: list[Any] = []
    for fused in (False, True):
        models = make(arch, slots, **settings)
        losses: list[list[float]] = [[] for _ in slots]
        data = samples(dataset, models[0], slots)
        runs = [
            {
                "model": model,
                "data": own,
                "spec": spec,
                "learning_rate": slot.learning_rate,
                "seed": slot.seed,
                "on_step": lambda _step, loss, seen=seen: seen.append(loss),
            }
            for model, own, slot, seen in zip(models, data, slots, losses, strict=True)
        ]
        if fused:
            ended = list(train_fused([TrainingRun(**run) for run in runs], stacked=stacked))
            assert sorted(ended) == [(place, None) for place in range(len(slots))]
        else:
            for run in runs:
                train(TrainingRun(**run))
        results += [losses, [weights(model) for model in models]]
    return tuple(results)


def largest(alone: Sequence[dict[str, torch.Tensor]], fused: Sequence[dict[str, torch.Tensor]]) -> float:
    assert all(a.keys() == f.keys() for a, f in zip(alone, fused, strict=True))
    pairs = ((a[name], f[name]) for a, f in zip(alone, fused, strict=True) for name in a)
    return max(float((one - other).abs().max()) for one, other in pairs)


@STRATEGIES
@pytest.mark.parametrize("arch", ["bert", "llama", "gpt2", "modernbert", "distilbert"])
def test_a_fused_slot_trains_as_it_does_alone(
    arch: str, stacked: bool, make: Any, tiny_dataset: AnnotatedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slots of different seed, data, rank, alpha and learning rate, with dropout everywhere, in float64."""
    if stacked:  # as on a GPU
        monkeypatch.setattr(attention, "attention_by_run", attention.attention_in_one_rectangle)
    losses, alone, fused_losses, fused = both_ways(make, tiny_dataset, arch, stacked=stacked)
    assert [len(own) for own in fused_losses] == [4, 6, 8]
    np.testing.assert_allclose(np.concatenate(losses), np.concatenate(fused_losses), atol=1e-10, rtol=0)
    assert largest(alone, fused) < 1e-10
    start = [weights(model) for model in make(arch)]
    assert all(largest([a], [b]) > 3e-3 for a, b in zip(start, fused, strict=True))


@STRATEGIES
@pytest.mark.parametrize(
    ("arch", "settings"),
    [
        ("gpt2", {"head": "verbalizer"}),
        # Reaches the pooler, which is the head's, and the last block, which reads label tokens alone.
        ("bert", {"targets": ["dense", "query"]}),
    ],
)
def test_heads_and_targets_of_every_kind(
    arch: str, settings: dict[str, Any], stacked: bool, make: Any, tiny_dataset: AnnotatedDataset
) -> None:
    losses, alone, fused_losses, fused = both_ways(make, tiny_dataset, arch, stacked=stacked, **settings)
    np.testing.assert_allclose(np.concatenate(losses), np.concatenate(fused_losses), atol=1e-10, rtol=0)
    assert largest(alone, fused) < 1e-10


@STRATEGIES
@pytest.mark.parametrize("also_train", [(), ("classifier",), ("bert.pooler",)])
def test_a_head_that_is_drawn_and_not_trained_stays_each_slots_own(
    also_train: tuple[str, ...],
    stacked: bool,
    make: Any,
    tiny_dataset: AnnotatedDataset,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The tiny BERT's checkpoint has neither pooler nor classifier: each seed draws its own."""
    fused = both_ways(make, tiny_dataset, "bert", stacked=stacked, also_train=also_train)
    monkeypatch.setitem(globals(), "share_frozen_weights", lambda _model, _base: None)
    alone = both_ways(make, tiny_dataset, "bert", stacked=stacked, also_train=also_train)
    np.testing.assert_allclose(np.concatenate(alone[0]), np.concatenate(fused[2]), atol=1e-10, rtol=0)
    assert largest(alone[1], fused[3]) < 1e-10


@STRATEGIES
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_in_single_and_in_mixed_precision(
    precision: str, stacked: bool, make: Any, tiny_dataset: AnnotatedDataset
) -> None:
    losses, alone, fused_losses, fused = both_ways(
        make,
        tiny_dataset,
        "bert",
        stacked=stacked,
        dtype=torch.float32,
        spec=TrainingSpec(epochs=2, batch_size=7, precision=precision),
    )
    # bf16 keeps 8 bits: what is summed in another order differs in the third digit.
    atol = 1e-5 if precision == "fp32" else 3e-2
    np.testing.assert_allclose(np.concatenate(losses), np.concatenate(fused_losses), atol=atol, rtol=0)
    assert largest(alone, fused) < (1e-4 if precision == "fp32" else 1e-1)


def begun(
    models: Sequence[ScoringModel],
    dataset: AnnotatedDataset,
    slots: Sequence[Slot],
    folder: Path,
    on_step: Any = None,
) -> list[TrainingRun]:
    """Runs with recorder and checkpoint, each with tracking points of its own."""
    runs = []
    for place, (model, slot) in enumerate(zip(models, slots, strict=True)):
        data = samples(dataset, model, [slot])[0]
        own = folder / str(place)
        recorder = CurveRecorder(
            own,
            LabelProbe.of_cell(dataset, model),
            total_steps=total_steps(len(data.labels), SPEC),
            points=[[1, 2], [1, 3], [2, 5, 7]][place],
            token_budget=200,
            resume=True,
        )
        runs.append(
            TrainingRun(
                model,
                data,
                SPEC,
                learning_rate=slot.learning_rate,
                seed=slot.seed,
                recorder=recorder,
                checkpoint=Checkpoint(own / "checkpoint"),
                on_step=None if on_step is None else on_step(place),
            )
        )
    return runs


class StopError(Exception):
    """Cuts a run off."""


@STRATEGIES
def test_slots_resume_from_different_steps_and_record_what_they_would_alone(
    stacked: bool, make: Any, tiny_dataset: AnnotatedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)  # at every tracking point
    alone = make("bert")
    for run in begun(alone, tiny_dataset, SLOTS, tmp_path / "alone"):
        train(run)

    def stop(place: int) -> Any:
        def after(step: int, _loss: float) -> None:
            if step == [3, 2, 8][place]:
                raise StopError

        return after

    cut = begun(make("bert"), tiny_dataset, SLOTS, tmp_path / "fused", stop)
    ended = dict(train_fused(cut, stacked=stacked))
    assert all(isinstance(error, StopError) for error in ended.values())
    resumed = make("bert")
    runs = begun(resumed, tiny_dataset, SLOTS, tmp_path / "fused")
    seen: list[int] = []
    monkeypatch.setattr(TrainingRun, "begin", _watched(TrainingRun.begin, seen))
    assert sorted(train_fused(runs, stacked=stacked)) == [(0, None), (1, None), (2, None)]
    assert seen == [2, 1, 7]  # the last checkpoint before each stop
    assert largest([weights(m) for m in alone], [weights(m) for m in resumed]) < 1e-10
    for place in range(3):
        one, other = (load_curves(tmp_path / way / str(place), partial=True) for way in ("alone", "fused"))
        assert one.steps.tolist() == other.steps.tolist()
        np.testing.assert_allclose(one.log_probs, other.log_probs, atol=1e-6, rtol=0)


def _watched(begin: Any, seen: list[int]) -> Any:
    def watched(run: TrainingRun) -> None:
        begin(run)
        seen.append(run.taken)

    return watched


@STRATEGIES
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("how", ["weights", "gradient"])
def test_a_slot_that_diverges_ends_alone(
    how: str, place: int, stacked: bool, make: Any, tiny_dataset: AnnotatedDataset
) -> None:
    _, alone, _, _ = both_ways(make, tiny_dataset, "bert", stacked=stacked)
    models = make("bert")
    runs = [
        TrainingRun(model, data, SPEC, learning_rate=slot.learning_rate, seed=slot.seed)
        for model, data, slot in zip(models, samples(tiny_dataset, models[0], SLOTS), SLOTS, strict=True)
    ]
    bad = trainable_parameters(models[place].module)
    name = next(n for n in bad if "classifier" in n and n.endswith("bias"))
    if how == "weights":
        lora = next(p for n, p in bad.items() if "lora_A" in n)
        with torch.no_grad():
            lora[0, 0] = math.nan
    else:
        bad[name].register_hook(lambda gradient: gradient * math.inf)
    before = weights(models[place])
    ended = dict(train_fused(runs, stacked=stacked))
    assert isinstance(ended.pop(place), ModelError)
    assert ended == {other: None for other in range(3) if other != place}
    assert runs[place].taken == 0
    # Bits and not numbers: NaN is not equal to itself.
    after = weights(models[place])
    assert all(torch.equal(before[n].view(torch.int64), after[n].view(torch.int64)) for n in before)
    others = [k for k in range(3) if k != place]
    assert largest([alone[k] for k in others], [weights(models[k]) for k in others]) < 1e-10


def test_an_error_of_one_slots_own_ends_it_alone(
    make: Any, tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    def full(place: int) -> Any:
        def after(step: int, _loss: float) -> None:
            if place == 1 and step == 2:
                raise OSError("no space left on device")

        return after

    runs = begun(make("bert"), tiny_dataset, SLOTS, tmp_path, full)
    ended = list(train_fused(runs))
    assert [place for place, _ in ended] == [1, 0, 2]
    assert isinstance(ended[0][1], OSError)
    assert [run.taken for run in runs] == [4, 2, 8]


def test_what_is_wrong_with_the_common_pass_ends_all(make: Any, tiny_dataset: AnnotatedDataset) -> None:
    models = make("bert")
    data = samples(tiny_dataset, models[0], SLOTS)
    runs = [
        TrainingRun(m, d, SPEC, learning_rate=1e-3, seed=s.seed)
        for m, d, s in zip(models, data, SLOTS, strict=True)
    ]

    def out_of_memory(*_: Any) -> None:
        raise RuntimeError("out of memory")

    models[0].body.register_forward_pre_hook(out_of_memory)
    with pytest.raises(RuntimeError, match="out of memory"):
        list(train_fused(runs))
    assert all(model.dropout.tokens is None for model in models)
    forwards = [m.__dict__.get("forward") for m in models[0].module.modules()]
    assert not any("_StackedLayer" in repr(f) or "_LayerBySlot" in repr(f) for f in forwards)


def test_padded_ranks_have_no_gradient_and_no_effect(make: Any, tiny_dataset: AnnotatedDataset) -> None:
    models = make("bert")
    layers = FusedLayers(models, stacked=True)
    layer: Any = layers._layers[0]
    assert layer._a.shape[:2] == (3, 7)
    layers.refresh()
    for k, slot in enumerate(SLOTS):
        assert torch.count_nonzero(layer._a[k, slot.rank :]) == 0
        assert torch.count_nonzero(layer._b[k, :, slot.rank :]) == 0
    with torch.no_grad():
        layer._b += torch.randn_like(layer._b) * (layer._a.abs().sum(2) > 0)[:, None]
    x = torch.randn(1, 12, 32, dtype=torch.float64)
    with layers.reading([3, 4, 5], device=x.device):
        layer.host(x).square().sum().backward()
    for k, slot in enumerate(SLOTS):
        assert torch.count_nonzero(layer._a.grad[k, : slot.rank]) > 0
        assert torch.count_nonzero(layer._a.grad[k, slot.rank :]) == 0
        assert torch.count_nonzero(layer._b.grad[k, :, slot.rank :]) == 0


@pytest.mark.parametrize("sizes", [[3, 0, 5, 1], [4, 4], [6]])
def test_rows_are_spread_by_slot_and_gathered_again(sizes: list[int]) -> None:
    rows = torch.arange(1.0, sum(sizes) * 2 + 1).view(-1, 2)
    whose = _Rows(sizes, rows.device)
    spread = whose.spread(rows)
    assert spread.shape == (len(sizes), max(sizes), 2)
    for own, part in zip(spread, rows.split(sizes), strict=True):
        assert torch.equal(own[: len(part)], part)
        assert torch.count_nonzero(own[len(part) :]) == 0
    assert torch.equal(whose.gathered(spread), rows)


def test_slots_share_one_frozen_model_in_memory(make: Any) -> None:
    first, *others = make("bert")
    own = dict(first.module.named_parameters())
    for other in others:
        for name, parameter in other.module.named_parameters():
            shared = parameter.data_ptr() == own[name].data_ptr()
            assert shared == (not parameter.requires_grad and ".original_module." not in name), name


@pytest.mark.parametrize(
    ("arch", "method", "reason"),
    [
        ("bert", {"dropout": 0.1}, "no factor of plain LoRA without dropout"),
        ("bert", {"name": "full", "rank": None, "alpha": None}, "is trained in its body"),
        ("bert", {"name": "ia3", "rank": None, "alpha": None}, "is trained in its body"),
        ("deberta-v2", {}, "does not read packed rows"),
    ],
)
def test_what_cannot_be_fused_says_why(arch: str, method: dict[str, Any], reason: str, make: Any) -> None:
    (model,) = make(arch, SLOTS[2:], **method)
    assert reason in str(obstacle(model))
    with pytest.raises(ModelError, match=reason):
        FusedLayers([model], stacked=False)


def test_models_that_do_not_fit_together_are_refused(make: Any, tiny_dataset: AnnotatedDataset) -> None:
    (one,), (other,) = make("bert", SLOTS[:1]), make("bert", SLOTS[:1], targets=["query"])
    with pytest.raises(ModelError, match="other adapted layers than the first"):
        FusedLayers([one, other], stacked=True)
    other.fingerprint = "0" * 64
    with pytest.raises(ModelError, match="its files have changed"):
        share_frozen_weights(other, one)
    data = samples(tiny_dataset, one, SLOTS[:1])[0]
    specs = [TrainingSpec(), TrainingSpec(precision="bf16")]
    runs = [TrainingRun(one, data, spec, learning_rate=1e-3, seed=0) for spec in specs]
    with pytest.raises(ModelError, match="differ in device or precision"):
        list(train_fused(runs))
