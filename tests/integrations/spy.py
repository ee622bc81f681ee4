"""A witness inside a trainer: each example's loss, computed one by one by nothing but the model's own forward pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback

from dissensus import AnnotatedDataset


class Spy(TrainerCallback):
    """Each example's loss computed one by one, at every step, by nothing but the model's own forward pass."""

    def __init__(self, dataset: AnnotatedDataset) -> None:
        self.dataset, self.losses = dataset, {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.look(state.global_step, kwargs)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.look(state.global_step, kwargs)

    def look(self, step: int, kwargs: dict[str, Any]) -> None:
        model, tokenizer = kwargs["model"], kwargs["processing_class"]
        was = model.training
        model.eval()
        with torch.no_grad(), torch.random.fork_rng():
            logits = [
                model(**tokenizer(e.text["premise"], e.text["hypothesis"], return_tensors="pt")).logits[0]
                for e in self.dataset
            ]
        model.train(was)
        log_probs = torch.log_softmax(torch.stack(logits).double(), dim=-1).numpy()
        self.losses[step] = -log_probs[np.arange(len(self.dataset)), self.dataset.gold]
