"""The recorder as a callback of Lightning's `Trainer`, under either of its names (`lightning`, `pytorch_lightning`).

    from dissensus.integrations.lightning import CurveCallback

    Trainer(callbacks=[CurveCallback("runs/mine", tracked, model="model", tokenizer=tokenizer)]).fit(module)

Measured is between optimiser steps, outside the precision plugin's autocast; the trainer's own validation, its random
state and `train()` mode stay as they were.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from torch import nn

from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import MissingDependencyError, SpecError
from dissensus.integrations.head import warn_of_an_untrained_head
from dissensus.live import LiveCurves
from dissensus.models.wrappers import bare_module
from dissensus.record.probes.base import Probe
from dissensus.record.recorder import CurveRecorder

Find = Callable[[Any], nn.Module]


def _callback() -> Any:
    """The base class of callbacks. Trainers of either package take callbacks of both: they ask for hooks by name."""
    for package in ("lightning.pytorch", "pytorch_lightning"):
        try:
            return import_module(package).Callback
        except ModuleNotFoundError:
            continue
    raise MissingDependencyError("lightning", "trainers", "integrations.lightning")


if TYPE_CHECKING:
    _Callback = object
else:
    _Callback = _callback()


class CurveCallback(_Callback):
    """Records curves while Lightning's `Trainer` fits.

    Steps are the trainer's `global_step`: optimiser steps, whatever `accumulate_grad_batches` is. A run that is
    resumed (`ckpt_path=`) continues in the same folder. With manual optimisation, one optimiser at most
    steps per batch.

    Args:
        path: folder of the curves store.
        tracked: the tracked set, whose labels a classifier scores; or a probe (`dissensus.record.probes`).
        model: the transformers model inside the `LightningModule`: its attribute's name (dots reach further down), or a
            function that gives it; None: the module itself, which must then answer as one, or be read by a
            `LabelProbe` with `score=`.
        live: log contested and settled loss, the un-learned shares and rho so far to the trainer's loggers at each
            point, and warn when the contested group rises.
        **options: of `CurveRecorder`. `tokenizer` is the module's own attribute of that name unless given;
            `total_steps` the trainer's estimate.

    Attributes:
        recorder: the recorder, once training has begun.

    Raises, when training begins:
        SpecError: the module has no such model, or the trainer does not know its number of steps.
        ModelError: the strategy shards the weights (FSDP, ZeRO stage 3, tensor parallel).
        StoreError: `path` holds another run already.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        tracked: AnnotatedDataset | Probe,
        *,
        model: Find | str | None = None,
        live: bool = True,
        **options: Any,
    ) -> None:
        super().__init__()
        self._path, self._tracked, self._model, self._live = path, tracked, model, live
        self._options = options
        self.recorder: CurveRecorder | None = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Make the recorder; measure step 0, or take up a run that the trainer resumes."""
        if trainer.fast_dev_run:
            return  # a trial of the code, which must not take the folder of the run to come
        bare_module(trainer.strategy.model)  # refuses sharded weights, which the module inside does not show
        model, step = self._recorded_model(pl_module), int(trainer.global_step)
        options: dict[str, Any] = dict(self._options)
        if isinstance(self._tracked, AnnotatedDataset):
            options.setdefault("tokenizer", getattr(pl_module, "tokenizer", None))
        options.setdefault("optimizer", trainer.optimizers)  # a schedule-free one evaluates at other weights
        if self._live:
            options["watchers"] = [*options.get("watchers", ()), LiveCurves(partial(_log, trainer))]
        warn_of_an_untrained_head(bare_module(model))
        self.recorder = CurveRecorder(
            self._path,
            self._tracked,
            total_steps=options.pop("total_steps", None) or _total_steps(trainer),
            **{**options, "resume": step > 0},  # whether it resumes is the trainer's to know
        )
        if step > 0:
            self.recorder.resume_from(step)
        self.recorder.step(model, step)

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure if the batch brought a step that is a tracking point."""
        if self.recorder is not None:
            self.recorder.step(self._recorded_model(pl_module), int(trainer.global_step))

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """A checkpoint must not be ahead of the curves on the disk."""
        if self.recorder is not None:
            self.recorder.flush()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Close the store; a run that stopped early ends at the step where it stopped."""
        if self.recorder is None:
            return
        step = int(trainer.global_step)
        if 0 < step < self.recorder.total_steps:
            self.recorder.end_early(self._recorded_model(pl_module), step)
        else:
            self.recorder.finish()

    def _recorded_model(self, module: Any) -> nn.Module:
        model: Any = module
        if callable(self._model):
            model = self._model(module)
        elif self._model is not None:
            for name in self._model.split("."):
                model = getattr(model, name, None)
        if not isinstance(model, nn.Module):
            raise SpecError(
                f"model={self._model!r} gives {type(model).__name__}, of a {type(module).__name__}; expected the name "
                "of the attribute that holds the transformers model, or a function from the LightningModule to it"
            )
        return model


def _total_steps(trainer: Any) -> int:
    steps = trainer.estimated_stepping_batches
    if not 0 < steps < float("inf"):
        raise SpecError(
            f"the trainer's number of optimiser steps is not known (estimated_stepping_batches is {steps}): give "
            "Trainer(max_steps=...), or this callback total_steps=..."
        )
    return int(steps)


def _log(trainer: Any, values: dict[str, float], step: int) -> None:
    for logger in trainer.loggers:
        logger.log_metrics(values, step)
