"""Label noise put into gold labels on purpose, with a saved mask of what was flipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dissensus.data.annotations import NO_GOLD
from dissensus.display import ShortRepr
from dissensus.errors import DataError, SpecError
from dissensus.files import write_atomic
from dissensus.wording import first_line

_COLUMNS = ("id", "gold", "label", "flipped")


@dataclass(frozen=True, repr=False)
class NoisyLabels(ShortRepr):
    """Gold labels of which some were flipped.

    Attributes:
        labels: label indices after the flips, shape (n,); `NO_GOLD` where there is none.
        flipped: which of them were flipped, shape (n,).
    """

    labels: NDArray[np.int64]
    flipped: NDArray[np.bool_]


def inject_noise(
    gold: NDArray[np.int64],
    counts: NDArray[np.float64],
    *,
    kind: Literal["uniform", "nearest", "annotators"],
    rate: float,
    rng: np.random.Generator,
    among: NDArray[np.bool_] | None = None,
) -> NoisyLabels:
    """Flip exactly round(rate x items with a gold label) of the gold labels, always to another label.

    Which items are flipped is drawn evenly from the eligible ones.

    - `uniform`: every item with a gold label is eligible; the new label is any other one, all equally likely.
    - `nearest`: every item with a gold label is eligible; the new label is the next one in label order, where labels
      lie on a scale (entailment, neutral, contradiction). One in the middle goes to either side by an even chance.
    - `annotators`: eligible are items for which some annotator chose another label than gold; the new label is
      drawn from the item's own label counts without the gold label. A confusion that people really make.

    Args:
        gold: label indices, shape (n,); `NO_GOLD` where there is none.
        counts: annotators per label, shape (n, K); fractional counts are weights.
        kind: see above.
        rate: share of the labels to flip, in (0, 1).
        rng: generator that draws; the same generator state gives the same flips.
        among: which items the rate is of and the flips are drawn from, shape (n,); None: all.

    Raises:
        SpecError: the kind is unknown or the rate is not in (0, 1).
        DataError: fewer items are eligible than must be flipped. It does not flip fewer in silence; the message
            gives the largest rate that is possible.
    """
    if kind not in ("uniform", "nearest", "annotators"):
        raise SpecError(f"the kind of noise is {kind!r}; expected 'uniform', 'nearest' or 'annotators'")
    if not 0 < rate < 1:
        raise SpecError(f"the noise rate is {rate!r}; expected a share above 0 and below 1")
    if counts.ndim != 2 or gold.shape != counts.shape[:1]:
        raise DataError(f"gold has shape {gold.shape} and counts {counts.shape}; expected (n,) and (n, K)")
    k = counts.shape[1]
    others = counts.astype(np.float64)
    labelled = gold != NO_GOLD
    if among is not None:
        labelled = labelled & among
    others[np.flatnonzero(labelled), gold[labelled]] = 0.0
    eligible = np.flatnonzero(labelled & ((others.sum(axis=1) > 0) if kind == "annotators" else (k > 1)))
    wanted = round(rate * int(labelled.sum()))
    if wanted > len(eligible):
        why = (
            "have an annotator who chose another label"
            if kind == "annotators"
            else "have a gold label to flip"
        )
        raise DataError(
            f"noise of kind {kind!r} at rate {rate} must flip {wanted} of {int(labelled.sum())} labels, but only "
            f"{len(eligible)} items {why}; the largest rate possible here is "
            f"{len(eligible) / max(int(labelled.sum()), 1):.3f}"
        )
    chosen = (
        np.sort(rng.choice(eligible, size=wanted, replace=False)) if wanted else np.empty(0, dtype=np.int64)
    )
    labels = gold.astype(np.int64)
    if kind == "uniform":
        labels[chosen] = (gold[chosen] + rng.integers(1, max(k, 2), size=wanted)) % k
    elif kind == "nearest":
        step = 2 * rng.integers(0, 2, size=wanted) - 1
        # At either end of the scale there is one neighbour only.
        labels[chosen] = gold[chosen] + np.where(
            gold[chosen] == 0, 1, np.where(gold[chosen] == k - 1, -1, step)
        )
    else:
        edges = np.cumsum(others[chosen], axis=1)
        # A draw in [0, total) falls into the first interval whose upper edge exceeds it: never a label of weight 0.
        draws = rng.random(wanted) * edges[:, -1]
        labels[chosen] = (edges > draws[:, None]).argmax(axis=1)
    flipped = np.zeros(len(gold), dtype=np.bool_)
    flipped[chosen] = True
    return NoisyLabels(labels, flipped)


def save_noise(path: Path, ids: Sequence[str], gold: NDArray[np.int64], noisy: NoisyLabels) -> None:
    """Write the mask as Parquet, whole or not at all: id, gold (before), label (after), flipped.

    Raises:
        DataError: the lengths differ or an id repeats.
    """
    n = len(ids)
    if not n == len(gold) == len(noisy.labels) == len(noisy.flipped):
        raise DataError(
            f"{n} ids, {len(gold)} gold labels, {len(noisy.labels)} noisy labels; expected the same number of each"
        )
    if len(set(ids)) < n:
        raise DataError("an id repeats; the mask of flipped labels is joined by id")
    table = pa.table(
        {
            "id": pa.array(list(ids), type=pa.string()),
            "gold": pa.array(gold),
            "label": pa.array(noisy.labels),
            "flipped": pa.array(noisy.flipped),
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    write_atomic(path, sink.getvalue().to_pybytes())


def load_noise(path: Path, ids: Sequence[str], *, among: bool = False) -> NoisyLabels:
    """Read a mask and join it to `ids`, in their order.

    Args:
        path: what `save_noise` wrote.
        ids: whose labels are wanted.
        among: whether the mask may hold other ids too.

    Raises:
        DataError: the file is missing or damaged, or it does not hold exactly these ids (or not all of them).
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"cannot read the mask of flipped labels {path}: {first_line(error)}") from None
    if tuple(table.column_names) != _COLUMNS:
        raise DataError(
            f"{path} has the columns {table.column_names}; a mask of flipped labels has {list(_COLUMNS)}"
        )
    position = {example_id: row for row, example_id in enumerate(table["id"].to_pylist())}
    missing = [i for i in ids if i not in position]
    if missing or (len(position) != len(ids) and not among):
        shown = f", e.g. {missing[0]!r} is missing" if missing else ""
        raise DataError(f"{path} holds {len(position)} ids, not the {len(ids)} that were asked for{shown}")
    order = np.array([position[i] for i in ids], dtype=np.int64)
    labels = np.asarray(table["label"].to_numpy(), dtype=np.int64)[order]
    flipped = np.asarray(table["flipped"].to_pylist(), dtype=np.bool_)[order]
    return NoisyLabels(labels, flipped)
