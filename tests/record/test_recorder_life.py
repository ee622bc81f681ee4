"""The recorder's life in somebody's script: epochs, ends that come early or late, failures, resuming, what it says."""

from __future__ import annotations

import errno
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoTokenizer

from dissensus import AnnotatedDataset, CurveRecorder, load_curves
from dissensus.errors import SpecError, StoreError
from dissensus.record import budget
from dissensus.record.probes.labels import LabelProbe
from dissensus.store import writing


class Bag(nn.Module):
    """A classifier of a bag of words: what a tracking pass costs next to nothing on."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.EmbeddingBag(2000, 3, mode="mean")

    def forward(self, **batch: Any) -> torch.Tensor:
        return self.words(batch["input_ids"] % 2000)


def score_one(model: nn.Module, batch: Any) -> torch.Tensor:
    """Bags have no padding: one row at a time, its own tokens."""
    rows = [
        model(input_ids=i[m.bool()][None])
        for i, m in zip(batch["input_ids"], batch["attention_mask"], strict=True)
    ]
    return torch.cat(rows)


class Script:
    """A user's script: a model, its loop, and a recorder in it."""

    def __init__(self, folder: Path, tracked: AnnotatedDataset, tokenizer: Any) -> None:
        self.folder, self.tracked, self.tokenizer = folder, tracked, tokenizer
        self.model = Bag()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=5.0)
        self.taken = 0
        self.weights = [self._weights()]

    def recorder(self, total_steps: int, *, score: Any = None, **options: Any) -> CurveRecorder:
        probe = LabelProbe(self.tracked, tokenizer=self.tokenizer, score=score or score_one)
        return CurveRecorder(self.folder, probe, total_steps=total_steps, **options)

    def train(self, _batch: Any = None) -> None:
        loss = self.model(input_ids=torch.arange(self.taken, self.taken + 40)[None]).log_softmax(-1)[0, 0]
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.taken += 1
        self.weights.append(self._weights())

    def losses_at(self, step: int) -> np.ndarray:
        """Each example's loss by itself at the weights after `step` steps."""
        model = Bag()
        model.words.weight.data.copy_(self.weights[step])
        found = []
        for e in self.tracked:
            ids = self.tokenizer(e.text["premise"], e.text["hypothesis"], return_tensors="pt")["input_ids"]
            found.append(-float(model(input_ids=ids).detach().log_softmax(-1)[0, e.gold]))
        return np.array(found)

    def check(self, *steps: int) -> None:
        """The store is complete, has these points, and each holds what the weights of its step say."""
        curves = load_curves(self.folder)
        assert curves.steps.tolist() == list(steps)
        assert curves.total_steps == steps[-1]
        for t, step in enumerate(steps):
            np.testing.assert_allclose(curves.losses[:, t], self.losses_at(step), atol=1e-5)

    def _weights(self) -> torch.Tensor:
        return self.model.words.weight.detach().clone()


@pytest.fixture
def script(tiny_encoder_dir: Path, tiny_dataset: AnnotatedDataset, tmp_path: Path) -> Script:
    return Script(tmp_path / "run", tiny_dataset, AutoTokenizer.from_pretrained(tiny_encoder_dir))


def warnings_in(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(
        r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING and r.name == "dissensus"
    )


# Epochs.


def test_watch_counts_on_over_the_epochs(script: Script, caplog: pytest.LogCaptureFixture) -> None:
    """Three epochs of four batches: steps 0 to 12, a point every third."""
    recorder = script.recorder(12, points=5)
    for _ in range(3):
        for batch in recorder.watch(script.model, range(4)):
            script.train(batch)
    script.check(0, 3, 6, 9, 12)  # complete without a call of finish
    recorder.finish()
    assert warnings_in(caplog) == ""


def test_epochs_with_the_steps_of_one_are_all_recorded(
    script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    """total_steps=len(loader) and three epochs. Planned: 0, 2, 4, every second step; from step 5 on the distance is
    max(4 // 2, step // 2): 4 + 2 = 6, then (7) 6 + 3 = 9, then (10) 9 + 5 = 14, beyond the end, which is measured."""
    recorder = script.recorder(4, points=3)
    for _ in range(3):
        for batch in recorder.watch(script.model, range(4)):
            script.train(batch)
    recorder.finish()
    curves = load_curves(script.folder)
    assert curves.total_steps == 12
    assert curves.progress[-1] == 1
    assert {0, 2, 4, 6, 8, 12} <= set(
        curves.steps.tolist()
    )  # ends of epochs, where the store was closed, and between
    script.check(*curves.steps.tolist())
    assert curves.provenance["planned_steps"] == 4
    assert "was to have 4 steps (total_steps) and continues" in warnings_in(caplog)
    assert warnings_in(caplog).count("continues") == 1


@pytest.mark.parametrize(
    ("remainder", "steps"),
    # Two epochs of five batches, two per step: 3 steps each; 5 of ten batches; 2 steps each.
    [("step", 6), ("carry", 5), ("drop", 4)],
)
def test_what_is_left_over_of_an_epoch(script: Script, remainder: Any, steps: int) -> None:
    recorder = script.recorder(steps, points=steps + 1)
    for _ in range(2):
        for number, _ in enumerate(
            recorder.watch(script.model, range(5), batches_per_step=2, remainder=remainder)
        ):
            assert number < 5
    assert load_curves(script.folder).steps.tolist() == list(range(steps + 1))


def test_a_loop_that_breaks_off_has_used_its_batch(script: Script, caplog: pytest.LogCaptureFixture) -> None:
    recorder = script.recorder(9, points=4)
    for _ in range(2):
        for batch in recorder.watch(script.model, range(100)):
            script.train(batch)
            if batch == 1:
                break
    recorder.finish()
    script.check(0, 3, 4)
    assert "ended at step 4 of 9" in warnings_in(caplog)


def test_an_iterator_that_is_used_up_is_said(script: Script, caplog: pytest.LogCaptureFixture) -> None:
    recorder, batches = script.recorder(8, points=3), iter(range(4))
    for _ in range(2):
        for batch in recorder.watch(script.model, batches):
            script.train(batch)
    assert "watch() was given no batches" in warnings_in(caplog)
    recorder.finish()
    script.check(0, 4)


# Ends that come early or late.


def test_one_step_too_many_in_total_steps(script: Script, caplog: pytest.LogCaptureFixture) -> None:
    recorder = script.recorder(13, points=5)
    for _ in range(3):
        for batch in recorder.watch(script.model, range(4)):
            script.train(batch)
    recorder.finish()
    script.check(0, 3, 6, 10, 12)
    assert load_curves(script.folder).provenance["planned_steps"] == 13
    assert "ended at step 12 of 13" in warnings_in(caplog)


def test_fewer_steps_than_planned_are_closed_by_finish(
    script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = script.recorder(20, points=5)
    recorder.step(script.model, 0)
    for step in range(1, 8):
        script.train()
        recorder.step(script.model, step)
    recorder.finish()
    script.check(0, 5, 7)
    assert "ended at step 7 of 20" in warnings_in(caplog)


def test_more_steps_than_planned_are_recorded(script: Script, caplog: pytest.LogCaptureFixture) -> None:
    with script.recorder(4, points=3) as recorder:
        recorder.step(script.model, 0)
        for step in range(1, 12):
            script.train()
            recorder.step(script.model, step)
    # 0, 2, 4 as planned; then 4 + max(4 // 2, 5 // 2) = 6, 6 + max(2, 7 // 2) = 9, and the end.
    script.check(0, 2, 4, 6, 9, 11)
    assert "continues" in warnings_in(caplog)


def test_a_run_of_unknown_length_has_few_points(script: Script) -> None:
    recorder = script.recorder(1, points=20)
    for _ in recorder.watch(script.model, range(2000)):
        pass
    recorder.finish()
    # Up to step 19 each; then as far apart as a nineteenth of the way: some 19 log(2000 / 19) more.
    assert len(load_curves(script.folder).steps) < 130


def test_a_recording_that_was_closed_goes_on(script: Script, caplog: pytest.LogCaptureFixture) -> None:
    recorder = script.recorder(6, points=4)
    for batch in recorder.watch(script.model, range(4)):
        script.train(batch)
    recorder.finish()
    script.check(0, 2, 4)
    for batch in recorder.watch(script.model, range(2)):
        script.train(batch)
    script.check(0, 2, 4, 6)
    assert "planned_steps" not in load_curves(script.folder).provenance
    assert "where the recording was closed: it is opened again" in warnings_in(caplog)


def test_a_last_epoch_that_is_shorter_is_no_end_of_the_one_before(
    script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    """A loop that stops in the middle of its last epoch, as `max_steps` has it: six of 4 + 4 steps, as planned."""
    recorder = script.recorder(6, points=4, on_error="raise")
    for _ in range(2):
        for batch in recorder.watch(script.model, range(4)):
            script.train(batch)
            if script.taken == 6:
                break
    recorder.step(script.model, 6)
    recorder.finish()
    script.check(0, 2, 4, 6)
    assert warnings_in(caplog) == ""


def test_a_skipped_point_is_measured_late(script: Script, caplog: pytest.LogCaptureFixture) -> None:
    recorder = script.recorder(9, points=4)
    recorder.step(script.model, 0)
    for _ in range(9):
        script.train()
        if script.taken in (5, 9):
            recorder.step(script.model, script.taken)
    recorder.finish()
    script.check(0, 5, 9)
    assert "step 5 has come, and tracking point 3 was never measured" in warnings_in(caplog)


def test_steps_that_begin_anew_each_epoch_stop_the_recording(
    script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = script.recorder(8, points=3)
    recorder.step(script.model, 0)
    for _ in range(2):
        for step in range(1, 5):
            script.train()
            recorder.step(script.model, step)
    recorder.finish()
    assert recorder.stopped is not None
    assert "step 1 came after step 4" in warnings_in(caplog)
    assert load_curves(script.folder, partial=True).steps.tolist() == [0, 4]


def test_nothing_was_trained(script: Script, caplog: pytest.LogCaptureFixture) -> None:
    recorder = script.recorder(4)
    recorder.step(script.model, 0)
    recorder.finish()
    assert "before any optimiser step" in warnings_in(caplog)


@pytest.mark.parametrize("total", [3, 9])
def test_whoever_wants_errors_has_them(script: Script, total: int) -> None:
    recorder = script.recorder(total, on_error="raise")
    with pytest.raises(StoreError, match=r"unmeasured|step 4 has come"):
        run_on(script, recorder, steps=5)


# What is left open.


def test_an_error_of_the_script_leaves_a_store_that_says_how_to_resume(
    script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KeyError), script.recorder(4, points=3) as recorder:  # noqa: PT012
        recorder.step(script.model, 0)
        script.train()
        recorder.step(script.model, 1)
        raise KeyError("the script's own")
    assert "the recording was not finished: it was left at step 1" in warnings_in(caplog)
    assert "1 tracking point up to step 0" in warnings_in(caplog)
    assert load_curves(script.folder, partial=True).steps.tolist() == [0]
    with pytest.raises(StoreError) as told:
        load_curves(script.folder)
    assert "resume=True" in str(told.value)
    assert "dissensus run" not in str(told.value)
    (script.folder / "spec.json").write_text("{}")  # a cell of a study
    with pytest.raises(StoreError, match="finish it with `dissensus run`"):
        load_curves(script.folder)


def test_a_script_that_ends_without_finish_is_told(script: Script, caplog: pytest.LogCaptureFixture) -> None:
    recorder = script.recorder(20, points=5)
    for step in range(7):
        recorder.step(script.model, step)
    recorder.flush()
    del recorder  # as at the end of a function, or of Python
    assert "the recording was not finished: it was left at step 6" in warnings_in(caplog)
    assert "2 tracking points up to step 5" in warnings_in(caplog)


# Failures of the recorder's own.


def full_disk(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def run_on(script: Script, recorder: CurveRecorder, steps: int = 8) -> None:
    recorder.step(script.model, 0)
    for step in range(1, steps + 1):
        script.train()
        recorder.step(script.model, step)
    recorder.finish()


@pytest.mark.parametrize("what", ["write_point", "write_manifest"])
def test_a_full_disk_stops_the_recording_and_not_the_training(
    script: Script, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    recorder = script.recorder(8, points=9)
    own = getattr(writing, what)

    def write(*args: Any, **kwargs: Any) -> Any:
        return full_disk() if script.taken >= 4 else own(*args, **kwargs)

    monkeypatch.setattr(writing, what, write)
    run_on(script, recorder)
    assert script.taken == 8
    said = warnings_in(caplog)
    assert "recording has STOPPED" in said
    assert "No space left on device" in said
    kept = load_curves(script.folder, partial=True).steps.tolist()
    assert kept[:3] == [0, 1, 2]
    assert kept[-1] <= 4
    assert f"{len(kept)} tracking points up to step {kept[-1]}" in said
    assert "No space left" in (recorder.stopped or "")
    # With room again, training resumes from a checkpoint, and so does the recording.
    monkeypatch.undo()
    again = script.recorder(8, points=9, resume=True)
    again.resume_from(kept[-1])
    for step in range(kept[-1], 9):
        again.step(script.model, step)
    again.finish()
    assert load_curves(script.folder).steps.tolist() == list(range(9))


def test_on_error_raise_ends_the_training(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = script.recorder(8, points=9, on_error="raise")
    recorder.step(script.model, 0)
    recorder.flush()
    monkeypatch.setattr(writing, "write_point", full_disk)
    with pytest.raises(OSError, match="No space left"):
        run_on(script, recorder)


def test_a_folder_that_was_deleted(script: Script, caplog: pytest.LogCaptureFixture) -> None:
    recorder = script.recorder(8, points=9)
    recorder.step(script.model, 0)
    recorder.flush()
    shutil.rmtree(script.folder)
    for step in range(1, 9):
        script.train()
        recorder.step(script.model, step)
    recorder.finish()
    assert "recording has STOPPED" in warnings_in(caplog)
    assert "Nothing can be read" in warnings_in(caplog)


def test_a_pass_that_fails_leaves_the_model_as_it_was(
    script: Script, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def score(model: nn.Module, batch: Any) -> torch.Tensor:
        if script.taken == 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return score_one(model, batch)

    recorder = script.recorder(8, points=9, score=score)
    script.model.train()
    run_on(script, recorder)
    assert script.model.training
    assert script.taken == 8
    assert "STOPPED at step 3" in warnings_in(caplog)
    assert "smaller token_budget" in warnings_in(caplog)
    assert load_curves(script.folder, partial=True).steps.tolist() == [0, 1, 2]


def test_what_is_wrong_at_the_start_is_raised(script: Script) -> None:
    recorder = script.recorder(8, score=lambda model, batch: torch.zeros(1, 7))
    with pytest.raises(Exception, match="expected \\(examples, labels\\)"):
        recorder.step(script.model, 0)


def test_a_watcher_that_fails_is_left_out(script: Script, caplog: pytest.LogCaptureFixture) -> None:
    class Tracker:
        seen = 0

        def begin(self, *_: Any) -> None: ...

        def observe(self, step: int, losses: Any, *, replay: bool = False) -> None:
            self.seen += 1
            if step == 2:
                raise ConnectionError("the tracker is out of reach")

    tracker = Tracker()
    run_on(script, script.recorder(8, points=9, watchers=[tracker]))
    script.check(*range(9))
    assert tracker.seen == 3
    assert "Tracker failed at step 2 and is left out" in warnings_in(caplog)


# Resuming with another number of steps.


@pytest.mark.parametrize("ended", [True, False])
def test_a_run_is_extended(script: Script, caplog: pytest.LogCaptureFixture, ended: bool) -> None:
    first = script.recorder(4, points=3)
    first.step(script.model, 0)
    for step in range(1, 5):
        script.train()
        first.step(script.model, step)
    if ended:
        first.finish()
    else:
        first.flush()
    again = script.recorder(12, points=4, resume=True)
    assert "was to have 4 steps and now has 12: its 3 tracking points stay" in warnings_in(caplog)
    for batch in again.watch(script.model, range(8), start=4):
        script.train(batch)
    script.check(0, 2, 4, 8, 12)  # 0, 4, 8, 12 are planned now
    np.testing.assert_allclose(load_curves(script.folder).progress, [0, 1 / 6, 1 / 3, 2 / 3, 1])


def test_a_run_with_fewer_steps_than_are_stored_is_refused(script: Script) -> None:
    run_on(script, script.recorder(8, points=3))
    with pytest.raises(StoreError, match="points up to step 8, and this run has 4 steps"):
        script.recorder(4, resume=True)


# What is said.


@pytest.fixture
def every_time_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of these tests are short, however long that takes on a busy machine."""
    monkeypatch.setattr(budget, "MEASURABLE", 0.0)


@pytest.fixture
def no_time_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "MEASURABLE", 1e9)


@pytest.mark.usefixtures("every_time_counts")
def test_cost_and_end_are_said_on_stderr(script: Script, capfd: pytest.CaptureFixture[str]) -> None:
    run_on(script, script.recorder(8, points=9))
    said = capfd.readouterr().err
    assert said.count("recording 24 examples at 9 tracking points will take about") == 1
    assert "max_overhead=0.10 would keep it to a tenth" in said
    assert f"curves = load_curves({str(script.folder)!r})" in said


@pytest.mark.usefixtures("no_time_counts")
def test_steps_too_short_to_time_give_no_share(
    script: Script, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    run_on(script, script.recorder(8, points=9))
    said = capfd.readouterr().err
    assert said.count("too short to time") == 1
    assert "recorded 9 tracking points" in said
    assert "of the training time" not in said
    script.folder = script.folder.with_name("budget")
    script.taken, script.weights = 0, script.weights[-1:]
    run_on(script, script.recorder(8, points=9, max_overhead=0.1))
    assert "too short to time, so max_overhead had nothing to space points by" in warnings_in(caplog)
    assert load_curves(script.folder).steps.tolist() == [0, 8]


def test_a_budget_waits_until_training_can_be_timed(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 80 steps four are timed, then eight, sixteen ...; here the clock stands still until step 12."""
    monkeypatch.setattr(budget.Timing, "measurable", property(lambda _: script.taken >= 12))
    recorder = script.recorder(80, points=5, max_overhead=1.0)
    decided = []
    own = budget.Budget.rest

    def rest(self: budget.Budget, step: int, *more: Any, **options: Any) -> tuple[int, ...]:
        decided.append(step)
        own(self, step, *more, **options)
        return (40, 80)

    monkeypatch.setattr(budget.Budget, "rest", rest)
    run_on(script, recorder, steps=80)
    assert decided == [16, 40]
    script.check(0, 40, 80)


def test_the_end_is_told_once_whatever_follows(script: Script, capfd: pytest.CaptureFixture[str]) -> None:
    """Three epochs, the total of one: the first end is told, for it may be the last; finish() tells the new one."""
    recorder = script.recorder(4, points=3)
    for _ in range(3):
        for batch in recorder.watch(script.model, range(4)):
            script.train(batch)
    recorder.finish()
    recorder.finish()
    said = capfd.readouterr().err
    assert said.count("dissensus: recorded ") == 1
    assert said.count("tracking points up to step 12: ") == 1
    assert said.count("up to step 8") == 0


def test_a_budget_spaces_no_points_beyond_the_total(script: Script) -> None:
    """total_steps=4 of 12, first and last kept: beyond 4 the distance is 4, 4 + max(4 // 1, 5 // 1) = 9, and the end.

    The 20 points that a run without a budget may have were spread beyond the total, whatever they cost.
    """
    recorder = script.recorder(4, points=20, max_overhead=1e-9)
    for _ in range(3):
        for batch in recorder.watch(script.model, range(4)):
            script.train(batch)
    recorder.finish()
    # 8 is the end of an epoch, where the store was closed.
    script.check(0, 4, 8, 12)


def test_a_budget_that_was_closed_early_spaces_no_planned_points(script: Script) -> None:
    """Closed at step 4 of 40 and gone on with: the budget, not the 20 points of a run without one, says what comes."""
    recorder = script.recorder(40, points=20, max_overhead=1e-9)
    for stop in (4, 40):
        for batch in recorder.watch(script.model, range(stop - script.taken)):
            script.train(batch)
        recorder.finish()
    script.check(0, 4, 40)


def test_quiet_says_nothing(script: Script, capfd: pytest.CaptureFixture[str]) -> None:
    run_on(script, script.recorder(8, points=9, quiet=True))
    assert "dissensus" not in capfd.readouterr().err


def test_where_logging_is_set_up_it_goes_there(
    script: Script, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "dissensus"):
        run_on(script, script.recorder(8, points=9))
    assert "dissensus" not in capfd.readouterr().err
    assert any("recorded 9 tracking points" in r.getMessage() for r in caplog.records)


@pytest.mark.usefixtures("every_time_counts")
def test_a_budget_that_leaves_two_points_is_said(
    script: Script,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    run_on(script, script.recorder(8, points=9, max_overhead=1e-9))
    assert "AULC is the mean of the first and the last loss" in warnings_in(caplog)
    said = load_curves(script.folder).provenance["budget"]
    assert (said["points"], said["max_overhead"]) == (2, 1e-9)
    assert "mean of the first and the last loss" in said["aulc"]
    assert "tracking points keep recording under" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"total_steps": 2.5}, "total_steps is 2.5; expected a whole number of at least 1"),
        ({"total_steps": "100"}, "total_steps is '100'"),
        ({"total_steps": None}, "total_steps is None"),
        ({"total_steps": True}, "total_steps is True"),
        ({"total_steps": 0}, "total_steps is 0"),
        ({"total_steps": 4, "points": 2.5}, "points is 2.5"),
        ({"total_steps": 4, "points": (1.5,)}, "a tracking step is 1.5"),
        ({"total_steps": 4, "points": (1, 9)}, "tracking step 9 lies outside the run"),
        ({"total_steps": 4, "points": (1,), "max_overhead": 0.1}, "max_overhead spaces the points itself"),
        ({"total_steps": 4, "max_overhead": 10}, "max_overhead is 10; .*did you mean 0.10"),
        ({"total_steps": 4, "max_overhead": "10%"}, "max_overhead is '10%'"),
        ({"total_steps": 4, "on_error": "ignore"}, "on_error is 'ignore'; expected 'stop'"),
        ({"total_steps": 4, "optimizer": "adam"}, "optimizer is str; expected the torch optimiser"),
    ],
)
def test_wrong_options_are_named(script: Script, options: dict[str, Any], message: str) -> None:
    total = options.pop("total_steps")
    with pytest.raises(SpecError, match=message):
        script.recorder(total, **options)
    assert not script.folder.exists()


def test_what_is_tracked_is_checked(script: Script) -> None:
    with pytest.raises(SpecError, match="tracked is list; expected an AnnotatedDataset"):
        CurveRecorder(script.folder, [{"id": "a"}], total_steps=3, tokenizer=script.tokenizer)  # type: ignore[arg-type]
    recorder = script.recorder(3)
    with pytest.raises(SpecError, match=r"the step is 0\.5"):
        recorder.step(script.model, 0.5)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="batches_per_step is 0"):
        list(recorder.watch(script.model, range(3), batches_per_step=0))
