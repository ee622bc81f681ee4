"""The free mode's recorder: values, ids, batches' means, interruptions, and two processes with a padded sampler."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dissensus import AnnotatedDataset, load_curves
from dissensus.errors import DataError, SpecError, StoreError
from dissensus.metrics.aulc import aulc
from dissensus.record.free import FreeRecorder, Places
from processes import PATIENCE

LOGITS = np.array([[2.0, 0.0, -1.0], [0.0, 0.0, 0.0]])


def logits_of(step: int, rows: np.ndarray) -> np.ndarray:
    """Any numbers that belong to (step, row)."""
    return np.stack([np.sin(7.0 * step + rows), np.cos(step - 2.0 * rows), 0.1 * rows], axis=1)


def batches(epoch: int, n: int = 24, size: int = 5) -> list[np.ndarray]:
    order = np.random.default_rng(epoch).permutation(n)
    return [order[at : at + size] for at in range(0, n, size)]  # the last one is shorter


def train(recorder: FreeRecorder, start: int, stop: int, *, flush: int | None = None) -> None:
    for step in range(start, stop):
        rows = batches(step // 5)[step % 5]
        recorder.observe(step, [recorder.dataset.ids[row] for row in rows], logits_of(step, rows))
        recorder.end_of_step(step + 1)
        if step + 1 == flush:
            recorder.flush()


def test_values_are_log_probabilities_at_the_step_of_the_look(
    tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    recorder = FreeRecorder(tmp_path / "run", tiny_dataset, total_steps=13, steps_per_epoch=5)
    train(recorder, 0, 13)
    recorder.finish()
    curves = load_curves(tmp_path / "run")
    assert curves.steps.tolist() == [5, 10, 13]
    for step in range(13):
        rows, t = batches(step // 5)[step % 5], step // 5
        logits = torch.tensor(logits_of(step, rows))
        np.testing.assert_allclose(
            curves.log_probs[rows, t], torch.log_softmax(logits, dim=-1).numpy(), atol=1e-6
        )
        assert (curves.values["seen_step"][rows, t] == step).all()
    cut = np.concatenate(batches(2)[3:])  # the third epoch ended after three of its five batches
    assert np.isnan(curves.log_probs[cut, 2]).all()
    assert np.isnan(curves.values["seen_step"][cut, 2]).all()
    assert set(curves.regime) == {"trained_on"}
    says = curves.provenance
    assert (says["mode"], says["dropout"]) == ("free", "as in training")
    assert says["epochs"] == [
        {"step": 5, "seen": 24, "seen_more_than_once": 0},
        {"step": 10, "seen": 24, "seen_more_than_once": 0},
        {"step": 13, "seen": 15, "seen_more_than_once": 0},
    ]
    assert says["never_seen"] == 0
    # The average over the span that is there: the trapezoid from step 5 to 10 and on to 13, divided by the span.
    y = curves.losses.astype(float)
    whole = ((y[:, 0] + y[:, 1]) / 2 * 5 + (y[:, 1] + y[:, 2]) / 2 * 3) / 8
    expected = np.where(np.isnan(whole), (y[:, 0] + y[:, 1]) / 2, whole)
    np.testing.assert_allclose(aulc(curves), expected, rtol=1e-6)
    assert np.isnan(aulc(curves, relative=True)).all()


def test_numpy_and_torch_give_the_same_and_the_graph_is_let_go(
    tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    found = []
    given = torch.tensor(LOGITS, dtype=torch.float32, requires_grad=True)
    for name, logits in (("numpy", LOGITS), ("torch", given), ("bf16", given.bfloat16())):
        recorder = FreeRecorder(tmp_path / name, tiny_dataset, total_steps=1, steps_per_epoch=1)
        recorder.observe(0, tiny_dataset.ids[:2], logits)
        assert not getattr(recorder._epoch._pending[0][2], "requires_grad", False)
        with torch.no_grad():
            given.add_(0)  # in place, as an optimiser would
        recorder.end_of_step(1)
        recorder.finish()
        found.append(load_curves(tmp_path / name).log_probs[:2, 0])
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    np.testing.assert_allclose(found[0], found[2], atol=1e-6)
    # log softmax of (0, 0, 0) is -log 3 each
    np.testing.assert_allclose(found[0][1], -np.log(3), atol=1e-6)


def test_losses_go_to_the_gold_label(tiny_dataset: AnnotatedDataset, tmp_path: Path) -> None:
    recorder = FreeRecorder(tmp_path / "run", tiny_dataset, total_steps=1, steps_per_epoch=1)
    losses = torch.tensor([0.5, 2.0])
    recorder.observe_losses(0, Places(torch.tensor([3, -1])), losses)  # -1: an example that is not recorded
    losses.zero_()
    recorder.end_of_step(1)
    recorder.finish()
    curves = load_curves(tmp_path / "run")
    assert curves.losses[3, 0] == 0.5
    assert np.isfinite(curves.log_probs).sum() == 1
    assert curves.provenance["never_seen"] == 23


def test_what_is_no_examples_loss_is_refused(tiny_dataset: AnnotatedDataset, tmp_path: Path) -> None:
    recorder = FreeRecorder(tmp_path / "run", tiny_dataset, total_steps=4, steps_per_epoch=2)
    ids = tiny_dataset.ids
    with pytest.raises(DataError, match=r"A single number is the batch's mean"):
        recorder.observe_losses(0, ids[:3], torch.tensor(0.7))
    with pytest.raises(DataError, match=r"A single number is the batch's mean"):
        recorder.observe_losses(0, ids[:3], 0.7)
    with pytest.raises(DataError, match="3 examples for 2 rows of a batch"):
        recorder.observe(0, ids[:3], LOGITS)
    with pytest.raises(DataError, match=r"logits have shape \(2, 2\); expected \(examples, 3\)"):
        recorder.observe(0, ids[:2], LOGITS[:, :2])
    with pytest.raises(DataError, match="'nobody' is not among the 24 examples"):
        recorder.observe(0, [ids[0], "nobody"], LOGITS)
    with pytest.raises(StoreError, match="at step 2 does not belong to the epoch that ends at step 2"):
        recorder.observe(2, ids[:2], LOGITS)
    recorder.observe(1, Places(np.array([0, 99])), LOGITS)
    with pytest.raises(DataError, match=r"row numbers \[0, 99\]"):
        recorder.end_of_step(2)
    with pytest.raises(SpecError, match="steps_per_epoch is 0; expected a whole number of at least 1"):
        FreeRecorder(tmp_path / "other", tiny_dataset, total_steps=4, steps_per_epoch=0)


def test_a_loss_without_a_gold_label(tmp_path: Path) -> None:
    dataset = AnnotatedDataset.from_records(
        [{"id": "a", "t": "x", "counts": (0, 0)}, {"id": "b", "t": "y", "counts": (1, 0)}],
        labels=("no", "yes"), text=("t",), gold=None,
    )  # fmt: skip
    recorder = FreeRecorder(tmp_path / "run", dataset, total_steps=1, steps_per_epoch=1)
    recorder.observe_losses(0, ["b", "a"], np.array([1.0, 2.0]))
    with pytest.raises(DataError, match="'a' has no gold label"):
        recorder.end_of_step(1)


def test_the_first_look_of_an_epoch_is_kept_and_others_are_counted(
    tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    recorder = FreeRecorder(tmp_path / "run", tiny_dataset, total_steps=2, steps_per_epoch=2)
    ids = tiny_dataset.ids
    recorder.observe(0, [ids[0], ids[0]], LOGITS)  # twice in one batch
    recorder.observe(0, [ids[1], ids[2]], LOGITS)  # gradient accumulation: another batch of the same step
    recorder.observe(1, [ids[2], ids[1]], LOGITS)
    recorder.end_of_step(1)
    recorder.end_of_step(2)
    recorder.finish()
    curves = load_curves(tmp_path / "run")
    expected = torch.log_softmax(torch.tensor(LOGITS), dim=-1).numpy()[[0, 0, 1]]
    np.testing.assert_allclose(curves.log_probs[:3, 0], expected, atol=1e-6)
    assert curves.values["seen_step"][:3, 0].tolist() == [0, 0, 0]
    assert curves.provenance["epochs"] == [{"step": 2, "seen": 3, "seen_more_than_once": 3}]
    assert curves.provenance["never_seen"] == 21


@pytest.mark.parametrize("ran_on_to", [8, 12])
def test_a_cut_epoch_keeps_what_it_saw(
    tiny_dataset: AnnotatedDataset, tmp_path: Path, ran_on_to: int
) -> None:
    """A checkpoint at step 7, in the second epoch; the run continued into that epoch, or beyond its end."""
    whole = FreeRecorder(tmp_path / "whole", tiny_dataset, total_steps=13, steps_per_epoch=5)
    train(whole, 0, 13)
    whole.finish()
    cut = FreeRecorder(tmp_path / "cut", tiny_dataset, total_steps=13, steps_per_epoch=5)
    train(cut, 0, ran_on_to, flush=7)
    for _ in range(2):  # and cut again before anything new was flushed
        again = FreeRecorder(tmp_path / "cut", tiny_dataset, total_steps=13, steps_per_epoch=5, resume_at=7)
    train(again, 7, 13)
    again.finish()
    expected, found = load_curves(tmp_path / "whole"), load_curves(tmp_path / "cut")
    np.testing.assert_array_equal(found.log_probs, expected.log_probs)
    np.testing.assert_array_equal(found.values["seen_step"], expected.values["seen_step"])
    assert found.provenance["epochs"] == expected.provenance["epochs"]
    assert sorted(p.name for p in (tmp_path / "cut").iterdir()) == [
        "curves",
        "examples.parquet",
        "manifest.json",
    ]


def test_what_was_not_flushed_is_said_to_be_lost(tiny_dataset: AnnotatedDataset, tmp_path: Path) -> None:
    cut = FreeRecorder(tmp_path / "run", tiny_dataset, total_steps=10, steps_per_epoch=5)
    train(cut, 0, 8)
    again = FreeRecorder(tmp_path / "run", tiny_dataset, total_steps=10, steps_per_epoch=5, resume_at=7)
    train(again, 7, 10)
    again.finish()
    curves = load_curves(tmp_path / "run")
    lost = np.concatenate(batches(1)[:2])
    assert np.isnan(curves.log_probs[lost, 1]).all()
    assert np.isfinite(curves.log_probs[:, 1]).sum() == (24 - len(lost)) * 3
    assert curves.provenance["epochs"][1] == {
        "step": 10,
        "seen": 14,
        "seen_more_than_once": 0,
        "lost_before": 7,
    }
    assert curves.provenance["never_seen"] == 0


def test_stores_that_do_not_fit(tiny_dataset: AnnotatedDataset, tmp_path: Path) -> None:
    first = FreeRecorder(tmp_path / "run", tiny_dataset, total_steps=10, steps_per_epoch=5)
    train(first, 0, 6)
    with pytest.raises(StoreError, match="holds the curves of a run already"):
        FreeRecorder(tmp_path / "run", tiny_dataset, total_steps=10, steps_per_epoch=5)
    with pytest.raises(StoreError, match="its steps_per_epoch is 5, this run's is 2"):
        FreeRecorder(tmp_path / "run", tiny_dataset, total_steps=10, steps_per_epoch=2, resume_at=6)
    with pytest.raises(StoreError, match="holds no point of the epoch that ended at step 5"):
        FreeRecorder(tmp_path / "new", tiny_dataset, total_steps=10, steps_per_epoch=5, resume_at=6)
    first.flush()
    (tmp_path / "run" / "unfinished-epoch.npz").write_bytes(b"rubbish")
    with pytest.raises(StoreError, match="is damaged"):
        FreeRecorder(tmp_path / "run", tiny_dataset, total_steps=10, steps_per_epoch=5, resume_at=6)


@pytest.mark.parametrize(("stop", "points"), [(7, [5, 7]), (5, [5]), (3, [3])])
def test_a_run_that_stops_early(
    tiny_dataset: AnnotatedDataset, tmp_path: Path, stop: int, points: list[int]
) -> None:
    recorder = FreeRecorder(tmp_path / "run", tiny_dataset, total_steps=20, steps_per_epoch=5)
    train(recorder, 0, stop)
    recorder.end_early(stop)
    curves = load_curves(tmp_path / "run")
    assert curves.steps.tolist() == points
    assert curves.total_steps == stop
    assert curves.provenance["planned_steps"] == 20


def test_without_torch(tmp_path: Path) -> None:
    """A loop of JAX, say: the recorder imports no torch of its own."""
    script = """
import sys
import numpy as np
from dissensus import AnnotatedDataset
from dissensus.record.free import FreeRecorder, Places
data = AnnotatedDataset.from_records([{"id": i, "t": "x", "gold": "a", "counts": (1, 0)} for i in "pq"],
                                     labels=("a", "b"), text=("t",))
recorder = FreeRecorder(sys.argv[1], data, total_steps=1, steps_per_epoch=1)
recorder.observe(0, ["q"], np.zeros((1, 2)))
recorder.end_of_step(1)
recorder.finish()
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "run")], check=True)
    assert load_curves(tmp_path / "run").losses[1, 0] == pytest.approx(np.log(2))


DISTRIBUTED = """
import sys
import numpy as np
import torch
import torch.distributed as dist
from torch.utils.data import DistributedSampler
from dissensus import AnnotatedDataset
from dissensus.record.free import FreeRecorder, Places

dist.init_process_group("gloo")
rank, path = dist.get_rank(), sys.argv[1]
n = 23
data = AnnotatedDataset.from_records(
    [{"id": f"e{i}", "t": "x", "gold": "a", "counts": (1, 0)} for i in range(n)], labels=("a", "b"), text=("t",))
sampler = DistributedSampler(range(n), num_replicas=2, rank=rank, shuffle=True)  # 12 each: one example counts twice
options = dict(total_steps=9, steps_per_epoch=3)
recorder = FreeRecorder(path, data, **options)

def epoch(number, begin=0, end=3):
    sampler.set_epoch(number)
    order = list(sampler)
    for at in range(begin, end):
        rows = torch.tensor(order[at * 4 : at * 4 + 4])
        step = number * 3 + at
        # what was seen says by whom, when and of which row
        recorder.observe_losses(step, Places(rows), 1.0 + rank * 1000 + step * 100 + rows)
        recorder.end_of_step(step + 1)

epoch(0)
epoch(1, end=1)
recorder.flush()
recorder = FreeRecorder(path, data, resume_at=4, **options)
epoch(1, begin=1)
epoch(2)
recorder.finish()
dist.destroy_process_group()
"""


def test_two_processes_and_a_padded_sampler(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(DISTRIBUTED)
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*run, str(tmp_path / "run")], env=env, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    curves = load_curves(tmp_path / "run")
    assert curves.steps.tolist() == [3, 6, 9]
    assert np.isfinite(curves.losses).all()
    for t, epoch in enumerate(range(3)):
        # The sampler's own order: shuffled by the epoch, padded from its start, dealt out in turns.
        generator = torch.Generator().manual_seed(epoch)
        order = torch.randperm(23, generator=generator).tolist()
        order += order[:1]
        said: dict[int, float] = {}
        for rank in (1, 0):  # the lowest rank's look is the one that stands
            for place, row in enumerate(order[rank::2]):
                step = epoch * 3 + place // 4
                said[row] = 1.0 + rank * 1000 + step * 100 + row
        assert curves.losses[:, t].tolist() == [said[row] for row in range(23)]
        again = {"step": 3 * epoch + 3, "seen": 23, "seen_more_than_once": 1}
        assert curves.provenance["epochs"][epoch] == again
    assert curves.provenance["never_seen"] == 0


def test_whole_numbers_are_ids_and_not_places(tmp_path: Path) -> None:
    """A batch's column of integer ids, as a collator makes it: ids are what they look like."""
    records = [{"id": i, "text": "a", "gold": "x", "counts": [1, 1]} for i in (10, 9, 1, 0)]
    dataset = AnnotatedDataset.from_records(records, labels=["x", "y"], text=["text"])
    recorder = FreeRecorder(tmp_path, dataset, total_steps=1, steps_per_epoch=1)
    recorder.observe_losses(0, torch.tensor([1, 10]), np.array([0.1, 0.2]))
    recorder.end_of_step(1)
    recorder.finish()
    losses = dict(zip(load_curves(tmp_path).ids, load_curves(tmp_path).losses[:, 0], strict=True))
    assert losses["1"] == pytest.approx(0.1)
    assert losses["10"] == pytest.approx(0.2)
    assert np.isnan(losses["9"])


def test_a_full_disk_stops_the_recording_and_not_the_training(
    tiny_dataset: AnnotatedDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    recorder = FreeRecorder(tmp_path / "run", tiny_dataset, total_steps=15, steps_per_epoch=5)
    train(recorder, 0, 5)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recorder.writer, "write", full)
    train(recorder, 5, 15, flush=12)
    recorder.finish()
    assert "recording has STOPPED at step 10" in caplog.text
    assert "No space left" in (recorder.stopped or "")
    assert load_curves(tmp_path / "run", partial=True).steps.tolist() == [5]
    strict = FreeRecorder(
        tmp_path / "strict", tiny_dataset, total_steps=10, steps_per_epoch=5, on_error="raise"
    )
    monkeypatch.setattr(strict.writer, "write", full)
    with pytest.raises(OSError, match="No space left"):
        train(strict, 0, 5)


def test_a_batch_that_is_wrong_in_mid_training_stops_the_recording(
    tiny_dataset: AnnotatedDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = FreeRecorder(tmp_path / "run", tiny_dataset, total_steps=10, steps_per_epoch=5)
    train(recorder, 0, 7)
    recorder.observe(7, ["nobody"], LOGITS[:1])
    recorder.end_of_step(8)
    recorder.finish()
    assert "'nobody' is not among the 24 examples" in caplog.text
    assert load_curves(tmp_path / "run", partial=True).steps.tolist() == [5]


def test_ends_that_come_early_or_late(
    tiny_dataset: AnnotatedDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    early = FreeRecorder(tmp_path / "early", tiny_dataset, total_steps=20, steps_per_epoch=5)
    train(early, 0, 8)
    early.finish()
    assert load_curves(tmp_path / "early").steps.tolist() == [5, 8]
    assert "ended at step 8 of 20" in caplog.text
    late = FreeRecorder(tmp_path / "late", tiny_dataset, total_steps=5, steps_per_epoch=5)
    train(late, 0, 13)
    late.finish()
    curves = load_curves(tmp_path / "late")
    assert (curves.steps.tolist(), curves.total_steps) == ([5, 10, 13], 13)
    assert curves.provenance["planned_steps"] == 5
    assert "was to have 5 steps (total_steps) and continues" in caplog.text
    whole = FreeRecorder(tmp_path / "whole", tiny_dataset, total_steps=13, steps_per_epoch=5)
    train(whole, 0, 13)
    whole.finish()
    np.testing.assert_array_equal(curves.log_probs, load_curves(tmp_path / "whole").log_probs)
    with pytest.raises(StoreError, match="the run ended before step 5"):
        FreeRecorder(
            tmp_path / "strict", tiny_dataset, total_steps=10, steps_per_epoch=5, on_error="raise"
        ).finish()


def test_a_run_is_extended(
    tiny_dataset: AnnotatedDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Ended at step 13, in the third epoch; resumed there for 20 steps, what that epoch had seen is kept."""
    first = FreeRecorder(tmp_path / "run", tiny_dataset, total_steps=13, steps_per_epoch=5)
    train(first, 0, 13)
    first.finish()
    again = FreeRecorder(tmp_path / "run", tiny_dataset, total_steps=20, steps_per_epoch=5, resume_at=13)
    train(again, 13, 20)
    again.finish()
    whole = FreeRecorder(tmp_path / "whole", tiny_dataset, total_steps=20, steps_per_epoch=5)
    train(whole, 0, 20)
    whole.finish()
    found, expected = load_curves(tmp_path / "run"), load_curves(tmp_path / "whole")
    assert found.steps.tolist() == [5, 10, 15, 20]
    np.testing.assert_array_equal(found.log_probs, expected.log_probs)
    assert "was to have 13 steps and now has 20" in caplog.text
