"""Files for a paper: figures with their data, a LaTeX table and BibTeX; the same study gives the same bytes."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from dissensus.analysis.study_reading import StudyReader
from dissensus.cli.app import app
from dissensus.errors import StoreError
from dissensus.plot.citation import bibtex
from dissensus.plot.files import write_figures
from synthetic_study import study_spec, write_study

CONDITIONS = ("snli.minilm-l6.full.held_out", "snli.minilm-l6.lora-r8.held_out")
FIGURES = ("curves", "data_map", "entropy_aulc", "groups")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "made"
    write_study(folder, study_spec(seeds=[0, 1]))
    answer = CliRunner().invoke(app, ["report", str(folder), "--figures"])
    assert answer.exit_code == 0, answer.output
    assert f"figures: 38 files in {folder / 'figures'}, of 2 conditions" in answer.output.replace("\n", "")
    return folder


def test_each_condition_has_figures_alone_and_joined_and_the_data_beside_them(study: Path) -> None:
    expected = {
        f"{figure}-{condition}.{ending}"
        for figure in FIGURES
        for condition in (*CONDITIONS, "all")
        for ending in ("pdf", "svg", "csv")
    }
    pages_own = {f"{name}.{ending}" for name in ("curves", "entropy_aulc") for ending in ("svg", "png")}
    written = {path.name for path in (study / "figures").iterdir()}
    assert written == expected | pages_own | {"conditions.tex", "references.bib"}


def test_the_data_are_what_the_readings_give(study: Path) -> None:
    seeds = StudyReader.at(study).all().conditions()[CONDITIONS[0]]
    rows = table(study, f"entropy_aulc-{CONDITIONS[0]}.csv")
    assert [row["id"] for row in rows] == sorted(seeds[0].curves.ids)
    mean = np.mean([seed.metrics.aulc for seed in seeds], axis=0)
    assert [float(row["aulc_nats"]) for row in rows] == pytest.approx(mean.tolist())
    curves = [row for row in table(study, "curves-all.csv") if row["condition"] == CONDITIONS[0]]
    first = [
        float(row["mean_loss_nats"]) for row in curves if (row["group"], row["seed"]) == ("settled", "1")
    ]
    settled = seeds[0].curves.losses[seeds[0].group == "settled"].mean(axis=0)
    assert first == pytest.approx(settled.tolist())
    assert {row["condition"] for row in table(study, "curves-all.csv")} == set(CONDITIONS)


def test_the_same_study_gives_the_same_bytes(study: Path) -> None:
    before = {path.name: path.read_bytes() for path in (study / "figures").iterdir()}
    written = write_figures(study)
    for name in written.names:
        assert (study / "figures" / name).read_bytes() == before[name], name
    for name, data in before.items():
        assert b"CreationDate" not in data, name
        assert b"<dc:date>" not in data, name
        assert str(study).encode() not in data, name


def test_pdf_fonts_are_truetype(study: Path) -> None:
    """Conferences refuse Type 3 fonts."""
    data = (study / "figures" / f"curves-{CONDITIONS[0]}.pdf").read_bytes()
    assert b"/Subtype /Type3" not in data
    assert b"/Subtype /TrueType" in data or b"/Subtype /Type0" in data


def test_the_table_of_conditions_is_latex(study: Path) -> None:
    text = (study / "figures" / "conditions.tex").read_text(encoding="utf-8")
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    assert len(re.findall(r" \\\\$", body, re.MULTILINE)) == 2
    assert "LoRA, rank 8 & 60 & 2 &" in body
    assert text.count("{") == text.count("}")
    assert "\\label{tab:paper-conditions}" in text


def test_bibtex_has_the_papers_entry_as_the_readme_has_it(study: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    paper = readme.partition("```bibtex\n")[2].partition("```")[0]
    assert paper
    assert bibtex().startswith(paper)
    assert "@software{dissensus," in (study / "figures" / "references.bib").read_text(encoding="utf-8")


def test_a_study_without_a_finished_cell_is_said(tmp_path: Path) -> None:
    write_study(tmp_path / "made", study_spec(), failed=(0, 1))
    with pytest.raises(StoreError, match="no completed cell"):
        write_figures(tmp_path / "made")


def table(study: Path, name: str) -> list[dict[str, str]]:
    with (study / "figures" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
