"""The gradient probe: known values, and a training that does not notice it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dissensus.config import Execution, GradientSpec, RunSpec, TrainingSpec
from dissensus.data.agreement import entropy_classes
from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import DataError, SpecError, StoreError
from dissensus.record.gradients import GradientProbe
from dissensus.record.processes import ProcessGroup
from dissensus.record.schedule import gradient_points
from dissensus.run.cell import run_cell
from dissensus.store import load_curves
from dissensus.store.gradients import (
    GRADIENT_NORMS,
    GRADIENTS,
    GroupGradients,
    load_gradient_norms,
    load_group_gradients,
)
from dissensus.train import loop
from small_cell import Build

METHODS = ("lora", "ia3", "full")


def spec(folder: Path, gradients: dict[str, Any] | None, method: str = "lora", **training: Any) -> RunSpec:
    rank = {"rank": 2, "dropout": 0.1} if method == "lora" else {}
    return RunSpec.parse(
        {
            "dataset": {
                "name": "panel",
                "tracked": {"source": "simulated", "size": 40, "annotators": 20},
                "entropy_cuts": {"low": 0.5, "high": 1.1},
            },
            "model": {"name": str(folder), "max_length": 48},
            "method": {"name": method, "learning_rate": 1e-3, **rank},
            "regime": "trained_on",
            "training": {"batch_size": 8, "epochs": 2, **training},
            "tracking": {"points": 3, "gradients": gradients},
        },
        "test",
    )


def test_the_points_are_those_of_the_paper() -> None:
    """3,315 steps of 663 an epoch: 0, every 200, and five epoch ends, 22 points."""
    training = TrainingSpec(epochs=5, batch_size=32)
    points = gradient_points(3315, 21211, training, GradientSpec(every=200, epoch_ends=True))
    assert len(points) == 22
    assert {0, 200, 3200, 663, 1326, 1989, 2652, 3315} <= set(points)
    assert gradient_points(3315, 21211, training, GradientSpec()) == (0, 3315)


@pytest.mark.parametrize("method", METHODS)
def test_it_measures_what_backward_gives(
    build: Build,
    tiny_dataset: AnnotatedDataset,
    tmp_path: Path,
    method: str,
) -> None:
    """Against `backward()` one example at a time, without dropout: mean gradients, their products, each norm."""
    model, _ = build(method)
    encoded = model.encode(tiny_dataset)
    classes = entropy_classes(tiny_dataset.counts, (0.5, 1.1))
    wanted = GradientSpec(mode="eval", batch_size=3, norms="all")
    probe = GradientProbe(
        tmp_path, model, tiny_dataset, encoded, classes, wanted, steps=(0,), seed=0, group=ProcessGroup()
    )
    probe.step(0)
    model.module.eval()
    rows = []
    for row in range(len(tiny_dataset)):
        model.module.zero_grad(set_to_none=True)
        _, logits = model.score_rows(encoded, [row])
        torch.nn.functional.cross_entropy(logits, torch.tensor(tiny_dataset.gold[[row]])).backward()
        parts = [p.grad for p in model.module.parameters() if p.requires_grad and p.grad is not None]
        rows.append(torch.cat([part.flatten() for part in parts]).double().numpy())
    each = np.stack(rows)
    norms = load_gradient_norms(tmp_path / GRADIENT_NORMS)
    assert norms.ids == tiny_dataset.ids
    assert norms.groups.tolist() == classes.tolist()
    np.testing.assert_allclose(norms.norms[0], np.linalg.norm(each, axis=1), rtol=1e-6)
    stored = load_group_gradients(tmp_path / GRADIENTS)
    means = np.stack([each[classes == name].mean(axis=0) for name in ("settled", "contested")])
    assert stored.groups == ("settled", "contested")
    assert stored.sizes == tuple(int((classes == name).sum()) for name in stored.groups)
    np.testing.assert_allclose(stored.products[0], means @ means.T, rtol=1e-4)
    a, b = means
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    np.testing.assert_allclose(stored.cosine("settled", "contested"), [cosine], rtol=1e-4)
    np.testing.assert_allclose(stored.norms()[0], np.linalg.norm(means, axis=1), rtol=1e-4)


def test_with_dropout_batches_do_not_matter_and_steps_do(
    build: Build,
    tiny_dataset: AnnotatedDataset,
    tmp_path: Path,
) -> None:
    model, _ = build("lora")
    classes = entropy_classes(tiny_dataset.counts, (0.5, 1.1))
    products = []
    for size in (1, 64):
        folder = tmp_path / str(size)
        folder.mkdir()
        probe = GradientProbe(
            folder,
            model,
            tiny_dataset,
            model.encode(tiny_dataset),
            classes,
            GradientSpec(batch_size=size),
            steps=(0, 1),
            seed=0,
            group=ProcessGroup(),
        )
        probe.step(0)
        probe.step(1)
        products.append(load_group_gradients(folder / GRADIENTS).products)
    np.testing.assert_allclose(products[0], products[1], rtol=1e-3, atol=1e-9)
    assert np.abs(products[0][0] - products[0][1]).max() > 1e-3 * np.abs(products[0][0]).max()


@pytest.mark.parametrize("method", METHODS)
def test_training_is_the_same_bits_with_and_without(
    tiny_encoder_dir: Path, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights, gradients, optimiser state, modes and random state after each step, and the curves' files."""
    states: dict[str, list[list[Any]]] = {}
    wanted = {"every": 3, "epoch_ends": True, "norms": "end"}
    for name, gradients in (("with", wanted), ("without", None)):
        seen: list[list[Any]] = []
        update = loop.TrainingRun.update

        def noted(
            run: loop.TrainingRun, loss: float, norm: float, seen: Any = seen, update: Any = update
        ) -> None:
            update(run, loss, norm)
            weights = list(run.model.module.parameters())
            moments = [value.clone() for w in weights for value in run._optimizer.state.get(w, {}).values()]
            modes = [module.training for module in run.model.module.modules()]
            given = [None if w.grad is None else w.grad.clone() for w in weights]
            seen.append(
                [
                    loss,
                    norm,
                    [w.detach().clone() for w in weights],
                    moments,
                    given,
                    modes,
                    torch.get_rng_state(),
                ]
            )

        monkeypatch.setattr(loop.TrainingRun, "update", noted)
        cell = spec(tiny_encoder_dir, gradients, method, gradient_accumulation_steps=2)
        run_cell(cell, tmp_path / name, threads=1, device="cpu")
        monkeypatch.setattr(loop.TrainingRun, "update", update)
        states[name] = seen
    assert len(states["with"]) == 10
    for ours, theirs in zip(states["with"], states["without"], strict=True):
        assert _same(ours, theirs)
    for shard in sorted((tmp_path / "without" / "curves").iterdir()):
        assert shard.read_bytes() == (tmp_path / "with" / "curves" / shard.name).read_bytes()
    stored = load_group_gradients(tmp_path / "with" / GRADIENTS)
    assert stored.steps == (0, 3, 5, 6, 9, 10)
    assert load_gradient_norms(tmp_path / "with" / GRADIENT_NORMS).steps == (10,)
    assert not (tmp_path / "without" / GRADIENTS).exists()


def _same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(_same, ours, theirs))
    return bool(torch.equal(ours, theirs)) if isinstance(ours, torch.Tensor) else bool(ours == theirs)


def test_an_interrupted_cell_forgets_what_is_later_than_its_checkpoint(
    tiny_encoder_dir: Path, tmp_path: Path
) -> None:
    """Cut off at step 8, resumed from step 5: the same files as without the cut, and a point of later is replaced."""
    cell = spec(tiny_encoder_dir, {"every": 1, "norms": "all"})
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run_cell(cell, whole, threads=1, device="cpu")

    class StopError(Exception):
        pass

    def stop(progress: Any) -> None:
        if progress.step == 8 and progress.phase == "training":
            raise StopError

    often = Execution(checkpoint_seconds=0)
    with pytest.raises(StopError):
        run_cell(cell, cut, threads=1, device="cpu", on_progress=stop, execution=often)
    assert load_group_gradients(cut / GRADIENTS).steps == tuple(range(9))
    # What a later point holds is of no account: this one is wrong.
    path = cut / GRADIENTS
    from dissensus.store.gradients import save_group_gradients

    left = load_group_gradients(path)
    spoilt = left.products.copy()
    spoilt[7] *= 2
    save_group_gradients(path, GroupGradients(left.groups, left.sizes, left.steps, spoilt))
    run_cell(cell, cut, threads=1, device="cpu")
    for name in (GRADIENTS, GRADIENT_NORMS):
        assert (whole / name).read_bytes() == (cut / name).read_bytes()
    assert load_curves(cut).steps.tolist() == [0, 5, 10]


def test_what_it_cannot_do_is_said(
    tiny_encoder_dir: Path,
    tiny_dataset: AnnotatedDataset,
    build: Build,
    tmp_path: Path,
) -> None:
    with pytest.raises(SpecError, match="give entropy_cuts to the data set 'panel'"):
        RunSpec.parse(
            {
                "dataset": {"name": "panel", "tracked": {"source": "simulated", "size": 40}},
                "model": {"name": "m"},
                "method": {"name": "full", "learning_rate": 1e-3},
                "regime": "trained_on",
                "tracking": {"gradients": {}},
            },
            "test",
        )
    with pytest.raises(SpecError, match="names a class twice: settled, settled"):
        spec(tiny_encoder_dir, {"groups": ["settled", "settled"]})
    model, _ = build("lora")
    with pytest.raises(DataError, match="measures contested examples, and none is tracked"):
        GradientProbe(
            tmp_path,
            model,
            tiny_dataset,
            model.encode(tiny_dataset),
            np.full(24, "settled"),
            GradientSpec(),
            steps=(0,),
            seed=0,
            group=ProcessGroup(),
        )
    from dissensus.run.cell import _device

    with pytest.raises(SpecError, match="gradients and sharding: fsdp do not go together"):
        _device(
            "cpu",
            ProcessGroup(0, 2),
            Execution(processes=2, sharding="fsdp"),
            spec(tiny_encoder_dir, {}),
        )


def test_a_damaged_file_is_named(tiny_encoder_dir: Path, tmp_path: Path) -> None:
    for load in (load_group_gradients, load_gradient_norms):
        path = tmp_path / "g.parquet"
        path.write_bytes(b"no")
        with pytest.raises(StoreError, match=r"cannot read the gradients .*g\.parquet"):
            load(path)
    found = GroupGradients(("settled",), (1,), (0,), np.ones((1, 1, 1)))
    with pytest.raises(StoreError, match="'middle' examples were not measured; the groups are: settled"):
        found.cosine("settled", "middle")


def test_a_setting_that_is_not_used_changes_no_cell(tiny_encoder_dir: Path) -> None:
    plain, asked = spec(tiny_encoder_dir, None), spec(tiny_encoder_dir, {"every": 2})
    assert "gradients" not in plain.canonical()
    assert plain.digest() != asked.digest()
