"""Tables of a search over learning rates: a row per short run, the choices, the lines of YAML to paste.

Columns of `rates.csv`: dataset, model, method, regime, rate, rung (from 1), share (of the training length), epochs,
rank (in its rung), loss (at the end, nats; empty where the run failed), start_loss, learned, why, judged_on, n (judged
examples), chosen (the rate that the search chose), cell (the run's folder). `rates.json` has the same by condition,
with sentence and warnings.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import yaml

from dissensus.analysis.rates.search import RateSearch
from dissensus.config import StudySpec
from dissensus.files import write_atomic
from dissensus.study.rates import axes_of, with_rates

SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("dataset", "model", "method", "regime")]
    + [("rate", pa.float64()), ("rung", pa.int64()), ("share", pa.float64()), ("epochs", pa.float64())]
    + [("rank", pa.int64()), ("loss", pa.float64()), ("start_loss", pa.float64())]
    + [(name, pa.string()) for name in ("learned", "why", "judged_on")]
    + [("n", pa.int64()), ("chosen", pa.bool_()), ("cell", pa.string())]
)


def rate_rows(search: RateSearch) -> list[dict[str, Any]]:
    """A row per run that counted; see the module's first lines."""
    best = search.best
    return [
        {
            **axes_of(search.searched.cell),
            "rate": score.run.rate,
            "rung": number,
            "share": rung.share,
            "epochs": score.run.spec.training.epochs,
            "rank": rank,
            "loss": score.loss if score.ended else None,
            "start_loss": score.start if math.isfinite(score.start) else None,
            "learned": score.learned,
            "why": score.why,
            "judged_on": score.judged_on,
            "n": score.n,
            "chosen": best is not None and score.run.rate == best.run.rate,
            "cell": score.run.spec.cell_id,
        }
        for number, rung in enumerate(search.rungs, 1)
        for rank, score in enumerate(rung.scores, 1)
    ]


def rates_json(searches: Sequence[RateSearch]) -> list[dict[str, Any]]:
    """The searches as plain data."""
    return [
        {
            "condition": search.name,
            **axes_of(search.searched.cell),
            "own_rate": search.searched.cell.method.learning_rate,
            "learning_rate": search.best.run.rate if search.best else None,
            "candidates": list(search.grid),
            "added": list(search.added),
            "sentence": search.sentence,
            "warnings": list(search.warnings),
            "runs": rate_rows(search),
        }
        for search in searches
    ]


def write_rates(searches: Sequence[RateSearch], out: Path) -> None:
    """Write rates.csv and rates.json into the folder of the search."""
    rows = [row for search in searches for row in rate_rows(search)]
    text = io.BytesIO()
    pyarrow.csv.write_csv(pa.Table.from_pylist(rows, schema=SCHEMA), text)
    write_atomic(out / "rates.csv", text.getvalue())
    write_atomic(out / "rates.json", json.dumps(rates_json(searches), indent=1, ensure_ascii=False) + "\n")


def chosen_study(study: StudySpec, searches: Sequence[RateSearch]) -> StudySpec:
    """The study with the chosen rates; conditions without one keep theirs."""
    return with_rates(study, {one.name: one.best.run.rate for one in searches if one.best})


def yaml_lines(study: StudySpec, chosen: StudySpec) -> list[str]:
    """What to write into the study's file: the line of each method that changes, and the overrides that join."""
    lines = [
        f"{{name: {new.name}{f', rank: {new.rank}' if new.rank else ''}{f', tag: {new.tag}' if new.tag else ''}, "
        f"learning_rate: {_rate(new.learning_rate)}}}"
        for old, new in zip(study.methods, chosen.methods, strict=True)
        if old.learning_rate != new.learning_rate
    ]
    text = ["methods: # the learning_rate alone changes", *(f"  - {line}" for line in lines)] if lines else []
    overrides = chosen.overrides[len(study.overrides) :]
    if overrides:
        text.append("overrides: # after those that are there")
    for override in overrides:
        when = override.when.model_dump(mode="json", exclude_none=True)
        text.append(f"  - when: {_flow(when)}")
        text.append(
            f"    set: {{method: {{learning_rate: {_rate(override.set['method']['learning_rate'])}}}}}"
        )
    return text


def _flow(values: dict[str, Any]) -> str:
    return yaml.safe_dump(values, default_flow_style=True, sort_keys=False, width=10_000).strip()


def _rate(rate: float) -> str:
    """A number that YAML 1.1 reads as one: it takes 2e-05 for text."""
    return str(yaml.safe_dump(rate)).split("\n")[0]
