"""The command line: messages, exit codes and what it imports. Cells are the stand-in of the runner's tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from dissensus.cli.app import app
from dissensus.cli.output import duration, number
from dissensus.cli.progress import LINE_EVERY, Lines
from dissensus.run import runner
from dissensus.run.time_left import TimeLeft
from dissensus.study.folder import StudyFolder
from dissensus.study.lock import StudyLock
from dissensus.study.status import CellStatus
from processes import PATIENCE, wait_for

HERE = Path(__file__).parent
STUDY: dict[str, Any] = {
    "name": "mine",
    "models": [{"name": "ok"}, {"name": "fail"}],
    "datasets": [{"name": "sim", "tracked": {"source": "simulated"}}],
    "methods": [{"name": "full", "learning_rate": 1e-4}],
    "regimes": ["trained_on"],
    "analysis": {"resamples": 100},
}


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory, the stand-in cell, and no data from the machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(HERE / "run"))
    monkeypatch.setattr(runner, "RUN_CELL", "fake_cell:run_cell")
    monkeypatch.setenv("DISSENSUS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DISSENSUS_DATA", raising=False)


def cli(*args: str) -> Result:
    return CliRunner().invoke(app, args)


def refused(*args: str) -> str:
    """What a command that must be refused says: exit code 2, nothing on standard output, no traceback."""
    result = cli(*args)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return str(result.stderr)


def write_study(path: Path, **changes: Any) -> str:
    path.write_text(yaml.safe_dump(STUDY | changes))
    return str(path)


def in_process(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dissensus", *args], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_a_run_with_a_failing_cell_ends_the_others_names_it_and_exits_1(tmp_path: Path) -> None:
    study = write_study(tmp_path / "s.yaml")
    result = cli("run", study, "--workers", "2", "--no-report")
    assert result.exit_code == 1
    assert result.stdout == ""
    ok, fail = StudyFolder(tmp_path / "runs" / "mine").statuses
    assert (ok.state, fail.state) == ("done", "failed")
    lines = result.stderr.splitlines()
    assert lines[0] == "study mine: 2 cells, in runs/mine"
    assert any(line.endswith(f"{ok.cell}: started") for line in lines)
    assert any(f"{ok.cell}: done in " in line for line in lines)
    assert any(line.endswith(f"{fail.cell}: failed: ZeroDivisionError: on purpose") for line in lines)
    assert "1 of 2 cells failed; run the same command to try them again:" in lines
    assert f"  {fail.cell}" in lines
    assert "    ZeroDivisionError: on purpose" in lines
    assert "Traceback (most" not in result.output


def test_a_whole_run_prints_the_table_and_the_report_and_then_skips(tmp_path: Path) -> None:
    study = write_study(tmp_path / "s.yaml", models=[{"name": "ok"}])
    result = cli("run", study, "--out", "here")
    assert result.exit_code == 0, result.output
    header, row, *said, page = result.stdout.splitlines()
    assert header.split("  ")[0] == "condition"
    assert row.startswith("sim.ok.full.trained_on")
    assert said[-1].startswith("sim: intervals over ")
    assert page == "report: here/report.html"
    assert (tmp_path / "here" / "report.html").stat().st_size > 1000
    # Again, by the folder's name: nothing runs, the results are there.
    again = cli("run", "here", "--json")
    assert again.exit_code == 0
    assert again.stderr.splitlines()[1].endswith(": done before")
    answer = json.loads(again.stdout)
    assert answer["out"] == "here"
    assert [c["state"] for c in answer["cells"]] == ["done"]
    assert answer["summary"][0]["condition"] == "sim.ok.full.trained_on"
    # The tables and the page can be made again, without a run.
    rows = json.loads(cli("analyze", "here", "--json").stdout)
    assert rows == answer["summary"]
    assert cli("report", "here").stdout == "report: here/report.html\n"


def test_a_choice_of_quotes_outlives_a_later_run(tmp_path: Path) -> None:
    study = write_study(tmp_path / "s.yaml", models=[{"name": "ok"}])
    page, quoted = tmp_path / "here" / "report.html", '<bdi dir="auto">'
    cli("run", study, "--out", "here")
    # The stand-in's losses fall: the first page may quote nothing, so a choice is seen by what is said of it.
    left_out = (
        "  No text of the data is shown here; examples stand by id. This is kept with the study; --quotes all"
    )
    assert left_out in cli("report", "here", "--quotes", "0").stdout
    again = cli("run", "here")
    assert left_out in again.stdout
    assert quoted not in page.read_text(encoding="utf-8")
    assert "No text of the data is shown here" in page.read_text(encoding="utf-8")
    assert cli("report", "here", "--quotes", "all").stdout == "report: here/report.html\n"
    assert "shown here" not in page.read_text(encoding="utf-8")
    # A run that writes no page keeps the choice for the page that comes later.
    cli("run", "here", "--no-report", "--quotes", "3")
    assert "The text of 3 examples at most is shown here" in cli("report", "here").stdout
    assert "--quotes few: expected a whole number of examples from 0, or all" in refused(
        "report", "here", "--quotes", "few"
    )
    assert "--quotes few" in refused("run", "here", "--quotes", "few")


def test_status_shows_each_cell(tmp_path: Path) -> None:
    study = write_study(tmp_path / "s.yaml")
    cli("run", study, "--only", "model=ok", "--no-report")
    result = cli("status", "runs/mine")
    assert result.exit_code == 0
    header, done, pending, total = result.stdout.splitlines()
    assert header.split() == ["cell", "state", "steps", "points", "loss", "time", "note"]
    assert done.split()[1:5] == ["done", "4/4", "5/5", "0.25"]
    assert pending.split()[1:] == ["pending", "-", "-", "-", "-"]
    assert total == "2 cells: 1 done, 1 pending"
    first, second = json.loads(cli("status", "runs/mine", "--json").stdout)
    assert (first["state"], first["loss"]) == ("done", 0.25)
    assert (second["state"], second["loss"]) == ("pending", None)


def test_a_study_that_changed_says_how(tmp_path: Path) -> None:
    study = write_study(tmp_path / "s.yaml", models=[{"name": "ok"}])
    cli("run", study, "--no-report")
    write_study(tmp_path / "s.yaml", models=[{"name": "ok"}], title="new")
    result = cli("run", study, "--no-report")
    assert result.exit_code == 0
    assert "+title: new" in result.stderr.splitlines()


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        (["run", "quikstart"], ["no study 'quikstart'", "did you mean 'quickstart'?"]),
        (["run", "none.yaml"], ["cannot read the study file none.yaml: No such file or directory"]),
        (["run", "."], ["is a folder without study.yaml"]),
        (["run", "quickstart", "--only", "modl=x"], ["unknown key 'modl'; did you mean 'model'?"]),
        (["run", "quickstart", "--only", "method=lor"], ["no cell has method 'lor'; did you mean 'lora'?"]),
        (["run", "quickstart", "--workers", "0"], ["--workers"]),
        (["run", "quickstart", "--fuse", "0"], ["--fuse"]),
        (["run", "quickstart", "--data-dir", "nowhere"], ["--data-dir", "nowhere", "does not exist"]),
        (["status", "nowhere"], ["nowhere is no study's folder: there is no such folder"]),
        (["status", "."], ["it has no study.yaml"]),
        (["analyze", "."], ["study.yaml"]),
        (["report", "."], ["study.yaml"]),
        (["studies", "show", "chaosnli"], ["no built-in study 'chaosnli'; did you mean 'chaosnli-mini'?"]),
        (["models", "pull", "minilm"], ["unknown model 'minilm'"]),
        (["data", "pull", "chaosnly"], ["no data set 'chaosnly'", "did you mean 'chaosnli'?"]),
        (["data", "show", "chaosnly"], ["no data set 'chaosnly'", "did you mean 'chaosnli'?"]),
        (["data", "check", "none.jsonl"], ["none.jsonl does not exist"]),
        (["statsu", "x"], ["No such command 'statsu'"]),
        (["status", "x", "--jsn"], ["No such option", "--jsn"]),
    ],
)
def test_bad_input_is_exit_code_2_with_a_mend(command: Sequence[str], parts: Sequence[str]) -> None:
    message = refused(*command)
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("name: [", "s.yaml is not valid YAML"),
        ("just words", "s.yaml holds str; a study is a mapping"),
        ("", "s.yaml holds nothing"),
    ],
)
def test_a_file_that_is_no_study_is_refused(tmp_path: Path, text: str, part: str) -> None:
    (tmp_path / "s.yaml").write_text(text)
    assert part in refused("run", "s.yaml")
    assert not (tmp_path / "runs").exists()


def test_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    write_study(tmp_path / "s.yaml", trainig={"epochs": 1})
    assert "trainig: unknown key; did you mean 'training'?" in refused("run", "s.yaml")
    write_study(tmp_path / "s.yaml", overrides=[{"when": {}, "set": {"training": {"epoch": 1}}}])
    assert "overrides.0.set.training.epoch: unknown key; did you mean 'epochs'?" in refused("run", "s.yaml")


def test_debug_shows_where_an_error_arose() -> None:
    result = cli("--debug", "run", "quikstart")
    assert result.exit_code == 2
    assert "Traceback (most recent call last)" in result.stderr
    assert "error: no study 'quikstart'" in result.stderr


def test_a_study_without_a_finished_cell_cannot_be_analysed(tmp_path: Path) -> None:
    write_study(tmp_path / "s.yaml", models=[{"name": "fail"}])
    assert cli("run", "s.yaml").exit_code == 1
    assert "ZeroDivisionError: on purpose" in refused("analyze", "runs/mine")


def test_two_runs_at_once_are_refused(tmp_path: Path) -> None:
    study = write_study(tmp_path / "s.yaml")
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    with StudyLock(tmp_path / "runs" / "mine"):
        message = refused("run", study)
    assert "a run is already under way in runs/mine" in message
    assert f"process {os.getpid()} " in message


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    write_study(tmp_path / "s.yaml")
    assert "cannot make the study's folder file/x" in refused("run", "s.yaml", "--out", "file/x")


def test_ctrl_c_is_exit_code_130_and_says_how_to_go_on(tmp_path: Path) -> None:
    write_study(tmp_path / "s.yaml", models=[{"name": "slow"}])
    script = (
        "import sys; from dissensus.cli import main; from dissensus.run import runner;"
        "runner.RUN_CELL = 'fake_cell:run_cell'; sys.argv = ['dissensus', 'run', 's.yaml']; main()"
    )
    environment = {**os.environ, "PYTHONPATH": str(HERE / "run")}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    folder = tmp_path / "runs" / "mine"
    with subprocess.Popen([sys.executable, "-c", script], env=environment, **pipes) as process:
        try:
            wait_for(
                lambda: (folder / "study.yaml").exists() and StudyFolder(folder).statuses[0].step == 2,
                "the cell to be half-way",
            )
            process.send_signal(signal.SIGINT)
            out, errors = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert process.returncode == 130
    assert out == ""
    assert errors.endswith("stopped; run the same command again to resume\n")
    assert "Traceback" not in errors
    assert StudyFolder(folder).statuses[0].state == "interrupted"


def test_built_in_studies_are_listed_shown_and_valid() -> None:
    names = [study["name"] for study in json.loads(cli("studies", "list", "--json").stdout)]
    sizes = {"chaosnli-mini": 20, "md-agreement": 2, "paper": 75}
    sizes |= {"paper-appendix": 44, "paper-mini": 99, "quickstart": 2, "rates-mini": 49}
    assert names == list(sizes)
    for name in names:
        assert f"name: {name}\n" in cli("studies", "show", name).stdout
        cells = cli("studies", "show", name, "--cells").stdout.splitlines()
        assert len(cells) == sizes[name]
    assert "resamples: 1000" in cli("studies", "show", "quickstart", "--resolved").stdout
    assert cli("studies", "list").stdout.splitlines()[0].split() == ["study", "cells", "title"]


def test_models_and_data_are_listed() -> None:
    models = {m["name"]: m for m in json.loads(cli("models", "list", "--json").stdout)}
    assert models["minilm-l6"]["cached"] is False  # the cache of this test is empty
    assert "smollm2-135m" in cli("models", "list").stdout
    sources = {s["name"]: s for s in json.loads(cli("data", "list", "--json").stdout)}
    assert sources["chaosnli"]["found"] is None
    assert "chaosnli" in cli("data", "list").stdout
    shown = cli("data", "show", "chaosnli").stdout
    assert "licence:   CC BY-NC 4.0" in shown
    assert "dissensus data pull chaosnli" in shown


def test_data_check_says_what_it_found(tmp_path: Path) -> None:
    rows = [
        {"text": "a", "gold": "yes", "annotator1": "yes", "annotator2": "yes", "annotator3": "yes"},
        {"text": "b", "gold": "no", "annotator1": "yes", "annotator2": "yes", "annotator3": "no"},
        {"text": "b", "gold": "yes", "annotator1": "yes", "annotator2": "yes", "annotator3": "no"},
    ]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = cli("data", "check", "t.jsonl").stdout
    assert "3 rows; text fields: text" in out
    assert "annotations per item: 3 to 3, median 3" in out
    # H(2/3, 1/3) = 0.9183 bits in two of three items: mean 0.612.
    assert "annotation entropy: mean 0.612 bits" in out
    assert "2 items share their text with another (1 texts; 1 of them with different gold labels)" in out
    assert "1 items whose gold label most annotators reject" in out
    assert json.loads(cli("data", "check", "t.jsonl", "--json").stdout)["rows"] == 3


def test_the_module_runs_and_tells_its_version(tmp_path: Path) -> None:
    from dissensus import __version__

    done = in_process("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"dissensus {__version__}\n")


@pytest.mark.parametrize(
    "command",
    [["--help"], ["run", "--help"], ["studies", "list"], ["status", "runs/mine"], ["report", "runs/mine"]],
)
def test_commands_that_train_nothing_import_no_torch(tmp_path: Path, command: list[str]) -> None:
    if "runs/mine" in command:
        write_study(tmp_path / "s.yaml", models=[{"name": "ok"}])
        assert cli("run", "s.yaml", "--no-report").exit_code == 0
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('HEAVY', [m for m in ('torch', 'transformers', 'peft') if m in sys.modules]))\n"
        f"sys.argv = ['dissensus', *{command!r}]\n"
        "from dissensus.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_help_is_quick(tmp_path: Path) -> None:
    # Processor time, not wall-clock, so that a busy machine does not decide; the best of three.
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run([sys.executable, '-m', 'dissensus', '--help'], stdout=subprocess.DEVNULL, check=True)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); print(used.ru_utime + used.ru_stime)"
    )
    times = [float(subprocess.check_output([sys.executable, "-c", code], cwd=tmp_path)) for _ in range(3)]
    assert min(times) < 0.5


def test_logs_get_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    show = Lines(2, TimeLeft({"a": ("x",), "b": ("x",)})).change
    show(CellStatus("a", state="done"))
    show(CellStatus("b", state="running", step=3))
    for second in range(1, 121):
        clock[0] += 1
        # A tracking point per second for half a minute, then none for a long while.
        show(
            CellStatus(
                "b", state="running", step=second, total_steps=200, tracking_points_done=min(second, 30)
            )
        )
    show(CellStatus("b", state="failed", error="first\nsecond"))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "[1/2] a: done before"
    assert lines[1] == "[2/2] b: started, resuming from step 3"
    assert lines[-1] == "[2/2] b: failed: first"
    steps = [int(line.split("step ")[1].split(" of ")[0]) for line in lines[2:-1]]
    assert LINE_EVERY == 10
    assert steps == [10, 20, 30, 90]


def test_numbers_for_people() -> None:
    assert [duration(s) for s in (0.4, 59.4, 60, 185, 3600, 7805)] == [
        "0 s",
        "59 s",
        "1 min 00 s",
        "3 min 05 s",
        "1 h 00 min",
        "2 h 10 min",
    ]
    assert number(float("nan")) == "-"
    assert number(0.126) == "0.13"
