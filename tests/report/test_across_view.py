"""What the page shows of verdicts and label noise: both sides of 0, reasons, and legends of what is drawn."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from dissensus.analysis.across import TABLES, Across
from dissensus.analysis.claims import ClaimVerdict, Part, Question
from dissensus.analysis.tables import analyze
from dissensus.report.beside import across_view
from dissensus.report.claims import claim_views
from dissensus.report.page import build, render
from synthetic_study import study_spec, write_study

NAN = float("nan")


def part(name: str, value: float, p_holm: float, **changes: Any) -> Part:
    one = Part(name, value, value - 0.07, value + 0.07, 0.03, 20.0, p_holm, 1.0, 0.05, 1, ("c",))
    return replace(one, p_holm=p_holm, p_bh=p_holm, **changes)


def claim(*parts: Part) -> ClaimVerdict:
    asked = Question("every condition", "rho is above 0", "rho", parts, "inconclusive")
    return ClaimVerdict("C1", "It holds.", "inconclusive", "found", "more", (), (asked,))


def test_reversed_numbers_of_a_question_are_counted_and_named() -> None:
    parts = [part("up", 0.3, 0.001), part("turned", -0.19, 0.002), part("flat", -0.02, 0.8)]
    asked = claim_views([claim(*parts)], 0.05)[0].questions[0]
    assert asked.reversed == 1
    assert asked.standing == (
        "Of 3 numbers, shown to be above 0 (Holm's adjusted p below 0.05): 1; shown to be below 0: 1 (turned); "
        "told from 0 on neither side: 1"
    )
    many = claim_views([claim(*(part(f"p{i}", -0.2, 0.001) for i in range(6)))], 0.05)[0].questions[0]
    assert "shown to be below 0: 6 (p0; p1; p2; p3; and 2 more)" in many.standing
    assert claim_views([claim()], 0.05)[0].questions[0].standing == ""


def test_a_number_without_an_interval_says_why() -> None:
    few = part("few", -0.14, NAN, low=NAN, high=NAN, withheld="12 clusters, fewer than 20", clusters=12)
    shown = claim_views([claim(few)], 0.05)[0].questions[0].parts[0]
    assert (shown.interval, shown.clusters) == ("12 clusters, fewer than 20", "12")
    bare = claim_views([claim(replace(few, withheld=""))], 0.05)[0].questions[0].parts[0]
    assert bare.interval == "none"


def noisy_tables() -> dict[str, pa.Table]:
    run = {
        "cell": "c", "dataset": "d", "model": "m", "method": "full", "regime": "trained_on", "noise": "uniform",
        "rate": 0.2, "seed": 0,
    }  # fmt: skip
    curves = [
        {**run, "label": label, "group": group, "progress": u, "mean": u, "low": u, "high": u}
        for label in ("given", "true")
        for group in ("flipped", "contested", "plain")
        for u in (0.0, 1.0)
    ]
    ranking = [
        {
            **run,
            "score": "aulc",
            "source": "curves",
            "auroc": 0.8,
            "auroc_low": 0.7,
            "auroc_high": 0.9,
            "ap": 0.5,
            "note": "",
        }
    ]
    empty = {name: pa.table({}) for name in TABLES} | {
        "annotators": pa.table({"condition": [], "labels": []})
    }
    made = {"noise_curves": pa.Table.from_pylist(curves), "noise_ranking": pa.Table.from_pylist(ranking)}
    return {**empty, **made}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("noise")
    write_study(folder, study_spec(), n=30)
    found = Across((claim(part("turned", -0.19, 0.002)),), noisy_tables(), 2, 2)
    return render(replace(build(analyze(folder)), across=across_view(found, 0.05)))


def test_the_legend_of_label_noise_shows_what_its_curves_are_drawn_with(page: str) -> None:
    section = re.search(r'<section id="noise".*?</section>', page, re.DOTALL)
    assert section is not None
    legend = re.search(r'<ul class="legend">.*?</ul>', section[0], re.DOTALL)
    assert legend is not None
    keys = dict(re.findall(r'<li class="(\w+)">.*?<path ([^>]*)/>', legend[0]))
    # Contested is solid; it was called "dashed as above", and there is no figure above.
    assert "dasharray" not in keys["contested"]
    assert "contested (solid)" in legend[0]
    assert 'stroke-dasharray="7.2 2.4 2.4 2.4"' in keys["flipped"]  # 3, 1, 1, 1 widths of 2.4
    assert "flipped examples (dash-dotted)" in legend[0]
    assert 'stroke-dasharray="12 3.84"' in keys["plain"]
    for place in ("as above", "left", "right"):
        assert place not in re.sub(r"<svg.*?</svg>", "", section[0], flags=re.DOTALL)


def test_a_reversed_question_is_seen_before_it_is_opened(page: str) -> None:
    assert "<summary>every condition: inconclusive, 1 clearly below 0</summary>" in page
    assert "premise" not in re.search(r'<section id="claims".*?</table>', page, re.DOTALL)[0]  # type: ignore[index]


def test_a_likeness_or_a_choice_without_an_interval_says_why() -> None:
    row = {
        "cell": "c", "label": "given", "flipped_group": "flipped", "dataset": "d", "model": "m", "method": "full",
        "regime": "trained_on", "noise": "uniform", "rate": 0.2, "seed": 0, "from_contested": 0.1, "from_plain": 0.4,
        "likeness": 0.3, "low": NAN, "high": NAN, "contested_from_plain": 0.5, "equivalence": 0.4,
        "equivalence_low": 0.2, "equivalence_high": 0.6, "withheld": "12 clusters; an interval needs 20 at least",
        "equivalence_withheld": "",
    }  # fmt: skip
    hangs = {
        "choice": "x axis", "value": "log", "reference_value": "u", "source": "stored curves", "conditions": 3,
        **{
            f"{m}{end}": 0.0
            for m in ("rho", "delta_contested")
            for end in ("_median_change", "_largest_change")
        },
        "rho_sign_turns_clearly": 1, "rho_withheld": 0,
        "delta_contested_sign_turns_clearly": 0, "delta_contested_withheld": 2,
    }  # fmt: skip
    none = {**hangs, "value": "other", "delta_contested_withheld": 3}
    tables = noisy_tables() | {
        "noise_likeness": pa.Table.from_pylist([row]),
        "hangs_on": pa.Table.from_pylist([hangs, none]),
    }
    shown = across_view(Across((), tables, 2, 2), 0.05)
    assert shown.noise is not None
    said = " ".join(shown.noise.notes)
    assert "(difference 0.30, no interval: 12 clusters; an interval needs 20 at least)" in said
    assert "(0.20 to 0.60; likeness needs that to be above 0)" in said
    assert shown.sensitivity is not None
    assert [(r[6], r[9]) for r in shown.sensitivity.rows] == [("1", "0 of 1"), ("1", "no interval")]
