"""One cell: from its specification to its curves store, by data, model, method, training loop and recorder."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dissensus.config import Execution, RunSpec
from dissensus.errors import MissingDependencyError, SpecError
from dissensus.run.cell_data import annotators_shares, assembled_data, training_labels
from dissensus.run.messages import RENDEZVOUS
from dissensus.run.progress import CellProgress, ProgressReporter
from dissensus.run.provenance import refuse_changed_inputs, source_facts, versions
from dissensus.seeds import stream_seed
from dissensus.store.run_facts import RunFacts
from dissensus.store.validation import VALIDATION
from dissensus.study.folder import stored_already

__all__ = ["CellProgress", "PreparedCell", "prepare_cell", "run_cell"]

if TYPE_CHECKING:
    import torch

    from dissensus.models.encoding import Encoded
    from dissensus.models.scoring import ScoringModel
    from dissensus.models.shared_states import SharedStates
    from dissensus.record.processes import ProcessGroup
    from dissensus.record.recorder import CurveRecorder
    from dissensus.train.checkpoint import Checkpoint
    from dissensus.train.loop import TrainingRun


def run_cell(
    spec: RunSpec,
    folder: Path,
    *,
    data_dir: Path | None = None,
    threads: int | None = None,
    device: str | None = None,
    on_progress: Callable[[CellProgress], None] | None = None,
    execution: Execution | None = None,
) -> None:
    """Run one cell to its end in `folder`, resuming what an interrupted run left there.

    With several `processes` in `execution` it starts them and waits for their end; in a process group that is there
    already (`torchrun`, `accelerate launch`) every process calls this, and together they run the cell.

    Args:
        spec: what to run.
        folder: the cell's folder; made if need be. A finished cell is left as it is.
        data_dir: where data files are looked up first.
        threads: torch threads; default: torch's own choice.
        device: 'cpu', 'cuda', ...; default: a GPU where there is one.
        on_progress: called after every step and when another phase begins; of several processes, in the first.
        execution: how many processes, what each holds of the weights, what is computed again to save memory. The curves
            come out the same, to rounding.

    Raises:
        StoreError: the folder holds another specification (the message shows the difference).
        DataError, ModelError, SpecError: as the parts say.
    """
    options = execution or Execution()
    if options.processes > 1:
        from dissensus.run.launch import in_group, run_processes

        if not in_group():
            if not stored_already(spec, folder):
                run_processes(
                    spec,
                    folder,
                    options,
                    data_dir=data_dir,
                    threads=threads,
                    device=device,
                    on_progress=on_progress,
                )
            return
    cell = prepare_cell(
        spec,
        folder,
        data_dir=data_dir,
        threads=threads,
        device=device,
        on_progress=on_progress,
        execution=options,
    )
    if cell is not None:
        cell.train()
        cell.close()


def run_process(
    spec: RunSpec,
    folder: Path,
    *,
    data_dir: Path | None,
    threads: int | None,
    device: str | None,
    on_progress: Callable[[CellProgress], None],
    execution: Execution,
) -> None:
    """Be one process of a cell: join the others, and run the cell with them. See `launch.run_processes`."""
    import torch
    import torch.distributed as dist

    from dissensus.models.scoring import device_for

    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    kind = device_for(device).type
    if kind == "cuda":
        torch.cuda.set_device(rank)
    # With CUDA both: what waits in the CPU's memory (FSDP's offload) is exchanged by gloo.
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo",
        store=dist.FileStore(os.environ[RENDEZVOUS], world),  # type: ignore[attr-defined]
        rank=rank,
        world_size=world,
    )
    run_cell(
        spec,
        folder,
        data_dir=data_dir,
        threads=threads,
        device=device,
        on_progress=on_progress if rank == 0 else None,
        execution=execution,
    )
    dist.destroy_process_group()


@dataclass(frozen=True)
class PreparedCell:
    """A cell that is set up: data, model, method, recorder. What is left is to train it.

    Attributes:
        run: what is to be trained.
        recorder: what measures it.
        checkpoint: what it resumes from.
        on_phase: called with the phase that begins.
    """

    run: TrainingRun
    recorder: CurveRecorder
    checkpoint: Checkpoint
    on_phase: Callable[[str], None]

    def train(self) -> None:
        """Train it by itself."""
        from dissensus.train.loop import train

        train(self.run)

    def close(self) -> None:
        """Mark the curves of the trained cell complete; nothing is left to resume."""
        group = self.run.parallel.group
        self.on_phase("saving")
        with group.all_or_none(self.run.device):
            self.recorder.finish()
            if group.first:
                self.checkpoint.remove()


def prepare_cell(
    spec: RunSpec,
    folder: Path,
    *,
    data_dir: Path | None = None,
    threads: int | None = None,
    device: str | None = None,
    on_progress: Callable[[CellProgress], None] | None = None,
    base: ScoringModel | None = None,
    execution: Execution | None = None,
) -> PreparedCell | None:
    """Set up a cell in `folder`; None when it is finished already. See `run_cell`.

    In a process group every process calls this. The first one checks the folder, and looks up data and weights before
    the others do; what goes wrong in one of them is raised in all.

    Args:
        base: another cell's model, whose frozen weights this one shall share.
    """
    if "torch" not in sys.modules and stored_already(spec, folder):
        return None  # a study whose cells are all done needs no torch
    try:
        import torch
    except ImportError:
        raise MissingDependencyError("torch", "train", "running a cell") from None
    # Imported here: a study whose cells are all done needs none of them.
    from dissensus.models.loading import load_scoring_model
    from dissensus.models.memory import recompute_activations
    from dissensus.models.resolve import resolve_model
    from dissensus.record.gradients import GradientProbe
    from dissensus.record.probes.labels import LabelProbe
    from dissensus.record.processes import process_group
    from dissensus.record.recorder import CurveRecorder
    from dissensus.record.schedule import cell_points, epoch_ends, gradient_points, total_steps
    from dissensus.record.tracking import tracked_set
    from dissensus.record.validation import Validation
    from dissensus.train.checkpoint import Checkpoint
    from dissensus.train.fused import share_frozen_weights
    from dissensus.train.loop import TrainingRun
    from dissensus.train.loss import TrainingSet, inverse_frequency
    from dissensus.train.methods import apply_method
    from dissensus.train.parallel import parallel_training

    options, group = execution or Execution(), process_group()
    if threads is not None:
        torch.set_num_threads(threads)
    where = _device(device, group, options, spec)
    finished, ready = False, None
    with group.all_or_none(where):
        if group.first:
            finished = stored_already(spec, folder)
            if group.world_size > 1 and not finished:  # what has to be fetched is fetched once
                ready = assembled_data(spec, data_dir)
                resolve_model(spec.model.name, spec.model.revision)
    if group.broadcast([finished], where)[0]:
        return None
    progress = ProgressReporter(on_progress if group.first else None)
    with group.all_or_none(where):
        progress.begin_phase("loading data")
        data = ready or assembled_data(spec, data_dir)
        labels = training_labels(spec, data, folder if group.first else None)
        progress.begin_phase("loading model")
        model = load_scoring_model(
            spec.model,
            data.tracked.labels,
            data.tracked.fields,
            head_seed=stream_seed(spec.seed, "head"),
            device=where,
        )
        apply_method(model, spec.method, adapter_seed=stream_seed(spec.seed, "adapter"))
        if base is not None:
            share_frozen_weights(model, base)
        sizes = {
            "trainable_parameters": sum(p.numel() for p in model.module.parameters() if p.requires_grad),
            "parameters": sum(p.numel() for p in model.module.parameters()),
        }
        if options.gradient_checkpointing:
            recompute_activations(model)
        if options.sharding == "none":  # sharded weights are moved block by block
            model.module.to(where)
        progress.begin_phase("encoding texts")
        training = TrainingSet(
            model.encode(data.train),
            labels,
            inverse_frequency(labels, data.train.labels)
            if spec.training.class_weights == "inverse"
            else None,
            annotators_shares(data) if spec.training.targets == "annotators" else None,
        )
        tracked = model.encode(data.tracked)
    parallel = parallel_training(model, options.sharding, device=where, cpu_offload=options.cpu_offload)
    steps = total_steps(len(labels), spec.training)
    package_versions = versions(where, group, options)
    with group.all_or_none(where):
        probe = LabelProbe.of_cell(
            data.tracked,
            model,
            encoded=tracked,
            states=_shared_states(spec, folder, model, tracked),
            facts={
                **source_facts(spec),
                "train_fingerprint": data.train.fingerprint,
                "train_examples": len(data.train),
                "dropped_shared": data.dropped_shared,
                "dropped_unlabelled": data.dropped_unlabelled,
                "data_notes": list(data.notes),
                "flipped_labels": int((labels != data.train.gold).sum()),
                "train_truncated_examples": training.encoded.truncated,
                "model_fingerprint": model.fingerprint,
                "model_origin": model.origin,
                "model_note": model.note,
                "model_notes": list(model.notes),
                "model_loading": list(model.loading),
                "prompt": model.template,
                **sizes,
                "versions": package_versions,
            },
        )
        when = spec.tracking
        recorder = CurveRecorder(
            folder,
            probe,
            total_steps=steps,
            points=cell_points(steps, len(labels), spec),
            precision=when.precision,
            regime=spec.regime,
            token_budget=when.token_budget,
            resume=True,
            on_error="raise",
            quiet=True,
        )
        if group.first:
            stored = RunFacts.of(recorder.writer.provenance)
            refuse_changed_inputs(stored, data, model.fingerprint, folder)
            if stored.versions != package_versions:  # allowed, but no longer bit-identical
                recorder.writer.note(resumed_under=package_versions)

    validation = None
    if data.validation is not None:
        with group.all_or_none(where):
            held_back = tracked_set(model.encode(data.validation), model, token_budget=when.token_budget)
        validation = Validation(
            folder / VALIDATION,
            data.validation,
            held_back,
            steps=(0, *epoch_ends(len(labels), spec.training)),
            group=group,
            device=where,
        )
    gradients = None
    if when.gradients is not None:
        assert data.classes is not None  # RunSpec asks for entropy_cuts
        with group.all_or_none(where):
            gradients = GradientProbe(
                folder,
                model,
                data.tracked,
                tracked,
                data.classes,
                when.gradients,
                steps=gradient_points(steps, len(labels), spec.training, when.gradients),
                seed=spec.seed,
                group=group,
            )
    progress.set_totals(recorder, steps)
    progress.step(max(recorder.steps, default=0), float("nan"))
    checkpoint = Checkpoint(folder / "checkpoint")
    run = TrainingRun(
        model,
        training,
        spec.training,
        learning_rate=spec.method.learning_rate,
        seed=spec.seed,
        recorder=recorder,
        validation=validation,
        gradients=gradients,
        checkpoint=checkpoint,
        on_step=progress.step,
        on_phase=progress.begin_phase,
        parallel=parallel,
        checkpoint_seconds=options.checkpoint_seconds,
    )
    return PreparedCell(run, recorder, checkpoint, progress.begin_phase)


def _device(name: str | None, group: ProcessGroup, options: Execution, spec: RunSpec) -> torch.device:
    """Where this process computes: of several on one machine's GPUs, each on its own.

    Raises:
        SpecError: what was asked for does not go together.
    """
    from dissensus.models.scoring import device_for

    if options.sharding == "fsdp" and group.world_size == 1:
        raise SpecError(
            "sharding: fsdp leaves a part of the weights on each of several processes, and this is one; set processes, "
            "or leave sharding out"
        )
    if options.sharding == "fsdp" and spec.tracking.gradients is not None:
        raise SpecError(
            "tracking.gradients and sharding: fsdp do not go together: no process holds a whole gradient. Use "
            "sharding: none, or leave tracking.gradients out"
        )
    if options.sharding == "fsdp" and spec.model.quantization is not None:
        raise SpecError(
            f"quantization: {spec.model.quantization} and sharding: fsdp do not go together: 4-bit weights are "
            "not cut. Use sharding: none; a 4-bit base is small"
        )
    device = device_for(name)
    if group.world_size > 1 and device.type == "cuda" and device.index is None:
        import torch

        device = torch.device(
            "cuda", int(os.environ.get("LOCAL_RANK", group.rank)) % torch.cuda.device_count()
        )
        torch.cuda.set_device(device)
    return device


def _shared_states(spec: RunSpec, folder: Path, model: ScoringModel, tracked: Encoded) -> SharedStates | None:
    """What the cells of a study share at step 0, in its folder; None for a cell that stands alone."""
    from dissensus.models.shared_states import SharedStates

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
