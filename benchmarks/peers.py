"""What people would otherwise use: transformers' Trainer with PEFT, plain PyTorch, cartography-style logging."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.work import Work
from dissensus.config import MethodSpec, ModelSpec
from dissensus.models.encoding import Encoded
from dissensus.models.loading import load_scoring_model
from dissensus.models.scoring import ScoringModel
from dissensus.train.methods import peft_config


def plain_model(
    work: Work, method: MethodSpec | None, *, head_seed: int = 0, adapter_seed: int = 0
) -> ScoringModel:
    """The same weights as `work.scoring_model`, as transformers and PEFT leave them.

    Args:
        work: which model.
        method: LoRA or full; None gives the bare model, frozen.
        head_seed: of the head.
        adapter_seed: of the adapters.
    """
    import peft

    spec = ModelSpec(name=work.model, max_length=work.max_length)
    model = load_scoring_model(spec, work.dataset.labels, work.dataset.fields, head_seed=head_seed)
    if method is None:
        model.module.requires_grad_(False)
    elif method.name == "lora":
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # as in `train.methods`
            torch.manual_seed(adapter_seed)
            config = peft_config(model, method, peft)
            model.module = cast(nn.Module, peft.get_peft_model(cast(Any, model.module), config))
    model.module.to(work.device)
    return model


class TokenRows(torch.utils.data.Dataset[dict[str, Any]]):
    """The tracked or training examples as Trainer wants them: one mapping per example."""

    def __init__(self, encoded: Encoded, labels: NDArray[np.int64]) -> None:
        self._rows = [
            {
                "input_ids": list(encoded.input_ids[i]),
                **(
                    {}
                    if encoded.token_type_ids is None
                    else {"token_type_ids": list(encoded.token_type_ids[i])}
                ),
                "attention_mask": [1] * len(encoded.input_ids[i]),
                "labels": int(labels[i]),
            }
            for i in range(len(encoded))
        ]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._rows[index]


@contextmanager
def quiet() -> Iterator[None]:
    """transformers without its progress bars and hints."""
    import logging

    import transformers

    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            transformers.logging.set_verbosity(before)


def trainer(
    model: ScoringModel,
    folder: Path,
    rows: TokenRows,
    *,
    evaluation_batch: int = 8,
    learning_rate: float = 1e-3,
    steps: int = 1,
    seed: int = 0,
    callbacks: list[Any] | None = None,
) -> Any:
    """A Trainer with its defaults: padding to the longest of each batch, evaluation batches of 8."""
    import transformers

    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=32,
        per_device_eval_batch_size=evaluation_batch,
        learning_rate=learning_rate,
        max_steps=steps,
        warmup_steps=round(0.06 * steps),
        weight_decay=0.01,
        seed=seed,
        report_to=[],
        disable_tqdm=True,
        save_strategy="no",
        logging_strategy="no",
        use_cpu=next(model.module.parameters()).device.type == "cpu",
    )
    base: Any = model.module
    base = base.get_base_model() if hasattr(base, "get_base_model") else base
    base.is_quantized = (
        False  # GGUF weights were dequantised on loading; Trainer goes by where they came from
    )
    collator = transformers.DataCollatorWithPadding(model.tokenizer)
    made = transformers.Trainer(
        model=cast(Any, model.module),
        args=arguments,
        data_collator=collator,
        train_dataset=rows,
        callbacks=callbacks,
    )
    made.remove_callback(transformers.PrinterCallback)
    return made


def predicted(trained: Any, rows: TokenRows) -> NDArray[np.float32]:
    """`Trainer.predict`: logits of every row, (n, K)."""
    logits: NDArray[np.float32] = trained.predict(rows).predictions
    return logits


def bare_forward(model: ScoringModel, batches: list[tuple[list[int], dict[str, Tensor]]]) -> None:
    """A forward pass over padded batches that are ready, and nothing else."""
    model.module.eval()
    with torch.no_grad():
        for _, batch in batches:
            model.module(**batch)


def cartography_pass(model: ScoringModel, encoded: Encoded, path: Path, width: int) -> None:
    """A pass in the manner of dataset cartography: padded to the model's width, logits to a JSONL file per epoch."""
    device = next(model.module.parameters()).device
    model.module.eval()
    with path.open("w", encoding="utf-8") as out, torch.no_grad():
        for begin in range(0, len(encoded), 32):
            rows = list(range(begin, min(begin + 32, len(encoded))))
            batch = encoded.batch(rows, model.pad_id)
            extra = width - batch["input_ids"].shape[1]
            wide = {k: nn.functional.pad(v, (0, extra), value=0).to(device) for k, v in batch.items()}
            for row, logits in zip(rows, model.module(**wide).logits.cpu().tolist(), strict=True):
                out.write(json.dumps({"guid": encoded.ids[row], "logits_epoch_0": logits}) + "\n")


def plain_step(
    model: ScoringModel,
    encoded: Encoded,
    labels: NDArray[np.int64],
    batches: list[NDArray[np.int64]],
    learning_rate: float,
) -> Callable[[], list[float]]:
    """Steps of a plain PyTorch loop: pad, forward, backward, clip, AdamW. Gives the losses in nats."""
    parameters = [p for p in model.module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, fused=True)

    def run() -> list[float]:
        model.module.train()
        losses = []
        for rows in batches:
            losses.append(backward(model, encoded, labels, rows))
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return losses

    return run


def backward(
    model: ScoringModel, encoded: Encoded, labels: NDArray[np.int64], rows: NDArray[np.int64]
) -> float:
    """Gradient of a padded batch's mean loss, by the model as transformers and PEFT have it; the loss in nats."""
    device = next(model.module.parameters()).device
    batch = {k: v.to(device) for k, v in encoded.batch(rows.tolist(), model.pad_id).items()}
    targets = torch.from_numpy(labels[rows]).to(device)
    loss = nn.functional.cross_entropy(model.module(**batch).logits, targets)
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())
