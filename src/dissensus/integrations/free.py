"""The free mode in `transformers.Trainer` and TRL's SFT trainer: no pass but the training's own.

    from dissensus.integrations.free import record_free

    record_free(trainer, "runs/mine-free", dataset)  # the training rows have a column "id"
    trainer.train()

The id's column goes through the trainer's removal of columns and leaves the collator as one tensor of row numbers,
which is taken out of the batch before anything else sees it; a forward hook, there only while a training step lasts,
reads what the model said. Weights, random state and the trainer's evaluation stay as they were.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import DataError, ModelError, SpecError
from dissensus.integrations.outputs import ROW, IdCollator, refuse_packed, said
from dissensus.models.insides import INSIDES, present
from dissensus.models.user_model import base_of, check_label_order
from dissensus.record.free import FreeRecorder, Places


def record_free(
    trainer: Trainer,
    path: str | os.PathLike[str],
    dataset: AnnotatedDataset,
    *,
    id: str = "id",
    others: bool = False,
    steps_per_epoch: int | None = None,
    **options: Any,
) -> FreeCallback:
    """Record in the free mode while this trainer trains; see `FreeRecorder` for what that is and what it is not.

    Classifiers (all labels' log-probabilities) and language models (-log p of the completion, that is of the row's
    labelled tokens as the trainer truncated them; a row whose labelled tokens were all cut off counts as not seen). A
    trainer that resumes from a checkpoint continues the recording, and keeps what the cut epoch had seen.

    Args:
        trainer: a trainer that is made and has not begun.
        path: folder of the curves store.
        dataset: the examples to record.
        id: the column of the training rows that holds their ids.
        others: leave training rows aside that are not in `dataset`; without it they are an error.
        steps_per_epoch: optimiser steps per epoch, for a training set that does not know its length.
        **options: of `FreeRecorder`: `regime`, `provenance`, `on_error`, `quiet`.

    Raises:
        ModelError: the trainer packs its rows or splits them over devices; later, in the first training step, the
            outputs hide what the model said of each row.
        DataError: the training set has no such column; later, a row has no id, or an unknown one.
    """
    _refuse(trainer)
    columns = getattr(trainer.train_dataset, "column_names", None)
    if columns and id not in columns:
        raise DataError(
            f"the training set has no column {id!r}; it has: {', '.join(columns)}. Rows are joined by id, never by "
            "position: keep the column through your own map() and remove_columns, or name another with id=..."
        )
    callback = FreeCallback(trainer, path, dataset, id, others, steps_per_epoch, options)
    trainer.add_callback(callback)
    return callback


class FreeCallback(TrainerCallback):  # type: ignore[misc]
    """What `record_free` adds to a trainer.

    Attributes:
        recorder: the recorder, once training has begun.
    """

    def __init__(
        self,
        trainer: Trainer,
        path: str | os.PathLike[str],
        dataset: AnnotatedDataset,
        id: str,
        others: bool,
        steps_per_epoch: int | None,
        options: dict[str, Any],
    ) -> None:
        self._trainer, self._path, self._dataset = trainer, path, dataset
        self._id, self._others, self._options = id, others, options
        self._steps_per_epoch = steps_per_epoch
        self.recorder: FreeRecorder | None = None
        self._named = False
        self._theirs = {name: getattr(trainer, name) for name in ("get_train_dataloader", "training_step")}
        self._ours = {"get_train_dataloader": self._dataloader, "training_step": self._training_step}
        self._before = {name: trainer.__dict__[name] for name in self._ours if name in trainer.__dict__}
        trainer.__dict__.update(self._ours)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Make the recorder, or take up a run that the trainer resumes."""
        self.recorder = FreeRecorder(
            self._path,
            self._dataset,
            total_steps=state.max_steps,
            steps_per_epoch=self._steps_per_epoch or _steps_per_epoch(kwargs["train_dataloader"], args),
            resume_at=state.global_step or None,
            **self._options,
        )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Store an epoch that is over."""
        if self.recorder is not None:
            self.recorder.end_of_step(state.global_step)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Put what the epoch has seen beside the trainer's checkpoint."""
        if self.recorder is not None:
            self.recorder.flush()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the store; a run that stopped early ends at the step where it stopped. Leave the trainer as it was."""
        self.detach()
        if self.recorder is None:
            return
        if 0 < state.global_step < self.recorder.total_steps:
            self.recorder.end_early(state.global_step)
        else:
            self.recorder.finish()

    def detach(self) -> None:
        """Take off the trainer what was put around it (done at the end of training)."""
        for name, ours in self._ours.items():
            if self._trainer.__dict__.get(name) == ours:
                del self._trainer.__dict__[name]
                if name in self._before:
                    self._trainer.__dict__[name] = self._before[name]

    def _dataloader(self) -> Any:
        """The trainer's own training loader, whose rows keep their ids as far as the collator."""
        trainer = self._trainer
        trainer._set_signature_columns_if_needed()
        collator, columns = trainer.data_collator, trainer._signature_columns
        trainer.data_collator = IdCollator(collator, self._dataset, self._id, others=self._others)
        trainer._signature_columns = [*columns, self._id]
        try:
            return self._theirs["get_train_dataloader"]()
        finally:
            trainer.data_collator, trainer._signature_columns = collator, columns

    def _training_step(self, model: nn.Module, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """The trainer's own training step, whose first forward pass with gradients is listened to."""
        recorder = self.recorder
        rows = inputs.pop(ROW, None) if hasattr(inputs, "keys") else None
        if recorder is None or recorder.stopped:
            return self._theirs["training_step"](model, inputs, *args, **kwargs)
        with recorder.contained():
            if rows is None:
                raise DataError(
                    f"a training batch has no {ROW!r}: the trainer's get_train_dataloader does not use its "
                    "data_collator. Build the loader with self.data_collator, and call record_free before train()"
                )
            refuse_packed(inputs, len(rows))
        labels, observed = inputs.get("labels"), list[bool]()

        def listen(module: nn.Module, _: Any, outputs: Any) -> None:
            # Once: gradient checkpointing runs layers again, some losses the whole model, without gradients or with.
            if observed or not (module.training and torch.is_grad_enabled()):
                return
            observed.append(True)
            if rows is not None and not recorder.stopped:
                with recorder.contained():
                    self._observe(recorder, module, outputs, rows, labels)

        hook = model.register_forward_hook(listen)
        try:
            loss = self._theirs["training_step"](model, inputs, *args, **kwargs)
        finally:
            hook.remove()
        if not observed:
            with recorder.contained():
                raise ModelError(
                    f"{type(self._trainer).__name__}.training_step did not call the model that it was given with "
                    "gradients, so there is nothing to record. Record with dissensus.integrations.transformers.record"
                )
        return loss

    def _observe(
        self, recorder: FreeRecorder, module: nn.Module, outputs: Any, rows: Tensor, labels: Tensor | None
    ) -> None:
        step = self._trainer.state.global_step
        bare = self._trainer.accelerator.unwrap_model(module, keep_fp32_wrapper=True)
        bare = base_of(bare)
        scores, scored = said(bare, outputs, labels, len(rows))
        if scored is None:
            if not self._named:
                check_label_order(self._dataset.labels, bare)
                self._named = True
            recorder.observe(step, Places(rows), scores)
        else:  # a loss over no tokens would be 0, the best there is
            recorder.observe_losses(step, Places(torch.where(scored.to(rows.device) > 0, rows, -1)), scores)


def _refuse(trainer: Trainer) -> None:
    args = trainer.args
    if not present("signature columns"):
        raise ModelError(INSIDES["signature columns"].gone())
    if getattr(args, "packing", False) or getattr(trainer, "padding_free", False):
        raise ModelError(
            "the trainer packs several examples into a row (packing or padding_free), and the free mode needs a row an "
            "example. Turn it off, or record with dissensus.integrations.transformers.record and a completions probe, "
            "which passes over the examples itself"
        )
    split = getattr(trainer.accelerator, "parallelism_config", None)
    if split is not None and (getattr(split, "cp_enabled", False) or getattr(split, "sp_enabled", False)):
        raise ModelError(
            "the trainer splits each row over devices (context or sequence parallelism), so that none of them sees an "
            "example whole. Record with dissensus.integrations.transformers.record"
        )


def _steps_per_epoch(loader: Any, args: TrainingArguments) -> int:
    try:
        batches: int = len(loader)
    except TypeError:
        raise SpecError(
            "the training set does not know its length, so the steps of an epoch are not known; pass "
            "record_free(..., steps_per_epoch=...)"
        ) from None
    accumulated: int = args.gradient_accumulation_steps
    return max(1, -(-batches // accumulated))
