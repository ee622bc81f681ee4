"""The paper's tables from made studies: numbers against SciPy and by hand, and what is said of missing ones."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from dissensus.analysis.paper.conditions import PaperReading, read_conditions
from dissensus.analysis.paper.definitions import METHODS, MODELS, data_name, method_name, model_name
from dissensus.analysis.paper.layout import Entry, PaperTable
from dissensus.analysis.paper.tables import APPENDIX, MAIN, TABLES, paper_tables
from dissensus.cli.app import app
from dissensus.cli.tables import text_lines
from dissensus.config import StudySpec
from dissensus.data.noise import NoisyLabels, save_noise
from dissensus.errors import SpecError, StoreError
from dissensus.report.paper_figures import paper_figures
from dissensus.report.paper_tables import csv_text, entry_words, escaped, latex_text
from dissensus.stats.correlation import item_percentiles
from dissensus.store import load_curves
from dissensus.store.gradients import (
    GRADIENT_NORMS,
    GRADIENTS,
    ExampleGradientNorms,
    GroupGradients,
    save_gradient_norms,
    save_group_gradients,
)
from dissensus.store.validation import VALIDATION, ValidationScores, save_validation
from dissensus.study.builtin import load_study
from dissensus.study.grid import expand
from synthetic_study import dataset, study_spec, write_study

N = 60
SNLI = {
    "name": "snli",
    "tracked": {"source": "chaosnli", "part": "snli"},
    "train": {"source": "snli"},
    "entropy_cuts": {"low": 0.4, "high": 0.7, "unit": "nats"},
}
MNLI = {**SNLI, "name": "mnli", "tracked": {"source": "chaosnli", "part": "mnli"}}
BASE = {"method": "lora-r4", "dataset": "snli"}


def paper_like(**changes: Any) -> StudySpec:
    """RoBERTa with three ranks and full fine-tuning on SNLI, r=4 on MNLI too; its own analysis is not the paper's."""
    ours: dict[str, Any] = {
        "models": [{"name": "roberta-base", "segments": False}],
        "datasets": [SNLI, MNLI],
        "methods": [
            {"name": "lora", "rank": 2, "learning_rate": 2e-5},
            {"name": "lora", "rank": 4, "learning_rate": 2e-5},
            {"name": "lora", "rank": 16, "learning_rate": 2e-5},
            {"name": "full", "learning_rate": 2e-5},
        ],
        "regimes": ["trained_on"],
        "seeds": [42, 123],
        "exclude": [{"dataset": "mnli", "method": ["lora-r2", "lora-r16", "full"]}],
        "variants": [
            {
                "name": "noise-30",
                "when": BASE,
                "set": {"training": {"noise": {"rate": 0.3, "among": "settled"}}},
            },
            {"name": "soft-labels", "when": BASE, "set": {"training": {"targets": "annotators"}}},
            {"name": "only-settled", "when": BASE, "set": {"dataset": {"train_groups": {"settled": "all"}}}},
        ],
    }
    return study_spec(**(ours | changes))


def flipped() -> np.ndarray[Any, Any]:
    """Every third item, the first one first."""
    return np.arange(N) % 3 == 0


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study; MNLI's second seed has failed, r=4 of SNLI has a validation set."""
    root = tmp_path_factory.mktemp("paper") / "made"
    spec = paper_like()
    cells = expand(spec)
    failed = [k for k, cell in enumerate(cells) if cell.dataset.name == "mnli" and cell.seed == 123]
    write_study(root, spec, n=N, failed=failed)
    data = dataset(N)
    gold = np.zeros(N, dtype=np.int64)
    for cell in cells:
        folder = root / "cells" / cell.cell_id
        if cell.variant == "noise-30":
            save_noise(folder / "noise.parquet", data.ids, gold, NoisyLabels(gold + flipped(), flipped()))
        if cell.variant is None and cell.method.label == "lora-r4" and cell.dataset.name == "snli":
            # Of four items the last three are right: .75, for each seed.
            log_probs = np.log(np.full((4, 2, 3), [0.6, 0.3, 0.1])).astype(np.float32)
            scores = ValidationScores(tuple("abcd"), np.array([1, 0, 0, 0]), (0, 100), log_probs)
            save_validation(folder / VALIDATION, scores)
    return root


@pytest.fixture(scope="module")
def reading(study: Path) -> PaperReading:
    return read_conditions([study])


def one(reading: PaperReading, name: str) -> PaperTable:
    return paper_tables(reading, [name])[0]


def at(table: PaperTable, labels: tuple[str, ...], column: str) -> Entry:
    """The entry of the row with these labels."""
    (row,) = [row for row in table.rows if row.labels == labels]
    return row.entries[table.columns.index(column)]


def cell_of(study: Path, method: str, seed: int, variant: str | None = None) -> Path:
    names = [
        c.cell_id
        for c in expand(paper_like())
        if (c.method.label, c.seed, c.variant, c.dataset.name) == (method, seed, variant, "snli")
    ]
    return study / "cells" / names[0]


def losses_and_entropy(cell: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Loss on the majority label, (n, T), and entropy in nats: straight from the store."""
    curves = load_curves(cell)
    shares = curves.counts / curves.counts.sum(axis=1, keepdims=True)
    entropy = stats.entropy(shares, axis=1)
    majority = curves.counts.argmax(axis=1)
    losses = -np.take_along_axis(curves.log_probs.astype(np.float64), majority[:, None, None], axis=2)[
        :, :, 0
    ]
    return losses, entropy


def test_table_1_is_the_mean_of_points_on_the_majority_label_whatever_the_study_says(
    study: Path, reading: PaperReading
) -> None:
    table = one(reading, "1")
    rhos = []
    for seed in (42, 123):
        losses, entropy = losses_and_entropy(cell_of(study, "lora-r4", seed))
        rhos.append(stats.spearmanr(entropy, losses.mean(axis=1)).statistic)
    entry = at(table, ("RoBERTa", "LoRA r=4"), "rho, SNLI")
    assert entry.value == pytest.approx(np.mean(rhos), abs=1e-9)
    assert entry.sd == pytest.approx(np.std(rhos, ddof=1), abs=1e-9)
    assert at(table, ("RoBERTa", "LoRA r=4"), "validation accuracy").value == pytest.approx(0.75)
    assert entry_words(at(table, ("RoBERTa", "LoRA r=4"), "paper, SNLI")) == "about .308 ± .016"
    own = one(read_conditions([study], paper=False), "1")
    assert at(own, ("RoBERTa", "LoRA r=4"), "rho, SNLI").value != pytest.approx(entry.value, abs=1e-6)


def test_what_is_missing_says_why(reading: PaperReading) -> None:
    table = one(reading, "1")
    assert entry_words(at(table, ("RoBERTa", "LoRA r=4"), "rho, MNLI")).endswith("(1 of 2)")
    assert at(table, ("RoBERTa", "full"), "rho, MNLI").missing == "not in these studies"
    assert at(table, ("RoBERTa", "full"), "validation accuracy").missing == "no validation set"
    assert "BERT, DistilBERT" in " ".join(table.notes)
    ranks = one(reading, "3")
    assert at(ranks, ("RoBERTa", "SNLI", "8"), "rho").missing == "not in these studies"
    assert not one(reading, "F").rows
    assert at(one(reading, "W"), ("RoBERTa", "LoRA r=4", "MNLI"), "W").missing == "needs 2 seeds"


def test_a_condition_without_a_finished_seed_says_its_state(study: Path, tmp_path: Path) -> None:
    copy = tmp_path / "made"
    shutil.copytree(study, copy)
    for seed in (42, 123):
        (cell_of(copy, "full", seed) / "status.json").write_text(
            json.dumps({"state": "failed", "traceback": "E"}), encoding="utf-8"
        )
        shutil.rmtree(cell_of(copy, "lora-r2", seed))
    table = one(read_conditions([copy]), "2")
    assert at(table, ("RoBERTa", "full", "SNLI"), "contested").missing == "failed"
    assert at(table, ("RoBERTa", "LoRA r=2", "SNLI"), "contested, our interval").missing == "not run"


def test_table_2_is_last_minus_first_loss_of_the_groups(study: Path, reading: PaperReading) -> None:
    changes = []
    for seed in (42, 123):
        losses, entropy = losses_and_entropy(cell_of(study, "full", seed))
        change = losses[:, -1] - losses[:, 0]
        changes.append((change[entropy >= 0.7].mean(), change[entropy < 0.4].mean()))
    table = one(reading, "2")
    place = ("RoBERTa", "full", "SNLI")
    assert at(table, place, "contested").value == pytest.approx(np.mean(changes, axis=0)[0], abs=1e-9)
    assert at(table, place, "settled").value == pytest.approx(np.mean(changes, axis=0)[1], abs=1e-9)
    assert at(table, place, "settled").sd == pytest.approx(np.std([c[1] for c in changes], ddof=1), abs=1e-9)


def test_table_3_takes_one_seed_and_the_trend_over_ranks(study: Path, reading: PaperReading) -> None:
    rhos = []
    for rank in (2, 4, 16):
        losses, entropy = losses_and_entropy(cell_of(study, f"lora-r{rank}", 42))
        rhos.append(stats.spearmanr(entropy, losses.mean(axis=1)).statistic)
        final = stats.spearmanr(entropy, losses[:, -1]).statistic
        assert at(
            one(reading, "3"), ("RoBERTa", "SNLI", str(rank)), "rho with final loss"
        ).value == pytest.approx(final)
    table = one(reading, "3")
    assert at(table, ("RoBERTa", "SNLI", "2"), "seed").value == 42
    assert [at(table, ("RoBERTa", "SNLI", str(rank)), "rho").value for rank in (2, 4, 16)] == pytest.approx(
        rhos
    )
    trend = at(table, ("RoBERTa", "SNLI", "trend"), "rho").value
    assert trend == pytest.approx(stats.spearmanr([2, 4, 16], rhos).statistic)


def test_noise_splits_settled_items_by_flip_and_tests_against_the_base_cell(
    study: Path, reading: PaperReading
) -> None:
    table = one(reading, "D")
    place = ("RoBERTa", "LoRA r=4", "SNLI", "uniform 30%, settled")
    noisy, plain = (losses_and_entropy(cell_of(study, "lora-r4", 42, v)) for v in ("noise-30", None))
    settled = noisy[1] < 0.4
    difference = noisy[0].mean(axis=1)[settled] - plain[0].mean(axis=1)[settled]
    test = stats.wilcoxon(difference, alternative="greater")
    assert at(table, place, "Wilcoxon p").value == pytest.approx(test.pvalue)
    assert at(table, place, "d").value == pytest.approx(difference.mean() / difference.std(ddof=1))
    means = [
        losses_and_entropy(cell_of(study, "lora-r4", seed, "noise-30"))[0]
        .mean(axis=1)[settled & flipped()]
        .mean()
        for seed in (42, 123)
    ]
    assert at(table, place, "settled, flipped").value == pytest.approx(np.mean(means))
    assert at(table, ("RoBERTa", "LoRA r=4", "SNLI", "none"), "settled, flipped").missing == "none flipped"


def test_soft_labels_and_buckets_stand_below_their_base(study: Path, reading: PaperReading) -> None:
    soft = one(reading, "soft")
    losses, entropy = losses_and_entropy(cell_of(study, "lora-r4", 42, "soft-labels"))
    other, _ = losses_and_entropy(cell_of(study, "lora-r4", 123, "soft-labels"))
    contested = entropy >= 0.7
    changes = [(x[:, -1] - x[:, 0])[contested] for x in (losses, other)]
    entry = at(soft, ("RoBERTa", "LoRA r=4", "SNLI", "soft, contested"), "change, median")
    assert entry.value == pytest.approx(np.mean([np.median(x) for x in changes]))
    assert [row.labels[3] for row in one(reading, "buckets").rows] == ["all", "all settled"]


def test_calibration_gap_and_partial_correlations_are_those_of_their_definitions(
    study: Path, reading: PaperReading
) -> None:
    place = ("RoBERTa", "LoRA r=2", "SNLI")
    losses, entropy = losses_and_entropy(cell_of(study, "lora-r2", 42))
    curves = load_curves(cell_of(study, "lora-r2", 42))
    last = curves.log_probs[:, -1].astype(np.float64)
    (cell,) = [c.cells[0] for c in reading.own if c.labels == place]
    assert cell.calibrations["all"].accuracy == np.mean(last.argmax(1) == curves.counts.argmax(1))
    below = losses < 0.693
    time = np.where(below.any(axis=1), below.argmax(axis=1), np.inf)
    assert cell.learning_point is not None
    np.testing.assert_array_equal(cell.learning_point, time)
    learned = np.isfinite(time)
    late, early = time[learned & (entropy >= 0.7)], time[learned & (entropy < 0.4)]
    assert cell.gap.gap == pytest.approx(late.mean() - early.mean())
    # First-order formula of the paper's code, on ranks.
    skewness = stats.skew(curves.counts, axis=1)
    r_xy, r_xz, r_yz = (
        stats.spearmanr(a, b).statistic for a, b in ((entropy, time), (entropy, skewness), (time, skewness))
    )
    expected = (r_xy - r_xz * r_yz) / math.sqrt((1 - r_xz**2) * (1 - r_yz**2))
    assert cell.partial("learning time", "count_skewness") == pytest.approx(expected)


def test_percentiles_of_resampled_items_are_those_of_plain_resampling() -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal(80)
    y = 0.5 * x + rng.standard_normal(80)
    low, high = item_percentiles(x, y, resamples=4000, rng=0)
    picks = rng.integers(0, 80, size=(2000, 80))
    plain = np.percentile([stats.spearmanr(x[pick], y[pick]).statistic for pick in picks], [2.5, 97.5])
    assert (low, high) == pytest.approx(tuple(plain), abs=0.03)
    assert all(math.isnan(end) for end in item_percentiles(x, np.zeros(80), resamples=10, rng=0))


def test_a_model_of_ones_own_has_a_row_once_a_seed_is_finished(tmp_path: Path) -> None:
    spec = paper_like(models=[{"name": "mine"}, {"name": "yours"}], seeds=[0], variants=[])
    names = write_study(tmp_path / "own", spec, n=N)
    for name in names:
        if ".yours." in name or ("mnli" in name) or "lora-r16" in name:
            shutil.rmtree(tmp_path / "own" / "cells" / name)
    reading = read_conditions([tmp_path / "own"])
    table = one(reading, "1")
    assert {row.labels[0] for row in table.rows} == {"mine"}
    assert at(table, ("mine", "LoRA r=4"), "rho, MNLI").missing == "not run"
    assert at(table, ("mine", "full"), "rho, MNLI").missing == "not in these studies"
    assert "7 conditions of mine, yours" in " ".join(table.notes)
    assert [row.labels[2] for row in one(reading, "3").rows] == ["2", "4", "16", "trend"]
    assert at(one(reading, "3"), ("mine", "SNLI", "16"), "rho").missing == "not run"


def test_studies_that_share_cells_count_each_once_and_join_their_seeds(study: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    write_study(second, paper_like(seeds=[42, 456], name="second"), n=N)
    both = read_conditions([study, second])
    (condition,) = [c for c in both.own if c.labels == ("RoBERTa", "LoRA r=4", "SNLI")]
    assert [cell.seed for cell in condition.cells] == [42, 123, 456]
    assert condition.cells[0].folder.is_relative_to(study)


def test_gradients_come_from_the_study_that_recorded_them(study: Path, tmp_path: Path) -> None:
    place = ("RoBERTa", "LoRA r=4", "SNLI")
    without = one(read_conditions([study]), "J")
    assert not without.rows
    assert without.absent.startswith("not recorded")
    probed = tmp_path / "probed"
    override = {
        "when": {**BASE, "seed": 42},
        "set": {"tracking": {"gradients": {"groups": ["contested", "settled"], "norms": "end"}}},
    }
    spec = paper_like(seeds=[42], overrides=[override], variants=[], name="probed")
    write_study(probed, spec, n=N)
    (cell,) = [c for c in expand(spec) if c.tracking.gradients is not None]
    folder = probed / "cells" / cell.cell_id
    # Norms 5 and 5, product 24: cosine .96; then 5 and 3, product -12: -.8.
    products = np.array([[[25.0, 24.0], [24.0, 25.0]], [[25.0, -12.0], [-12.0, 9.0]]])
    save_group_gradients(
        folder / GRADIENTS, GroupGradients(("contested", "settled"), (5, 7), (0, 100), products)
    )
    _, entropy = losses_and_entropy(folder)
    norms = 1.0 + np.arange(N) % 7
    save_gradient_norms(
        folder / GRADIENT_NORMS,
        ExampleGradientNorms(tuple(dataset(N).ids), np.full(N, "x"), (100,), norms[None, :]),
    )
    reading = read_conditions([study, probed])
    (condition,) = [c for c in reading.own if c.labels == place]
    assert [c.seed for c in condition.cells] == [42, 123]
    table = one(reading, "J")
    assert [at(table, (*place, step), "cosine").value for step in ("0", "100")] == pytest.approx([0.96, -0.8])
    assert at(table, (*place, "100"), "norm, settled").value == pytest.approx(3.0)
    entry = at(one(reading, "norms"), (*place, "contested"), "median")
    assert entry.value == np.median(norms[entropy >= 0.7])
    groups = [norms[entropy >= 0.7], norms[(entropy >= 0.4) & (entropy < 0.7)], norms[entropy < 0.4]]
    assert at(one(reading, "norms"), (*place, "settled"), "p").value == pytest.approx(
        stats.kruskal(*groups).pvalue
    )


def test_the_same_words_for_other_settings_are_told_apart(study: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    spec = paper_like(
        name="other", seeds=[42], methods=[{"name": "full", "learning_rate": 1e-3}], exclude=[], variants=[]
    )
    write_study(other, spec, n=N)
    methods = {c.method for c in read_conditions([study, other]).own if c.data == "SNLI"}
    assert {"full [made]", "full [other]", "LoRA r=4"} <= methods


def test_without_a_learning_time_the_tables_of_it_say_so(study: Path) -> None:
    own = read_conditions([study], paper=False)
    place = ("RoBERTa", "LoRA r=4", "SNLI")
    assert at(one(own, "W"), place, "W").missing == "no learned_loss is set"
    assert at(one(own, "gap"), place, "settled, never").missing == "no learned_loss is set"
    assert "no learned_loss" in " ".join(own.definitions)


def test_the_paper_s_25_conditions_have_its_names_and_the_appendix_shares_some() -> None:
    def named(study: str) -> set[tuple[str, str, str]]:
        cells = [cell for cell in expand(load_study(study)) if cell.variant is None]
        return {(model_name(cell), method_name(cell), data_name(cell)) for cell in cells}

    paper, appendix = named("paper"), named("paper-appendix")
    assert len(paper) == 25
    assert {model for model, _, _ in paper} == set(MODELS.values()) - {"GPT-2"}
    assert {method for _, method, _ in paper} == set(METHODS)
    assert ("RoBERTa", "LoRA r=4", "SNLI") in paper & appendix
    assert {
        ("GPT-2", "LoRA r=4", "SNLI"),
        ("RoBERTa", "LoRA r=4", "alphaNLI"),
        ("RoBERTa", "IA3", "SNLI"),
    } <= appendix


def test_csv_has_one_number_a_line_and_latex_escapes(reading: PaperReading) -> None:
    tables = paper_tables(reading)
    lines = list(csv.DictReader(io.StringIO(csv_text(tables))))
    (line,) = [x for x in lines if (x["table"], x["method"], x["measure"]) == ("1", "LoRA r=4", "rho, SNLI")]
    assert float(line["value"]) == at(tables[0], ("RoBERTa", "LoRA r=4"), "rho, SNLI").value
    assert {x["level"] for x in lines if x["table"] == "3"} == {"1", "2", "4", "8", "16", "32", "trend"}
    assert all(x["value"] or x["missing"] or x["low"] or x["words"] for x in lines)
    assert escaped("50 % of a_b & <0.001 ± −1") == r"50 \% of a\_b \& $<$0.001 $\pm$ $-$1"
    assert escaped(r"a\b{c}~d^e|f#g$h") == (
        r"a\textbackslash{}b\{c\}\textasciitilde{}d\textasciicircum{}e\textbar{}f\#g\$h"
    )
    assert escaped("ρ ≥ 0.5, τ ≤ 2 × κ → R²") == (
        r"$\rho$ $\geq$ 0.5, $\tau$ $\leq$ 2 $\times$ $\kappa$ $\to$ R$^2$"
    )
    # A row that begins with [ or * would be read as an option of the line before; a break would end a comment.
    assert escaped('[0, 1) * a--b "c"\nd') == "{[}0, 1) {*} a-{}-b ''c'' d"
    text = latex_text(reading, tables)
    assert text.startswith("% Needs \\usepackage{booktabs,graphicx}.\n%")
    assert text.isascii()
    foreign = replace(tables[0], title="矛盾 and Größe")
    assert latex_text(reading, [foreign]).startswith(
        "% Needs \\usepackage{booktabs,graphicx}. Needs XeLaTeX or LuaLaTeX, and a font that has 盾 矛\n"
    )
    assert text.count(r"\resizebox{\textwidth}") == text.count(r"\begin{tabular}")
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == sum(bool(t.rows) for t in tables)


def test_text_fits_80_columns(reading: PaperReading) -> None:
    lines = text_lines(reading, paper_tables(reading), 80)
    assert [line for line in lines if len(line) > 80] == []


def test_the_command_fits_a_terminal_of_80_columns(study: Path) -> None:
    pytest.importorskip("fcntl")
    from terminal import Terminal, dissensus

    command = dissensus("tables", str(study), "--paper", "--table", "1", "--table", "D")
    environment = {"LANG": "C.UTF-8", "PYTHONPATH": os.pathsep.join(sys.path)}
    with Terminal(command, columns=80, cwd=study.parent, environment=environment) as terminal:
        assert terminal.end() == 0
        assert terminal.screen.folded == []
        assert "Appendix D. Label noise" in terminal.screen.shown


def test_figures_are_pdf_and_svg_and_the_same_each_time(reading: PaperReading, tmp_path: Path) -> None:
    for name in ("a", "b"):
        paper_figures(reading, tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == sorted(f"figure-{k}.{ending}" for k in (1, 2, 3) for ending in ("pdf", "svg"))
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert "RoBERTa, LoRA r=4" in (tmp_path / "a" / "figure-1.svg").read_text("utf-8")


def test_the_command_prints_or_writes_and_refuses_what_it_cannot_do(study: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke
    printed = run(app, ["tables", str(study), "--paper", "--table", "1"])
    assert printed.exit_code == 0
    assert "AULC: mean of the tracking points" in printed.output
    assert "about .308" in printed.output
    short = run(app, ["tables", str(study), "--paper"]).output
    assert [
        line.split(".")[0] for line in short.splitlines() if line.startswith(("Table ", "Appendix "))
    ] == [
        *("Table 1", "Table 2", "Table 3"),
        "Appendix tables, each printed by --table NAME, all of them by --all:",
    ]
    assert set(TABLES) == {*MAIN, *APPENDIX}
    listed = [line.split()[0] for line in short.splitlines() if line.startswith("  ")]
    assert set(APPENDIX) <= set(listed)
    whole = run(app, ["tables", str(study), "--paper", "--all"]).output
    assert whole.count("\nAppendix ") >= len(APPENDIX)
    assert "--table NAME" not in whole
    assert run(app, ["tables", str(study), "--all", "--table", "1"]).exit_code == 2
    written = run(
        app,
        ["tables", str(study), "--paper", "--format", "csv", "--table", "1", "--out", str(tmp_path / "out")],
    )
    assert written.exit_code == 0
    assert (tmp_path / "out" / "tables.csv").read_text("utf-8").startswith("table,model,method,data")
    with pytest.raises(SpecError, match="no table is called 'Z'"):
        paper_tables(PaperReading((), (), ()), ["Z"])
    assert run(app, ["tables", str(study), str(study)]).exit_code == 2
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "study.yaml").write_text(paper_like().to_yaml(), encoding="utf-8")
    with pytest.raises(StoreError, match="is finished"):
        read_conditions([empty])
