"""The recorder as a callback of `transformers.Trainer`, and so of TRL's SFT, reward and DPO trainers.

    from dissensus.integrations.transformers import record

    record(trainer, "runs/mine", tracked)
    trainer.train()

The trainer says what it knows: the number of steps, its tokenizer, whether it resumes. The recorder measures at the
tracking points between optimiser steps; the trainer's own evaluation, its random state and `train()` mode stay as they
were.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from dissensus.data.annotations import AnnotatedDataset
from dissensus.integrations.head import warn_of_an_untrained_head
from dissensus.integrations.preferences import follow_trainer
from dissensus.live import LiveCurves
from dissensus.models.insides import present
from dissensus.models.wrappers import bare_module
from dissensus.record.probes.base import Probe
from dissensus.record.probes.preferences import PreferenceProbe
from dissensus.record.recorder import CurveRecorder


def record(
    trainer: Trainer,
    path: str | os.PathLike[str],
    tracked: AnnotatedDataset | Probe | Callable[[Any], AnnotatedDataset | Probe],
    **options: Any,
) -> CurveCallback:
    """Record curves while this trainer trains. Arguments and errors: see `CurveCallback`.

    The callback is put before the trackers' own, so that its aggregates are among the figures that they are given.
    """
    callback = CurveCallback(path, tracked, **options)
    callback.trainer = trainer
    if present("callback order"):
        trainer.callback_handler.callbacks.insert(0, callback)
    else:
        trainer.add_callback(callback)
    return callback


class CurveCallback(TrainerCallback):  # type: ignore[misc]
    """Records curves while a `Trainer` trains. `record` adds one to a trainer that is made.

    Given to a trainer as `callbacks=[...]` it records as well, but stands behind the trackers' callbacks: its
    aggregates then reach the trainer's own log (`trainer.state.log_history`) alone.

    Args:
        path: folder of the curves store.
        tracked: the tracked set, whose labels a classifier scores; a probe (`dissensus.record.probes`); or a function
            that makes either from the trainer's tokenizer (its `processing_class`).
        live: let contested and settled loss, the un-learned shares and rho so far go with the trainer's next log to
            whatever tracker it reports to, and warn when the contested group rises. A `LiveCurves` of your own has
            other settings; two recordings of one trainer need different prefixes.
        **options: of `CurveRecorder`: `points`, `max_overhead`, `regime` and so on.

    Attributes:
        recorder: the recorder, once training has begun.
        trainer: the trainer, where `record` added the callback; of TRL's preference trainers the reference model is
            read there.

    Raises, when training begins, what `CurveRecorder` raises: `StoreError` where `path` holds another run already.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        tracked: AnnotatedDataset | Probe | Callable[[Any], AnnotatedDataset | Probe],
        *,
        live: bool | LiveCurves = True,
        **options: Any,
    ) -> None:
        self._path, self._tracked, self._options = path, tracked, options
        self._live = LiveCurves() if live is True else live or None
        self._logged: dict[str, float] = {}
        self.recorder: CurveRecorder | None = None
        self.trainer: Trainer | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Make the recorder; measure step 0, or take up a run that the trainer resumes."""
        model, tokenizer = kwargs["model"], kwargs.get("processing_class")
        tokenizer = getattr(tokenizer, "tokenizer", tokenizer)  # a processor holds one
        tracked = self._tracked
        if not isinstance(tracked, AnnotatedDataset) and callable(tracked):
            tracked = tracked(tokenizer)
        if isinstance(tracked, PreferenceProbe):
            follow_trainer(tracked, self.trainer, args, model)
        options: dict[str, Any] = dict(self._options)
        if isinstance(tracked, AnnotatedDataset):
            options.setdefault("tokenizer", tokenizer)
        if hasattr(kwargs.get("optimizer"), "param_groups"):  # a schedule-free one evaluates at other weights
            options.setdefault("optimizer", kwargs["optimizer"])
        if self._live is not None:
            options["watchers"] = [*options.get("watchers", ()), _LatestAggregates(self._live, self._logged)]
        warn_of_an_untrained_head(bare_module(model))
        resumed = state.global_step > 0
        if self.recorder is not None and not resumed and args.auto_find_batch_size:
            self.recorder.discard()  # it ran out of memory, and begins anew with another number of steps
        self.recorder = CurveRecorder(
            self._path,
            tracked,
            total_steps=state.max_steps,
            **{**options, "resume": resumed},  # whether it resumes is the trainer's to know
        )
        if resumed:
            self.recorder.resume_from(state.global_step)
        self.recorder.step(model, state.global_step)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure if this step is a tracking point."""
        if self.recorder is not None:
            self.recorder.step(kwargs["model"], state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Let the aggregates of the last tracking point go where the trainer's own figures go, once."""
        if logs is None or not self._logged or any(name.startswith(("eval_", "test_")) for name in logs):
            return  # what `evaluate` returns is the caller's, and a search for hyperparameters adds it up
        logs.update(self._logged)
        if state.log_history:
            state.log_history[-1].update(self._logged)  # it was written before the callbacks were asked
        self._logged.clear()

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """A checkpoint must not be ahead of the curves on the disk."""
        self._before_the_best_is_loaded(state, control, kwargs["model"])
        if self.recorder is not None:
            self.recorder.flush()

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure if training stops here."""
        self._before_the_best_is_loaded(state, control, kwargs["model"])

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the store; a run that stopped early ends at the step where it stopped."""
        if self.recorder is None:
            return
        if 0 < state.global_step < self.recorder.total_steps:
            best = args.load_best_model_at_end and state.best_model_checkpoint
            if best and state.global_step not in self.recorder.steps:  # the weights of that step are gone
                self.recorder.end_early(kwargs["model"], max(self.recorder.steps))
            else:
                self.recorder.end_early(kwargs["model"], state.global_step)
        else:
            self.recorder.finish()

    def _before_the_best_is_loaded(self, state: TrainerState, control: TrainerControl, model: Any) -> None:
        """Measure where training stops: `load_best_model_at_end` puts other weights in before `on_train_end`."""
        stops = control.should_training_stop and 0 < state.global_step < state.max_steps
        if self.recorder is not None and stops:
            self.recorder.measure_now(model, state.global_step)


class _LatestAggregates:
    """A watcher that keeps the newest aggregates for the next log."""

    def __init__(self, live: LiveCurves, into: dict[str, float]) -> None:
        self._live, self._into = live, into

    def begin(self, dataset: AnnotatedDataset, total_steps: int) -> None:
        self._live.begin(dataset, total_steps)

    def observe(self, step: int, losses: Any, *, replay: bool = False) -> Mapping[str, float]:
        aggregates = self._live.observe(step, losses, replay=replay)
        if replay:
            return aggregates
        self._into.clear()
        self._into.update(aggregates)
        self._into[f"{self._live.prefix}step"] = float(step)  # the trainer may log some steps later
        return aggregates
