"""The runner, with a stand-in for the cell (`fake_cell.py`) in real worker processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dissensus.config import StudySpec, When
from dissensus.errors import SpecError, StoreError
from dissensus.run.process import words_for_exit
from dissensus.run.runner import StudyResult, run_study
from dissensus.store import load_curves
from dissensus.study.folder import StudyFolder
from dissensus.study.lock import StudyLock, lock_held
from dissensus.study.status import CellStatus, read_status, write_status
from processes import PATIENCE, gone, wait_for
from run.engines.studies import fake_study

HERE = Path(__file__).parent
FAKE = "fake_cell:run_cell"
FAKES = "fake_cell:run_cells"


@pytest.fixture(autouse=True)
def _fake_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def run(study: StudySpec, out: Path, **more: Any) -> StudyResult:
    return run_study(study, out, run_cell=FAKE, run_cells=FAKES, **more)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StudyResult, list[CellStatus]]:
    """A run in which one cell ends well and each other one ends badly in a way of its own."""
    out = tmp_path_factory.mktemp("mixed") / "study"
    seen: list[CellStatus] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE))
        patch.delenv("OMP_NUM_THREADS", raising=False)
        result = run(
            fake_study("fail", "refuse", "kill", "leave", "ok"),
            out,
            workers=2,
            threads=3,
            device="cpu",
            on_change=seen.append,
        )
    return out, result, seen


def by_model(cells: tuple[CellStatus, ...]) -> dict[str, CellStatus]:
    return {cell.condition.split(".")[1]: cell for cell in cells}


def test_a_failing_cell_keeps_no_other_from_running(
    mixed: tuple[Path, StudyResult, list[CellStatus]],
) -> None:
    out, result, _ = mixed
    cells = by_model(result.cells)
    assert {model: cell.state for model, cell in cells.items()} == {
        "fail": "failed",
        "refuse": "failed",
        "kill": "failed",
        "leave": "failed",
        "ok": "done",
    }
    assert [cell.cell for cell in result.failures] == [cell.cell for cell in result.cells[:4]]
    assert len(load_curves(out / "cells" / cells["ok"].cell).steps) == 5


def test_a_worker_takes_the_next_cell_unless_one_failed_in_it(tmp_path: Path) -> None:
    study = fake_study("each-ok-ok-fail-ok", seeds=[0, 1, 2, 3])
    cells = run(study, tmp_path, workers=1).cells
    assert [cell.state for cell in cells] == ["done", "done", "failed", "done"]
    assert cells[0].pid == cells[1].pid == cells[2].pid != cells[3].pid
    for cell in cells:
        log = (tmp_path / "cells" / cell.cell / "log.txt").read_text()
        assert log.count("this goes to the log") == 1  # its own alone


def test_a_worker_that_dies_idle_is_replaced(tmp_path: Path) -> None:
    study = fake_study("each-ok-slow-ok", seeds=[0, 1, 2])
    told: list[CellStatus] = []

    def change(status: CellStatus) -> None:
        told.append(status)
        seeds_done = [s.cell for s in told if s.state == "done"]
        if status.state == "done" and len(seeds_done) == 1:
            os.kill(status.pid, signal.SIGKILL)  # it has said "done", and waits or is about to
            (tmp_path / "go").touch()

    result = run(study, tmp_path, workers=1, on_change=change)
    states = {cell.state for cell in result.cells}
    # Whatever moment it dies at, nothing hangs: a cell that it was given is done by another or named as failed.
    assert states <= {"done", "failed"}
    assert result.cells[0].state == "done"
    assert all("SIGKILL" in cell.error for cell in result.failures)
    again = run(study, tmp_path, workers=1)
    assert {cell.state for cell in again.cells} == {"done"}


def test_each_way_to_fail_says_what_happened(mixed: tuple[Path, StudyResult, list[CellStatus]]) -> None:
    out, result, _ = mixed
    cells = by_model(result.cells)
    assert cells["fail"].error == "ZeroDivisionError: on purpose"
    assert "fake_cell.py" in cells["fail"].traceback
    assert cells["refuse"].error == "no such file: here.jsonl; give --data-dir"
    assert cells["kill"].error.startswith(
        "worker died with signal 9 (SIGKILL); often this means that memory ran out"
    )
    assert cells["leave"].error.startswith("worker ended with exit code 7")
    assert cells["leave"].error.endswith("leaving early")
    assert by_model(StudyFolder(out).statuses) == cells
    log = (out / "cells" / cells["ok"].cell / "log.txt").read_text()
    assert log == "this goes to the log, not among the events\n"


def test_status_holds_progress_and_times(mixed: tuple[Path, StudyResult, list[CellStatus]]) -> None:
    out, result, seen = mixed
    ok = by_model(result.cells)["ok"]
    assert (ok.step, ok.total_steps, ok.tracking_points_done, ok.tracking_points) == (4, 4, 5, 5)
    assert ok.loss == 0.25
    assert ok.started <= ok.ended
    assert ok.seconds > 0
    stored = json.loads((out / "cells" / ok.cell / "status.json").read_text())
    assert stored["state"] == "done"
    assert stored["pid"] == ok.pid != os.getpid()
    history = [s.state for s in seen if s.cell == ok.cell]
    assert history == ["running"] * (len(history) - 1) + ["done"]
    # Five tracking points are five calls, besides the one at the start and the one at the end.
    assert len(history) == 7


def test_workers_get_their_threads_and_import_no_analysis(
    mixed: tuple[Path, StudyResult, list[CellStatus]],
) -> None:
    out, result, _ = mixed
    facts = json.loads((out / "cells" / by_model(result.cells)["ok"].cell / "facts.json").read_text())
    assert facts["threads"] == 3
    assert facts["device"] == "cpu"
    assert facts["omp"] == "3"
    unwanted = [
        m
        for m in facts["modules"]
        if m.startswith(("torch", "dissensus.analysis.tables", "dissensus.report"))
    ]
    assert unwanted == []
    assert "dissensus.run.worker" not in facts["modules"]  # it runs as __main__, once
    assert "dissensus.curves" in facts["modules"]


def test_running_again_skips_what_is_done_and_resumes_what_is_not(tmp_path: Path) -> None:
    study = fake_study("ok", "kill")
    first = by_model(run(study, tmp_path, workers=2).cells)
    killed = tmp_path / "cells" / first["kill"].cell
    before = {p.name: p.stat().st_mtime_ns for p in (killed / "curves").iterdir()}
    assert len(before) == 3  # killed at step 2
    (tmp_path / "go").touch()
    again = run(study, tmp_path)
    second = by_model(again.cells)
    assert {model: cell.state for model, cell in second.items()} == {"ok": "done", "kill": "done"}
    assert again.skipped == {first["ok"].cell}
    assert second["ok"] == first["ok"]
    assert second["kill"].error == second["kill"].traceback == ""
    assert second["kill"].seconds > first["kill"].seconds
    after = {p.name: p.stat().st_mtime_ns for p in (killed / "curves").iterdir()}
    assert len(after) == 5
    assert {name: after[name] for name in before} == before
    # With everything done, no worker starts at all.
    third = run_study(study, tmp_path, run_cell="no_such_module:nothing")
    assert third.skipped == {cell.cell for cell in third.cells}
    # A folder whose curves are gone is not done, whatever its status says.
    (killed / "manifest.json").unlink()
    assert by_model(StudyFolder(tmp_path).statuses)["kill"].state == "interrupted"


def test_only_runs_the_matching_cells_and_the_rest_is_pending(tmp_path: Path) -> None:
    result = run(
        fake_study("ok", "fail", seeds=[0, 1]), tmp_path, only=When(model="ok", seed=1), data_dir=HERE
    )
    assert [cell.state for cell in result.cells] == ["done"]
    assert sorted(cell.state for cell in StudyFolder(tmp_path).statuses) == [
        "done",
        "pending",
        "pending",
        "pending",
    ]
    facts = json.loads((tmp_path / "cells" / result.cells[0].cell / "facts.json").read_text())
    assert facts["data_dir"] == str(HERE)


def test_a_study_may_change_and_says_how_but_two_studies_do_not_share_a_folder(tmp_path: Path) -> None:
    first = run(fake_study("ok"), tmp_path)
    assert first.study_diff == ""
    changed = run(fake_study("ok", analysis={"resamples": 200}, title="t"), tmp_path)
    assert changed.skipped == {first.cells[0].cell}
    assert "-  resamples: 1000" in changed.study_diff
    assert "+  resamples: 200" in changed.study_diff
    other = fake_study("ok", name="other")
    with pytest.raises(SpecError, match="holds the study 'fake', not 'other'") as caught:
        run(other, tmp_path)
    assert {"-name: fake", "+name: other"} <= set(str(caught.value).splitlines())
    # Cells of the earlier form stay, and are told apart.
    run(fake_study("ok", training={"epochs": 2}), tmp_path)
    assert [(c.state, c.in_study) for c in StudyFolder(tmp_path).statuses] == [
        ("done", True),
        ("done", False),
    ]


def test_two_runs_at_once_are_refused_with_the_pid(tmp_path: Path) -> None:
    assert not lock_held(tmp_path)
    with StudyLock(tmp_path):
        assert lock_held(tmp_path)
        with pytest.raises(StoreError, match=rf"already under way in .* \(process {os.getpid()} on "):
            run(fake_study("ok"), tmp_path)
        assert not (tmp_path / "study.yaml").exists()
    assert not lock_held(tmp_path)
    assert run(fake_study("ok"), tmp_path).failures == ()


SCRIPT = """
import sys
from pathlib import Path
from dissensus.config import StudySpec
from dissensus.run.runner import run_study
sys.path.insert(0, sys.argv[2])
study = StudySpec.from_yaml(Path(sys.argv[1]) / "in.yaml")
run_study(study, Path(sys.argv[1]), workers=2, run_cell="fake_cell:run_cell")
"""


@pytest.fixture
def slow_run(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run in another process, half-way in both of its cells."""
    (tmp_path / "in.yaml").write_text(fake_study("slow", seeds=[0, 1]).to_yaml())
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(HERE)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:

        def half_way() -> bool:
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            return (tmp_path / "study.yaml").exists() and all(
                cell.state == "running" and cell.step == 2 for cell in StudyFolder(tmp_path).statuses
            )

        try:
            wait_for(half_way, "both cells to be half-way")
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_stop_the_workers_and_leave_the_cells_interrupted(
    tmp_path: Path, slow_run: subprocess.Popen[bytes], number: signal.Signals
) -> None:
    pids = [cell.pid for cell in StudyFolder(tmp_path).statuses]
    slow_run.send_signal(number)
    _, errors = slow_run.communicate(timeout=PATIENCE)
    assert errors.strip().endswith(b"KeyboardInterrupt")
    assert all(gone(pid) for pid in pids)
    stored = [json.loads(path.read_text()) for path in (tmp_path / "cells").glob("*/status.json")]
    assert [(s["state"], s["step"]) for s in stored] == [("interrupted", 2)] * 2


def test_a_run_that_was_started_with_ctrl_c_ignored_keeps_ignoring_it(tmp_path: Path) -> None:
    """As `nohup` and a shell's background jobs start it: Ctrl-C is meant for somebody else. SIGTERM ends it."""
    (tmp_path / "in.yaml").write_text(fake_study("slow").to_yaml())

    def at(step: int, state: str) -> Callable[[], bool]:
        return lambda: (
            (tmp_path / "study.yaml").exists()
            and [(c.state, c.step) for c in StudyFolder(tmp_path).statuses] == [(state, step)]
        )

    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path), str(HERE)],
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    ) as process:
        try:
            wait_for(at(2, "running"), "the cell to be half-way")
            process.send_signal(signal.SIGINT)
            (tmp_path / "go").touch()
            process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert process.returncode == 0
    assert at(4, "done")()


def test_a_killed_runner_leaves_no_worker_behind_and_its_study_resumes(
    tmp_path: Path, slow_run: subprocess.Popen[bytes]
) -> None:
    pids = [cell.pid for cell in StudyFolder(tmp_path).statuses]
    slow_run.kill()
    slow_run.communicate(timeout=PATIENCE)
    wait_for(lambda: all(gone(pid) for pid in pids), "the orphaned workers to end")
    # The files still say 'running'; the view does not.
    stored = [read_status(path) for path in (tmp_path / "cells").iterdir()]
    assert {s.state for s in stored} == {"running"}
    assert {s.state for s in StudyFolder(tmp_path).statuses} == {"interrupted"}
    (tmp_path / "go").touch()
    result = run(fake_study("slow", seeds=[0, 1]), tmp_path, only=When(seed=0))
    assert [(c.state, c.step) for c in result.cells] == [("done", 4)]
    # The other one is marked in its file too, now that a run has looked.
    assert {read_status(path).state for path in (tmp_path / "cells").iterdir()} == {"done", "interrupted"}


def test_kill_9_of_one_worker_fails_its_cell_alone(tmp_path: Path) -> None:
    study = fake_study("slow", "ok")
    seen: list[CellStatus] = []

    def kill_slow(status: CellStatus) -> None:
        seen.append(status)
        if ".slow." in status.condition and status.step == 2 and status.state == "running":
            os.kill(status.pid, signal.SIGKILL)

    cells = by_model(run(study, tmp_path, on_change=kill_slow).cells)
    assert cells["slow"].state == "failed"
    assert "signal 9" in cells["slow"].error
    assert cells["ok"].state == "done"


def test_an_error_in_the_callers_callback_stops_the_workers(tmp_path: Path) -> None:
    pids = []

    def burst(status: CellStatus) -> None:
        pids.append(status.pid)
        raise RuntimeError("the screen is gone")

    with pytest.raises(RuntimeError, match="the screen is gone"):
        run(fake_study("slow"), tmp_path, on_change=burst)
    assert all(gone(pid) for pid in pids)
    assert [c.state for c in StudyFolder(tmp_path).statuses] == ["interrupted"]


def make_fused_study(model: str, seeds: int) -> StudySpec:
    lora = [{"name": "lora", "rank": 2, "learning_rate": 1e-4}]
    return fake_study(model, methods=lora, seeds=list(range(seeds)))


def test_cells_of_one_job_end_one_by_one_and_a_dead_worker_fails_those_that_had_not(tmp_path: Path) -> None:
    seen: list[CellStatus] = []
    study = make_fused_study("each-ok-fail-kill-ok", 4)
    result = run(study, tmp_path, fuse=4, on_change=seen.append)
    ok, fail, killed, waiting = result.cells
    assert [cell.state for cell in result.cells] == ["done", "failed", "failed", "failed"]
    assert len({cell.pid for cell in result.cells}) == 1
    assert fail.error == "ZeroDivisionError: on purpose"
    assert "fake_cell.py" in fail.traceback
    assert "signal 9" in killed.error
    assert killed.error == waiting.error
    assert (ok.step, killed.step, waiting.step) == (4, 2, 0)
    assert StudyFolder(tmp_path).statuses == result.cells
    # Each cell is told of by itself: it starts, advances and ends once.
    for cell in result.cells:
        history = [s.state for s in seen if s.cell == cell.cell]
        assert history == ["running"] * (len(history) - 1) + [cell.state]
    logs = [(tmp_path / "cells" / cell.cell / "log.txt").read_text() for cell in result.cells]
    assert logs[0].count("this goes to the log") == 3
    assert logs[1:] == [f"Trained together with {ok.cell}; what was printed is in its log.txt.\n"] * 3
    # Running again takes up those that are left, in a job of three.
    (tmp_path / "go").touch()
    again = run(study, tmp_path, fuse=4)
    assert [cell.state for cell in again.cells] == ["done"] * 4
    assert again.skipped == {ok.cell}
    assert len({cell.pid for cell in again.cells[1:]}) == 1


def test_a_job_that_is_cut_short_leaves_all_its_cells_interrupted(tmp_path: Path) -> None:
    pids = set()

    def cut(status: CellStatus) -> None:
        pids.add(status.pid)
        if status.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(make_fused_study("slow", 3), tmp_path, fuse=3, on_change=cut)
    assert len(pids) == 1
    assert all(gone(pid) for pid in pids)
    assert [(c.state, c.step) for c in StudyFolder(tmp_path).statuses] == [
        ("interrupted", 2),
        ("interrupted", 0),
        ("interrupted", 0),
    ]


def test_a_run_outside_the_main_thread_works(tmp_path: Path) -> None:
    results: list[StudyResult] = []
    thread = threading.Thread(target=lambda: results.append(run(fake_study("ok"), tmp_path)))
    thread.start()
    thread.join()
    assert results[0].failures == ()


@pytest.mark.parametrize("values", [{"workers": 0}, {"threads": 0}, {"fuse": 0}, {"only": When(model="x")}])
def test_bad_options_are_refused_before_anything_is_made(tmp_path: Path, values: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        run(fake_study("ok"), tmp_path / "new", **values)
    assert not (tmp_path / "new").exists()


def test_an_output_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpecError, match="cannot make the study's folder"):
        run(fake_study("ok"), tmp_path / "file")


def test_exit_codes_in_words() -> None:
    assert words_for_exit(-11) == "worker died with signal 11 (SIGSEGV)"
    assert words_for_exit(3) == "worker ended with exit code 3 before the cell was done"


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("", "interrupted"),
        ("[]", "interrupted"),
        ('{"loss": []}', "interrupted"),
        ('{"state": "dreaming"}', "interrupted"),
        ('{"state": "done"}', "interrupted"),  # done, but there are no curves
        ('{"state": "failed", "of": "a later version"}', "failed"),
    ],
)
def test_a_damaged_status_counts_as_interrupted(tmp_path: Path, text: str, state: str) -> None:
    (tmp_path / "status.json").write_text(text)
    assert read_status(tmp_path).state == state


def test_status_survives_the_file(tmp_path: Path) -> None:
    status = CellStatus(cell=tmp_path.name, state="failed", step=3, total_steps=9, loss=0.5, error="x", pid=4)
    write_status(tmp_path, status)
    assert read_status(tmp_path) == status


def test_a_folder_without_a_study_is_explained(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"is no study's folder: it has no study\.yaml"):
        _ = StudyFolder(tmp_path).statuses
    with pytest.raises(SpecError, match="there is no such folder"):
        _ = StudyFolder(tmp_path / "none").statuses
