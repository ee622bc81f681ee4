"""What a completions pass holds at once does not grow with the tracked set, nor with the vocabulary's logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from dissensus import AnnotatedDataset
from dissensus.record.probes.completions import CompletionProbe
from dissensus.record.tracking import tracking_pass


def largest_logits(model: Any, probe: CompletionProbe, budget: int) -> int:
    """Numbers of logits that the head made at once, at most."""
    sizes: list[int] = []
    handle = model.lm_head.register_forward_hook(lambda _m, _i, out: sizes.append(out.numel()))
    try:
        tracked = probe.tracked(budget)
        tracking_pass(model, tracked, probe.rows)
        sizes.clear()
        tracking_pass(model, tracked, probe.rows)
    finally:
        handle.remove()
    return max(sizes)


def test_logits_at_once(tiny_decoder_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The hook that counts would be taken for one that changes what the model gives.
    monkeypatch.setattr("dissensus.record.probes.scored_tokens.patched", lambda _: "")
    model = AutoModelForCausalLM.from_pretrained(tiny_decoder_dir)
    tokenizer = AutoTokenizer.from_pretrained(tiny_decoder_dir)
    vocabulary = model.config.vocab_size
    found = {}
    for n in (20, 200):
        rows = [
            {"id": i, "text": "a dog runs " * (1 + i % 5), "gold": "x", "counts": [1, 0]} for i in range(n)
        ]
        data = AnnotatedDataset.from_records(rows, labels=["x", "y"], text=["text"])
        probe = CompletionProbe.from_texts(
            data, tokenizer, prompt="{text}", completion=lambda _: " very warm"
        )
        found[n] = largest_logits(model, probe, budget=10_000)
    # Only scored positions meet the head: 3 a row here, where the rows have up to 60 tokens.
    assert found[20] <= 20 * 6 * vocabulary
    monkeypatch.setattr("dissensus.record.probes.scored_tokens.LOGITS", 10 * vocabulary)
    assert largest_logits(model, probe, budget=10_000) == 10 * vocabulary  # 200 rows, ten positions at a time
    with torch.no_grad():
        whole = model(torch.zeros((1, 12), dtype=torch.long)).logits.numel()
    assert whole == 12 * vocabulary  # what the hook counts is what there is
