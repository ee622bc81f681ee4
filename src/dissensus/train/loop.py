"""The training loop, whole and visible: AdamW, warm-up and decay, clipping, accumulation, fp32 or bf16."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dissensus.config import TrainingSpec
from dissensus.errors import ModelError
from dissensus.models.merging import IA3_SCALES
from dissensus.models.not_finite import why_training_stopped
from dissensus.models.scoring import ScoringModel
from dissensus.models.sharded import whole
from dissensus.record.gradients import GradientProbe
from dissensus.record.recorder import CurveRecorder
from dissensus.record.schedule import learning_rate_factor, total_steps
from dissensus.record.validation import Validation
from dissensus.seeds import stream_seed
from dissensus.train.checkpoint import Checkpoint
from dissensus.train.loss import BatchLoss, TrainingSet
from dissensus.train.methods import trainable_parameters
from dissensus.train.parallel import ParallelTraining

CHECKPOINT_SECONDS = 60.0
"""A checkpoint is written at the first tracking point this long after the last one, where nobody says otherwise."""

OnStep = Callable[[int, float], None]
"""(steps taken, training loss of the last one in nats)."""

OnPhase = Callable[[str, int], None]
"""(what begins now: 'measuring', 'training' or 'saving'; steps taken)."""


def train(run: TrainingRun) -> None:
    """Train one run's model in place and to its end, measuring with its recorder, from where its checkpoint stands.

    Data order depends on (seed, epoch, n) alone and dropout on (seed, step, example), so the run is the same
    whether or not it was interrupted, whether or not it is recorded, however its batches are laid out, and by how
    many processes they are read (see `parallel.py`).

    Raises:
        ModelError: the training loss is no longer finite.
    """
    run.begin()
    while not run.done:
        rows, step = run.batch_rows(), run.taken + 1
        loss = accumulate(
            run.model,
            run.data,
            rows,
            run.spec,
            seed=run.seed,
            step=step,
            device=run.device,
            parallel=run.parallel,
        )
        run.update(loss, float(run.clip()))
    run.end()


class TrainingRun:
    """What belongs to one run between two gradients: batches, optimiser, schedule, tracking, checkpoints.

    `train` takes one run to its end; `fused.train_fused` takes several through each step together.

    Attributes:
        model: what is trained, in place.
        data: what it is trained on.
        spec: the optimisation.
        seed: of the run; data order and dropout follow from it.
        parallel: the processes that train it, of which each holds such a run.
        device: where the model computes.
        steps: optimiser steps in all.
        taken: optimiser steps taken so far.
    """

    def __init__(
        self,
        model: ScoringModel,
        data: TrainingSet,
        spec: TrainingSpec,
        *,
        learning_rate: float,
        seed: int,
        recorder: CurveRecorder | None = None,
        validation: Validation | None = None,
        gradients: GradientProbe | None = None,
        checkpoint: Checkpoint | None = None,
        on_step: OnStep | None = None,
        parallel: ParallelTraining | None = None,
        checkpoint_seconds: float | None = None,
        on_phase: OnPhase | None = None,
    ) -> None:
        self.model = model
        self.data = data
        self.spec = spec
        self.seed = seed
        self.parallel = parallel or ParallelTraining()
        self.device = model.device
        self.steps = total_steps(len(data.labels), spec)
        self.taken = 0
        self._learning_rate = learning_rate
        self._recorder = recorder
        self._validation = validation
        self._gradients = gradients
        self._checkpoint = checkpoint
        self._checkpoint_seconds = checkpoint_seconds
        self._on_step = on_step
        self._on_phase: OnPhase = on_phase or (lambda _phase, _step: None)
        self._parameters = trainable_parameters(model.module)
        self._optimizer = torch.optim.AdamW(
            parameter_groups(self._parameters, spec), lr=learning_rate, fused=True
        )
        self._saved = time.monotonic()
        # Sharded weights are gathered by the forward pass of what they were sharded under.
        self._measured_model = self.parallel.root or model.module

    @property
    def done(self) -> bool:
        """Whether every step was taken."""
        return self.taken >= self.steps

    def begin(self) -> None:
        """Resume from the checkpoint where there is one; measure where the run stands."""
        start = self._checkpoint.load(self._parameters, self._optimizer) if self._checkpoint else None
        self.taken = start or 0
        if self._recorder is not None:
            self._recorder.rewind(-1 if start is None else start)
            self._measure(self._recorder, self.taken)
            self._on_phase("training", self.taken)
        if self._validation is not None:
            self._validation.rewind(-1 if start is None else start)
        if self._gradients is not None:
            self._gradients.rewind(-1 if start is None else start)
        self._measure_beside(self.taken)
        self.model.module.train()
        self._saved = time.monotonic()

    def batch_rows(self) -> NDArray[np.int64]:
        """Rows of the next step's batch."""
        return _batch_rows(self.taken + 1, len(self.data.labels), self.spec.batch_size, self.seed)

    def clip(self) -> Tensor:
        """Clip the gradients by their global norm; the norm that they had, shape ()."""
        return whole(nn.utils.clip_grad_norm_(self._parameters.values(), self.spec.max_grad_norm))

    def update(self, loss: float, norm: float) -> None:
        """Take the step that the gradients say, measure where it is a tracking point, keep a checkpoint.

        Args:
            loss: of the step's batch, nats.
            norm: of its gradient.

        Raises:
            ModelError: one of the two is not finite, and whose fault it is; the weights are as they were.
        """
        step = self.taken + 1
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise ModelError(
                why_training_stopped(
                    self.model.module,
                    step=step,
                    steps=self.steps,
                    loss=loss,
                    norm=norm,
                    learning_rate=self._learning_rate,
                )
            )
        factor = learning_rate_factor(step, self.steps, self.spec)
        for group in self._optimizer.param_groups:
            group["lr"] = self._learning_rate * factor
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.taken = step
        recorder = self._recorder
        measured = self._measure(recorder, step) if recorder is not None else False
        self._measure_beside(step)
        if self._on_step is not None:
            self._on_step(step, loss)
        if measured and self._checkpoint and not self.done and self._checkpoint_is_due():
            self._on_phase("saving", self.taken)
            if recorder is not None:
                with self.parallel.group.all_or_none(self.device):
                    recorder.flush()  # a checkpoint must not be ahead of the curves on the disk
            self._checkpoint.save(step, self._parameters, self._optimizer, first=self.parallel.group.first)
            self._saved = time.monotonic()
            self._on_phase("training", self.taken)

    def _measure(self, recorder: CurveRecorder, step: int) -> bool:
        """Measure if this is a tracking point that is not stored yet; whether it was."""
        if step in recorder.points and step not in recorder.steps:
            self._on_phase("measuring", step)
        return recorder.step(self._measured_model, step)

    def _measure_beside(self, step: int) -> None:
        """What is measured beside the curves, where this is a point of it."""
        if self._validation is not None:
            self._validation.step(self._measured_model, step)
        if self._gradients is not None:
            self._gradients.step(step)

    def _checkpoint_is_due(self) -> bool:
        """Whether enough time has passed on the first process' clock: whatever is written, all give their parts."""
        wanted = CHECKPOINT_SECONDS if self._checkpoint_seconds is None else self._checkpoint_seconds
        (due,) = self.parallel.group.broadcast([time.monotonic() - self._saved > wanted], self.device)
        return bool(due)

    def end(self) -> None:
        """Wait until what was measured is on the disk."""
        if self._recorder is not None:
            self._on_phase("saving", self.taken)
            with self.parallel.group.all_or_none(self.device):
                self._recorder.flush()


def accumulate(
    model: ScoringModel,
    data: TrainingSet,
    rows: NDArray[np.int64],
    spec: TrainingSpec,
    *,
    seed: int,
    step: int,
    device: torch.device,
    parallel: ParallelTraining | None = None,
) -> float:
    """Add the gradient of the batch's mean loss; the loss in nats.

    The batch is dealt out to the processes of `parallel`, and each share cut into length-sorted micro-batches. Each
    contributes its part of the whole batch's loss (`BatchLoss`), and dropout belongs to the example, so neither the
    gradient nor the loss depends on the cut.
    """
    parallel = parallel or ParallelTraining()
    group = parallel.group
    micro = micro_batches(data, parallel.share(rows, data.encoded.lengths[rows]), spec)
    parts = parallel.parts(len(rows), spec.gradient_accumulation_steps)
    whole_loss = BatchLoss(data, rows)
    total = 0.0
    for part in range(parts):
        # For whatever draws random numbers without keys.
        torch.manual_seed(stream_seed(seed, "dropout", step, part, *([group.rank] if group.rank else [])))
        idle = part >= len(micro)  # the others wait for this process' gradient, which is zero
        with parallel.exchanging(last=part == parts - 1):
            with autocast(device, spec.precision):
                scored, logits = model.score_rows(
                    data.encoded, rows[:1] if idle else micro[part], stream=stream_seed(seed, "dropout", step)
                )
            loss = whole_loss.part(logits, scored)
            if idle:
                loss = loss * 0.0
            # Gradients are averaged over the processes, and what is wanted is their sum.
            (loss * group.world_size if group.world_size > 1 else loss).backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    return group.sum(total, device)


def micro_batches(data: TrainingSet, rows: NDArray[np.int64], spec: TrainingSpec) -> list[NDArray[np.int64]]:
    """A batch cut into parts of similar length, as many as the gradient is accumulated over."""
    order = rows[np.argsort(data.encoded.lengths[rows], kind="stable")]
    parts = min(spec.gradient_accumulation_steps, len(order))
    return np.array_split(order, parts) if parts else []


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[object]:
    """What a training step computes under: bf16 autocast, or nothing."""
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()


def _batch_rows(step: int, n: int, batch_size: int, seed: int) -> NDArray[np.int64]:
    """Rows of the batch that step `step` (1-based) trains on."""
    per_epoch = math.ceil(n / batch_size)
    epoch, position = divmod(step - 1, per_epoch)
    order = np.random.default_rng(stream_seed(seed, "order", epoch)).permutation(n)
    return order[position * batch_size : (position + 1) * batch_size]


def parameter_groups(parameters: dict[str, nn.Parameter], spec: TrainingSpec) -> list[dict[str, object]]:
    """AdamW's groups: decay for all weights, or for matrices alone.

    Matrices are neither biases nor normalisation weights, nor IA3's scales, which are stored as (d, 1).
    """
    if spec.weight_decay_on == "all":
        return [{"params": list(parameters.values()), "weight_decay": spec.weight_decay}]
    decayed = {name for name, p in parameters.items() if p.ndim > 1 and IA3_SCALES not in name}
    matrices = [p for name, p in parameters.items() if name in decayed]
    vectors = [p for name, p in parameters.items() if name not in decayed]
    groups = [
        {"params": matrices, "weight_decay": spec.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
