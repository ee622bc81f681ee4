"""Messages: orders and events come back as they were sent; what is not whole is an error in words, or skipped."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from dissensus.config import Execution
from dissensus.errors import SpecError
from dissensus.run.messages import (
    SKIPPED,
    CellOrder,
    Done,
    Ended,
    Event,
    Failed,
    JobOrder,
    Over,
    Progress,
    SharedFolderProof,
    Started,
    event_from_json,
    order_from_json,
    read_event,
    to_json,
)
from dissensus.run.process import ChildProcess
from dissensus.run.progress import CellProgress
from dissensus.study.grid import expand
from run.engines.studies import fake_study


def order() -> JobOrder:
    cells = [CellOrder(spec, Path("/out") / spec.cell_id) for spec in expand(fake_study("ok", "fail"))]
    return JobOrder(
        (*cells, CellOrder(cells[0].spec, Path("/x"), Execution(processes=2, sharding="fsdp"))),
        threads=2,
        data_dir=Path("/data"),
        log=Path("/out/log.txt"),
        attempt="a",
        environment={"DISSENSUS_CACHE": "/c"},
        proof=SharedFolderProof(Path("/out/.shared-1"), "text"),
    )


EVENTS: list[Event] = [
    Started("node-a", 7),
    Progress(1, CellProgress(3, 9, 1, 4, 0.5)),
    Done(1),
    Failed(0, "ZeroDivisionError: on\npurpose", "ZeroDivisionError", "Traceback"),
    Over(failed=True),
    Ended("worker died", "its last line", lost=True),
]


def test_an_order_comes_back_as_it_was_given() -> None:
    line = to_json(order())
    assert "\n" not in line
    assert order_from_json(line) == order()
    assert order_from_json(line.encode()).cells[0].spec.cell_id == order().cells[0].spec.cell_id


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.event)
def test_an_event_comes_back_as_it_was_sent(event: Event) -> None:
    line = to_json(event)
    assert "\n" not in line
    assert event_from_json(line) == event


def test_a_loss_that_is_not_known_yet_comes_back() -> None:
    event = event_from_json(to_json(Progress(0, CellProgress(0, 9, 0, 4, math.nan))))
    assert isinstance(event, Progress)
    assert math.isnan(event.at.loss)


def test_fields_of_another_version_are_ignored() -> None:
    stored = json.loads(to_json(EVENTS[1]))
    assert event_from_json(json.dumps({**stored, "watts": 7, "at": {**stored["at"], "beat": 1}})) == EVENTS[1]
    stored = json.loads(to_json(order()))
    assert order_from_json(json.dumps({**stored, "colour": "red"})) == order()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            '{"event": "done", "ce',
            r"expected an event as one line of JSON, found '{\"event\": \"done\", \"ce'",
        ),
        ("[1]", "expected an event as one line of JSON"),
        ('{"event": "done"}', r"done\.cell: Field required"),
        ('{"event": "done", "cell": "first"}', r"done\.cell: Input should be a valid integer"),
        ('{"event": "heartbeat"}', "heartbeat"),
        ("{}", "event"),
    ],
)
def test_an_event_that_is_not_whole_is_an_error_in_words(line: str, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        event_from_json(line)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"threads": None}, "a job order that cannot be read: threads: "),
        ({"cells": [{"folder": "/x"}]}, r"cells\.0\.spec: Field required"),
        (
            {"version": "0.0.1", "cells": "of another form"},
            r"and the study is run by 0\.0\.1: install the same",
        ),
    ],
)
def test_an_order_that_is_not_whole_is_an_error_in_words(change: dict[str, object], words: str) -> None:
    stored = json.loads(to_json(order()))
    with pytest.raises(SpecError, match=words):
        order_from_json(json.dumps({**stored, **change}))


def test_half_an_event_is_skipped_and_the_log_says_so(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    assert read_event(b'{"event": "do', log) is None
    assert log.read_text().startswith(SKIPPED + 'expected an event as one line of JSON, found \'{"event"')
    assert read_event(b'{"event": "do', tmp_path / "no folder" / "log.txt") is None
    assert read_event(to_json(Done(0)), log) == Done(0)


def test_a_child_process_goes_on_after_half_an_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever listens hears the events after the broken one, and the end, whose words are the cell's."""
    (tmp_path / "babbles.py").write_text(
        "import os, sys\n"
        "def run_cell(spec, folder, **_):\n"
        "    fd = next(n for n in range(3, 20) if is_pipe(n))\n"
        '    os.write(fd, b\'{"event": "do\\n\')\n'
        "    print('this was printed')\n"
        "    sys.stdout.flush()\n"
        "    os._exit(7)\n"
        "def is_pipe(n):\n"
        "    import stat\n"
        "    try:\n"
        "        return stat.S_ISFIFO(os.fstat(n).st_mode)\n"
        "    except OSError:\n"
        "        return False\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import queue

    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    log = tmp_path / "log.txt"
    (spec,) = expand(fake_study("ok"))
    worker = ChildProcess(threads=1, log=log)
    worker.give(
        JobOrder((CellOrder(spec, tmp_path),), threads=1, run_cell="babbles:run_cell", log=log), events.put
    )
    assert isinstance(events.get(timeout=60), Started)
    assert events.get(timeout=60) == Ended(
        "worker ended with exit code 7 before the cell was done", "this was printed"
    )
    assert SKIPPED in log.read_text()


def test_a_worker_says_why_it_does_not_take_an_order(tmp_path: Path) -> None:
    import queue
    from dataclasses import replace

    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    worker = ChildProcess(threads=1, log=tmp_path / "log.txt")
    worker.give(replace(order(), log=tmp_path / "log.txt", version="0.0.1"), events.put)
    event = events.get(timeout=60)
    assert isinstance(event, Ended)
    assert "the study is run by 0.0.1" in event.printed
