"""What engines have in common: by name, what a job is given, and whether another machine stands on the same ground."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dissensus.config import Execution, StudySpec
from dissensus.errors import SpecError
from dissensus.remote import Claim, Remote
from dissensus.run.engines.base import Needs, needs_of
from dissensus.run.engines.local import LocalEngine
from dissensus.run.engines.named import named_engine
from dissensus.run.engines.node import run_job, sealed
from dissensus.run.engines.ray import RayEngine
from dissensus.run.engines.slurm import SlurmEngine
from dissensus.run.execution import executions
from dissensus.run.runner import run_study
from dissensus.store import load_curves
from dissensus.study.status import CellStatus
from processes import gone
from run.engines.studies import fake_study

FAKE = {"run_cell": "fake_cell:run_cell", "run_cells": "fake_cell:run_cells"}


@pytest.fixture(autouse=True)
def _fake_importable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
    monkeypatch.setenv("DISSENSUS_CACHE", str(tmp_path / "cache"))


def test_engines_by_name(tmp_path: Path) -> None:
    assert isinstance(named_engine("local", tmp_path, workers=3), LocalEngine)
    assert isinstance(named_engine("ray", tmp_path, address="auto", options=["wait=true"]), RayEngine)
    assert isinstance(named_engine("slurm", tmp_path, options=["partition=gpu", "time=60"]), SlurmEngine)


@pytest.mark.parametrize(
    ("name", "more", "words"),
    [
        ("rai", {}, "--engine rai: no such engine; did you mean 'ray'"),
        ("local", {"address": "auto"}, "--address is of --engine ray; the engine here is local"),
        ("local", {"options": ["a=b"]}, "a=b: unknown to the engine local"),
        ("ray", {"options": ["wait"]}, "'wait' is not KEY=VALUE"),
        ("ray", {"options": ["wait=maybe"]}, "wait=maybe: expected true or false"),
    ],
)
def test_what_an_engine_does_not_know_is_refused(
    tmp_path: Path, name: str, more: dict[str, Any], words: str
) -> None:
    with pytest.raises(SpecError, match=words):
        named_engine(name, tmp_path, **more)


@pytest.mark.parametrize(
    ("given", "gpus", "threads", "expected"),
    [
        ([{}], False, None, Needs(1, 0, 3, 1)),
        ([{}], True, None, Needs(1, 1, 3, 1)),
        ([{}], True, 4, Needs(4, 1, 3, 4)),
        ([{"cpus": 2.5, "gpus": 0.25, "memory_gib": 8}], True, None, Needs(2.5, 0.25, 8, 2)),
        ([{"processes": 4}], True, None, Needs(4, 4, 12, 4)),
        ([{"gpus": 0}], True, None, Needs(1, 0, 3, 1)),
        ([{"memory_gib": 2}, {"memory_gib": 5, "cpus": 2}], False, None, Needs(2, 0, 5, 2)),
    ],
)
def test_what_a_job_is_given(
    given: list[dict[str, Any]], gpus: bool, threads: int | None, expected: Needs
) -> None:
    assert needs_of([Execution.parse(g, "test") for g in given], gpus=gpus, threads=threads) == expected


def test_rules_are_merged_and_name_no_cell() -> None:
    plain = fake_study("ok", "fail")
    rules = [{"set": {"cpus": 2, "memory_gib": 4}}, {"when": {"model": "fail"}, "set": {"memory_gib": 9}}]
    study = fake_study("ok", "fail", execution=rules)
    found = {name.split(".")[1]: e for name, e in executions(study).items()}
    assert found["ok"] == Execution(cpus=2, memory_gib=4)
    assert found["fail"] == Execution(cpus=2, memory_gib=9)
    assert list(executions(plain)) == list(executions(study))  # the same cells under the same names


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"set": {"cpu": 2}}, r"execution\.0\.set\.cpu: unknown key; did you mean 'cpus'"),
        ({"set": {"gpus": -1}}, r"execution\.0\.set\.gpus"),
        ({"set": {"cpu_offload": True}}, "cpu_offload belongs to sharding: fsdp"),
        ({"set": {"processes": 2, "gpus": 0.5}}, "2 processes need a GPU each, or none; given: gpus: 0.5"),
        ({"when": {"model": "oak"}, "set": {"cpus": 1}}, r"execution\.0\.when: no cell has model 'oak'"),
    ],
)
def test_a_rule_that_is_not_valid_is_named(rule: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        executions(fake_study("ok", execution=[rule]))


def a_job(study: StudySpec, out: Path, ground: dict[str, Any]) -> dict[str, Any]:
    """What the runner hands over."""
    (name,) = executions(study)
    folder = out / "cells" / name
    folder.mkdir(parents=True)
    from dissensus.study.grid import expand

    cells = [{"spec": expand(study)[0].model_dump(mode="json"), "folder": str(folder), "execution": {}}]
    return {
        **FAKE,
        "data_dir": None,
        "device": None,
        "remote": None,
        "attempt": "first",
        "threads": 1,
        "cells": cells,
        **ground,
    }


@pytest.mark.parametrize("wrong", ["version", "folder", "text", "data"])
def test_a_machine_on_other_ground_says_so_and_runs_nothing(tmp_path: Path, wrong: str) -> None:
    told: list[Any] = []
    with sealed(tmp_path) as ground:
        job = a_job(fake_study("ok"), tmp_path, dict(ground))
        if wrong == "version":
            job["version"] = "0.0.0"
        elif wrong == "data":
            job["data_dir"] = str(tmp_path / "elsewhere")
        elif wrong == "folder":
            job["seal"] = [str(tmp_path / "gone"), job["seal"][1]]
        else:
            job["seal"] = [job["seal"][0], "another"]
        run_job(job, log=str(tmp_path / "log.txt"), tell=told.append)
    words = {"version": "install the same version", "data": "does not see the data folder"}
    assert len(told) == 1
    assert told[0]["lost"] is False
    assert words.get(wrong, "does not see the study's folder") in told[0]["error"]
    assert not list(tmp_path.glob("cells/*/manifest.json"))


def test_a_job_on_a_node_tells_its_events_in_order(tmp_path: Path) -> None:
    told: list[Any] = []
    with sealed(tmp_path) as ground:
        run_job(
            a_job(fake_study("ok"), tmp_path, dict(ground)), log=str(tmp_path / "log.txt"), tell=told.append
        )
    assert [told[0]["event"], told[-2]["event"], told[-1]["event"]] == ["started", "done", "over"]
    assert told[0]["host"] == os.uname().nodename
    assert not list(tmp_path.glob(".seal*"))


def test_retries_on_ones_own_machine(tmp_path: Path) -> None:
    seen: list[CellStatus] = []
    result = run_study(fake_study("kill"), tmp_path / "one", retries=1, on_change=seen.append, **FAKE)
    assert result.cells[0].state == "done"
    assert [s.state for s in seen if s.state != "running"] == ["interrupted", "done"]
    result = run_study(fake_study("doomed"), tmp_path / "two", retries=2, **FAKE)
    assert result.cells[0].state == "failed"
    with pytest.raises(SpecError, match="retries is -1; expected 0 or more"):
        run_study(fake_study("ok"), tmp_path / "three", retries=-1, **FAKE)


def test_an_attempt_whose_cell_was_taken_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that was believed dead comes back while another one has its cell."""
    monkeypatch.setattr("dissensus.run.engines.node.CLAIM_EVERY", 0.1)
    told: list[Any] = []

    def tell(event: Any) -> None:
        told.append(event)
        if event.get("step") == 2:
            Claim(next(tmp_path.glob("cells/*")), "second").take()

    with sealed(tmp_path) as ground:
        run_job(a_job(fake_study("slow"), tmp_path, dict(ground)), log=str(tmp_path / "log.txt"), tell=tell)
    assert told[-1]["event"] == "ended"
    assert "another attempt took it (second" in told[-1]["error"]
    assert gone(told[0]["pid"])


@pytest.mark.parametrize("scheme", ["file", "memory"])
def test_a_study_that_runs_here_and_lives_at_a_url(tmp_path: Path, scheme: str) -> None:
    url = f"file://{tmp_path}/there" if scheme == "file" else f"memory://{tmp_path.name}"
    study = fake_study("ok", "fail", "kill")
    first = run_study(study, tmp_path / "a", remote=url, **FAKE)
    assert [cell.state for cell in first.cells] == ["done", "failed", "failed"]
    second = run_study(study, tmp_path / "b", remote=url, **FAKE)  # another machine goes on
    assert [cell.state for cell in second.cells] == ["done", "done", "done"]
    assert len(second.skipped) == 1
    assert Remote(url).read("study.yaml") == (tmp_path / "b" / "study.yaml").read_bytes()
    for cell in (second.cells[0], second.cells[2]):
        np.testing.assert_array_equal(
            load_curves(f"{url}/cells/{cell.cell}").log_probs,
            load_curves(tmp_path / "b" / "cells" / cell.cell).log_probs,
        )
