"""Submission files of LeWiDi 2025: order, ids, sums, and what cannot honestly be handed in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from dissensus.cli.app import app
from dissensus.curves import Curves
from dissensus.errors import DataError
from dissensus.exchange.imported import write_store
from dissensus.exchange.lewidi import soft_submission
from dissensus.stats.lewidi_measures import average_wasserstein
from dissensus.study.grid import expand
from synthetic_study import study_spec


def curves(
    labels: Sequence[str],
    ids: Sequence[str] = ("dev-1", "dev-2", "dev-3"),
    points: int = 1,
    regime: str = "held_out",
) -> Curves:
    n, k = len(ids), len(labels)
    shares = np.random.default_rng(3).dirichlet(np.ones(k), (n, points))
    counts = np.arange(1, n * k + 1, dtype=np.float64).reshape(n, k)
    counts[-1] = 0  # nobody was asked
    return Curves(
        ids=tuple(ids),
        labels=tuple(labels),
        steps=np.arange(points) * 10,
        total_steps=max(1, (points - 1) * 10),
        log_probs=np.log(shares).astype(np.float32),
        gold=np.zeros(n, dtype=np.int64),
        counts=counts,
        regime=np.full(n, regime),
    )


def test_a_line_has_the_tasks_id_and_probabilities_in_the_tasks_order_that_add_up_to_one() -> None:
    made = curves(("5", "-1.0", "0"))
    submission = soft_submission(made, "Paraphrase")
    assert (submission.name, submission.items) == ("Paraphrase_dev_soft.tsv", 3)
    rows = [line.split("\t") for line in submission.text.splitlines()]
    assert [item for item, _ in rows] == ["1", "2", "3"]
    for (_, listed), log_probs in zip(rows, made.log_probs[:, 0], strict=True):
        values = [Decimal(p) for p in listed.strip("[]").split(", ")]
        assert len(values) == 11
        assert sum(values) == 1
        five, minus_one, zero = np.exp(log_probs)
        assert float(values[10]) == pytest.approx(five, abs=1e-6)
        assert float(values[4]) == pytest.approx(minus_one, abs=1e-6)
        assert float(values[5]) == pytest.approx(zero, abs=1e-6)
    # The measure is of the two items that somebody annotated.
    assert (submission.measure, submission.annotated) == ("Wasserstein", 2)
    order = [1, 2, 0]  # -1, 0, 5: put on the scale -5 ... 5
    on_scale = np.zeros((2, 2, 11))
    for place, column in zip((4, 5, 10), order, strict=True):
        on_scale[0, :, place] = (made.counts / made.counts.sum(axis=1, keepdims=True).clip(1))[:2, column]
        on_scale[1, :, place] = np.exp(made.log_probs[:2, 0, column])
    on_scale[1] /= on_scale[1].sum(axis=1, keepdims=True)
    assert submission.distance == pytest.approx(average_wasserstein(*on_scale), abs=1e-6)


def test_rounding_takes_nothing_from_the_sum() -> None:
    many = curves(tuple(map(str, range(-5, 6))), ids=[f"dev-{i}" for i in range(200)])
    for line in soft_submission(many, "Paraphrase").text.splitlines():
        assert sum(Decimal(p) for p in line.split("\t")[1].strip("[]").split(", ")) == 1


def test_the_split_is_told_and_several_are_refused() -> None:
    mixed = curves(("0", "1"), ids=("dev-1", "train-1", "7"))
    with pytest.raises(DataError, match=r"several splits \(dev, train, none\).*--split"):
        soft_submission(mixed, "MP")
    one = soft_submission(mixed, "MP", split="train")
    assert (one.name, one.text[:3]) == ("MP_train_soft.tsv", "1\t[")
    assert soft_submission(curves(("0", "1"), ids=("a", "b")), "MP").name == "MP_test_soft.tsv"
    with pytest.raises(DataError, match="no item is of the split 'test'; there are: dev, train, none"):
        soft_submission(mixed, "MP", split="test")


def test_what_would_be_no_prediction_is_refused() -> None:
    with pytest.raises(DataError, match="which annotators may give together"):
        soft_submission(curves(("entailment", "neutral")), "VariErrNLI")
    with pytest.raises(DataError, match="known: MP, CSC, Paraphrase"):
        soft_submission(curves(("0", "1")), "XY")
    with pytest.raises(DataError, match="'2' is none of MP's"):
        soft_submission(curves(("0", "2")), "MP")
    unscored = curves(("0", "1"))
    unscored.log_probs[1, 0, 1] = np.nan
    with pytest.raises(
        DataError, match=r"1 items \(e\.g\. '2'\) have a label whose probability is not known"
    ):
        soft_submission(unscored, "MP")


def cli(*args: object) -> Result:
    return CliRunner().invoke(app, ["export", "lewidi", *map(str, args)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study of two cells on MP's labels, the second one trained on its items."""
    study = study_spec()
    root = tmp_path / "study"
    (root / "cells").mkdir(parents=True)
    (root / "study.yaml").write_text(study.to_yaml(), encoding="utf-8")
    for spec, regime in zip(expand(study), ("held_out", "trained_on"), strict=True):
        place = root / "cells" / spec.cell_id
        write_store(curves(("0", "1"), points=3, regime=regime), place)
        (place / "spec.json").write_text(json.dumps(spec.model_dump(mode="json")), encoding="utf-8")
        (place / "status.json").write_text(json.dumps({"state": "done"}), encoding="utf-8")
    return root


def test_the_command_writes_the_last_point_or_the_one_asked_for_and_says_what_it_cannot(
    folder: Path, tmp_path: Path
) -> None:
    first, second = sorted(
        (path.name for path in (folder / "cells").iterdir()), key=lambda name: "full" in name
    )
    out = tmp_path / "out"
    result = cli(folder, "--task", "MP", "--cell", first, "--out", out)
    assert result.exit_code == 0, result.output
    assert f"3 items of {first} at step 20: {out / 'MP_dev_soft.tsv'}" in result.stdout
    assert "average Manhattan distance to the annotators' shares: " in result.stdout
    assert "no file of the perspectivist track" in result.stderr
    assert "was trained on" not in result.stderr
    last = (out / "MP_dev_soft.tsv").read_text()
    made = curves(("0", "1"), points=3)
    assert float(last.split("[")[1].split(",")[0]) == pytest.approx(np.exp(made.log_probs[0, 2, 0]), abs=1e-6)
    result = cli(folder, "--task", "MP", "--cell", second, "--step", 10, "--out", out)
    assert "the model was trained on these items" in result.stderr
    assert (out / "MP_dev_soft.tsv").read_text() != last
    for args, words in (
        ((), "give --cell, one of"),
        (("--cell", "x"), "no completed cell is named 'x'"),
        (("--cell", first, "--step", 5), "it has: 0, 10, 20"),
    ):
        refused = cli(folder, "--task", "MP", *args)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert words in refused.stderr
