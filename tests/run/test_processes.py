"""A cell on several processes leaves the curves that one process leaves: see `processes_script.py`, which they run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from dissensus.run.cell import CellProgress, run_cell
from dissensus.store import load_curves
from dissensus.store.gradients import (
    GRADIENT_NORMS,
    GRADIENTS,
    load_gradient_norms,
    load_group_gradients,
)
from run.processes_script import CUT, SCENARIOS, Scenario, run_told, run_until, spec
from tiny import make_tiny

SCRIPT = Path(__file__).with_name("processes_script.py")
CASES = [(world, name) for name, scenario in SCENARIOS.items() for world in scenario.worlds]

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
    reason="this torch has no gloo",
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for arch in {scenario.arch for scenario in SCENARIOS.values()}:
        make_tiny(arch, folder / arch)
    return folder


@pytest.fixture(scope="module")
def together(models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Folders in which 2 and 3 processes ran their cells."""
    found = {}
    for world in (2, 3):
        out = found[world] = tmp_path_factory.mktemp(f"of-{world}")
        for name, scenario in SCENARIOS.items():
            if world in scenario.worlds and scenario.cut == "theirs":
                run_until(CUT, spec(models, scenario), out / name)
        torchrun(world, models, out)
    return found


@pytest.fixture(scope="module")
def alone(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which one process ran every cell."""
    out = tmp_path_factory.mktemp("alone")
    for name, scenario in SCENARIOS.items():
        run_told(spec(models, scenario), out / name)
    return out


def torchrun(world: int, models: Path, out: Path) -> None:
    # A free port of the loopback interface (--standalone), and no other interface.
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    env = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": loopback, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={world}"]
    done = subprocess.run(
        [*command, str(SCRIPT), str(models), str(out)],
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]


@pytest.mark.parametrize(("world", "name"), CASES)
def test_the_curves_are_those_of_one_process(
    models: Path, together: dict[int, Path], alone: Path, world: int, name: str
) -> None:
    scenario, folder = SCENARIOS[name], together[world] / name
    if scenario.cut == "ours":
        goes_on_in_one_process(models, scenario, folder)
    curves, expected = load_curves(folder), load_curves(alone / name)
    assert curves.ids == expected.ids
    assert len(set(curves.ids)) == len(curves.ids)
    assert curves.steps.tolist() == [0, 2, 4]
    np.testing.assert_allclose(curves.losses, expected.losses, atol=1e-5)
    assert np.abs(np.diff(expected.losses, axis=1)).max() > 1e-2  # it did train
    provenance, facts = curves.provenance, expected.provenance
    assert provenance["parameters"] == facts["parameters"]
    assert provenance["trainable_parameters"] == facts["trainable_parameters"]
    assert not (folder / "checkpoint").exists()
    assert len(list(folder.rglob("manifest.json"))) == 1


def goes_on_in_one_process(models: Path, scenario: Scenario, folder: Path) -> None:
    assert load_curves(folder, partial=True).steps.tolist() == [0, 2]
    seen: list[CellProgress] = []
    run_cell(spec(models, scenario), folder, threads=1, device="cpu", on_progress=seen.append)
    assert list(dict.fromkeys(p.step for p in seen if p.phase == "training")) == [2, 3, 4]


def test_several_processes_go_on_from_the_checkpoint_of_one(together: dict[int, Path]) -> None:
    for name in ("cut-by-one", "cut-by-one-ddp"):
        (world,) = SCENARIOS[name].worlds
        provenance = load_curves(together[world] / name).provenance
        assert "processes" not in provenance["versions"]
        assert provenance["resumed_under"]["processes"] == str(world)
        assert told(together[world] / name)[:, 0].tolist() == [2, 3, 4]


@pytest.mark.parametrize(("world", "name"), [case for case in CASES if not SCENARIOS[case[1]].cut])
def test_the_loss_that_is_told_is_the_whole_batchs(
    together: dict[int, Path], alone: Path, world: int, name: str
) -> None:
    found, expected = told(together[world] / name), told(alone / name)
    assert found[:, 0].tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(found[1:], expected[1:], atol=1e-5)


@pytest.mark.parametrize("name", ["encoder-ia3-ddp", "cut-by-one-ddp"])
def test_gradients_are_those_of_one_process(together: dict[int, Path], alone: Path, name: str) -> None:
    folders = (together[2] / name, alone / name)
    groups = [load_group_gradients(folder / GRADIENTS) for folder in folders]
    assert groups[0].steps == groups[1].steps == (0, 1, 2, 3, 4)
    assert groups[0].sizes == groups[1].sizes
    np.testing.assert_allclose(groups[0].products, groups[1].products, rtol=1e-3, atol=1e-5)
    norms = [load_gradient_norms(folder / GRADIENT_NORMS) for folder in folders]
    assert norms[0].steps == norms[1].steps == (4,)
    np.testing.assert_allclose(norms[0].norms, norms[1].norms, rtol=1e-3)


def told(folder: Path) -> np.ndarray:
    return np.loadtxt(folder.with_suffix(".told"))


def test_label_noise_is_that_of_one_process(together: dict[int, Path], alone: Path) -> None:
    name = "encoder-full-ddp"
    masks = [pq.read_table(folder / name / "noise.parquet") for folder in (together[3], alone)]
    assert masks[0].equals(masks[1])
    assert load_curves(together[3] / name).provenance["flipped_labels"] == 6  # a quarter of 25
