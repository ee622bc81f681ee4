"""What engines have in common: by name, what a job is given, and whether another machine stands on the same ground."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dissensus.config import Execution, StudySpec
from dissensus.errors import SpecError
from dissensus.open import load_curves
from dissensus.remote import Lease, Remote
from dissensus.run.allocation import executions
from dissensus.run.engines.base import Needs, needs_of
from dissensus.run.engines.local import LocalEngine
from dissensus.run.engines.named import named_engine
from dissensus.run.engines.node import order_for_nodes, run_job
from dissensus.run.engines.ray import RayEngine
from dissensus.run.engines.slurm import SlurmEngine
from dissensus.run.messages import CellOrder, Done, Ended, Event, JobOrder, Over, Progress, Started, to_json
from dissensus.run.runner import run_study
from dissensus.study.grid import expand
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


def an_order(study: StudySpec, out: Path) -> JobOrder:
    """What the runner hands over."""
    (cell,) = expand(study)
    folder = out / "cells" / cell.cell_id
    folder.mkdir(parents=True)
    return JobOrder(
        (CellOrder(cell, folder),), threads=1, attempt="first", log=out / "log.txt", run_cell=FAKE["run_cell"]
    )


@pytest.mark.parametrize("wrong", ["version", "folder", "text", "data"])
def test_a_machine_that_sees_other_files_says_so_and_runs_nothing(tmp_path: Path, wrong: str) -> None:
    events: list[Event] = []
    with order_for_nodes(an_order(fake_study("ok"), tmp_path), tmp_path) as order:
        assert order.proof is not None
        if wrong == "version":
            order = replace(order, version="0.0.0")
        elif wrong == "data":
            order = replace(order, data_dir=tmp_path / "elsewhere")
        elif wrong == "folder":
            order = replace(order, proof=replace(order.proof, file=tmp_path / "gone"))
        else:
            order = replace(order, proof=replace(order.proof, text="another"))
        run_job(to_json(order), events.append)
    words = {"version": "install the same version", "data": "does not see the data folder"}
    (event,) = events
    assert isinstance(event, Ended)
    assert not event.lost
    assert words.get(wrong, "does not see the study's folder") in event.error
    assert not list(tmp_path.glob("cells/*/manifest.json"))


def test_a_job_on_a_node_sends_its_events_in_order(tmp_path: Path) -> None:
    events: list[Event] = []
    with order_for_nodes(an_order(fake_study("ok"), tmp_path), tmp_path) as order:
        run_job(to_json(order), events.append)
    assert events[0] == Started(os.uname().nodename, pid_of(events))
    assert events[-2:] == [Done(0), Over(failed=False)]
    assert not list(tmp_path.glob(".shared-*"))


def pid_of(events: list[Event]) -> int:
    first = events[0]
    assert isinstance(first, Started)
    return first.pid


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
    monkeypatch.setattr("dissensus.run.engines.node.LEASE_EVERY", 0.1)
    events: list[Event] = []

    def on_event(event: Event) -> None:
        events.append(event)
        if isinstance(event, Progress) and event.at.step == 2:
            Lease(next(tmp_path.glob("cells/*")), "second").take()

    with order_for_nodes(an_order(fake_study("slow"), tmp_path), tmp_path) as order:
        run_job(to_json(order), on_event)
    last = events[-1]
    assert isinstance(last, Ended)
    assert "another attempt took it (second" in last.error
    assert gone(pid_of(events))


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
