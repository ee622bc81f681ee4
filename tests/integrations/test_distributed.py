"""Two real processes under torchrun record what one process would: see `distributed_script.py`, which they run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dissensus import CurveRecorder, load_curves
from integrations.distributed_script import STEPS, adapted, classifier, completions, preferences, tracked
from processes import PATIENCE
from tiny import make_tiny

SCRIPT = Path(__file__).with_name("distributed_script.py")

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
    reason="this torch has no gloo",
)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which two processes ran every scenario, and took up the interrupted ones in a second session."""
    folder = tmp_path_factory.mktemp("distributed")
    make_tiny("bert", folder / "encoder")
    make_tiny("llama", folder / "decoder")
    for part in ("begin", "resume"):
        torchrun(part, folder)
    return folder


def torchrun(part: str, folder: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node=2",
        str(SCRIPT),
        part,
    ]
    for name in ("encoder", "decoder"):
        command += [f"--{name}", str(folder / name)]
    # A free port of the loopback interface (--standalone), and no other interface.
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    env = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": loopback, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [*command, "--out", str(folder)],
        env=env,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]


def in_one_process(model: Any, tracked: Any, weights: dict[int, Any], path: Path, **options: Any) -> Any:
    """The curves of a single process with the same weights at each step."""
    recorder = CurveRecorder(path, tracked, total_steps=STEPS, points=STEPS + 1, **options)
    for step in range(STEPS + 1):
        model.load_state_dict(weights[step])
        recorder.step(model, step)
    recorder.finish()
    return load_curves(path)


def weights_of(folder: Path) -> dict[int, Any]:
    found: dict[int, Any] = {}
    for file in sorted(folder.glob("weights-from-*.pt")):
        found.update(torch.load(file, weights_only=True))
    return found


@pytest.mark.parametrize(("name", "budget"), [("whole", 64), ("few", 100_000), ("cut", 64)])
def test_two_processes_store_what_one_does(ran: Path, tmp_path: Path, name: str, budget: int) -> None:
    """`few` has one batch for two processes; `cut` was interrupted at step 4 and taken up from step 2."""
    model, tokenizer = classifier(ran / "encoder")
    alone = in_one_process(
        model, tracked(), weights_of(ran / name), tmp_path, tokenizer=tokenizer, token_budget=budget
    )
    together = load_curves(ran / name / "curves")
    assert together.steps.tolist() == list(range(STEPS + 1))
    assert together.ids == alone.ids == tracked().ids
    np.testing.assert_allclose(together.log_probs, alone.log_probs, atol=1e-6)
    assert np.abs(np.diff(together.losses, axis=1)).max() > 1e-3  # it did train


def test_a_margin_refers_to_step_0_after_a_resume_too(ran: Path, tmp_path: Path) -> None:
    model, probe = preferences(ran / "decoder")
    alone = in_one_process(model, probe, weights_of(ran / "pairs"), tmp_path)
    together = load_curves(ran / "pairs" / "curves")
    assert together.steps.tolist() == list(range(STEPS + 1))
    np.testing.assert_allclose(together.log_probs, alone.log_probs, atol=1e-6)
    np.testing.assert_allclose(together.values["margin"], alone.values["margin"], atol=1e-5)


@pytest.mark.parametrize(("name", "budget"), [("sharded-lora", 64), ("sharded-few", 100_000)])
def test_weights_in_parts_are_read_as_a_whole_is(ran: Path, tmp_path: Path, name: str, budget: int) -> None:
    """FSDP2, in a plain script: `few` has one batch for two processes, of which one must read along."""
    model, tokenizer = classifier(ran / "encoder")
    model = adapted(model) if name == "sharded-lora" else model
    alone = in_one_process(
        model, tracked(), weights_of(ran / name), tmp_path, tokenizer=tokenizer, token_budget=budget
    )
    together = load_curves(ran / name / "curves")
    assert together.ids == alone.ids
    np.testing.assert_allclose(together.log_probs, alone.log_probs, atol=1e-6)
    assert np.abs(np.diff(together.losses, axis=1)).max() > 1e-3


def test_a_sharded_language_model_is_asked_through_its_own_forward(ran: Path, tmp_path: Path) -> None:
    model, probe = completions(ran / "decoder")
    alone = in_one_process(model, probe, weights_of(ran / "sharded-texts"), tmp_path)
    together = load_curves(ran / "sharded-texts" / "curves")
    np.testing.assert_allclose(together.losses, alone.losses, atol=1e-5)
    assert np.abs(np.diff(together.losses, axis=1)).max() > 1e-3


def test_recording_leaves_sharded_weights_as_they_would_be(ran: Path) -> None:
    recorded, not_recorded = (weights_of(ran / name)[STEPS] for name in ("sharded-few", "sharded-unrecorded"))
    assert recorded.keys() == not_recorded.keys()
    for name, weight in recorded.items():
        assert torch.equal(weight, not_recorded[name]), name


def test_only_the_first_process_writes(ran: Path) -> None:
    assert list(ran.rglob("manifest.json"))
    assert not list(ran.rglob("curves-of-1"))


def test_each_shard_is_written_once(ran: Path) -> None:
    for name in ("whole", "few", "cut", "pairs", "sharded-few", "sharded-texts"):
        shards = sorted(path.name for path in (ran / name / "curves" / "curves").iterdir())
        assert shards == [f"step-{step:08d}.parquet" for step in range(STEPS + 1)]


def test_losses_in_a_trainer_are_those_of_one_by_one_passes(ran: Path, tmp_path: Path) -> None:
    curves = load_curves(ran / "trainer" / "curves")
    assert curves.steps.tolist() == [0, 2, 4, 6]
    with np.load(ran / "trainer" / "spy.npz") as spied:
        for t, step in enumerate(curves.steps.tolist()):
            np.testing.assert_allclose(curves.losses[:, t], spied[str(step)], atol=1e-5)
    model, tokenizer = classifier(ran / "encoder")  # the weights at step 0, before any process trained
    recorder = CurveRecorder(tmp_path, tracked(), tokenizer=tokenizer, total_steps=STEPS)
    recorder.step(model, 0)
    recorder.flush()
    np.testing.assert_allclose(curves.log_probs[:, 0], recorder.writer.log_probs(0), atol=1e-6)


def test_losses_in_lightnings_trainer_are_those_of_one_by_one_passes(ran: Path) -> None:
    pytest.importorskip("lightning")
    curves = load_curves(ran / "lightning" / "curves")
    assert curves.steps.tolist() == [0, 2, 4, 6]
    with np.load(ran / "lightning" / "spy.npz") as spied:
        for t, step in enumerate(curves.steps.tolist()[1:], 1):
            np.testing.assert_allclose(curves.losses[:, t], spied[str(step)], atol=1e-5)


def test_a_trainer_of_two_processes_trains_the_same(ran: Path) -> None:
    plain, recorded = (
        torch.load(ran / name / "weights.pt", weights_only=True) for name in ("unrecorded", "trainer")
    )
    assert plain.keys() == recorded.keys()
    for name, value in plain.items():
        assert torch.equal(value, recorded[name]), name


@pytest.mark.parametrize(("name", "reason"), [("pass", "out of memory"), ("disk", "No space left")])
def test_one_process_that_fails_stops_the_recording_of_all(ran: Path, name: str, reason: str) -> None:
    """Both processes trained to the end (or torchrun had failed) and stopped recording for one reason."""
    for rank in (0, 1):
        assert reason in (ran / f"failing-{name}-{rank}.txt").read_text()
    curves = load_curves(ran / f"failing-{name}" / "curves", partial=True)
    assert curves.steps.tolist() == [0, 1, 2]
