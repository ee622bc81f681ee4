"""Outputs of a training forward: each row's logits or loss; or, in words, why they are hidden."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dissensus.errors import ModelError
from dissensus.models.user_model import refuse_other_heads
from dissensus.record.probes.sequences import IGNORED

PACKED = ("cu_seq_lens_q", "cu_seq_lens_k", "seq_idx")
NOT_NEXT = ("ForTokenClassification", "ForMaskedLM", "ForPreTraining")


def refuse_packed(inputs: Mapping[str, Any], rows: int) -> None:
    """Raise `ModelError` if several examples share a row of the batch."""
    ids = inputs.get("input_ids")
    first = len(ids) if isinstance(ids, Tensor) else rows
    if first != rows or any(key in inputs for key in PACKED):
        raise ModelError(
            f"the batch has {first} row(s) for {rows} example(s): it is packed (packing, padding_free or a flattening "
            "collator) or pairs examples, and the free mode needs a row an example. Turn packing off, or record with "
            "dissensus.integrations.transformers.record, which passes over the examples itself"
        )


def said(module: nn.Module, outputs: Any, labels: Tensor | None, rows: int) -> tuple[Tensor, Tensor | None]:
    """What the outputs say of each row.

    Args:
        module: the model, bare of wrappers.
        outputs: of its forward pass.
        labels: the batch's labels, shape (b, L); read for language models only.
        rows: b.

    Returns:
        A classifier's logits, shape (b, K), and None; or of a language model -log p of each row's labelled tokens in
        nats, summed, shape (b,), and how many they were, shape (b,).

    Raises:
        ModelError: the logits are not there (a fused kernel), or not one set a row, or of another kind of model.
    """
    fused = _get(outputs, "log_probs")
    if fused is not None:  # TRL's fused head: zero where the label is ignored
        mask = _get(outputs, "label_mask")
        log_probs, count = (
            -fused.detach().float().sum(dim=1),
            (fused != 0 if mask is None else mask).sum(dim=1),
        )
        _one_each(len(log_probs), rows)
        return log_probs, count
    logits = _get(outputs, "logits")
    if not isinstance(logits, Tensor) or logits.numel() == 0:
        raise ModelError(
            f"{type(module).__name__} gave no logits in its training forward ({_names(outputs)}): a fused loss kernel "
            "(Liger's fused_linear_cross_entropy, for one) hides them, and a batch's mean says nothing of its "
            "examples. Train without it (use_liger_kernel=False, or liger_kernel_config="
            "{'fused_linear_cross_entropy': False}), or record with dissensus.integrations.transformers.record, which "
            "passes over the examples itself"
        )
    _one_each(len(logits), rows)
    if logits.ndim == 2:
        refuse_other_heads(module)
        return logits, None
    kind = type(module).__name__
    if logits.ndim != 3 or kind.endswith(NOT_NEXT):
        raise ModelError(
            f"{kind} gave logits of shape {tuple(logits.shape)}; the free mode reads sequence classifiers (rows, "
            "labels) and language models that write on (rows, tokens, vocabulary)"
        )
    if labels is None:
        raise ModelError(
            f"{kind} was trained on a batch without 'labels'; -log p of its completions needs to know which tokens "
            "they are. Give the batch labels (a collator for language modelling does)"
        )
    return _completions(logits.detach(), labels.to(logits.device), shift=not _encoder_decoder(module))


def _completions(logits: Tensor, labels: Tensor, *, shift: bool) -> tuple[Tensor, Tensor]:
    logits = logits[:, -labels.shape[1] :]  # prompt tuning puts virtual tokens in front
    if shift:
        logits, labels = logits[:, :-1], labels[:, 1:]
    scored = labels != IGNORED
    picked = logits[scored].float()  # only the scored tokens' rows: the vocabulary is wide
    loss = nn.functional.cross_entropy(picked, labels[scored], reduction="none")
    token_losses = torch.zeros(scored.shape, dtype=torch.float32, device=logits.device).masked_scatter(
        scored, loss
    )
    return token_losses.sum(dim=1), scored.sum(dim=1)


def _one_each(outputs: int, rows: int) -> None:
    if outputs != rows:
        raise ModelError(
            f"the model gave {outputs} rows of outputs for {rows} examples; the free mode needs one each. A trainer of "
            "pairs (reward, DPO) puts both answers into one batch: record it with a preferences probe and "
            "dissensus.integrations.transformers.record"
        )


def _encoder_decoder(module: Any) -> bool:
    return bool(getattr(getattr(module, "config", None), "is_encoder_decoder", False))


def _get(outputs: Any, name: str) -> Any:
    return outputs.get(name) if isinstance(outputs, Mapping) else getattr(outputs, name, None)


def _names(outputs: Any) -> str:
    if isinstance(outputs, Mapping):
        return "its outputs: " + (", ".join(outputs) or "none")
    return f"its output is a {type(outputs).__name__}"
