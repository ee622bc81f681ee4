"""Items of one data set of a study, as a queue ranks them: votes, gold label, entropy, texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dissensus.analysis.reading import CellReading
from dissensus.analysis.study_reading import StudyReader
from dissensus.curves import FloatArray
from dissensus.data.agreement import gold_share
from dissensus.data.annotations import NO_GOLD
from dissensus.errors import SpecError, StoreError


@dataclass(frozen=True, eq=False)
class StudyItems:
    """The n items of a data set that the study's completed cells tracked, each once.

    Attributes:
        reader: of the study's folder.
        cells: ids of the completed cells of this data set, variants left out, in the study's order.
        dataset: its name in the study.
        ids: of the items, length n, in the order in which the cells have them.
        labels: label names, length K.
        counts: annotators per label, shape (n, K).
        gold: label indices by the study's analysis, shape (n,); -1 where there is none.
        entropy: annotation entropy by the study's estimator, bits, shape (n,); NaN without annotations.
        text: the text fields of each item, length n.
    """

    reader: StudyReader
    cells: tuple[str, ...]
    dataset: str
    ids: tuple[str, ...]
    labels: tuple[str, ...]
    counts: FloatArray
    gold: NDArray[np.int64]
    entropy: FloatArray
    text: tuple[Mapping[str, str], ...]

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def annotations(self) -> FloatArray:
        """Annotations of each item, shape (n,)."""
        return np.asarray(self.counts.sum(axis=1), dtype=np.float64)

    @cached_property
    def gold_share(self) -> FloatArray:
        """Share of the annotators who chose the gold label, shape (n,); NaN where not defined."""
        return gold_share(self.counts, self.gold)

    @cached_property
    def position(self) -> Mapping[str, int]:
        """Id -> place."""
        return {item: place for place, item in enumerate(self.ids)}

    def gold_name(self, place: int) -> str:
        """Name of an item's gold label; '' where there is none."""
        return "" if self.gold[place] == NO_GOLD else self.labels[self.gold[place]]

    def readings(self) -> Iterator[CellReading]:
        """The readings of the cells, one at a time."""
        return (self.reader.cell(name, verify=False) for name in self.cells)


def items_of(reader: StudyReader, dataset: str | None = None) -> StudyItems:
    """The items of one data set of a study.

    Args:
        reader: of the study's folder.
        dataset: its name in the study; None: the only one that has a completed cell.

    Raises:
        SpecError: the study has no such data set, or several and none is named.
        StoreError: no cell of it is complete, or two cells have other labels.
    """
    planned = reader.folder.planned
    names = list(dict.fromkeys(item.cell.dataset.name for item in planned.values() if item.base is None))
    if dataset is not None and dataset not in names:
        raise SpecError(f"the study has no data set {dataset!r}; it has: {', '.join(names)}")
    done = [name for name in reader.folder.done if planned[name].base is None]
    with_cells = list(dict.fromkeys(planned[name].cell.dataset.name for name in done))
    if not with_cells or (dataset is not None and dataset not in with_cells):
        of = f" of {dataset}" if dataset is not None else ""
        raise StoreError(
            f"{reader.folder.path} has no completed cell{of}. Run it first: dissensus run {reader.folder.path}"
        )
    if dataset is None and len(with_cells) > 1:
        raise SpecError(
            f"the study has {len(with_cells)} data sets, and one queue is of one: give --dataset, one of "
            f"{', '.join(with_cells)}"
        )
    chosen = dataset if dataset is not None else with_cells[0]
    cells = tuple(name for name in done if planned[name].cell.dataset.name == chosen)
    return _items(reader, cells, chosen)


def _items(reader: StudyReader, cells: tuple[str, ...], dataset: str) -> StudyItems:
    seen: dict[str, None] = {}
    parts: list[tuple[FloatArray, NDArray[np.int64], FloatArray]] = []
    texts: list[Mapping[str, str]] = []
    labels: tuple[str, ...] = ()
    for name in cells:
        cell = reader.cell(name, verify=False)
        labels = labels or cell.labels
        if cell.labels != labels:
            raise StoreError(
                f"cells of {dataset} have other labels: {', '.join(labels)} and, in {name}, {', '.join(cell.labels)}"
            )
        ids = cell.ids.to_pylist()
        new = np.array([place for place, item in enumerate(ids) if item not in seen], dtype=np.int64)
        if not len(new):
            continue  # cells of a data set track the same items as a rule
        seen.update((ids[place], None) for place in new)
        parts.append((cell.counts[new], cell.gold[new], cell.entropy[new]))
        fields = cell.texts(0, len(cell))
        texts += [fields[place] if len(fields) else {} for place in new]
    counts, gold, entropy = (np.concatenate(column) for column in zip(*parts, strict=True))
    return StudyItems(
        reader, cells, dataset, tuple(seen), labels, counts, gold.astype(np.int64), entropy, tuple(texts)
    )
