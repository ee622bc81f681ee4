"""Counting what is left of a study: known values, and a folder in which some of it is done."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dissensus import threads
from dissensus.config import ExecutionRule, RunSpec, StudySpec, When
from dissensus.data.sources import load_source
from dissensus.data.sources.simulated import SimulatedSource
from dissensus.errors import SpecError
from dissensus.run.engines.slurm import SlurmEngine
from dissensus.run.plan import plan as planning
from dissensus.run.plan.facts import (
    CellFacts,
    DataFacts,
    Measured,
    StudyFacts,
    Trial,
    likeness,
)
from dissensus.run.plan.measuring import Workers, data_sizes, finished_seconds
from dissensus.run.plan.plan import (
    examples_bound,
    examples_seen,
    plan_cell,
    plan_study,
    shard_bound,
    train_size_of,
    wall_seconds,
)
from dissensus.run.plan.work import NOTHING, Work
from dissensus.store import CurvesWriter
from dissensus.study.grid import expand
from dissensus.study.lock import StudyLock
from dissensus.study.status import CellStatus, Try, cell_folder, write_status

DATA = DataFacts(train=100, tracked=10, labels=3, id_bytes=50, text_bytes=400, train_bytes=4000)
TRIAL = Trial(
    setup=5.0,
    gradient=0.001,
    update=0.5,
    tracking=0.0002,
    steps=4,
    passes=3,
    low=0.9,
    high=1.2,
    undisturbed=True,
    share=1.0,
    train_tokens=0.5,  # 4000 bytes of 100 examples: 20 tokens each
    tracked_tokens=0.375,  # of 400 bytes: 150 tokens
    weights=1000,
    weights_per_rank=0,
    device="CPU",
)
KNOWN = CellFacts(DATA, TRIAL)
UNCOUNTED = Work(validation_passes=0, gradient_points=0)  # nothing is known, and neither is asked for


def cell(**changes: Any) -> RunSpec:
    base: dict[str, Any] = {
        "dataset": {
            "name": "panel",
            "tracked": {"source": "chaosnli", "path": "mine.jsonl"},
            "train": {"source": "snli"},
            "train_size": 100,
        },
        "model": {"name": "m"},
        "method": {"name": "full", "learning_rate": 1e-4},
        "regime": "held_out",
        "training": {"batch_size": 32, "epochs": 2},
        "tracking": {"points": 5},
    }
    return RunSpec.parse({**base, **changes}, "test")


def status(**known: Any) -> CellStatus:
    return CellStatus(cell="c", **known)


def test_examples_seen_are_those_in_the_batches() -> None:
    # 70 examples in batches of 32 are batches of 32, 32 and 6, over and over.
    sizes = [32, 32, 6] * 3
    assert [examples_seen(70, 32, steps) for steps in range(10)] == [sum(sizes[:s]) for s in range(10)]
    assert examples_seen(64, 32, 3) == 96


@pytest.mark.parametrize(
    ("dataset", "regime", "size"),
    [
        ({"train_size": 100}, "held_out", 100),
        ({"train_size": 100, "tracked_size": 40}, "trained_on", 140),
        ({"train_size": 100}, "trained_on", None),  # how large a file of one's own is, only the file tells
        ({"tracked_size": 40}, "held_out", None),
        ({"tracked_size": 40, "train": None, "train_size": None}, "trained_on", 40),
        ({"train_size": 9, "tracked": {"source": "simulated", "size": 60}}, "trained_on", 69),
    ],
)
def test_the_training_set_s_size_from_the_specification(
    dataset: dict[str, Any], regime: str, size: int | None
) -> None:
    base = {"name": "d", "tracked": {"source": "chaosnli", "path": "mine.jsonl"}, "train": {"source": "snli"}}
    assert train_size_of(cell(dataset=base | dataset, regime=regime)) == size


def test_a_cell_that_has_not_begun() -> None:
    # 100 examples in batches of 32: 4 steps per epoch, 8 in all; points at 0, 2, 4, 6 and 8.
    # Each example is seen twice: 200 x 20 tokens. 5 passes of 150 tokens.
    # 5 s + 8 x 0.5 s + 4000 x 0.001 s + 750 x 0.0002 s = 13.15 s.
    plan = plan_cell(cell(), status(), KNOWN)
    room = 5 * shard_bound(DATA) + examples_bound(DATA)
    assert plan.work == Work(8, 4000, 5, 750, pytest.approx(13.15), room, 0, 0)
    assert (plan.model, plan.method, plan.reason) == ("m", "full", "")


def test_a_cell_that_was_interrupted_counts_what_is_left() -> None:
    # Of 8 steps 5 are taken: an epoch (100 examples) and a batch of 32. 68 are left, in 3 steps; 2 points of 5.
    done = status(state="interrupted", step=5, total_steps=8, tracking_points_done=3, tracking_points=5)
    work = plan_cell(cell(), done, KNOWN).work
    assert work == Work(3, 1360, 2, 300, pytest.approx(5 + 1.5 + 1.36 + 0.06), 2 * shard_bound(DATA), 0, 0)


PROBED = {
    "dataset": {
        "name": "panel",
        "tracked": {"source": "chaosnli", "path": "mine.jsonl"},
        "train": {"source": "snli"},
        "train_size": 100,
        "entropy_cuts": {"low": 0.5, "high": 1.1},
        "holdout": {"share": 0.2, "seed": 1},
    },
    "tracking": {"points": 5, "gradients": {"every": 3, "epoch_ends": True, "norms": "end"}},
}


def test_validation_passes_and_gradient_points_are_counted() -> None:
    # 4 steps per epoch, 8 in all. Validation after 0, 4 and 8 steps: 3 passes of 80 bytes, 30 tokens each.
    # Gradients after 0, 3, 4, 6 and 8 steps: 5 points over settled and contested, 240 bytes, 90 tokens each; norms of
    # the 10 tracked examples once, after the last step.
    data = replace(
        DATA, validation=2, validation_bytes=80, class_bytes={"settled": 80, "middle": 160, "contested": 160}
    )
    known = CellFacts(data, replace(TRIAL, group_gradients=0.01, example_norms=0.2))
    probed = cell(**PROBED)
    work = plan_cell(probed, status(), known).work
    assert (work.validation_passes, work.gradient_points) == (3, 5)
    assert work.seconds == pytest.approx(13.15 + 3 * 30 * 0.0002 + 5 * 90 * 0.01 + 10 * 0.2)
    # After 5 steps: validation after 8, gradients after 6 and 8.
    done = status(state="interrupted", step=5, total_steps=8, tracking_points_done=3, tracking_points=5)
    work = plan_cell(probed, done, known).work
    assert (work.validation_passes, work.gradient_points) == (1, 2)
    assert work.seconds == pytest.approx(5 + 1.5 + 1.36 + 0.06 + 30 * 0.0002 + 2 * 90 * 0.01 + 10 * 0.2)
    # Where each example's norm is measured at all points, it is counted at all.
    everywhere = {**PROBED["tracking"], "gradients": {"every": 3, "norms": "all"}}
    work = plan_cell(cell(**{**PROBED, "tracking": everywhere}), status(), known).work
    assert work.gradient_points == 4
    assert work.seconds == pytest.approx(13.15 + 3 * 30 * 0.0002 + 4 * (90 * 0.01 + 10 * 0.2))
    # Without data neither's seconds are known; the specification counts them all the same.
    work = plan_cell(probed, status(), CellFacts(reason="no such file")).work
    assert work == Work(steps=8, tracking_points=5, validation_passes=3, gradient_points=5)


def test_a_cell_that_is_done_costs_nothing() -> None:
    assert plan_cell(cell(), status(state="done"), CellFacts(reason="not here")).work == NOTHING
    assert plan_cell(cell(), status(state="done"), CellFacts(reason="not here")).reason == ""


def test_without_data_the_specification_gives_the_steps() -> None:
    plan = plan_cell(cell(), status(), CellFacts(reason="no such file"))
    assert plan.work == Work(steps=8, tracking_points=5, validation_passes=0, gradient_points=0)
    assert plan.reason == "no such file"


def test_what_an_earlier_run_has_found_gives_the_steps_too() -> None:
    trained = cell(regime="trained_on")
    assert plan_cell(trained, status(), CellFacts(reason="r")).work == UNCOUNTED
    begun = status(state="failed", step=2, total_steps=20, tracking_points_done=1)
    assert plan_cell(trained, begun, CellFacts(reason="r")).work == Work(
        steps=18, tracking_points=4, validation_passes=0, gradient_points=0
    )


def test_without_the_model_sizes_are_known_and_tokens_are_not() -> None:
    work = plan_cell(cell(), status(), CellFacts(DATA, reason="no model")).work
    assert (work.steps, work.tracking_points, work.training_tokens, work.seconds) == (8, 5, None, None)
    assert work.curve_bytes == 5 * shard_bound(DATA) + examples_bound(DATA)


def test_a_tracking_step_outside_the_run_is_told() -> None:
    plan = plan_cell(cell(tracking={"steps": [99]}), status(), KNOWN)
    assert plan.work == Work(steps=8)
    assert plan.reason == "tracking step 99 lies outside the run; expected 0 to 8"


def test_the_bound_of_the_curves_holds(tmp_path: Path) -> None:
    spec = cell(dataset={"name": "d", "tracked": {"source": "simulated", "size": 300}}, regime="trained_on")
    facts = data_sizes(spec, None)
    tracked = load_source(SimulatedSource(size=300))
    writer = CurvesWriter(
        tmp_path / "store",
        tracked,
        total_steps=1,
        covariates={"token_count": np.random.default_rng(0).random(300)},
    )
    raw = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    writer.write(0, tracked.ids, raw)
    shard = (tmp_path / "store" / "curves" / "step-00000000.parquet").stat().st_size
    examples = (tmp_path / "store" / "examples.parquet").stat().st_size
    assert shard <= shard_bound(facts) < 5 * shard
    assert examples <= examples_bound(facts) < 8 * examples


def test_the_wall_clock_ends_with_the_longest_job() -> None:
    assert wall_seconds([10.0, 10.0, 10.0, 10.0], 2) == 20.0
    assert wall_seconds([100.0, 10.0, 10.0], 2) == 100.0
    assert wall_seconds([], 2) is None


STUDY = StudySpec.parse(
    {
        "name": "s",
        "models": [{"name": "a"}, {"name": "b"}],
        "datasets": [{"name": "sim", "tracked": {"source": "simulated", "size": 10}}],
        "methods": [{"name": "full", "learning_rate": 1e-4}],
        "regimes": ["trained_on"],
        "seeds": [0, 1],
        "training": {"batch_size": 4, "epochs": 4},
        "tracking": {"points": 3},
    },
    "test",
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What would be measured: model a is known, b is not here."""
    calls: list[dict[str, Any]] = []

    def measured(
        cells: Sequence[RunSpec], workers: Workers, *, cell_seconds: dict[str, float], note: Any
    ) -> StudyFacts:
        calls.append(
            {"cells": [c.cell_id for c in cells], "workers": workers.count, "cell_seconds": cell_seconds}
        )
        facts = DataFacts(10, 10, 3, 50, 400, 400)  # 20 tokens each in training
        known = {
            c.cell_id: CellFacts(facts, TRIAL, cell_seconds.get(likeness(c)))
            if c.model.name == "a"
            else CellFacts(facts, reason="no b")
            for c in cells
        }
        one = Measured("a", "full", "fp32", cells[0].cell_id, workers.count, workers.threads, 2, TRIAL)
        return StudyFacts(known, (one,))

    monkeypatch.setattr(planning, "measure_cells", measured)
    return calls


def test_a_study_by_model_and_method(asked: list[dict[str, Any]], tmp_path: Path) -> None:
    plan = plan_study(STUDY, tmp_path / "out", workers=8, threads=1)
    # 10 examples in batches of 4: 3 steps per epoch, 12 a cell; 40 examples of 20 tokens; 3 passes.
    # A cell of model a: 5 + 12 x 0.5 + 800 x 0.001 + 450 x 0.0002 = 11.89 s; four jobs, so four workers of eight.
    a, b = plan.rows
    assert (a.model, a.done, a.left, a.work.steps, a.work.training_tokens) == ("a", 0, 2, 24, 1600)
    assert a.work.seconds == pytest.approx(2 * 11.89)
    assert (a.unknown, a.reasons) == ({}, ())
    assert (b.work.steps, b.work.seconds, b.reasons) == (24, None, ("no b",))
    assert b.unknown == {"training_tokens": 2, "tracked_tokens": 2, "seconds": 2}
    assert (plan.total.work.steps, plan.total.left) == (48, 4)
    assert plan.total.unknown["seconds"] == 2
    assert (plan.workers, plan.jobs, asked[0]["workers"]) == (4, 4, 4)
    assert plan.wall_seconds == pytest.approx(11.89)  # no less than the longest
    assert plan.resources.checkpoint_bytes == 2 * 12_000  # of the jobs that run at a time and are known
    assert plan.resources.cpu_hours == pytest.approx(2 * 11.89 / 3600)
    assert plan.resources.gpu_hours == 0
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("asked")
def test_workers_have_the_threads_that_they_have_in_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "available", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    plan = plan_study(STUDY, tmp_path, workers=8)
    # A run shares 8 cores among the 8 workers that were asked for; 4 jobs keep 4 of them busy.
    assert (plan.workers, plan.threads) == (4, 1)


def finish(spec: RunSpec, out: Path, seconds: float, **more: Any) -> None:
    """Leaves a cell as a run leaves it that took so long."""
    folder = cell_folder(out, spec)
    folder.mkdir(parents=True)
    known = {"host": socket.gethostname(), "pid": 1, "tries": (Try(state="done"),), **more}
    write_status(folder, CellStatus(cell=spec.cell_id, state="done", seconds=seconds, **known))
    (folder / "manifest.json").write_text('{"complete": true}')


def test_finished_cells_tell_how_long_cells_like_them_take(
    asked: list[dict[str, Any]], tmp_path: Path
) -> None:
    first = expand(STUDY)[0]
    finish(first, tmp_path, 40.0)
    plan = plan_study(STUDY, tmp_path, workers=1, threads=1)
    assert [cell.work.seconds for cell in plan.cells] == [0.0, None, pytest.approx(40.0), None]
    assert (plan.finished, plan.wall_seconds) == (1, pytest.approx(40.0))
    # Asked for one seed alone, the finished cell of the other one still tells.
    assert plan_study(STUDY, tmp_path, only=When(seed=1, model="a")).wall_seconds == pytest.approx(40.0)
    assert asked[-1]["cell_seconds"] == {likeness(first): 40.0}


def test_a_cell_that_is_half_way_takes_half_as_long(asked: list[dict[str, Any]], tmp_path: Path) -> None:
    first, _, second, _ = expand(STUDY)
    finish(first, tmp_path, 40.0)
    folder = cell_folder(tmp_path, second)
    folder.mkdir(parents=True)
    # 6 of 12 steps and 1 of 3 points: (1/2 + 1/3) / 2 of it are done.
    begun = {"state": "interrupted", "step": 6, "total_steps": 12, "tracking_points_done": 1}
    write_status(folder, CellStatus(cell=second.cell_id, **begun))
    plan = plan_study(STUDY, tmp_path, workers=1, threads=1, only=When(model="a"))
    assert plan.wall_seconds == pytest.approx(40.0 * (1 - 5 / 12))


def test_which_finished_cells_tell(tmp_path: Path) -> None:
    cells = [cell for cell in expand(STUDY) if cell.model.name == "a"]
    host = socket.gethostname()
    two = (Try(state="interrupted"), Try(state="done"))

    def told(*statuses: CellStatus, anywhere: bool = False) -> dict[str, float]:
        by_id = {cell.cell_id: CellStatus(cell.cell_id) for cell in cells}
        by_id |= {cell.cell_id: status for cell, status in zip(cells, statuses, strict=False)}
        return finished_seconds(cells, by_id, anywhere=anywhere)

    def done(**more: Any) -> CellStatus:
        known = {"state": "done", "seconds": 10.0, "host": host, "pid": 1, "tries": two[1:], **more}
        return CellStatus("c", **known)

    assert told(done(), done(pid=2, seconds=20.0)) == {likeness(cells[0]): 15.0}
    assert told(done(), done(seconds=20.0)) == {}  # one job: they trained in one pass
    assert told(done(tries=two)) == {}  # a part of it was done twice
    assert told(done(host="another")) == {}
    assert told(done(host="another"), anywhere=True) == {likeness(cells[0]): 10.0}
    assert told(done(seconds=0.0)) == {}  # run from Python, which keeps no time


def test_on_another_engine_finished_cells_alone_tell(asked: list[dict[str, Any]], tmp_path: Path) -> None:
    engine = SlurmEngine(tmp_path / ".slurm", {})
    plan = plan_study(STUDY, tmp_path, engine=engine)
    assert asked == []
    assert (plan.total.work.steps, plan.total.work.seconds, plan.workers) == (48, None, 0)
    assert plan.rows[0].reasons == (
        "no cell like it has finished there; run one (--only seed=0, say) and plan again",
    )
    finish(expand(STUDY)[0], tmp_path, 40.0, host="node-7")
    plan = plan_study(STUDY, tmp_path, engine=engine, workers=4)
    assert (plan.engine, plan.finished, plan.wall_seconds) == ("slurm", 1, pytest.approx(40.0))
    assert plan_study(STUDY, tmp_path, engine=engine).wall_seconds is None
    assert asked == []
    assert not (tmp_path / ".slurm").exists()


def test_what_the_folder_holds_counts_as_done(asked: list[dict[str, Any]], tmp_path: Path) -> None:
    first, second, third, _ = expand(STUDY)
    for spec, known in (
        (first, {"state": "done"}),
        (second, {"state": "running", "step": 6, "total_steps": 12, "tracking_points_done": 2}),
        (third, {"state": "failed", "error": "why"}),
    ):
        folder = cell_folder(tmp_path, spec)
        folder.mkdir(parents=True)
        write_status(folder, CellStatus(cell=spec.cell_id, **known))
    (cell_folder(tmp_path, first) / "manifest.json").write_text('{"complete": true}')
    before = sorted(p for p in tmp_path.rglob("*"))
    plan = plan_study(STUDY, tmp_path)
    assert first.cell_id not in asked[0]["cells"]
    assert [c.state for c in plan.cells] == ["done", "interrupted", "failed", "pending"]
    assert [c.work.steps for c in plan.cells] == [0, 6, 12, 12]
    assert (plan.total.done, plan.total.left, plan.running) == (1, 3, False)
    assert sorted(p for p in tmp_path.rglob("*")) == before
    with StudyLock(tmp_path):
        now = plan_study(STUDY, tmp_path)
    assert (now.running, now.cells[1].state) == (True, "running")


@pytest.mark.usefixtures("asked")
def test_a_reserved_gpu_costs_nothing_where_there_is_none(tmp_path: Path) -> None:
    study = STUDY.model_copy(update={"execution": (ExecutionRule(set={"gpus": 1}),)})
    plan = plan_study(study, tmp_path, workers=1, device="cpu")
    assert (plan.resources.gpu_hours, plan.rows[0].gpu_seconds) == (0, 0)
    finish(expand(STUDY)[0], tmp_path, 36.0)
    plan = plan_study(study, tmp_path, engine=SlurmEngine(tmp_path / ".slurm", {}))
    assert plan.resources.gpu_hours == pytest.approx(0.01)  # as it reserves one there


def test_a_finished_cell_tells_where_not_even_the_data_are_here() -> None:
    trained = cell(regime="trained_on")
    plan = plan_cell(trained, status(), CellFacts(whole=40.0, reason="no such file"))
    assert plan.work == replace(UNCOUNTED, seconds=40.0)


def test_with_nothing_left_nothing_is_measured(asked: list[dict[str, Any]], tmp_path: Path) -> None:
    only = When(model="a", seed=0)
    folder = cell_folder(tmp_path, expand(STUDY)[0])
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"complete": true}')
    plan = plan_study(STUDY, tmp_path, only=only)
    assert asked == []
    assert (plan.total.work, plan.workers, plan.wall_seconds) == (NOTHING, 0, None)


def test_senseless_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="workers is 0; expected 1 or more"):
        plan_study(STUDY, tmp_path, workers=0)
