"""Plans for machines: stated ones, and those of an engine whose workers measure. No Ray: an engine in miniature."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from dissensus.config import RunSpec, StudySpec
from dissensus.errors import SpecError
from dissensus.run.engines.base import Hear, Machine, Needs
from dissensus.run.engines.node import run_job
from dissensus.run.plan import plan as planning
from dissensus.run.plan.facts import DataFacts, Timing, TokenFacts, Weights
from dissensus.run.plan.findings import Findings, Known
from dissensus.run.plan.plan import plan_study
from dissensus.run.plan.stated import Assumption

ASSUMED = Assumption(1.0, 0.5, 0.0, 0.0)
GPU_NODE = Machine(16, 1, 128)
TIMING = Timing(590.0, 0.0, 0.0, 0.0, 0, 0, 1.0, 1.0, False, False, 1.0, start=10.0)  # with its start 600 s


def study(**changes: Any) -> StudySpec:
    base: dict[str, Any] = {
        "name": "s",
        "models": [{"name": "a"}],
        "datasets": [{"name": "sim", "tracked": {"source": "simulated", "size": 10}}],
        "methods": [{"name": "full", "learning_rate": 1e-4}],
        "regimes": ["trained_on"],
        "seeds": [0, 1, 2, 3],
        "training": {"batch_size": 5},
        "tracking": {"points": 3, "token_budget": 256},
    }
    return StudySpec.parse({**base, **changes}, "test")


@pytest.fixture
def _ten_minutes_each(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(cells: Sequence[RunSpec], *_: Any, **__: Any) -> Findings:
        known = Known(DataFacts(10, 10, 3, 50, 400), TokenFacts(20.0, 150), TIMING, "", Weights(1000, 1000))
        return Findings({cell.cell_id: known for cell in cells})

    monkeypatch.setattr(planning, "assume_cells", found)


@pytest.mark.usefixtures("_ten_minutes_each")
@pytest.mark.parametrize(
    ("nodes", "gpus", "wall", "reserved", "standing", "at_once"),
    [
        (1, None, 2400, 4 / 6, 4 / 6, 1),  # a GPU each, as nothing is said
        (2, None, 1200, 4 / 6, 4 / 6, 2),
        (3, None, 1200, 4 / 6, 1.0, 3),  # 3 jobs, then 1: two machines stand idle for ten minutes
        (1, 0.5, 1200, 2 / 6, 2 / 6, 2),
        (1, 0.25, 600, 1 / 6, 1 / 6, 4),
    ],
)
def test_gpu_hours(
    tmp_path: Path,
    nodes: int,
    gpus: float | None,
    wall: float,
    reserved: float,
    standing: float,
    at_once: int,
) -> None:
    rules = [] if gpus is None else [{"when": {}, "set": {"gpus": gpus}}]
    spec = study(execution=rules)
    plan = plan_study(spec, tmp_path / "out", cluster=[GPU_NODE] * nodes, assumption=ASSUMED)
    assert plan.wall_seconds == pytest.approx(wall)
    took = plan.resources
    assert (took.gpu_hours, took.standing_gpu_hours) == (pytest.approx(reserved), pytest.approx(standing))
    assert (took.jobs_at_once, plan.workers) == (at_once, at_once)
    assert took.checkpoint_bytes == at_once * 3 * 4 * 1000
    assert plan.rows[0].gpu_seconds == pytest.approx(3600 * reserved)
    assert took.cpu_hours == pytest.approx(4 / 6)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("_ten_minutes_each")
def test_workers_limit_the_jobs_at_a_time(tmp_path: Path) -> None:
    plan = plan_study(study(), tmp_path, cluster=[GPU_NODE] * 4, assumption=ASSUMED, workers=2)
    assert (plan.wall_seconds, plan.workers) == (pytest.approx(1200), 2)


@pytest.mark.usefixtures("_ten_minutes_each")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"assumption": ASSUMED}, "--assume is about stated machines"),
        ({"assumption": ASSUMED, "calibration": Path("x.json")}, "two sources of the same seconds"),
        (
            {"assumption": ASSUMED, "cluster": [Machine(4, 1, 2)]},
            "no machine has room for a cell that takes 1",
        ),
        (
            {"cluster": [GPU_NODE], "device": "cpu"},
            "has GPUs and this machine, where would be measured, has none",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError) as refused:
        plan_study(study(), tmp_path, **options)
    assert said in str(refused.value)


class Worker:
    """Runs a job in a thread, in a process of its own, as a cluster's machine does."""

    def __init__(self) -> None:
        self.thread: threading.Thread | None = None

    def give(self, job: Mapping[str, Any], *, log: Path, hear: Hear) -> None:
        self.thread = threading.Thread(target=run_job, args=(job,), kwargs={"log": str(log), "tell": hear})
        self.thread.start()

    def ask_to_stop(self) -> None: ...

    def terminate(self) -> None: ...

    def dismiss(self) -> None: ...


class SmallEngine:
    """An engine whose machines are elsewhere, all of them here."""

    name = "small"
    elsewhere = True
    retries = 0

    def __init__(self, machines: Sequence[Machine]) -> None:
        self._machines = tuple(machines)
        self.hired: list[Needs] = []
        self.is_open = False

    def open(self) -> None:
        self.is_open = True

    def has_gpus(self) -> bool:
        return False

    def machines(self) -> tuple[Machine, ...]:
        assert self.is_open
        return self._machines

    def check(self, needs: Sequence[Needs]) -> None: ...

    def slots(self, jobs: int) -> int:
        return jobs

    def hire(self, needs: Needs, log: Path) -> Worker:
        self.hired.append(needs)
        return Worker()

    def release(self, worker: Worker) -> None:
        assert worker.thread is not None
        worker.thread.join()

    def close(self) -> None:
        self.is_open = False


def test_an_engine_s_workers_measure(tiny_encoder_dir: Path, tmp_path: Path) -> None:
    models = [{"name": str(tiny_encoder_dir)}, {"name": "some-org/some-model"}]
    execution = [{"when": {}, "set": {"cpus": 2.0, "memory_gib": 1.5}}]
    spec = study(models=models, seeds=[0, 1], execution=execution)
    engine = SmallEngine([Machine(0, 0, 64), Machine(4, 0, 4)])
    told: list[str] = []
    plan = plan_study(
        spec, tmp_path / "runs" / "out", engine=engine, threads=1, device="cpu", on_note=told.append
    )
    here, away = plan.rows
    assert here.reasons == ()
    assert away.reasons[0].startswith("model 'some-org/some-model' is not on this machine")
    (measured,) = plan.measured
    assert (measured.device, measured.threads, measured.workers) == ("CPU", 1, 1)
    assert measured.timing.start > 0
    assert engine.hired == [Needs(2.0, 0.0, 1.5, 1)] * 3  # the data, and two kinds
    assert len(told) == 3
    assert (plan.source.kind, plan.source.engine) == ("measured", "small")
    # Two jobs side by side on the machine that has room; each with a process of its own to start.
    took = [cell.work.seconds for cell in plan.cells if cell.work.seconds is not None]
    assert len(took) == 2
    assert plan.wall_seconds == pytest.approx(max(took))
    assert min(took) > measured.timing.start
    assert not engine.is_open
    assert list(tmp_path.iterdir()) == []  # nothing is left behind

    # And the JSON of it stands in place of a measurement.
    file = tmp_path / "small.json"
    file.write_text(json.dumps(plan.to_json()))
    again = plan_study(
        spec, tmp_path / "runs" / "out", calibration=file, cluster=[Machine(4, 0, 4)], threads=1
    )
    assert again.wall_seconds == pytest.approx(plan.wall_seconds)
    assert again.rows[0] == here
    with pytest.raises(SpecError, match="was measured on CPU, and the cells planned here get a GPU"):
        plan_study(spec, tmp_path / "runs" / "out", calibration=file, cluster=[GPU_NODE])


def test_an_engine_that_cannot_tell_its_machines(tmp_path: Path) -> None:
    engine = SmallEngine([])
    with pytest.raises(SpecError, match="the engine small cannot tell what machines there are; state them"):
        plan_study(study(), tmp_path, engine=engine)
    assert not engine.is_open
