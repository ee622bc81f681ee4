"""Every try of a cell leaves a trace: in its status, in its log, and in what `dissensus status` shows."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dissensus.cli.app import app
from dissensus.run.job_status import AGAIN, RunningJob
from dissensus.run.messages import Done, Ended, JobOrder, Progress, Started
from dissensus.run.progress import CellProgress
from dissensus.run.runner import run_study
from dissensus.study.folder import StudyFolder
from dissensus.study.grid import expand
from dissensus.study.status import KILLED, CellStatus, read_status, write_status
from run.engines.studies import fake_study

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def _fake_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))


def run(study: Any, out: Path, **more: Any) -> Any:
    return run_study(study, out, run_cell="fake_cell:run_cell", run_cells="fake_cell:run_cells", **more)


def test_a_retried_cell_keeps_every_try_and_its_log(tmp_path: Path) -> None:
    study = fake_study("kill")
    (done,) = run(study, tmp_path, retries=1).cells
    first, second = done.tries
    assert (first.state, second.state) == ("interrupted", "done")
    assert (first.step, second.step) == (2, 4)
    assert "signal 9" in first.error
    assert first.host == os.uname().nodename
    assert first.pid != second.pid
    assert first.started <= first.ended <= second.started <= second.ended
    assert StudyFolder(tmp_path).statuses == (done,)
    log = (tmp_path / "cells" / done.cell / "log.txt").read_text()
    assert log.count("this goes to the log") == 2
    assert [line.split(",")[0] for line in log.splitlines() if line.startswith("--- ")] == [
        "--- try 2",
    ]
    shown = CliRunner().invoke(app, ["status", str(tmp_path)]).stdout
    assert "2 tries" in shown
    assert f"on {first.host}: interrupted, step 2 of 4: worker died with signal 9" in shown
    told = json.loads(CliRunner().invoke(app, ["status", str(tmp_path), "--json"]).stdout)
    assert [one["state"] for one in told[0]["tries"]] == ["interrupted", "done"]


def test_status_shows_the_whole_of_an_error_once(tmp_path: Path) -> None:
    study = fake_study("ok", seeds=[0, 1])
    first, second = (cell.cell for cell in run(study, tmp_path).cells)
    lines = ["the weights do not fit", "Missing from the file: layer.1", "Save the model again."]
    for name in (first, second):
        folder = tmp_path / "cells" / name
        write_status(folder, replace(read_status(folder), state="failed", error="\n".join(lines)))
    shown = CliRunner().invoke(app, ["status", str(tmp_path)]).stdout.splitlines()
    at = shown.index("failed:")
    assert shown[at + 1 : at + 6] == [f"  {first}", f"  {second}", *(f"    {line}" for line in lines)]
    assert sum(lines[1] in line for line in shown) == 1
    assert sum(lines[0] in line for line in shown[:at]) == 2  # in the table, each cell's first line


def test_a_fused_run_appends_to_a_cells_own_log(tmp_path: Path) -> None:
    study = fake_study(
        "each-fail-fail", methods=[{"name": "lora", "rank": 2, "learning_rate": 1e-4}], seeds=[0, 1]
    )
    cells = run(study, tmp_path).cells
    logs = [tmp_path / "cells" / cell.cell / "log.txt" for cell in cells]
    alone = [log.read_text() for log in logs]
    assert all("this goes to the log" in text for text in alone)
    again = run(study, tmp_path, fuse=2).cells
    assert [len(cell.tries) for cell in again] == [2, 2]
    assert all(log.read_text().startswith(text) for log, text in zip(logs, alone, strict=True))
    assert (
        logs[1]
        .read_text()
        .endswith(f"Trained together with {cells[0].cell}; what was printed is in its log.txt.\n")
    )


def test_a_killed_runners_try_is_closed_by_whoever_looks_next(tmp_path: Path) -> None:
    study = fake_study("ok")
    spec = expand(study)[0]
    seen: list[CellStatus] = []

    def first_point(status: CellStatus) -> None:
        seen.append(status)

    run(study, tmp_path, on_change=first_point)
    folder = tmp_path / "cells" / spec.cell_id
    half_way = next(status for status in seen if status.state == "running" and status.step == 2)
    (folder / "manifest.json").unlink()
    write_status(folder, half_way)  # as kill -9 leaves it
    (shown,) = StudyFolder(tmp_path).statuses
    assert (shown.state, shown.phase) == ("interrupted", "")
    assert (shown.tries[0].state, shown.tries[0].error, shown.tries[0].ended) == ("interrupted", KILLED, "")
    assert shown.tries[0].doing == "step 2 of 4"
    assert read_status(folder).state == "running"  # looking changes no file
    for path in (folder / "curves").iterdir():
        path.unlink()
    (done,) = run(study, tmp_path).cells
    assert [one.state for one in done.tries] == ["interrupted", "done"]


def test_what_an_older_version_left_counts_as_a_try(tmp_path: Path) -> None:
    study = fake_study("ok")
    folder = tmp_path / "cells" / expand(study)[0].cell_id
    folder.mkdir(parents=True)
    (folder / "status.json").write_text(
        json.dumps(
            {"state": "failed", "started": "2026-01-01T00:00:00+00:00", "host": "old", "pid": 3, "error": "x"}
        )
    )
    (done,) = run(study, tmp_path).cells
    assert [(one.state, one.error) for one in done.tries] == [("failed", "x"), ("done", "")]


class Quiet:
    """A worker that takes a job and says nothing."""

    def give(self, order: Any, on_event: Any) -> None: ...
    def ask_to_stop(self) -> None: ...
    def terminate(self) -> None: ...
    def dismiss(self) -> None: ...


def running_job(study: Any, out: Path) -> RunningJob:
    spec = expand(study)[0]
    from dissensus.config import Execution

    return RunningJob(
        (spec,),
        {spec.cell_id: CellStatus(spec.cell_id)},
        out,
        worker=Quiet(),
        order=JobOrder((), threads=1),
        executions={spec.cell_id: Execution()},
        last_try=True,
        on_event=lambda _event: None,
    )


def test_a_job_that_a_queue_starts_once_more_is_two_tries(tmp_path: Path) -> None:
    job = running_job(fake_study("ok"), tmp_path)
    job.handle(Started("node-a", 1))
    (status,) = job.handle(Started("node-b", 2))
    assert [(one.host, one.state, one.error) for one in status.tries] == [
        ("node-a", "interrupted", AGAIN),
        ("node-b", "running", ""),
    ]


def test_a_worker_that_never_began_leaves_a_try_too(tmp_path: Path) -> None:
    job = running_job(fake_study("ok"), tmp_path)
    (status,) = job.handle(Ended("node-a does not see the folder"))
    assert [(one.started, one.state, one.error) for one in status.tries] == [
        ("", "failed", "node-a does not see the folder")
    ]


def test_what_an_earlier_try_came_to_stands_until_more_is_known(tmp_path: Path) -> None:
    job = running_job(fake_study("ok"), tmp_path)
    job.handle(Started("here", 1))
    job.handle(Progress(0, CellProgress(3, 9, 1, 4, 0.5)))
    (status,) = job.handle(Progress(0, CellProgress(0, 0, 0, 0, float("nan"), "loading data")))
    assert (status.phase, status.step, status.total_steps) == ("loading data", 3, 9)
    assert job.handle(Done(7)) == ()  # no such cell
