"""The file `full_aum_records.csv` of asappresearch/aum: a row per sample and measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from dissensus.curves import FloatArray
from dissensus.errors import DataError
from dissensus.wording import first_line

RECORDS = "full_aum_records.csv"
COLUMNS = {
    "sample_id": pa.string(),
    "num_measurements": pa.int64(),
    "target_logit": pa.int64(),
    "other_logit": pa.int64(),
    "margin": pa.float64(),
}


@dataclass(frozen=True)
class AumRecords:
    """The rows of the file, r of them, of n samples.

    Attributes:
        ids: of the samples, in the order in which they first appear.
        gold: assigned label of each sample, shape (n,).
        row: place of each row's sample in `ids`, shape (r,).
        point: measurements of that sample before this one, shape (r,).
        other: strongest other label, shape (r,).
        margin: NaN where it is not finite, shape (r,).
    """

    ids: tuple[str, ...]
    gold: NDArray[np.int64]
    row: NDArray[np.int64]
    point: NDArray[np.int64]
    other: NDArray[np.int64]
    margin: FloatArray


def records_file(path: Path) -> Path:
    """The file of records at `path`, which is that file or its folder; `DataError` if it has none."""
    file = path / RECORDS if path.is_dir() else path
    if file.is_file() and file.name != "aum_values.csv":
        return file
    if file.name == "aum_values.csv" or (path / "aum_values.csv").is_file():
        raise DataError(
            f"{path} has a sum over training for each sample (aum_values.csv), no curves; expected {RECORDS}, "
            "which AUMCalculator(save_dir, compressed=False) writes"
        )
    raise DataError(f"{file} does not exist; expected {RECORDS} as AUMCalculator.finalize writes it")


def read_records(file: Path) -> AumRecords:
    """Read the file and check it; `DataError` names the column, or the sample, that is wrong."""
    try:
        # Names of the columns first: a type is asked of those that are there, and a missing one is named.
        with pa_csv.open_csv(file) as opened:
            missing = [name for name in COLUMNS if name not in opened.schema.names]
        if missing:
            raise DataError(
                f"{file} has no column {missing[0]!r}; expected those of {RECORDS}: {', '.join(COLUMNS)}"
            )
        options = pa_csv.ConvertOptions(column_types=COLUMNS, include_columns=list(COLUMNS))
        table = pa_csv.read_csv(file, convert_options=options)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise DataError(f"{file} is not CSV as the tool writes it: {first_line(error)}") from None
    if not len(table):
        raise DataError(f"{file} has no rows")
    for name in COLUMNS:
        if name != "margin" and table[name].null_count:
            raise DataError(f"{file}: {table[name].null_count} rows have no {name!r}; expected one in each")
    samples = table["sample_id"].combine_chunks().dictionary_encode()
    ids = tuple(samples.dictionary.to_pylist())
    if "" in ids:
        raise DataError(f"{file}: a row has no 'sample_id'; expected one in each")
    row = samples.indices.to_numpy().astype(np.int64)
    point, target, other = (
        table[name].to_numpy() for name in ("num_measurements", "target_logit", "other_logit")
    )
    _check(file, ids, row, point, target, other)
    gold = np.zeros(len(ids), dtype=np.int64)
    gold[row] = target
    margin = np.asarray(table["margin"].to_numpy(), dtype=np.float64)
    return AumRecords(ids, gold, row, point - 1, other, np.where(np.isfinite(margin), margin, np.nan))


def _check(
    file: Path,
    ids: Sequence[str],
    row: NDArray[np.int64],
    number: NDArray[np.int64],
    target: NDArray[np.int64],
    other: NDArray[np.int64],
) -> None:
    """Raise a `DataError` unless a sample's measurements are numbered from 1, each once, and of one assigned label."""
    # The tool counts a sample's measurements, so that none can have a higher number than there are of that sample.
    measured = np.bincount(row, minlength=len(ids))
    for wrong, values, expected in (
        (
            (number < 1) | (number > measured[row]),
            number,
            "'num_measurements' {}; expected its measurements to be numbered from 1 without a gap",
        ),
        (target < 0, target, "'target_logit' {}; expected a label's index, from 0"),
        (other < 0, other, "'other_logit' {}; expected a label's index, from 0"),
        (target == other, other, "'other_logit' {}, which is its 'target_logit'; expected another label"),
    ):
        if wrong.any():
            at = int(np.argmax(wrong))
            raise DataError(f"{file}: a row of {ids[row[at]]!r} has {expected.format(int(values[at]))}")
    # Sorted by sample and then by number, what is there twice and a label that changes are neighbours.
    order = np.lexsort((number, row))
    same = row[order][1:] == row[order][:-1]
    twice = same & (number[order][1:] == number[order][:-1])
    if twice.any():
        at = order[int(np.argmax(twice))]
        raise DataError(
            f"{file}: {ids[row[at]]!r} has its measurement {int(number[at])} twice; is an id used for two samples?"
        )
    changed = same & (target[order][1:] != target[order][:-1])
    if changed.any():
        at = int(np.argmax(changed))
        labels = (int(target[order[at]]), int(target[order[at + 1]]))
        raise DataError(
            f"{file}: {ids[row[order[at]]]!r} is assigned the label {labels[0]} and later {labels[1]}; expected one "
            "assigned label per sample"
        )
