"""The case that was reported as un-learning: 24 steps on 240 tweets, every model answers one label. Start to page."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from dissensus.analysis.sensitivity.readings import other_readings, read
from dissensus.cli.app import app
from dissensus.config import StudySpec
from dissensus.curves import Curves
from dissensus.data.agreement import annotation_entropy
from dissensus.errors import DataError
from dissensus.exchange import add_to_datalab
from dissensus.exchange.frames import example_table
from dissensus.exchange.imported import write_store
from dissensus.metrics import unlearning
from dissensus.stats import entropy_groups
from dissensus.study.grid import expand
from synthetic_curves import reading_of


def tweets(towards: float = 0.70) -> Curves:
    """240 tweets of three annotators; a fresh head drifts to the label shares: p('0') goes from .5 to `towards`.

    160 are settled (a fifth of them of label 1), 80 contested two to one (46% of them of label 1).
    """
    n = 240
    gold = np.zeros(n, dtype=np.int64)
    gold[:32] = 1  # of the settled ones
    gold[160:197] = 1  # 37 of 80 are 46%
    behind = np.where(np.arange(n) < 160, 3.0, 2.0)
    counts = np.stack([np.where(gold == k, behind, 3 - behind) for k in (0, 1)], axis=1)
    p0 = np.linspace(0.5, towards, 7)
    log_probs = np.broadcast_to(np.log(np.stack([p0, 1 - p0], axis=1)), (n, 7, 2))
    return Curves(
        ids=tuple(f"tweet-{i}" for i in range(n)),
        labels=("0", "1"),
        steps=np.arange(7) * 4,
        total_steps=24,
        log_probs=log_probs.astype(np.float32),
        gold=gold,
        counts=counts,
        regime=np.full(n, "trained_on"),
        text=tuple({"text": f"The words of number {i}."} for i in range(n)),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study of one cell with these curves."""
    study = StudySpec.parse(
        {
            "name": "my-study",
            "models": [{"name": "minilm-l6"}],
            "datasets": [
                {
                    "name": "mine",
                    "tracked": {
                        "source": "table",
                        "path": "labelled.csv",
                        "text": ["text"],
                        "annotations": ["a", "b"],
                    },
                }
            ],
            "methods": [{"name": "lora", "rank": 8, "learning_rate": 1e-3}],
            "regimes": ["trained_on"],
            "analysis": {"resamples": 100},
        },
        "the test",
    )
    (spec,) = expand(study)
    place = tmp_path / "study" / "cells" / spec.cell_id
    place.parent.mkdir(parents=True)
    write_store(tweets(), place)
    (place / "spec.json").write_text(json.dumps(spec.model_dump(mode="json")), encoding="utf-8")
    (place / "status.json").write_text(json.dumps({"state": "done"}), encoding="utf-8")
    (tmp_path / "study" / "study.yaml").write_text(study.to_yaml(), encoding="utf-8")
    return tmp_path / "study"


def cli(*args: str) -> Result:
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 0, result.output
    return result


def test_by_the_loss_alone_almost_half_of_the_contested_tweets_would_be_unlearned() -> None:
    curves = tweets()
    contested = entropy_groups(annotation_entropy(curves.counts)) == "contested"
    # A label-1 tweet's loss goes from ln 2 = .69 to -ln .3 = 1.20.
    assert unlearning(curves).flag[contested].mean() == pytest.approx(37 / 80)


def test_the_tables_say_it_and_withhold_the_share(folder: Path) -> None:
    (row,) = json.loads(cli("analyze", str(folder), "--json").stdout)
    assert row["learned"] == "no"
    # Settled: 128 at -ln .7 = .357 and 32 at 1.204 nats: .526. The best constant, .8 and .2: .500.
    assert row["learned_why"] == (
        "it answers '0' for 100% of the examples; settled loss ends at 0.53 nats, no better than the best constant "
        "answer's 0.50"
    )
    assert row["unlearned_contested"] is None
    assert row["unlearned_settled"] is None
    said = cli("analyze", str(folder))
    assert "46%" not in said.output
    assert (
        "learned nothing that shows on these examples: it answers '0' for 100% of the examples" in said.stderr
    )
    assert "Train longer (24 optimiser steps now; 100 or more)" in said.stderr


def test_the_page_says_it_first_and_names_no_tweet(folder: Path) -> None:
    cli("report", str(folder))
    page = (folder / "report.html").read_text(encoding="utf-8")
    # The data of the browser hold every item; what the page itself says of single ones is withheld.
    page = re.sub(r"<script.*?</script>", " ", page, flags=re.S)
    words = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
    assert re.search(r"Did not learn:.*: it answers '0' for 100% of the examples", words)
    assert "Withheld: the model did not learn: it answers" in words
    assert "46%" not in words
    assert "The words of number" not in words
    assert "tweet-" not in words
    assert "ended with a higher mean gold-label loss" not in words


def test_exports_flag_none() -> None:
    table = example_table(tweets())
    assert table["unlearned"].null_count == 240
    assert np.isfinite(table["delta"].to_numpy()).all()
    # A model that answers 1 where it is gold has learned; its flags stay.
    learned = tweets()
    turned = np.where((learned.gold == 1)[:, None, None], learned.log_probs[:, :, ::-1], learned.log_probs)
    assert example_table(Curves(**{**vars(learned), "log_probs": turned}))["unlearned"].null_count == 0


def test_datalab_gets_no_unlearned_issue() -> None:
    datalab = pytest.importorskip("cleanlab.datalab.datalab")
    curves = tweets()
    lab = datalab.Datalab({"label": list(curves.gold)}, label_name="label", verbosity=0)
    with pytest.warns(
        UserWarning, match="'unlearned' is withheld, for the model learned nothing: it answers '0'"
    ):
        add_to_datalab(lab, curves, curves.ids)
    assert list(lab.get_issue_summary()["issue_type"]) == ["contested"]
    with pytest.raises(DataError, match="the model learned nothing"):
        add_to_datalab(lab, curves, curves.ids, issues=["unlearned"])


def test_sensitivity_of_the_share_is_withheld_too() -> None:
    curves = tweets()

    cell = reading_of(curves)
    reference = read(cell)
    assert not reference.defined.any()
    assert not any(c.reading.defined.any() for c in other_readings(cell))


def test_an_import_says_it(tmp_path: Path) -> None:
    from dissensus.cli.exchange import _facts
    from dissensus.exchange.imported import Imported

    facts = _facts(Imported(tweets(), ()))
    assert facts["learned"] == "no"
    assert np.isnan(facts["unlearned_share"])
    assert facts["unlearning_defined"] == 0
