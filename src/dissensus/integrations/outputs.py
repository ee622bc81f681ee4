"""Training batches in the free mode: which example each row is, and each row's logits or loss in the outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import DataError, ModelError
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
            "collator) or pairs examples, and the free mode needs a row per example. Turn packing off, or record with "
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


ROW = "dissensus_row"
"""Key of the row numbers in a batch; -1 for an example that is not recorded."""


class IdCollator:
    """A collator around another: takes the ids off its rows and adds row numbers, int64 of shape (b,), to the batch.

    Raises, when called, `DataError` for rows without an id, and for an id that is not in the data set.

    Args:
        inner: the trainer's collator.
        dataset: the examples that are recorded.
        id: the id's column.
        others: whether rows of other examples are left aside.
    """

    def __init__(
        self, inner: Callable[[list[Any]], Any], dataset: AnnotatedDataset, id: str, *, others: bool
    ) -> None:
        self.inner, self.id, self.others, self.name = inner, id, others, dataset.name
        self.rows = {example_id: row for row, example_id in enumerate(dataset.ids)}

    def __call__(self, features: Sequence[Any]) -> Any:
        """Collate a batch."""
        rows = [self._row(feature) for feature in features]
        batch = self.inner([{k: v for k, v in feature.items() if k != self.id} for feature in features])
        if not hasattr(batch, "keys"):
            raise DataError(f"the collator returned a {type(batch).__name__}; expected a mapping of tensors")
        batch[ROW] = torch.tensor(rows, dtype=torch.long)
        return batch

    def _row(self, feature: Any) -> int:
        if not isinstance(feature, Mapping) or feature.get(self.id) is None:
            has = (
                f"it has: {', '.join(map(str, feature))}"
                if isinstance(feature, Mapping)
                else "it has no columns"
            )
            raise DataError(
                f"a training row has no {self.id!r}; {has}. Rows are joined by id, never by position: keep the column "
                "through your own map() and remove_columns, or name another with id=..."
            )
        example_id = feature[self.id]
        key = str(example_id.item() if hasattr(example_id, "item") else example_id)
        row = self.rows.get(key)
        if row is None and not self.others:
            raise DataError(
                f"the training row with {self.id} {key!r} is not in the data set {self.name!r} to record. Add it, or "
                "pass others=True to record only those that are"
            )
        return -1 if row is None else row
