"""Steps too few for what is asked, before a run; what to change, after it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dissensus.analysis.condition_tables import training_advice
from dissensus.analysis.rows import LearnedRow
from dissensus.config import FEWEST_STEPS, RunSpec
from dissensus.run.step_warnings import step_warnings, steps_before_a_run
from dissensus.study.grid import expand
from synthetic_study import study_spec

TABLE = {"source": "table", "id": "id", "text": ["text"], "annotations": ["ann1", "ann2", "ann3"]}


def cells_of(training: dict[str, Any], points: int = 5, **changes: Any) -> tuple[RunSpec, ...]:
    return tuple(expand(study_spec(training=training, tracking={"points": points}, **changes)))


def table_study(folder: Path, rows: int = 240) -> dict[str, Any]:
    path = folder / "labelled.csv"
    lines = [f"{i},tweet number {i},{i % 2},{i % 2},{i % 3 % 2}" for i in range(rows)]
    path.write_text("id,text,ann1,ann2,ann3\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return {
        "datasets": [{"name": "mine", "tracked": {**TABLE, "path": str(path)}}],
        "regimes": ["trained_on"],
        "seeds": [0, 1, 2],
    }


def test_the_issues_case_is_warned_of_before_a_run(tmp_path: Path) -> None:
    cells = cells_of({"epochs": 3}, points=20, **table_study(tmp_path))
    found = step_warnings(steps_before_a_run(cells, None))
    # 240 rows in batches of 32 are 8 steps per epoch, the last one of 16 rows: 24 steps. 3 epochs x 100 / 24 = 12.5.
    assert [(w.condition, w.steps) for w in found] == [
        ("mine.minilm-l6.lora-r8.trained_on", 24),
        ("mine.minilm-l6.full.trained_on", 24),
    ]
    assert found[0].line == (
        "mine.minilm-l6.lora-r8.trained_on: 24 optimiser steps may be too few to learn anything (below 100, small "
        "models learned nothing at usual rates): set epochs to 13 or more, or a smaller batch_size (now 32)"
    )
    enough = cells_of({"epochs": 13}, points=20, **table_study(tmp_path))
    assert step_warnings(steps_before_a_run(enough, None)) == ()


def test_the_study_alone_says_the_steps_where_it_can() -> None:
    # The made study draws 1000 training pairs, held out: 32 steps per epoch.
    cells = cells_of({"epochs": 4})
    assert [steps for _, steps in steps_before_a_run(cells, None)] == [128, 128]
    pool = {"name": "snli", "tracked": {"source": "chaosnli"}, "train": {"source": "snli"}}
    unknown = cells_of({"epochs": 1}, datasets=[pool])
    assert [steps for _, steps in steps_before_a_run(unknown, None)] == [None, None]
    assert step_warnings(steps_before_a_run(unknown, None)) == ()


def test_a_table_that_is_not_there_is_left_to_the_run(tmp_path: Path) -> None:
    study = table_study(tmp_path)
    (tmp_path / "labelled.csv").unlink()
    assert {steps for _, steps in steps_before_a_run(cells_of({}, **study), None)} == {None}


def test_warm_up_and_tracking_points() -> None:
    (cell, _) = cells_of({"warmup": 0.6}, points=151)
    words = [warning.words for warning in step_warnings([(cell, 150), (cell, 150)])]
    assert words == [
        "the learning rate still rises in 90 of 150 optimiser steps: lower warmup (now 0.6)",
    ]
    (cell, _) = cells_of({}, points=152)
    words = [warning.words for warning in step_warnings([(cell, 150)])]
    assert words == ["152 tracking points are asked for, and 150 optimiser steps allow 151"]
    assert step_warnings([(cell, None)]) == ()


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        (
            {"total_steps": 24.0},
            "Train longer (24 optimiser steps now; 100 or more), or raise the learning rate (now 0.001).",
        ),
        (
            {},
            "Train longer (300 optimiser steps now), or try a higher and a lower learning rate (now 0.001).",
        ),
        # Below the constant answer at the end, and perhaps by chance: more of the same.
        (
            {"judged_loss_lowest": 1.0, "judged_loss_end": 1.0},
            "Train longer (300 optimiser steps now), or try a higher and a lower learning rate (now 0.001).",
        ),
        ({"judged_loss_lowest": 0.6}, "Lower the learning rate (now 0.001)."),
        (
            {"learned_why": "20 of 30 examples have no finite loss at the end: training diverged"},
            "Lower the learning rate (now 0.001).",
        ),
    ],
)
def test_what_to_change(changes: dict[str, Any], advice: str) -> None:
    cells = cells_of({})
    row = LearnedRow(
        condition=cells[0].condition,
        learned="no",
        learned_why="it answers 'neutral' for 100% of the examples",
        total_steps=300.0,
        judged_loss_lowest=1.09,
        judged_loss_end=1.1,
        constant_loss=1.0986,
    )
    row = replace(row, **changes)
    (line,) = training_advice([row, replace(row, learned="yes"), replace(row, learned="not told")], cells)
    assert line == (
        f"{cells[0].condition} learned nothing that shows on these examples: {row.learned_why}. Un-learning is not "
        f"told there. {advice}"
    )


def test_the_limit_is_the_one_in_the_docs() -> None:
    docs = Path(__file__).resolve().parents[2] / "docs" / "design" / "training.md"
    assert f"below {FEWEST_STEPS} optimiser steps" in " ".join(docs.read_text(encoding="utf-8").split())
