"""The preference probe: what is stored of a pair, by hand, and through an interrupted run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from dissensus import CurveRecorder, annotation_entropy, load_curves
from dissensus.errors import DataError, ModelError, SpecError, StoreError
from dissensus.record.probes.preferences import PreferenceProbe

ROWS: list[dict[str, Any]] = [
    {
        "id": f"p{i}",
        "prompt": f"the {word} is",
        "chosen": " warm",
        "rejected": " not very warm",
        "votes": votes,
    }
    for i, (word, votes) in enumerate(
        [("dog", (5, 0)), ("red apple", (3, 2)), ("old bird", {"chosen": 4, "rejected": 1})]
    )
]


@pytest.fixture
def causal(tiny_decoder_dir: Path) -> tuple[Any, Any]:
    return AutoModelForCausalLM.from_pretrained(tiny_decoder_dir), AutoTokenizer.from_pretrained(
        tiny_decoder_dir
    )


def test_a_point_by_hand(causal: tuple[Any, Any]) -> None:
    """beta = 0.5; log p of (chosen, rejected) = (-2, -5), under the reference (-3, -4): m = 0.5 (3 - 1) = 1 nat."""
    probe = PreferenceProbe.from_texts(PreferenceProbe.pairs(ROWS), causal[1], how="dpo", beta=0.5)
    one, two = np.array([[-3], [-4]] * 3, dtype=np.float32), np.array([[-2], [-5]] * 3, dtype=np.float32)
    first, second = probe.measured(one), probe.measured(two)
    np.testing.assert_allclose(first.log_probs, -np.log(2))
    assert second.values["margin"].tolist() == [1, 1, 1]
    np.testing.assert_allclose(
        second.log_probs[0], [-0.31326, -1.31326], atol=1e-5
    )  # log sigmoid(1), log sigmoid(-1)
    plain = PreferenceProbe.from_texts(PreferenceProbe.pairs(ROWS), causal[1], how="likelihood", beta=0.5)
    assert plain.measured(two).values["margin"].tolist() == [1.5] * 3
    far = plain.measured(np.array([[0], [-4000]] * 3, dtype=np.float32))
    assert far.log_probs[0].tolist() == [0, -2000]  # no overflow


def test_votes_are_counts(causal: tuple[Any, Any]) -> None:
    data = PreferenceProbe.pairs(ROWS)
    assert data.counts.tolist() == [[5, 0], [3, 2], [4, 1]]
    assert annotation_entropy(data.counts)[0] == 0
    bare = [{k: v for k, v in r.items() if k != "votes"} for r in ROWS]
    unasked = PreferenceProbe.pairs(bare, votes=None)
    with pytest.raises(DataError, match="a pair has no 'votes'; it has: id, prompt, chosen, rejected"):
        PreferenceProbe.pairs(bare)
    assert np.isnan(annotation_entropy(unasked.counts)).all()
    probe = PreferenceProbe.from_texts(data, causal[1], how="reward")
    assert (probe.covariates["length_difference"] < 0).all()


def test_the_reference_survives_an_interruption(causal: tuple[Any, Any], tmp_path: Path) -> None:
    """A resumed DPO run compares with the model that it began with, not with the one that it resumes."""
    model, tokenizer = causal

    def recorder(path: Path, **options: Any) -> CurveRecorder:
        probe = PreferenceProbe.from_texts(PreferenceProbe.pairs(ROWS), tokenizer, how="dpo")
        return CurveRecorder(path, probe, total_steps=2, points=3, **options)

    def train(step: int) -> None:
        with torch.no_grad():
            model.lm_head.weight.mul_(1 + step / 10)

    begun = recorder(tmp_path)
    begun.step(model, 0)
    train(1)
    begun.step(model, 1)
    begun.flush()
    again = recorder(tmp_path, resume=True)
    again.step(model, 1)
    train(2)
    again.step(model, 2)
    again.finish()
    curves = load_curves(tmp_path)
    of = {side: curves.values[f"{side}_log_prob"].astype(np.float64) for side in ("chosen", "rejected")}
    gap = of["chosen"] - of["rejected"]
    np.testing.assert_allclose(curves.values["margin"], 0.1 * (gap - gap[:, :1]), atol=1e-6)
    assert np.abs(curves.values["margin"][:, 2]).min() > 0


def test_what_is_no_pair(
    causal: tuple[Any, Any], tiny_dataset: Any, tiny_decoder_dir: Path, tmp_path: Path
) -> None:
    _, tokenizer = causal
    data = PreferenceProbe.pairs(ROWS)
    with pytest.raises(DataError, match=r"pairs have \['chosen', 'rejected'\]"):
        PreferenceProbe.from_texts(tiny_dataset, tokenizer, how="dpo", prompt="a", chosen="b", rejected="c")
    with pytest.raises(SpecError, match="how is 'simpo'; expected 'reward', 'dpo' or 'likelihood'"):
        PreferenceProbe.from_texts(data, tokenizer, how="simpo")
    with pytest.raises(SpecError, match="beta is 0"):
        PreferenceProbe.from_texts(data, tokenizer, how="dpo", beta=0)
    with pytest.raises(DataError, match=r"have no token to score, e\.g\. of 'p0'"):
        PreferenceProbe.from_texts(data, tokenizer, how="dpo", max_length=2)
    three = AutoModelForSequenceClassification.from_pretrained(tiny_decoder_dir, num_labels=3)
    recorder = CurveRecorder(
        tmp_path, PreferenceProbe.from_texts(data, tokenizer, how="reward"), total_steps=1
    )
    with pytest.raises(ModelError, match=r"one number per row; .* num_labels=1"):
        recorder.step(three, 0)


def test_a_store_is_gone_on_with_by_the_question_that_it_was_begun_with(
    causal: tuple[Any, Any], tmp_path: Path
) -> None:
    model, tokenizer = causal
    data = PreferenceProbe.pairs(ROWS)
    begun = CurveRecorder(tmp_path, PreferenceProbe.from_texts(data, tokenizer, how="dpo"), total_steps=2)
    begun.step(model, 0)
    begun.flush()
    other = PreferenceProbe.from_texts(data, tokenizer, how="dpo", beta=0.5)
    with pytest.raises(StoreError, match=r"was begun with beta 0\.1; now it is 0\.5"):
        CurveRecorder(tmp_path, other, total_steps=2, resume=True)
