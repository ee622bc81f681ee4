"""`dissensus run STUDY --plan`: what it prints, what it leaves alone, its exit codes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from dissensus.cli.app import app
from dissensus.cli.plan import about
from dissensus.config import RunSpec
from dissensus.record.precision import PrecisionTrial
from dissensus.run.plan import plan as planning
from dissensus.run.plan.facts import CellFacts, DataFacts, Measured, StudyFacts, Trial
from dissensus.run.plan.measuring import Workers

STUDY: dict[str, Any] = {
    "name": "mine",
    "models": [{"name": "here"}, {"name": "away"}],
    "datasets": [{"name": "sim", "tracked": {"source": "simulated", "size": 100}}],
    "methods": [{"name": "full", "learning_rate": 1e-4}],
    "regimes": ["trained_on"],
    "seeds": [0, 1],
    "training": {"batch_size": 10},
    "tracking": {"points": 5},
}
DATA = DataFacts(train=100, tracked=100, labels=3, id_bytes=1000, text_bytes=5000, train_bytes=4000)


def timing(**changes: Any) -> Trial:
    """20 tokens in each example: half a token per byte of training text, .4 of tracked."""
    seconds = {"setup": 10.0, "gradient": 0.1, "update": 1.0, "tracking": 0.02, "steps": 8, "passes": 6}
    spread = {"low": 0.9, "high": 1.2, "undisturbed": True, "share": 0.98}
    rest = {"train_tokens": 0.5, "tracked_tokens": 0.4, "weights": 0, "weights_per_rank": 0, "device": "CPU"}
    return Trial(**{**seconds, **spread, **rest, **changes})


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DISSENSUS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DISSENSUS_DATA", raising=False)
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(STUDY))


def say_found(monkeypatch: pytest.MonkeyPatch, one: Trial) -> None:
    """Let the model `here` cost what `one` says, and every other be missing."""

    def measured(cells: Sequence[RunSpec], workers: Workers, **_: Any) -> StudyFacts:
        full = CellFacts(DATA, one)
        known = {
            c.cell_id: full if c.model.name == "here" else CellFacts(DATA, reason="model 'away' is not here")
            for c in cells
        }
        here = Measured("here", "full", "fp32", cells[0].cell_id, workers.count, workers.threads, 2, one)
        return StudyFacts(known, (here,))

    monkeypatch.setattr(planning, "measure_cells", measured)


def cli(*args: str) -> Result:
    return CliRunner().invoke(app, args)


def test_the_table_and_the_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    say_found(monkeypatch, timing())
    result = cli("run", "s.yaml", "--plan", "--workers", "2", "--threads", "1")
    assert result.exit_code == 0, result.output
    said, *warned, after = result.stderr.splitlines()
    assert after == "next: the same command without --plan"
    assert said == "plan of the study mine, in runs/mine: nothing is run"
    # 100 rows in batches of 10: one epoch is 10 steps. Once per condition, not per seed.
    assert [line.partition(" steps")[0] for line in warned] == [
        f"warning: sim.{model}.full.trained_on: 10 optimiser" for model in ("here", "away")
    ]
    header, here, away, total, reason, sentence, source = result.stdout.splitlines()
    assert [c.strip() for c in header.split("  ") if c][:6] == [
        "model",
        "method",
        "done",
        "to run",
        "steps",
        "training tokens",
    ]
    # A cell: 10 steps, 2000 training tokens, 5 passes of 2000: 10 + 10 + 200 + 200 = 420 s; two of them 14 min.
    assert " ".join(here.split()) == "here full 0 2 20 4,000 10 0.02 M 14 min 0.1 MB"
    assert " ".join(away.split()) == "away full 0 2 20 - 10 - - 0.1 MB"
    assert total.split()[:5] == ["all", "0", "4", "40", "4,000+"]
    assert reason == "not known: away full: model 'away' is not here"
    assert sentence == (
        "4 cells: 0 done, 4 to run; 40 steps, at least 4,000 training tokens, 20 tracking points, at least 0.02 M "
        "tracked tokens, at most 0.3 MB of curves; about 7 min with 2 workers, without 2 cells whose time cannot "
        "be told."
    )
    assert source == (
        "The time is from 8 steps and 6 short tracking passes of 1 kind of cell, measured on this machine in 2 "
        "processes at once, as they will run. Single steps took 0.90 to 1.20 times their median. Analysis and report "
        "are not counted."
    )
    assert not (tmp_path / "runs").exists()


def test_a_machine_that_had_other_things_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    say_found(monkeypatch, timing(share=0.5))
    plan = ("run", "s.yaml", "--plan", "--only", "model=here", "--workers", "1", "--threads", "1")
    *_, sentence, _, busy = cli(*plan).stdout.splitlines()
    assert sentence.endswith("; about 14 min with 1 worker.")
    assert (
        "left the measuring processes 50% of their processors; as long as they go on, it takes longer."
        in busy
    )
    say_found(monkeypatch, timing(undisturbed=False, share=1.9))
    assert "measured by the clock" in cli(*plan).stdout.splitlines()[-1]


def test_whether_tracking_in_bf16_would_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = ("run", "s.yaml", "--plan", "--only", "model=here", "--workers", "1", "--threads", "1")
    say_found(monkeypatch, timing(bf16=PrecisionTrial(64, 3.0, 1.0, 4e-4)))
    tried = "Tracking in bf16 beside fp32, tried on 64 examples after a few steps: here full"
    assert cli(*plan).stdout.splitlines()[-1] == (
        f"{tried} 3.0 times as fast, losses differ by up to 0.0004 nats. It would pay on this machine: set tracking: "
        "{precision: bf16} in the study, whose cells are then others."
    )
    say_found(monkeypatch, timing(bf16=PrecisionTrial(64, 1.0, 1.25, 4e-4)))
    assert cli(*plan).stdout.splitlines()[-1] == (
        f"{tried} 0.8 times as fast, losses differ by up to 0.0004 nats. It would not pay on this machine."
    )


def test_cells_that_train_in_one_pass_are_an_upper_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    say_found(monkeypatch, timing())
    Path("s.yaml").write_text(
        yaml.safe_dump(STUDY | {"methods": [{"name": "lora", "rank": 2, "learning_rate": 1e-3}]})
    )
    result = cli("run", "s.yaml", "--plan", "--only", "model=here", "--fuse", "2", "--workers", "2")
    assert "about 14 min with 1 worker" in result.stdout  # two cells, one job
    assert result.stdout.splitlines()[-1].startswith("Cells that train in one pass are counted as if each")


def test_json_is_the_same_as_data(monkeypatch: pytest.MonkeyPatch) -> None:
    say_found(monkeypatch, timing())
    result = cli("run", "s.yaml", "--plan", "--workers", "2", "--threads", "1", "--json")
    assert result.exit_code == 0
    plan = json.loads(result.stdout)
    assert (plan["study"], plan["out"], plan["workers"], plan["threads"]) == ("mine", "runs/mine", 2, 1)
    assert plan["wall_seconds"] == pytest.approx(420.0)
    assert plan["total"]["work"]["steps"] == 40
    assert plan["total"]["unknown"] == {"training_tokens": 2, "tracked_tokens": 2, "seconds": 2}
    assert [row["work"]["seconds"] for row in plan["rows"]] == [pytest.approx(840.0), None]
    assert plan["rows"][1]["reasons"] == ["model 'away' is not here"]
    assert len(plan["cells"]) == 4
    assert plan["measured"][0]["trial"]["steps"] == 8


def test_the_time_that_finished_cells_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def counted(cells: Sequence[RunSpec], workers: Workers, **_: Any) -> StudyFacts:
        return StudyFacts({c.cell_id: CellFacts(DATA, timing(), whole=60.0) for c in cells})

    monkeypatch.setattr(planning, "measure_cells", counted)
    result = cli("run", "s.yaml", "--plan", "--workers", "2", "--threads", "1")
    *_, sentence, source = result.stdout.splitlines()
    assert sentence.endswith("; about 2 min with 2 workers.")
    assert source == (
        "The time of 4 cells is what finished cells like it took: all but seed and learning rate are the same. "
        "It is by the clock: whatever else the machine was doing is in it. Analysis and report are not counted."
    )


def test_on_another_engine_nothing_is_measured() -> None:
    result = cli("run", "s.yaml", "--plan", "--engine", "slurm")
    assert result.exit_code == 0, result.output
    *_, reason, sentence = result.stdout.splitlines()
    assert reason == (
        "not known: all: no cell like it has finished there; run one (--only seed=0, say) and plan again"
    )
    assert sentence.endswith("how long it takes cannot be told.")


@pytest.mark.parametrize("option", ["--cluster", "--assume", "--calibration"])
def test_options_that_are_gone_are_unknown(option: str) -> None:
    assert cli("run", "s.yaml", "--plan", option, "x").exit_code == 2


def test_nothing_left_to_do() -> None:
    from dissensus.study.builtin import load_study
    from dissensus.study.grid import expand

    for cell in expand(load_study("s.yaml")):
        folder = Path("runs/mine/cells") / cell.cell_id
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text('{"complete": true}')
    result = cli("run", "s.yaml", "--plan")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "4 cells: 4 done, 0 to run; nothing is left to do."
    assert " ".join(result.stdout.splitlines()[-2].split()) == "all 4 0 0 0 0 0 0 s 0.0 MB"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--only", "model=her"], "no cell has model 'her'; did you mean 'here'?"),
        (["--workers", "0"], "--workers"),
    ],
)
def test_bad_input_is_refused_as_by_a_run(args: list[str], said: str) -> None:
    result = cli("run", "s.yaml", "--plan", *args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert said in result.stderr


def test_a_tiny_study_for_real(tiny_encoder_dir: Path, tmp_path: Path) -> None:
    study = STUDY | {"models": [{"name": str(tiny_encoder_dir)}, {"name": "bert-base"}]}
    Path("s.yaml").write_text(yaml.safe_dump(study))
    result = cli("run", "s.yaml", "--plan", "--workers", "1", "--threads", "1", "--device", "cpu", "--json")
    assert result.exit_code == 0, result.output
    plan = json.loads(result.stdout)
    here, away = plan["rows"]
    assert (here["work"]["steps"], here["reasons"]) == (20, [])
    assert here["work"]["training_tokens"] > 0
    assert plan["wall_seconds"] > 0
    assert (away["work"]["steps"], away["work"]["seconds"]) == (20, None)
    if away["reasons"]:  # whoever has it in the hub's cache gets an estimate
        assert "models pull bert-base" in away["reasons"][0]
    assert [p.name for p in tmp_path.iterdir()] == ["s.yaml"]


@pytest.mark.parametrize(
    ("seconds", "words"), [(3.4, "3 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (8640, "2.4 h")]
)
def test_an_estimate_in_words(seconds: float, words: str) -> None:
    assert about(seconds) == words


def test_steps_too_few_are_in_the_json(monkeypatch: pytest.MonkeyPatch) -> None:
    say_found(monkeypatch, timing())
    found = json.loads(cli("run", "s.yaml", "--plan", "--json").stdout)["warnings"]
    assert [(one["condition"], one["steps"]) for one in found] == [
        ("sim.here.full.trained_on", 10),
        ("sim.away.full.trained_on", 10),
    ]
    assert "set epochs to 10 or more" in found[0]["words"]
