"""One cell, from its specification to its curves store: data, model, method, loop, recorder."""

from __future__ import annotations

import difflib
import json
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dissensus.config import RunSpec
from dissensus.data.assembly import CellData, assemble
from dissensus.errors import MissingDependencyError, StoreError
from dissensus.files import write_atomic
from dissensus.store import load_curves
from dissensus.train.seeding import stream_seed

if TYPE_CHECKING:
    import torch

    from dissensus.models.encoding import Encoded
    from dissensus.models.scoring import ScoringModel
    from dissensus.train.checkpoint import Checkpoint
    from dissensus.train.loop import TrainingRun
    from dissensus.train.recorder import CurveRecorder
    from dissensus.train.shared_states import SharedStates


@dataclass(frozen=True, slots=True)
class CellProgress:
    """How far a cell is.

    Attributes:
        step: optimiser steps taken.
        total_steps: of the run.
        tracking_points_done: stored so far.
        tracking_points: in all.
        loss: training loss of the last step, nats; NaN before the first.
    """

    step: int
    total_steps: int
    tracking_points_done: int
    tracking_points: int
    loss: float


def run_cell(
    spec: RunSpec,
    folder: Path,
    *,
    data_dir: Path | None = None,
    threads: int | None = None,
    device: str | None = None,
    on_progress: Callable[[CellProgress], None] | None = None,
) -> None:
    """Run one cell to its end in `folder`, resuming what an interrupted run left there.

    Args:
        spec: what to run.
        folder: the cell's folder; made if need be. A finished cell is left as it is.
        data_dir: where data files are looked up first.
        threads: torch threads; default: torch's own choice.
        device: 'cpu', 'cuda', ...; default: a GPU where there is one.
        on_progress: called after every step.

    Raises:
        StoreError: the folder holds another specification (the message shows the difference).
        DataError, ModelError, SpecError: as the parts say.
    """
    cell = open_cell(spec, folder, data_dir=data_dir, threads=threads, device=device, on_progress=on_progress)
    if cell is not None:
        cell.train()
        cell.close()


@dataclass(frozen=True)
class OpenCell:
    """A cell that is set up: data, model, method, recorder. What is left is to train it.

    Attributes:
        run: what is to be trained.
        recorder: what measures it.
        checkpoint: what it resumes from.
    """

    run: TrainingRun
    recorder: CurveRecorder
    checkpoint: Checkpoint

    def train(self) -> None:
        """Train it by itself."""
        from dissensus.train.loop import train_run

        train_run(self.run)

    def close(self) -> None:
        """Mark the curves of the trained cell complete; nothing is left to resume."""
        self.recorder.finish()
        self.checkpoint.remove()


def open_cell(
    spec: RunSpec,
    folder: Path,
    *,
    data_dir: Path | None = None,
    threads: int | None = None,
    device: str | None = None,
    on_progress: Callable[[CellProgress], None] | None = None,
    base: ScoringModel | None = None,
) -> OpenCell | None:
    """Set up a cell in `folder`; None when it is finished already. See `run_cell`.

    Args:
        base: another cell's model, whose frozen weights this one shall share.
    """
    claim_folder(spec, folder)
    if _finished(folder):
        shutil.rmtree(folder / "checkpoint", ignore_errors=True)  # left if the end of the run was cut off
        return None
    try:
        import torch
    except ImportError:
        raise MissingDependencyError("torch", "train", "running a cell") from None
    # Imported here: a study whose cells are all done needs none of them.
    from dissensus.models.loading import load_scoring_model
    from dissensus.models.scoring import device_for
    from dissensus.train.checkpoint import Checkpoint
    from dissensus.train.fused import share_frozen_weights
    from dissensus.train.loop import TrainingRun, TrainingSet
    from dissensus.train.methods import apply_method
    from dissensus.train.recorder import CurveRecorder
    from dissensus.train.schedule import total_steps

    if threads is not None:
        torch.set_num_threads(threads)
    data = assemble(
        spec.dataset, spec.regime, sample_seed=stream_seed(spec.seed, "sample"), data_dir=data_dir
    )
    labels = _training_labels(spec, data, folder)
    model = load_scoring_model(
        spec.model, data.tracked.labels, data.tracked.fields, head_seed=stream_seed(spec.seed, "head")
    )
    apply_method(model, spec.method, adapter_seed=stream_seed(spec.seed, "adapter"))
    if base is not None:
        share_frozen_weights(model, base)
    model.module.to(device_for(device))
    training = TrainingSet(model.encode(data.train), labels)
    steps = total_steps(len(labels), spec.training)
    tracked = model.encode(data.tracked)
    recorder = CurveRecorder(
        folder,
        data.tracked,
        total_steps=steps,
        encoded=tracked,
        scoring=model,
        states=_shared_states(spec, folder, model, tracked),
        precision=spec.tracking.precision,
        points=spec.tracking.points,
        schedule=spec.tracking.schedule,
        steps=spec.tracking.steps,
        regime=spec.regime,
        token_budget=spec.tracking.token_budget,
        resume=True,
        provenance={
            "train_fingerprint": data.train.fingerprint,
            "train_examples": len(data.train),
            "dropped_shared": data.dropped_shared,
            "dropped_unlabelled": data.dropped_unlabelled,
            "flipped_labels": int((labels != data.train.gold).sum()),
            "train_truncated_examples": training.encoded.truncated,
            "model_fingerprint": model.fingerprint,
            "model_origin": model.origin,
            "model_note": model.note,
            "prompt": model.template,
            "trainable_parameters": sum(p.numel() for p in model.module.parameters() if p.requires_grad),
            "parameters": sum(p.numel() for p in model.module.parameters()),
            "versions": _versions(next(model.module.parameters()).device),
        },
    )
    _same_ground(recorder.writer.provenance, data, model.fingerprint, folder)
    now = _versions(next(model.module.parameters()).device)
    if recorder.writer.provenance["versions"] != now:  # allowed, but no longer promised to be bit-identical
        recorder.writer.note(resumed_under=now)

    def report(step: int, loss: float) -> None:
        if on_progress is not None:
            done = len(recorder.steps)
            on_progress(CellProgress(step, steps, done, len(recorder.points), loss))

    report(max(recorder.steps, default=0), float("nan"))
    checkpoint = Checkpoint(folder / "checkpoint")
    run = TrainingRun(
        model,
        training,
        spec.training,
        learning_rate=spec.method.learning_rate,
        seed=spec.seed,
        recorder=recorder,
        checkpoint=checkpoint,
        on_step=report,
    )
    return OpenCell(run, recorder, checkpoint)


def _shared_states(spec: RunSpec, folder: Path, model: ScoringModel, tracked: Encoded) -> SharedStates | None:
    """What the cells of a study share at step 0, in its folder; None for a cell that stands alone."""
    from dissensus.train.shared_states import SharedStates

    if folder.parent.name != "cells":
        return None
    return SharedStates.of(
        folder.parent.parent / "shared",
        model,
        tracked,
        method=spec.method.name,
        token_budget=spec.tracking.token_budget,
        precision=spec.tracking.precision,
    )


def claim_folder(spec: RunSpec, folder: Path) -> None:
    """Write `spec.json`, or check that the one there is the same. Raises `StoreError` showing the difference."""
    path = folder / "spec.json"
    text = _spec_text(spec)
    if path.exists():
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except (UnicodeDecodeError, json.JSONDecodeError):
            raise StoreError(f"{path} is damaged: it is not JSON; delete that folder and run again") from None
        # Parsed, so that a setting which a later version added counts as its default.
        before = _spec_text(RunSpec.parse(stored, str(path)))
        if before != text:
            diff = difflib.unified_diff(
                before.splitlines(), text.splitlines(), "stored", "asked for", lineterm="", n=0
            )
            raise StoreError(f"{folder} holds another specification:\n" + "\n".join(diff))
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(path, text)


def _spec_text(spec: RunSpec) -> str:
    return json.dumps(spec.model_dump(mode="json"), indent=1, sort_keys=True) + "\n"


def _finished(folder: Path) -> bool:
    if not (folder / "manifest.json").exists():
        return False
    try:
        load_curves(folder, verify=False)
    except StoreError:
        return False
    return True


def _training_labels(
    spec: RunSpec, data: CellData, folder: Path
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Gold labels, or noisy ones with the flip mask saved beside the curves."""
    gold = data.train.gold
    if spec.training.noise is None:
        return gold
    from dissensus.data.noise import inject_noise, save_noise

    noise = spec.training.noise
    rng = np.random.default_rng(stream_seed(spec.seed, "noise"))
    noisy = inject_noise(gold, data.train.counts, kind=noise.kind, rate=noise.rate, rng=rng)
    save_noise(folder / "noise.parquet", data.train.ids, gold, noisy)
    return noisy.labels


def _same_ground(provenance: dict[str, object], data: CellData, model_fingerprint: str, folder: Path) -> None:
    """A resumed run must stand on the data and the weights that it began with."""
    now = {"train_fingerprint": data.train.fingerprint, "model_fingerprint": model_fingerprint}
    for key, value in now.items():
        if provenance.get(key) != value:
            raise StoreError(
                f"{folder} was begun with another {key.replace('_', ' ')} ({provenance.get(key)}; now {value}): the "
                "files behind the study have changed. Delete that folder to start the cell anew."
            )


def _versions(device: torch.device) -> dict[str, str]:
    packages = ("dissensus", "torch", "transformers", "peft", "numpy")
    import torch

    return {
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "threads": str(torch.get_num_threads()),
        "platform": f"{sys.platform}-{platform.machine()}",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
    }
