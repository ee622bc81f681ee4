"""Analysis and report need no torch: a whole session runs in a process where it cannot be imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SESSION = Path(__file__).with_name("session_without_torch.py")


# Put before any import of dissensus; what follows runs as if the modelling libraries were not installed.
REFUSE = f"""
import sys
sys.path.insert(0, {str(SESSION.parent)!r})
import session_without_torch
sys.meta_path.insert(0, session_without_torch.Refuse())
"""


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module")
def study_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def found(study_dir: Path) -> dict[str, Any]:
    done = _python(str(SESSION), str(study_dir), "--refuse-modelling")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_public_names_work_on_a_stored_run(found: dict[str, Any]) -> None:
    # The curves are straight lines, so the trapezoid rule is exact but for float32 storage.
    assert found["largest_aulc_error"] < 1e-6
    # AULC rises strictly with entropy: the ranks are equal, and so are their residuals on any covariate.
    assert found["partial_rho"] == pytest.approx(1.0, abs=1e-12)


def test_analysis_and_report_are_written(found: dict[str, Any]) -> None:
    assert found["rows"] == 90
    assert found["rho"] == [pytest.approx(1.0, abs=1e-12)]
    assert found["report"] == "report.html"
    assert found["report_opens_with"] == "<!doctype html>"


def test_the_recorder_says_which_extra_brings_torch(found: dict[str, Any]) -> None:
    assert "'torch'" in found["refusal"]
    assert "pip install 'dissensus[train]'" in found["refusal"]


def test_nothing_imported_a_modelling_library(found: dict[str, Any]) -> None:
    assert found["modelling_imported"] == []


@pytest.mark.usefixtures("found")
@pytest.mark.parametrize(
    ("command", "said"), [("status", "1 done"), ("analyze", "rho(entropy, AULC)"), ("report", "report.html")]
)
def test_commands_that_read_a_study_work(study_dir: Path, command: str, said: str) -> None:
    done = _python("-c", f"{REFUSE}from dissensus.cli import main\nmain()", command, str(study_dir))
    assert done.returncode == 0, done.stderr
    assert said in done.stdout


def test_the_refusal_is_real() -> None:
    """Without it the session would import torch here, where it is installed, and prove nothing."""
    pytest.importorskip("torch")
    done = _python("-c", f"{REFUSE}import torch")
    assert done.returncode == 1
    assert "refused by this test" in done.stderr
