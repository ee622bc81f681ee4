"""The page of a single recording: a store without a study, curves in memory, logs of other tools."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from dissensus.cli.app import app
from dissensus.curves import Curves
from dissensus.exchange.imported import write_store
from dissensus.report.recording import save_page, write_recording
from synthetic_curves import balanced, curves_of


def page_of(curves: Curves, path: Path) -> str:
    return save_page(curves, path).read_text(encoding="utf-8")


def test_a_store_without_a_study_has_a_page(tmp_path: Path) -> None:
    store = tmp_path / "my-run"
    write_store(balanced(curves_of(60)), store)
    page = write_recording(store).read_text(encoding="utf-8")
    assert '<h1 id="title"><bdi>my-run</bdi></h1>' in page
    assert "The loss of 60 items, held out, was recorded at 9 points of 400 optimiser steps." in page
    assert "item-00059" in page
    for word in ("recorded.csv", "1e-04", "0.0001", "full fine-tuning", "Specification", "dissensus run"):
        assert word not in page  # nothing of what only stands in for a study
    assert str(tmp_path) not in page
    assert write_recording(store).read_text(encoding="utf-8") == page


def test_curves_write_their_page(tmp_path: Path) -> None:
    curves = balanced(curves_of(30))
    path = curves.report(tmp_path / "deeper" / "page.html")
    assert "Somebody does thing 7." in path.read_text(encoding="utf-8")
    assert "Somebody does" not in curves.report(path, quotes=0).read_text(encoding="utf-8")


@pytest.mark.parametrize("what", ["no votes", "no gold", "one point", "both regimes"])
def test_whatever_is_missing_there_is_a_page(tmp_path: Path, what: str) -> None:
    curves = balanced(curves_of(30))
    changed = {
        "no votes": lambda: replace(curves, counts=np.zeros_like(curves.counts)),
        "no gold": lambda: curves.on(np.full(30, -1)),
        "one point": lambda: replace(curves, steps=curves.steps[:1], log_probs=curves.log_probs[:, :1]),
        "both regimes": lambda: replace(curves, regime=np.array(["held_out", "trained_on"] * 15)),
    }[what]()
    page = page_of(changed, tmp_path / "page.html")
    assert "30 items" in page
    data = re.search(r'id="items-data">(.*?)</script>', page)
    assert data is not None
    assert len(json.loads(data[1])["datasets"][0]["ids"]) == 30


def test_the_command_takes_a_store_and_opens_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "run"
    write_store(balanced(curves_of(30)), store)
    opened: list[str] = []
    monkeypatch.setattr(typer, "launch", lambda path: opened.append(path) or 0)
    result = CliRunner().invoke(app, ["report", str(store), "--quotes", "0", "--open"])
    assert result.exit_code == 0, result.output
    assert opened == [str(store / "report.html")]
    assert "Somebody does" not in (store / "report.html").read_text(encoding="utf-8")
    assert "No text of the data is shown here" in result.output


def test_a_folder_that_is_neither_is_refused_in_words(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert result.exit_code == 2
    assert "it has no study.yaml" in result.output
