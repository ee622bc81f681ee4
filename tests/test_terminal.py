"""Long commands on a terminal of 80 and of 120 columns: what a person sees, Ctrl-C, another size, plain lines."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from dissensus.cli.layout import units
from dissensus.study.folder import StudyFolder

fcntl = pytest.importorskip("fcntl")
from terminal import Screen, Terminal, dissensus  # noqa: E402 - where there are no terminals there is no such module

HERE = Path(__file__).parent
STUDY: dict[str, Any] = {
    "name": "mine",
    "models": [{"name": "ok"}],
    "datasets": [{"name": "chaosnli-snli-development", "tracked": {"source": "simulated"}}],
    "methods": [
        {"name": "full", "learning_rate": 1e-4},
        {"name": "lora", "rank": 8, "learning_rate": 1e-4},
        {"name": "ia3", "learning_rate": 1e-4},
    ],
    "regimes": ["trained_on"],
    "seeds": [0],
    "analysis": {"resamples": 100},
}
FAKE = """
import sys
from dissensus.cli import main
from dissensus.run import runner
runner.RUN_CELL = "fake_cell:run_cell"
main()
"""
"""The command line with the stand-in of the runner's tests for a cell."""


def with_fake_cells(*args: str) -> list[str]:
    return [sys.executable, "-c", FAKE, *args]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        "PYTHONPATH": os.pathsep.join([str(HERE / "run"), *sys.path]),
        "DISSENSUS_CACHE": str(tmp_path / "cache"),
        "DISSENSUS_DATA": "",
        "LANG": "C.UTF-8",
    }


def write_study(path: Path, **changes: Any) -> None:
    (path / "s.yaml").write_text(yaml.safe_dump(STUDY | changes))


def nothing_folded(screen: Screen) -> None:
    """No line ran over the edge, but for a single word (an address) that is wider than the terminal."""
    assert [line for line in screen.folded if " " in line.strip()] == []
    assert screen.cursor_shown


@pytest.mark.parametrize("columns", [80, 120])
def test_a_whole_run_draws_a_bar_and_its_tables_fit(
    tmp_path: Path, environment: dict[str, str], columns: int
) -> None:
    write_study(tmp_path, models=[{"name": "slow"}])
    command = with_fake_cells("run", "s.yaml", "--out", "out", "--workers", "3")
    with Terminal(command, columns=columns, cwd=tmp_path, environment=environment) as terminal:
        terminal.until(lambda s: s.shown.count("step 2 of 4, 3/5 points, loss 0.50") == 3)
        shown = terminal.screen.shown
        assert "every cell is chaosnli-snli-development.slow.*.trained_on.s0; shown is the *" in shown
        bar = next(line for line in shown.splitlines() if "0/3 cells" in line)
        # (2 of 4 steps + 3 of 5 points) / 2 = 55 % of each cell.
        assert re.fullmatch(r"━+·+\s+55%  0/3 cells  .* so far, (about .*|time left unknown)( left)?", bar)
        for name in ("full", "lora-r8", "ia3"):
            assert re.search(rf"^  {name} +step 2 of 4", shown, re.MULTILINE)
        (tmp_path / "go").touch()  # in the study's folder's place
        (tmp_path / "out" / "go").touch()
        assert terminal.end() == 0
        nothing_folded(terminal.screen)
        shown = terminal.screen.shown
        assert "0/3 cells" not in shown  # the bar is gone, what ended stays
        for name in ("full", "lora-r8", "ia3"):
            assert re.search(rf"^\[\d/3\] {name}: done in ", shown, re.MULTILINE)
        assert shown.splitlines()[-3:] == [
            "report: out/report.html",
            "next: open out/report.html in a browser",
            "then: dissensus queue out",
        ]
        assert all(len(line) <= columns for line in shown.splitlines())
        assert "rho(entropy" in shown
        assert "un-learned:" in shown


def test_ctrl_c_in_the_middle_restores_the_terminal_and_the_next_run_resumes(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    write_study(tmp_path, models=[{"name": "slow"}])
    command = with_fake_cells("run", "s.yaml", "--out", "out", "--workers", "2", "--no-report")
    with Terminal(command, cwd=tmp_path, environment=environment) as terminal:
        terminal.until(lambda s: s.shown.count("step 2 of 4, 3/5 points") == 2)
        assert not terminal.screen.cursor_shown
        terminal.interrupt()
        assert terminal.end() == 130
        nothing_folded(terminal.screen)
        assert "Traceback" not in terminal.raw
        assert terminal.screen.shown.splitlines()[-1] == "stopped; run the same command again to resume"
    states = sorted(cell.state for cell in StudyFolder(tmp_path / "out").statuses)
    assert states == ["interrupted", "interrupted", "pending"]
    (tmp_path / "out" / "go").touch()
    with Terminal(command, cwd=tmp_path, environment=environment) as terminal:
        assert terminal.end() == 0
        assert terminal.screen.shown.count("in 2 tries") == 2
    assert {cell.state for cell in StudyFolder(tmp_path / "out").statuses} == {"done"}
    with Terminal(dissensus("status", "out"), cwd=tmp_path, environment=environment) as terminal:
        assert terminal.end() == 0
        nothing_folded(terminal.screen)
        shown = terminal.screen.shown
        assert shown.count("2 tries") == 2
        assert re.search(r"^    1\. .* on .*: interrupted,", shown, re.MULTILINE)
        assert "2. " in shown


@pytest.mark.parametrize(("before", "after"), [(120, 80), (80, 120), (80, 50)])
def test_another_size_in_the_middle_is_drawn_anew(
    tmp_path: Path, environment: dict[str, str], before: int, after: int
) -> None:
    write_study(tmp_path, models=[{"name": "slow"}])
    command = with_fake_cells("run", "s.yaml", "--out", "out", "--workers", "3", "--no-report")
    with Terminal(command, columns=before, cwd=tmp_path, environment=environment) as terminal:
        terminal.until(lambda s: s.shown.count("step 2 of 4") == 3)
        terminal.resize(after)
        drawn = len(terminal.raw)
        terminal.until(lambda _: terminal.raw.count("0/3 cells", drawn) >= 2, "the bar twice more")
        assert terminal.screen.shown.count("0/3 cells") == 1  # in its old place
        assert len(re.findall(r"^  full ", terminal.screen.shown, re.MULTILINE)) == 1
        (tmp_path / "out" / "go").touch()
        assert terminal.end() == 0
        nothing_folded(terminal.screen)
        assert "0/3 cells" not in terminal.screen.shown


def test_more_cells_than_rows_are_counted(tmp_path: Path, environment: dict[str, str]) -> None:
    write_study(tmp_path, models=[{"name": "slow"}], seeds=list(range(3)))
    command = with_fake_cells("run", "s.yaml", "--out", "out", "--workers", "9", "--no-report")
    with Terminal(command, rows=8, cwd=tmp_path, environment=environment) as terminal:
        terminal.until("and 4 more cells")
        terminal.until(lambda s: "55%" in s.shown)
        (tmp_path / "out" / "go").touch()
        assert terminal.end() == 0
        assert terminal.screen.shown.count(": done in ") == 9
        nothing_folded(terminal.screen)


@pytest.mark.parametrize("setting", [{"TERM": "dumb"}, {"CI": "true"}, {"NO_COLOR": "1"}])
def test_dumb_terminals_and_ci_get_plain_lines_and_no_colour_is_respected(
    tmp_path: Path, environment: dict[str, str], setting: dict[str, str]
) -> None:
    write_study(tmp_path)
    command = with_fake_cells("run", "s.yaml", "--out", "out", "--workers", "1")
    with Terminal(command, cwd=tmp_path, environment=environment | setting) as terminal:
        assert terminal.end() == 0
        if "NO_COLOR" in setting:
            assert re.search("\x1b\\[[0-9;]*m", terminal.raw) is None
        else:
            assert "\x1b" not in terminal.raw
            assert terminal.screen.shown.count(": started") == 3
        assert terminal.screen.folded == []


def test_a_failing_cell_is_named_and_an_error_is_wrapped(tmp_path: Path, environment: dict[str, str]) -> None:
    write_study(tmp_path, models=[{"name": "fail"}])
    command = with_fake_cells("run", "s.yaml", "--out", "out")
    with Terminal(command, cwd=tmp_path, environment=environment) as terminal:
        assert terminal.end() == 1
        nothing_folded(terminal.screen)
        assert "failed: ZeroDivisionError: on purpose" in terminal.screen.shown
        assert "3 of 3 cells failed" in terminal.screen.shown
    with Terminal(dissensus("run", "nowhere.yaml"), cwd=tmp_path, environment=environment) as terminal:
        assert terminal.end() == 2
        nothing_folded(terminal.screen)


LISTS: tuple[Sequence[str], ...] = (
    ("status", "out"),
    ("analyze", "out"),
    ("claims", "out", "--parts"),
    ("data", "list"),
    ("data", "show", "chaosnli"),
    ("data", "pull", "chaosnly"),
    ("models", "list"),
    ("models", "pull", "minilm"),
    ("studies", "list"),
    ("claims", "--simulate", "1"),
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("finished")
    write_study(path)
    search = os.pathsep.join([str(HERE / "run"), *sys.path])
    done = subprocess.run(
        with_fake_cells("run", "s.yaml", "--out", "out", "--no-report"),
        cwd=path,
        env={**os.environ, "PYTHONPATH": search},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return path


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("command", LISTS, ids=" ".join)
def test_no_command_folds_inside_a_word(
    finished: Path, environment: dict[str, str], command: Sequence[str], columns: int
) -> None:
    with Terminal(dissensus(*command), columns=columns, cwd=finished, environment=environment) as terminal:
        assert terminal.end() == (2 if command[1] == "pull" else 0), terminal.screen.shown
        nothing_folded(terminal.screen)


def test_in_a_pipe_every_row_is_one_line_and_the_same_words_are_on_a_terminal(
    finished: Path, environment: dict[str, str]
) -> None:
    done = subprocess.run(
        dissensus("status", "out"),
        cwd=finished,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    rows = done.stdout.splitlines()
    assert len(rows) == 1 + 3 + 1
    with Terminal(dissensus("status", "out"), cwd=finished, environment=environment) as terminal:
        assert terminal.end() == 0
        shown = terminal.screen.shown
    for row in rows:
        for unit in units(row):
            assert unit.strip() in shown


def test_status_shows_what_a_running_cell_does(tmp_path: Path, environment: dict[str, str]) -> None:
    write_study(tmp_path, models=[{"name": "slow"}])
    command = with_fake_cells("run", "s.yaml", "--out", "out", "--workers", "3", "--no-report")
    with Terminal(command, cwd=tmp_path, environment=environment) as terminal:
        terminal.until(lambda s: s.shown.count("step 2 of 4") == 3)
        shown = subprocess.run(
            dissensus("status", "out", "--json"), cwd=tmp_path, capture_output=True, text=True, check=True
        )
        cells = json.loads(shown.stdout)
        assert [(cell["state"], cell["phase"]) for cell in cells] == [("running", "training")] * 3
        assert [len(cell["tries"]) for cell in cells] == [1, 1, 1]
        (tmp_path / "out" / "go").touch()
        assert terminal.end() == 0
