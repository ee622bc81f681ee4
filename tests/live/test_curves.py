"""Live aggregates: by hand, against the metrics of the stored curves so far, and in real trackers."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dissensus.curves import Curves
from dissensus.data.agreement import annotation_entropy
from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import DataError, SpecError
from dissensus.live import LiveCurves
from dissensus.live.trackers import to_mlflow, to_tensorboard, to_trackio, to_wandb
from dissensus.metrics import aulc, unlearning
from dissensus.stats import entropy_groups, group_curves, spearman

# Entropy 0, 0; 0.47, 0.47; 1, 1 bits: two settled, two in the middle, two contested.
COUNTS = ((10, 0), (0, 10), (9, 1), (1, 9), (5, 5), (5, 5))
BY_HAND = np.array(
    [
        [1.0, 0.5, 0.25],  # AULC 1.0 / 4 + 0.5 / 2 + 0.25 / 4 = 0.5625
        [1.0, 0.7, 0.35],  # 0.6875
        [1.0, 1.0, 1.0],  # 1
        [0.8, 0.8, 0.8],  # 0.8
        [1.0, 1.2, 1.6],  # 1.25; rises by 0.6: un-learned
        [1.0, 0.9, 0.8],  # 0.9
    ]
)


def dataset_of(counts: Sequence[Sequence[float]]) -> AnnotatedDataset:
    labels = tuple("abcd"[: len(counts[0])])
    records = [{"id": str(i), "text": f"text {i}", "counts": row} for i, row in enumerate(counts)]
    return AnnotatedDataset.from_records(records, labels=labels, text=("text",), gold=None)


def begun(total_steps: int = 4, counts: Sequence[Sequence[float]] = COUNTS, **options: Any) -> LiveCurves:
    live = LiveCurves(**options)
    live.begin(dataset_of(counts), total_steps)
    return live


def groups_at(contested: float, settled: float) -> list[float]:
    """Losses of `COUNTS` with these group means."""
    return [settled, settled, 1.0, 1.0, contested, contested]


def warnings_of(contested: Sequence[float], settled: Sequence[float], **options: Any) -> list[int]:
    """Steps at which a run of these group means warns, by the number of records after each point."""
    records: list[int] = []
    handler = logging.Handler(logging.WARNING)
    live = begun(total_steps=100, **options)
    logger = logging.getLogger("dissensus")
    handler.emit = lambda record: records.append(step)
    logger.addHandler(handler)
    try:
        for step, means in enumerate(zip(contested, settled, strict=True)):
            live.observe(step, groups_at(*means))
    finally:
        logger.removeHandler(handler)
    return records


def test_aggregates_by_hand() -> None:
    live = begun(prefix="")
    # One point has no area, no change and no trend: those are left out, not 0.
    assert live.observe(0, BY_HAND[:, 0]) == {"points": 1.0, "contested_loss": 1.0, "settled_loss": 1.0}
    live.observe(2, BY_HAND[:, 1])
    # AULC ranks 1, 2, 5, 3, 6, 4 against entropy ranks 1.5, 1.5, 3.5, 3.5, 5.5, 5.5: deviations -2.5, -1.5, 1.5,
    # -0.5, 2.5, 0.5 and -2, -2, 0, 0, 2, 2, so rho = 14 / sqrt(17.5 x 16).
    assert live.observe(4, BY_HAND[:, 2]) == pytest.approx(
        {
            "points": 3.0,
            "contested_loss": 1.2,
            "settled_loss": 0.3,
            "contested_change": 0.2,
            "settled_change": -0.7,
            "contested_unlearned": 0.5,
            "settled_unlearned": 0.0,
            "rho_aulc": 14 / np.sqrt(17.5 * 16),
        }
    )
    assert live.aulc == pytest.approx([0.5625, 0.6875, 1.0, 0.8, 1.25, 0.9])
    assert live.unlearning.flag.tolist() == [False] * 4 + [True, False]


def test_what_is_logged_is_what_is_returned() -> None:
    logged: list[tuple[int, dict[str, float]]] = []
    live = begun(log=lambda values, step: logged.append((step, values)))
    returned = [(step, live.observe(step, BY_HAND[:, i])) for i, step in enumerate((0, 2, 4))]
    assert logged == returned
    assert all(name.startswith("dissensus/") for _, values in logged for name in values)
    assert all(type(value) is float for _, values in logged for value in values.values())


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 40),
    points=st.integers(1, 9),
    gaps=st.sampled_from([0.0, 0.1, 0.6]),
    start=st.sampled_from([0, 1, 900]),
)
def test_every_prefix_agrees_with_the_metrics_of_the_stored_curves(
    seed: int, n: int, points: int, gaps: float, start: int
) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(rng.choice([0, 5, 100], p=[0.1, 0.4, 0.5], size=n), [0.5, 0.3, 0.2]).astype(
        float
    )
    steps = start + np.sort(rng.choice(100, size=points, replace=False))
    log_probs = rng.normal(-1.0, 0.5, (n, points, 1)).cumsum(axis=1).repeat(3, axis=2).astype(np.float32)
    log_probs[rng.random((n, points)) < gaps] = rng.choice([np.nan, -np.inf])
    gold = rng.choice([-1, 0], p=[gaps / 2, 1 - gaps / 2], size=n)
    live = begun(total_steps=1000, counts=counts.tolist(), prefix="")
    entropy = annotation_entropy(counts)
    groups = entropy_groups(entropy)
    for t in range(points):
        stored = Curves(
            ids=tuple(map(str, range(n))),
            labels=("a", "b", "c"),
            steps=steps[: t + 1],
            total_steps=1000,
            log_probs=log_probs[:, : t + 1],
            gold=gold,
            counts=counts,
            regime=np.full(n, "held_out"),
        )
        got = live.observe(int(steps[t]), stored.losses[:, t])
        areas, trend = aulc(stored), unlearning(stored)
        np.testing.assert_allclose(live.aulc, areas, rtol=1e-9, atol=1e-9)
        for name, values in trend.arrays().items():
            np.testing.assert_allclose(
                getattr(live.unlearning, name), values, rtol=1e-9, atol=1e-9, err_msg=name
            )
        means, changes = (group_curves(v, groups) for v in (stored.losses[:, t:], trend.delta[:, None]))
        wanted = {"points": t + 1.0, "rho_aulc": spearman(entropy, areas).rho}
        for group in means.keys() & {"contested", "settled"}:
            own = trend.flag[(groups == group) & trend.defined]
            wanted[f"{group}_loss"] = means[group].mean[0]
            wanted[f"{group}_change"] = changes[group].mean[0]
            wanted[f"{group}_unlearned"] = own.mean() if len(own) else np.nan
        assert got == pytest.approx({k: v for k, v in wanted.items() if np.isfinite(v)}, rel=1e-9, abs=1e-9)


def test_memory_does_not_grow_with_the_number_of_points() -> None:
    live = begun(total_steps=1000)

    def held() -> int:
        return sum(np.asarray(value).nbytes for value in vars(live._running()).values())

    sizes = []
    for step in range(100):
        live.observe(step, groups_at(1.0, 1.0))
        sizes.append(held())
    assert set(sizes[1:]) == {sizes[-1]}


def test_without_annotations_only_the_points_are_counted() -> None:
    live = begun(counts=[(0, 0)] * 3)
    for step in range(3):
        assert live.observe(step, [1.0, 2.0, 3.0 + step]) == {"dissensus/points": step + 1.0}
    assert live.rising == 0


def test_warns_when_the_contested_group_stands_above_its_lowest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    live = begun(total_steps=30)
    for step, contested, settled in ((0, 1.0, 1.0), (10, 1.1, 0.8), (20, 1.15, 0.7), (30, 1.35, 0.75)):
        assert caplog.records == []
        live.observe(step, groups_at(contested, settled))
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("dissensus", "WARNING")
    for said in (
        "step 30",
        "contested group (2 examples)",
        "for 3 tracking points",
        "0.350 nats more than at step 0",
        "now 1.350",
    ):
        assert said in record.message
    assert "settled group's changed by -0.250" in record.message
    assert "soft labels" in record.message
    assert live.rising == 3


FALLEN = [1.1] + [1.0] * 11


@pytest.mark.parametrize(
    ("contested", "settled", "wanted"),
    [
        ([1, 2, 3, 4, 5, 6], FALLEN[:6], [3]),  # one streak, one warning
        # Back at its lowest: a new streak. (At 5 the jump counts as jitter: second differences 0, 0, 4, 4.)
        ([1, 2, 3, 4, 1, 2, 3, 4, 5], FALLEN[:9], [3, 8]),
        ([1, 2, 3, 4, 5, 6], [1.0] * 6, []),  # nothing was learned
        ([1, 1.01, 1.02, 1.03, 1.04], FALLEN[:5], []),  # less than least_rise
        ([2, 1, 2, 3, 4, 5, 6], [9, 1, 3, 5, 7, 8, 9], []),  # the settled group rises more
        (
            [2, 1, 2, 3, 4, 5, 6],
            [9, 1, 2, 3, 4, 5, 6],
            [6],
        ),  # as much is not more (at 2 and 3 jitter, as above)
        ([1, 2, 3, np.nan, 5, 6, 7], FALLEN[:7], [6]),  # what is not known has not risen
        ([1, 1 + 1e-8, 1 + 2e-8, 1 + 3e-8], FALLEN[:4], []),  # rounding of a model that stands still
    ],
)
def test_one_warning_a_streak(contested: list[float], settled: list[float], wanted: list[int]) -> None:
    assert warnings_of(contested, settled) == wanted


def test_warn_after_sets_the_length_of_the_streak() -> None:
    assert warnings_of([1, 2, 1], FALLEN[:3], warn_after=1) == [1]
    assert warnings_of(list(range(6)), FALLEN[:6], warn_after=5) == [5]
    assert warnings_of([1, 1.01, 1.02, 1.03], FALLEN[:4], least_rise=0.01) == [3]


def test_steps_must_rise_and_begin_starts_over() -> None:
    live = begun()
    first = [live.observe(step, BY_HAND[:, i]) for i, step in enumerate((0, 2))]
    for step in (2, 1):
        with pytest.raises(DataError, match=f"step {step} came after step 2"):
            live.observe(step, BY_HAND[:, 0])
    live.begin(dataset_of(COUNTS), 4)
    assert [live.observe(step, BY_HAND[:, i]) for i, step in enumerate((0, 2))] == first


def test_replayed_points_count_but_are_not_logged_again(caplog: pytest.LogCaptureFixture) -> None:
    whole = begun(total_steps=9)
    expected = [whole.observe(step, groups_at(1 + step / 10, FALLEN[step])) for step in range(6)]
    assert len(caplog.records) == 1
    caplog.clear()
    logged: list[int] = []
    resumed = begun(total_steps=9, log=lambda _, step: logged.append(step))
    again = [
        resumed.observe(step, groups_at(1 + step / 10, FALLEN[step]), replay=step < 4) for step in range(6)
    ]
    assert again == expected
    assert logged == [4, 5]
    assert caplog.records == []  # of this streak the first process has warned
    assert resumed.rising == whole.rising == 5


def test_given_losses_are_not_kept() -> None:
    live, losses = begun(), BY_HAND[:, 0].copy()
    live.observe(0, losses)
    losses[:] = 99.0  # a trainer may fill one buffer again and again
    assert live.observe(2, BY_HAND[:, 1])["dissensus/contested_change"] == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"warn_after": 0}, "warn_after is 0"),
        ({"noise_floor": -0.1}, "noise_floor is -0.1"),
        ({"noise_floor": float("nan")}, "noise_floor is nan"),
        ({"share": 0.6}, "share is 0.6"),
        ({"least_rise": -1}, "least_rise is -1"),
    ],
)
def test_options_are_checked(options: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        LiveCurves(**options)


def test_use_is_checked() -> None:
    with pytest.raises(SpecError, match="call begin"):
        LiveCurves().observe(0, [1.0])
    with pytest.raises(SpecError, match="total_steps is 0"):
        begun(total_steps=0)
    with pytest.raises(DataError, match=r"shape \(2,\); expected \(6,\)"):
        begun().observe(0, [1.0, 2.0])


def test_importing_it_loads_neither_torch_nor_a_tracker() -> None:
    code = (
        "import sys, dissensus.live.trackers\n"
        "print([m for m in ('torch', 'scipy', 'wandb', 'tensorboard', 'mlflow', 'trackio') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def run_of(log: Any) -> list[tuple[int, dict[str, float]]]:
    """Three points through a tracker; what it should hold."""
    live = begun(log=log)
    return [(step, live.observe(step, BY_HAND[:, i])) for i, step in enumerate((0, 2, 4))]


def test_tensorboard_files_hold_what_was_logged(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    pytest.importorskip("torch")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(tmp_path) as writer:
        expected = run_of(to_tensorboard(writer))
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {name for _, values in expected for name in values}
    for name in events.Tags()["scalars"]:
        read = [(event.step, event.value) for event in events.Scalars(name)]
        assert read == [
            (step, pytest.approx(values[name], rel=1e-6)) for step, values in expected if name in values
        ]


class FakeRun:
    """A W&B run's counter and rows, by the rules that the test of the real one shows."""

    def __init__(self) -> None:
        self.step = 0
        self.rows: dict[int, dict[str, float]] = {}
        self.axes: dict[str, str] = {}

    def define_metric(self, name: str, step_metric: str) -> None:
        self.axes[name] = step_metric

    def log(self, data: dict[str, float], step: int | None = None) -> None:
        if step is not None and step < self.step:
            return  # dropped
        self.step = self.step if step is None else step
        self.rows.setdefault(self.step, {}).update(data)
        self.step += step is None


def wandb_loop(run: Any, how: str) -> list[tuple[int, dict[str, float]]]:
    """A loop that logs its own loss, at five steps, after three tracking points and between them."""
    live, expected = begun(log=to_wandb(run)), []
    for step in range(5):
        if step % 2 == 0:
            expected.append((step, live.observe(step, BY_HAND[:, step // 2])))
        if how == "with steps":
            run.log({"loss": 10.0 + step}, step=step)
        elif how == "without steps":  # the run's counter is ahead of the optimiser's steps then
            run.log({"loss": 10.0 + step})
            run.log({"norm": 1.0})
    return expected


def check_wandb_rows(rows: Sequence[dict[str, float]], expected: Any, how: str) -> None:
    ours = [row for row in rows if "dissensus/step" in row]
    assert [row["dissensus/step"] for row in ours] == [0, 2, 4]
    for row, (_, values) in zip(ours, expected, strict=True):
        assert {k: row[k] for k in values} == pytest.approx(values)
    losses = [row["loss"] for row in rows if "loss" in row]
    assert losses == ([] if how == "never" else [10.0, 11.0, 12.0, 13.0, 14.0])


HOW = pytest.mark.parametrize("how", ["with steps", "without steps", "never"])


@HOW
def test_wandb_keeps_every_row_of_the_loop_and_of_ours(how: str) -> None:
    run = FakeRun()
    expected = wandb_loop(run, how)
    check_wandb_rows([run.rows[step] for step in sorted(run.rows)], expected, how)
    assert run.axes == dict.fromkeys(expected[-1][1], "dissensus/step")


def wandb_records(log: bytes) -> list[bytes]:
    """Records of a run's file: 7 bytes, then LevelDB's log: blocks of 32 KiB, of chunks of CRC, length, type, data."""
    records, at = [b""], 7
    while at + 7 <= len(log):
        if (room := -at % 32768) and room < 7:  # no header fits: the block is padded
            at += room
            continue
        length, kind = int.from_bytes(log[at + 4 : at + 6], "little"), log[at + 6]
        records[-1] += log[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            records.append(b"")
    return records[:-1]


@HOW
def test_the_real_wandb_offline(tmp_path: Path, how: str) -> None:
    wandb = pytest.importorskip("wandb")
    import json

    from wandb.proto import wandb_internal_pb2

    settings = wandb.Settings(silent=True, console="off", x_disable_stats=True, x_disable_meta=True)
    run = wandb.init(mode="offline", project="dissensus", dir=tmp_path, settings=settings)
    expected = wandb_loop(run, how)
    run.finish()
    wandb.teardown()  # its service writes in the background; this waits for it
    rows, axes = [], {}
    for data in wandb_records(next(tmp_path.rglob("*.wandb")).read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            rows.append({"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in items})
        elif record.WhichOneof("record_type") == "metric":
            axes[record.metric.name] = record.metric.step_metric
    check_wandb_rows(rows, expected, how)
    assert {name: axes[name] for name in expected[-1][1]} == dict.fromkeys(expected[-1][1], "dissensus/step")


def test_wandb_disabled_and_shared_runs_are_served() -> None:
    class Shared(FakeRun):
        class settings:  # noqa: N801 - the run's attribute
            mode = "shared"

        @property
        def step(self) -> int:
            raise RuntimeError("no step in shared mode")

        @step.setter
        def step(self, value: int) -> None: ...

        def log(self, data: dict[str, float], step: int | None = None) -> None:
            assert step is None
            self.rows[len(self.rows)] = data

    run = Shared()
    expected = run_of(to_wandb(run))
    assert list(run.rows.values()) == [{**values, "dissensus/step": step} for step, values in expected]
    wandb = pytest.importorskip("wandb")
    disabled = wandb.init(mode="disabled")
    run_of(to_wandb(disabled))
    disabled.finish()


class FakeTracker:
    """Anything that takes metrics and a step under one name."""

    def __init__(self, method: str) -> None:
        self.held: list[tuple[int, dict[str, float]]] = []
        self.options: dict[str, Any] = {}

        def take(values: dict[str, float], *, step: int, **options: Any) -> None:
            self.held.append((step, values))
            self.options = options

        setattr(self, method, take)


def test_trackio_is_given_the_step() -> None:
    run = FakeTracker("log")
    assert run_of(to_trackio(run)) == run.held


def test_mlflow_module_and_client() -> None:
    module = FakeTracker("log_metrics")
    assert run_of(to_mlflow(module)) == module.held
    assert module.options == {}
    run_of(to_mlflow(module, "a1"))
    assert module.options == {"run_id": "a1"}

    class Client:
        held: list[tuple[Any, ...]] = []  # noqa: RUF012 - one test's

        def log_metric(self, run_id: str, key: str, value: float, step: int) -> None:
            self.held.append((run_id, key, value, step))

    expected = run_of(to_mlflow(Client(), "a1"))
    assert Client.held == [("a1", k, v, step) for step, values in expected for k, v in values.items()]
    with pytest.raises(SpecError, match="run_id"):
        to_mlflow(Client())


def test_the_real_mlflow_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # its database store would need SQLAlchemy as well
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    with mlflow.start_run() as run:
        expected = run_of(to_mlflow(mlflow))
    client = mlflow.MlflowClient()
    other = client.create_run(run.info.experiment_id)
    run_of(to_mlflow(client, other.info.run_id))
    for run_id in (run.info.run_id, other.info.run_id):
        for name in expected[-1][1]:
            read = sorted((m.step, m.value) for m in client.get_metric_history(run_id, name))
            assert read == [(step, pytest.approx(v[name])) for step, v in expected if name in v]


@pytest.mark.parametrize("adapter", [to_tensorboard, to_wandb, to_mlflow, to_trackio])
def test_a_wrong_object_is_named(adapter: Any) -> None:
    with pytest.raises(SpecError, match="has no method"):
        adapter("runs/mine")
