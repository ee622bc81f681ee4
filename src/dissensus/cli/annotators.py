"""Annotators of a data file as a table, worst first, and what to do about them: `dissensus data annotators FILE`."""

from __future__ import annotations

import json
import math
import re
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dissensus.cli.output import emit_json, interval, next_step, number, say, table, terminal_width

if TYPE_CHECKING:
    from dissensus.data.annotations import AnnotatedDataset
    from dissensus.data.annotators.competence import Competence
    from dissensus.data.annotators.panel import Panel
    from dissensus.data.annotators.summary import AnnotatorRow, AnnotatorSummary

MOST = 15
"""Annotators that a terminal shows."""


def print_annotators(dataset: AnnotatedDataset, *, file: Path, as_json: bool) -> None:
    """Print who annotated a data set.

    Args:
        dataset: the data set.
        file: it was read from; named in the next step.
        as_json: print JSON.
    """
    from dissensus.data.annotators.competence import competence
    from dissensus.data.annotators.panel import Panel
    from dissensus.data.annotators.summary import summarise
    from dissensus.errors import MissingDependencyError

    panel = Panel.of(dataset)
    summary = summarise(dataset, panel)
    models: Competence | None = None
    missing = ""
    if panel.names:
        try:
            models = competence(panel)
        except MissingDependencyError as error:
            missing = str(error)
    if as_json:
        emit_json(_document(dataset, panel, summary, models, missing))
        return
    _print_summary(summary)
    for line in dataset.notes:
        say(f"note: {line}")
    if not panel.names:
        return
    _print_rows(panel, summary.rows, models)
    if missing:
        say(f"Dawid-Skene and MACE are empty: {missing}")
    if models is not None and models.left_out:
        say(f"{models.left_out} answers of several labels are left out of Dawid-Skene and MACE.")
    say()
    _print_next_step(summary, file)


def _print_summary(summary: AnnotatorSummary) -> None:
    from dissensus.data.annotators.summary import alpha_words

    answered = (
        f"{len(summary.rows)} annotators known by name" if summary.rows else "annotators not known by name"
    )
    say(f"{summary.name}: {summary.items} items, {answered}")
    for alpha in summary.alphas:
        say(
            f"Krippendorff's alpha ({alpha.level}): {alpha_words(alpha)}, from {alpha.items} items with two answers "
            "or more"
        )
    if not math.isnan(summary.dispersion):
        say(f"ordinal dispersion: mean {number(summary.dispersion, 3)} of 1")
    if summary.entropy is not None:
        say(
            "ranking of the items by entropy, with and without the flagged annotators: Spearman's rho "
            f"{number(summary.entropy.rank_correlation, 3)}"
        )
    say(f"{summary.verdict or 'No item has two annotations, so that agreement is not known'}.")


def _print_rows(panel: Panel, rows: tuple[AnnotatorRow, ...], models: Competence | None) -> None:
    place = {name: k for k, name in enumerate(panel.names)}
    least = sum(row.outcome == "flagged" for row in rows)
    width = terminal_width(sys.stdout)
    shown = rows if width is None else rows[: max(MOST, min(least, 2 * MOST))]
    say()
    numeric = ("items", "agree", "95 %", "kappa", "most used", "D-S", "MACE")
    table(
        ("annotator", *numeric, ""),
        (
            (
                row.name,
                row.items,
                number(row.agreement),
                interval(row.low, row.high),
                number(row.kappa),
                f"{row.top_label} {100 * row.top_share:.0f}%",
                "" if models is None else number(float(models.dawid_skene[place[row.name]])),
                "" if models is None else number(float(models.mace[place[row.name]])),
                row.why if row.outcome == "flagged" else "not told" if row.outcome == "not told" else "",
            )
            for row in shown
        ),
        numeric=numeric,
    )
    if len(shown) < len(rows):
        left = rows[len(shown) :]
        say(
            f"... and {len(left)} more, none of them worse"
            + (
                f" ({sum(row.outcome == 'flagged' for row in left)} of them flagged)"
                if least > len(shown)
                else ""
            )
            + "; --json has them all."
        )
    say(
        "agree: share of the others' votes that equal theirs; kappa: the same beyond chance; D-S, MACE: competence by "
        "Dawid-Skene and MACE; not told: too few items, or too little agreement to compare with."
    )


def _print_next_step(summary: AnnotatorSummary, file: Path) -> None:
    flagged = summary.flagged
    if flagged:
        names = ", ".join(_yaml_name(row.name) for row in flagged[:MOST])
        more = f" (and {len(flagged) - MOST} more)" if len(flagged) > MOST else ""
        say("Read some of their answers. To leave them out, add to the source in your study:")
        say(f"  leave_out: [{names}]{more}")
    else:
        say("To leave an annotator out, add to its source: leave_out: [NAME]")
    next_step(f"dissensus init {shlex.quote(str(file))}")


def _yaml_name(name: str) -> str:
    plain = re.fullmatch(r"[A-Za-z_][\w-]*", name) and name.casefold() not in (
        "yes",
        "no",
        "on",
        "off",
        "true",
        "false",
        "null",
        "y",
        "n",
    )
    return name if plain else json.dumps(name, ensure_ascii=False)


def _document(
    dataset: AnnotatedDataset,
    panel: Panel,
    summary: AnnotatorSummary,
    models: Competence | None,
    missing: str,
) -> dict[str, Any]:
    place = {name: k for k, name in enumerate(panel.names)}
    document = asdict(summary)
    for row in document["rows"]:
        k = place[row["name"]]
        row["dawid_skene"] = None if models is None else float(models.dawid_skene[k])
        row["mace"] = None if models is None else float(models.mace[k])
    document["missing"] = missing or None
    document["posterior"] = (
        None
        if models is None
        else [
            {
                "id": item,
                "dawid_skene": dict(zip(dataset.labels, map(float, models.posterior[i]), strict=True)),
                "mace": dict(zip(dataset.labels, map(float, models.posterior_mace[i]), strict=True)),
            }
            for i, item in enumerate(dataset.ids)
        ]
    )
    return document
