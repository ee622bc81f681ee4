"""Where rho is not defined, the tables say of the data why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dissensus.analysis.correlations import why_undefined
from dissensus.analysis.tables import analyze, summary_rows
from dissensus.cli.summary import summary
from dissensus.data.annotations import AnnotatedDataset
from synthetic_study import LABELS, dataset, study_spec, write_study

NAN = float("nan")
FULL = {"methods": [{"name": "full", "learning_rate": 1e-4}]}


@pytest.mark.parametrize(
    ("entropy", "area", "annotations", "why"),
    [
        ([0.1, 0.5, 0.9], [1, 2, 3], [5, 5, 5], ""),
        ([NAN] * 3, [1, 2, 3], [0, 0, 0], "no item has annotations, so that no entropy is defined"),
        ([0.1, 0.5, 0.9], [NAN] * 3, [5, 5, 5], "no item has an AULC: each has fewer than two finite losses"),
        (
            [0.1, NAN, 0.9],
            [1, 2, NAN],
            [5, 0, 5],
            "1 of 3 items have both an entropy and an AULC, and it takes 3 (without entropy: 1, without AULC: 1)",
        ),
        ([0, 0, 0], [1, 2, 3], [1, 1, 1], "every item has one annotation, so that every entropy is 0"),
        ([0, 0, 0], [1, 2, 3], [5, 3, 1], "the annotators of every item agree, so that every entropy is 0"),
        ([1, 1, 1], [1, 2, 3], [2, 2, 2], "every item has the same entropy, 1.000 bits"),
        ([0.1, 0.5, 0.9], [2, 2, 2], [5, 5, 5], "every item has the same AULC"),
    ],
)
def test_the_reason_is_that_of_the_data(
    entropy: list[float], area: list[float], annotations: list[float], why: str
) -> None:
    said = why_undefined(*(np.array(values, dtype=np.float64) for values in (entropy, area, annotations)))
    assert said.startswith(why)
    assert bool(said) == bool(why)


def test_cells_conditions_and_the_terminal_say_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    single = [replace(e, counts=(1.0, 0.0, 0.0)) for e in dataset(30).examples]
    write_study(tmp_path, study_spec(**FULL), data=AnnotatedDataset("single", LABELS, tuple(single)))
    analysis = analyze(tmp_path)
    why = "every item has one annotation, so that every entropy is 0"
    assert np.isnan(analysis.cells["rho"].to_pylist()).all()
    assert set(analysis.cells["rho_why"].to_pylist()) == {why}
    assert set(analysis.conditions["rho_why"].to_pylist()) == {why}
    rows = summary_rows(analysis)
    summary(rows)
    assert f"rho is undefined in {rows[-1].condition}: {why}" in capsys.readouterr().out.splitlines()


def test_nothing_is_said_where_rho_is_defined(tmp_path: Path) -> None:
    write_study(tmp_path, study_spec(**FULL), n=30)
    assert set(analyze(tmp_path).cells["rho_why"].to_pylist()) == {""}
