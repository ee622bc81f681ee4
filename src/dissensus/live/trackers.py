"""Trackers for `LiveCurves`: TensorBoard, Weights & Biases, MLflow, Trackio, by the object that a loop has already.

None of these packages is imported. Trainers that log for themselves (transformers, Lightning, Accelerate) need no
function of this module.
"""

from __future__ import annotations

from typing import Any

from dissensus.errors import SpecError
from dissensus.live.curves import Log

WANDB_STEP = "dissensus/step"
"""The x-axis of what is logged to Weights & Biases: optimiser steps."""


def to_tensorboard(writer: Any) -> Log:
    """Log to a TensorBoard `SummaryWriter` (torch's, tensorboardX's): one scalar a name, at the optimiser step.

    Raises:
        SpecError: the writer has no `add_scalar`.
    """
    _expect(writer, "add_scalar", "a SummaryWriter")

    def log(values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    return log


def to_wandb(run: Any) -> Log:
    """Log to a Weights & Biases run, as `wandb.init` returns it, over an x-axis of its own, `WANDB_STEP`.

    A run has one counter of steps that only rises, and drops what comes with a lower one; whatever else is logged
    moves it. So, as W&B's page "Customize log axes" advises, each name is drawn over a metric that is logged beside
    it, and this holds whether the loop's own `run.log` gives steps or not. The counter itself is left where it is, so
    that a later `run.log(..., step=same)` of the loop is not dropped; it moves only when two tracking points would
    share a row. (Mode 'shared' has no such counter; a plain `run.log` is right there.)

    Raises:
        SpecError: the run has no `log` or `define_metric`.
    """
    for method in ("log", "define_metric"):
        _expect(run, method, "a run as wandb.init() returns it")
    shared = getattr(getattr(run, "settings", None), "mode", None) == "shared"
    defined: set[str] = set()
    last_row = -1

    def log(values: dict[str, float], step: int) -> None:
        nonlocal last_row
        for name in values.keys() - defined:
            run.define_metric(name, step_metric=WANDB_STEP)
            defined.add(name)
        row = {**values, WANDB_STEP: step}
        if shared:
            run.log(row)
            return
        last_row = max(run.step, last_row + 1)
        run.log(row, step=last_row)

    return log


def to_mlflow(mlflow: Any, run_id: str | None = None) -> Log:
    """Log to MLflow at the optimiser step.

    Args:
        mlflow: the module (its active run, unless `run_id` names another), or an `MlflowClient`.
        run_id: of the run; needed with a client.

    Raises:
        SpecError: it is neither, or a client without a `run_id`.
    """
    if callable(getattr(mlflow, "log_metrics", None)):
        options = {} if run_id is None else {"run_id": run_id}

        def log(values: dict[str, float], step: int) -> None:
            mlflow.log_metrics(values, step=step, **options)

        return log
    _expect(mlflow, "log_metric", "the module mlflow, or an MlflowClient with a run_id")
    if run_id is None:
        raise SpecError("to_mlflow got a client and no run_id; expected to_mlflow(client, run.info.run_id)")

    def log_each(values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            mlflow.log_metric(run_id, name, value, step=step)

    return log_each


def to_trackio(run: Any) -> Log:
    """Log to Trackio at the optimiser step: a run as `trackio.init` returns it, or the module with its current run.

    Raises:
        SpecError: it has no `log`.
    """
    _expect(run, "log", "a run as trackio.init() returns it, or the module trackio")

    def log(values: dict[str, float], step: int) -> None:
        run.log(values, step=step)

    return log


def _expect(tracker: Any, method: str, wanted: str) -> None:
    if not callable(getattr(tracker, method, None)):
        raise SpecError(f"the tracker is {tracker!r}, which has no method {method!r}; expected {wanted}")
