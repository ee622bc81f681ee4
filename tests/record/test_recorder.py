"""The recorder measures exactly, by id, and leaves no trace in the model that it measures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from dissensus import CurveRecorder, load_curves
from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.ordinal import ordinal_dispersion
from dissensus.errors import DataError, SpecError, StoreError
from dissensus.record.probes.labels import LabelProbe
from dissensus.record.tracking import PaddedSet, length_sorted_batches, tracking_pass
from dissensus.record.user_model import UserModelSet


@pytest.fixture
def plain(tiny_encoder_dir: Path) -> tuple[Any, Any]:
    """What a user has: a sequence classifier and its tokenizer, straight from transformers."""
    torch.manual_seed(0)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tiny_encoder_dir, num_labels=3)
    return model, transformers.AutoTokenizer.from_pretrained(tiny_encoder_dir)


def one_by_one(model: Any, tokenizer: Any, dataset: AnnotatedDataset) -> np.ndarray:
    model.eval()
    rows = []
    with torch.no_grad():
        for e in dataset:
            batch = tokenizer(e.text["premise"], e.text["hypothesis"], return_tensors="pt")
            rows.append(model(**batch).logits.double().log_softmax(-1)[0].numpy())
    model.train()
    return np.stack(rows)


def test_two_lines_in_a_plain_loop(
    plain: tuple[Any, Any], tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    model, tokenizer = plain
    batches = [list(tiny_dataset)[i : i + 6] for i in range(0, 24, 6)]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    expected = [one_by_one(model, tokenizer, tiny_dataset)]
    recorder = CurveRecorder(tmp_path, tiny_dataset, tokenizer=tokenizer, total_steps=len(batches), points=3)
    for batch in recorder.watch(model, batches):
        assert model.training
        texts = [[e.text[f] for e in batch] for f in tiny_dataset.fields]
        out = model(
            **tokenizer(*texts, padding=True, return_tensors="pt"),
            labels=torch.tensor([e.gold for e in batch]),
        )
        out.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    expected.append(one_by_one(model, tokenizer, tiny_dataset))
    curves = load_curves(tmp_path)
    assert curves.steps.tolist() == [0, 2, 4]
    np.testing.assert_allclose(curves.log_probs[:, 0], expected[0], atol=2e-5)
    np.testing.assert_allclose(curves.log_probs[:, 2], expected[1], atol=2e-5)
    assert np.abs(expected[0] - expected[1]).max() > 1e-3
    assert curves.covariates["token_count"].tolist() == [
        len(tokenizer(e.text["premise"], e.text["hypothesis"])["input_ids"]) for e in tiny_dataset
    ]
    assert recorder.seconds > 0


@pytest.mark.parametrize("scale", ["nominal", "ordinal"])
def test_an_ordered_scale_stores_the_dispersion_of_each_example(
    plain: tuple[Any, Any],
    tiny_dataset: AnnotatedDataset,
    tmp_path: Path,
    scale: Literal["nominal", "ordinal"],
) -> None:
    model, tokenizer = plain
    dataset = replace(tiny_dataset, scale=scale)
    recorder = CurveRecorder(tmp_path, dataset, tokenizer=tokenizer, total_steps=1, points=2)
    for _ in recorder.watch(model, [None]):
        pass
    covariates = load_curves(tmp_path).covariates
    assert ("dispersion" in covariates) == (scale == "ordinal")
    if scale == "ordinal":
        np.testing.assert_array_equal(covariates["dispersion"], ordinal_dispersion(dataset.counts))


def test_modes_gradients_and_random_state_are_left_as_they_were(
    plain: tuple[Any, Any], tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    model, tokenizer = plain
    model.train()
    model.bert.embeddings.eval()  # a part that its owner froze
    modes = {n: m.training for n, m in model.named_modules()}
    assert len(set(modes.values())) == 2

    def score(model: Any, batch: Any) -> torch.Tensor:
        torch.rand(1)  # some models draw random numbers in eval mode, too
        return model(**batch).logits

    recorder = CurveRecorder(
        tmp_path, LabelProbe(tiny_dataset, tokenizer=tokenizer, score=score), total_steps=5
    )
    torch.manual_seed(9)
    expected = torch.rand(4)
    torch.manual_seed(9)
    assert recorder.step(model, 0)
    assert torch.equal(torch.rand(4), expected)
    assert {n: m.training for n, m in model.named_modules()} == modes
    assert all(p.grad is None for p in model.parameters())
    assert torch.is_grad_enabled()


def test_the_mode_comes_back_when_scoring_fails(
    plain: tuple[Any, Any], tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    model, tokenizer = plain
    model.train()

    def broken(_model: Any, _batch: Any) -> torch.Tensor:
        raise RuntimeError("out of memory")

    recorder = CurveRecorder(
        tmp_path, LabelProbe(tiny_dataset, tokenizer=tokenizer, score=broken), total_steps=5
    )
    with pytest.raises(RuntimeError, match="out of memory"):
        recorder.step(model, 0)
    assert model.training
    assert recorder.writer.steps == ()


@pytest.mark.parametrize("budget", [1, 40, 100_000])
def test_batches_do_not_change_what_is_measured(
    budget: int, plain: tuple[Any, Any], tiny_dataset: AnnotatedDataset
) -> None:
    from dissensus.models.encoding import encode

    model, tokenizer = plain
    encoded = encode(tiny_dataset, tokenizer, max_length=48)
    tracked = PaddedSet(encoded, lambda m, b: m(**b).logits, pad_id=0, token_budget=budget)
    got = tracking_pass(model, tracked, len(encoded))
    np.testing.assert_allclose(got, one_by_one(model, tokenizer, tiny_dataset), atol=2e-5)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=80), st.integers(1, 300))
def test_batches_hold_each_row_once_within_the_budget(lengths: list[int], budget: int) -> None:
    array = np.array(lengths)
    batches = length_sorted_batches(array, budget)
    assert sorted(r for b in batches for r in b) == list(range(len(lengths)))
    assert all(len(b) == 1 or len(b) * array[b].max() <= budget for b in batches)


def test_a_known_model_is_read_without_padding_and_another_as_it_wants(
    plain: tuple[Any, Any], tiny_dataset: AnnotatedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dissensus.models.encoding import encode
    from dissensus.models.scoring import ScoringModel

    model, tokenizer = plain
    encoded = encode(tiny_dataset, tokenizer, max_length=48)
    packed: list[int] = []
    own = ScoringModel.features

    def counted(self: ScoringModel, batch: Any) -> torch.Tensor:
        packed.append(len(batch.rows))
        return own(self, batch)

    monkeypatch.setattr(ScoringModel, "features", counted)

    def measured(model: Any) -> tuple[np.ndarray, int]:
        packed.clear()
        tracked = UserModelSet(encoded, pad_id=0, token_budget=100)
        first = tracking_pass(model, tracked, 24)
        np.testing.assert_array_equal(tracking_pass(model, tracked, 24), first)
        return first, sum(packed)

    got, rows = measured(model)
    np.testing.assert_allclose(got, one_by_one(model, tokenizer, tiny_dataset), atol=2e-5)
    assert rows == (4 + 24) + (2 + 24)  # two passes, and a few examples both ways before each

    class Doubled(type(model)):  # a class of the user's own
        def forward(self, **batch: Any) -> Any:
            out = super().forward(**batch)
            out.logits = 2 * out.logits
            return out

    model.__class__ = Doubled
    doubled, rows = measured(model)
    assert rows == 0  # not a class that is known
    Doubled.__module__ = "transformers.models.bert.modeling_bert"
    Doubled.__name__ = "BertForSequenceClassification"
    pretending, rows = measured(model)
    assert rows == 0  # its forward pass is not where its class says
    for other in (doubled, pretending):
        np.testing.assert_allclose(other, one_by_one(model, tokenizer, tiny_dataset), atol=2e-5)
        assert np.abs(other - got).max() > 1e-4


def test_a_missed_tracking_point_is_an_error(
    plain: tuple[Any, Any], tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    model, tokenizer = plain
    recorder = CurveRecorder(
        tmp_path, tiny_dataset, tokenizer=tokenizer, total_steps=4, points=(2,), on_error="raise"
    )
    with pytest.raises(StoreError, match="point 0 was never measured"):
        recorder.step(model, 2)
    recorder.step(model, 0)
    assert not recorder.step(model, 0)  # stored already
    assert not recorder.step(model, 1)  # no tracking point
    with pytest.raises(StoreError, match=r"\[2, 4\] unmeasured"):
        recorder.finish()


def test_accumulated_batches_make_one_step(
    plain: tuple[Any, Any], tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    model, tokenizer = plain
    recorder = CurveRecorder(tmp_path, tiny_dataset, tokenizer=tokenizer, total_steps=3)
    assert len(list(recorder.watch(model, range(5), batches_per_step=2))) == 5
    assert load_curves(tmp_path).steps.tolist() == [0, 1, 2, 3]


def test_the_context_manager_finishes_only_what_went_well(
    plain: tuple[Any, Any], tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    model, tokenizer = plain
    with CurveRecorder(tmp_path / "a", tiny_dataset, tokenizer=tokenizer, total_steps=1) as recorder:
        recorder.step(model, 0)
        recorder.step(model, 1)
    assert len(load_curves(tmp_path / "a")) == 24
    with (
        pytest.raises(KeyError),
        CurveRecorder(tmp_path / "b", tiny_dataset, tokenizer=tokenizer, total_steps=1),
    ):
        raise KeyError("the user's own")


def test_a_second_run_does_not_slip_into_the_first_ones_folder(
    plain: tuple[Any, Any], tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    model, tokenizer = plain

    def recorder(**kwargs: Any) -> CurveRecorder:
        return CurveRecorder(tmp_path, tiny_dataset, tokenizer=tokenizer, total_steps=2, **kwargs)

    first = recorder()
    first.step(model, 0)
    first.step(model, 1)
    first.flush()
    with pytest.raises(StoreError, match=r"2 tracking points.*resume=True"):
        recorder()
    again = recorder(resume=True)
    assert not again.step(model, 1)
    assert again.step(model, 2)
    again.finish()
    assert load_curves(tmp_path).steps.tolist() == [0, 1, 2]


def test_what_is_missing_is_named(
    plain: tuple[Any, Any], tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    from dissensus.models.encoding import encode

    _, tokenizer = plain
    with pytest.raises(SpecError, match="needs a tokenizer"):
        CurveRecorder(tmp_path, tiny_dataset, total_steps=3)
    other = encode(tiny_dataset.subset(reversed(tiny_dataset.ids)), tokenizer, max_length=48)
    with pytest.raises(DataError, match="not the tracked ones"):
        CurveRecorder(tmp_path, LabelProbe(tiny_dataset, encoded=other), total_steps=3)


@pytest.mark.parametrize("total", [1, 2, 12])
def test_a_budget_keeps_the_last_point_of_a_short_run(
    tiny_encoder_dir: Path, tiny_dataset: AnnotatedDataset, tmp_path: Path, total: int
) -> None:
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tiny_encoder_dir, num_labels=3)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_encoder_dir)
    recorder = CurveRecorder(
        tmp_path, tiny_dataset, tokenizer=tokenizer, total_steps=total, points=3, max_overhead=1.0
    )
    list(recorder.watch(model, range(total)))
    steps = load_curves(tmp_path).steps
    assert (steps[0], steps[-1]) == (0, total)
    with pytest.raises(StoreError, match="the recorder has finished"):
        recorder.rewind(0)
