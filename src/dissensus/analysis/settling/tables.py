"""Tables of the settling analysis, each as CSV and Parquet; losses are means over examples, in nats.

curves         setting, run, method, rate, seed, cell, step, progress, settled, contested: a row per tracking point
ends           setting, run, method, rate, seeds, learned (of them), settled, contested_start, contested, change (with
               low and high), peak (highest minus start, 0 at least), peak_settled, why: a row per run
levels         setting, run, method, rate, level, seeds, contested (with low and high), why: a row per run and level
differences    setting, first, second, same_method, level, seeds, difference (with low and high, first minus second),
               p_beyond (the margin; by Holm), within (the margin), margin, withheld

`settling.json` has the verdicts and the sentence of each setting.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from dissensus.analysis.settling.runs import Line
from dissensus.analysis.settling.scopes import Scope
from dissensus.analysis.settling.verdict import Settling
from dissensus.files import atomic_file, write_atomic

_RUN = [("setting", pa.string()), ("run", pa.string()), ("method", pa.string()), ("rate", pa.float64())]


def _numbers(*names: str) -> list[tuple[str, pa.DataType]]:
    return [(name, pa.float64()) for name in names]


SCHEMAS: Mapping[str, pa.Schema] = {
    "curves": pa.schema(
        [
            *(*_RUN, ("seed", pa.int64()), ("cell", pa.string()), ("step", pa.int64())),
            *_numbers("progress", "settled", "contested"),
        ]
    ),
    "ends": pa.schema(
        [
            *(*_RUN, ("seeds", pa.int64()), ("learned", pa.int64())),
            *_numbers("settled", "contested_start", "contested", "change", "change_low", "change_high"),
            *_numbers("peak", "peak_settled"),
            ("why", pa.string()),
        ]
    ),
    "levels": pa.schema(
        [
            *(*_RUN, ("level", pa.float64()), ("seeds", pa.int64())),
            *_numbers("contested", "contested_low", "contested_high"),
            ("why", pa.string()),
        ]
    ),
    "differences": pa.schema(
        [
            *(("setting", pa.string()), ("first", pa.string()), ("second", pa.string())),
            *(("same_method", pa.bool_()), ("level", pa.float64()), ("seeds", pa.int64())),
            *_numbers("difference", "difference_low", "difference_high", "p_beyond"),
            *(("within", pa.bool_()), ("margin", pa.float64()), ("withheld", pa.string())),
        ]
    ),
}


def settling_tables(results: Sequence[Settling]) -> dict[str, pa.Table]:
    """The tables, by name; see the module's first lines."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in SCHEMAS}
    for one in results:
        name = one.setting.name
        rows["curves"] += [row for line in one.setting.lines for row in _curve_rows(name, line)]
        rows["ends"] += [
            {
                **_run(name, end.line),
                "seeds": len(end.line.runs),
                "learned": end.learned,
                "settled": end.settled,
                "contested_start": end.start,
                "contested": end.contested,
                "change": end.change.value,
                "change_low": end.change.low,
                "change_high": end.change.high,
                "peak": end.peak,
                "peak_settled": end.peak_at,
                "why": end.why or end.change.withheld,
            }
            for end in one.ends
        ]
        rows["levels"] += [
            {
                **_run(name, row.line),
                "level": row.level,
                "seeds": len(row.by_seed),
                "contested": row.value.value,
                "contested_low": row.value.low,
                "contested_high": row.value.high,
                "why": row.why or row.value.withheld,
            }
            for row in one.rows
        ]
        rows["differences"] += [
            {
                "setting": name,
                "first": apart.first.name,
                "second": apart.second.name,
                "same_method": apart.same_method,
                "level": apart.level,
                "seeds": apart.value.seeds,
                "difference": apart.value.value,
                "difference_low": apart.value.low,
                "difference_high": apart.value.high,
                "p_beyond": apart.p_beyond,
                "within": apart.within,
                "margin": apart.margin,
                "withheld": apart.value.withheld,
            }
            for apart in one.differences
        ]
    return {name: pa.Table.from_pylist(rows[name], schema=schema) for name, schema in SCHEMAS.items()}


def settling_json(results: Sequence[Settling]) -> list[dict[str, Any]]:
    """Verdicts and sentences as plain data, with the tables' rows."""
    return [
        {
            "setting": one.setting.name,
            "margin": one.margin,
            "chance": one.setting.chance,
            "levels": list(one.levels),
            "verdicts": [_scope(scope) for scope in one.scopes],
            "sentence": one.sentence,
            **{name: table.to_pylist() for name, table in settling_tables([one]).items() if name != "curves"},
        }
        for one in results
    ]


def write_settling(results: Sequence[Settling], out: Path) -> None:
    """Write the tables and settling.json into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    for name, table in settling_tables(results).items():
        text = io.BytesIO()
        pyarrow.csv.write_csv(table, text)
        write_atomic(out / f"{name}.csv", text.getvalue())
        with atomic_file(out / f"{name}.parquet") as beside:
            pyarrow.parquet.write_table(table, beside)
    text_of_all = json.dumps(_plain(settling_json(results)), indent=1, ensure_ascii=False)
    write_atomic(out / "settling.json", text_of_all + "\n")


def _run(setting: str, line: Line) -> dict[str, Any]:
    return {"setting": setting, "run": line.name, "method": line.method, "rate": line.rate}


def _curve_rows(setting: str, line: Line) -> Iterable[dict[str, Any]]:
    for run in line.runs:
        points = zip(run.cell.steps, run.means.progress, run.settled, run.contested, strict=True)
        for step, progress, settled, contested in points:
            yield {
                **_run(setting, line),
                "seed": run.seed,
                "cell": run.cell.name,
                "step": int(step),
                "progress": float(progress),
                "settled": float(settled),
                "contested": float(contested),
            }


def _scope(scope: Scope) -> dict[str, Any]:
    return {
        "pairs_of": scope.name,
        "verdict": scope.verdict,
        "of_these_runs": scope.runs,
        "reason": scope.reason,
        "pairs": scope.pairs,
    }


def _plain(value: Any) -> Any:
    """NaN as null."""
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value
