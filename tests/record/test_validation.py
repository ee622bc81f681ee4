"""The validation set of several processes: what the first one reads and writes, all have or none has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import StoreError
from dissensus.record import validation
from dissensus.record.processes import ProcessGroup
from dissensus.record.validation import Validation
from dissensus.store.validation import ValidationScores, load_validation, save_validation

CPU = torch.device("cpu")


@dataclass(frozen=True)
class OneOfTwo(ProcessGroup):
    """A process that is told what the first one has, and that notes which errors would reach the other one."""

    first_has: tuple[int, ...] = ()
    shared: list[str] = field(default_factory=list)

    def broadcast(self, values: Any, device: Any, *, source: int = 0) -> Any:
        return list(values) if self.first else list(self.first_has)

    @contextmanager
    def all_or_none(self, device: Any) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.shared.append(str(error))
            raise


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch, tiny_dataset: AnnotatedDataset) -> list[int]:
    """Each tracking pass adds its number of examples here."""
    taken: list[int] = []

    def scored(_model: Any, _rows: Any, n: int) -> Any:
        taken.append(n)
        return np.log(np.full((n, 3), 1 / 3, dtype=np.float32))

    monkeypatch.setattr(validation, "tracking_pass", scored)
    return taken


def made(path: Path, dataset: AnnotatedDataset, group: ProcessGroup) -> Validation:
    return Validation(path, dataset, cast(Any, None), steps=(0, 4), group=group, device=CPU)


def test_a_process_without_the_file_skips_what_the_first_one_has(
    tmp_path: Path, tiny_dataset: AnnotatedDataset, passes: list[int]
) -> None:
    """Else it would wait in a pass that the first one does not take."""
    second = made(tmp_path / "away.parquet", tiny_dataset, OneOfTwo(1, 2, first_has=(0,)))
    second.rewind(2)
    for step in (0, 4, 4):
        second.step(cast(Any, None), step)
    assert passes == [len(tiny_dataset)]  # step 4, once
    assert not list(tmp_path.iterdir())


def test_the_first_process_resumes_from_its_file(
    tmp_path: Path, tiny_dataset: AnnotatedDataset, passes: list[int]
) -> None:
    path = tmp_path / "validation.parquet"
    for _ in range(2):  # killed after the file of step 4 was written, before the checkpoint was
        first = made(path, tiny_dataset, OneOfTwo(0, 2))
        first.rewind(2)
        first.step(cast(Any, None), 0)
        first.step(cast(Any, None), 4)
    assert len(passes) == 3  # step 0 is kept, step 4 scored again
    assert load_validation(path).steps == (0, 4)


def test_what_goes_wrong_in_the_first_process_reaches_the_others(
    tmp_path: Path, tiny_dataset: AnnotatedDataset, passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "validation.parquet"
    group = OneOfTwo(0, 2)
    one = made(path, tiny_dataset, group)
    save_validation(
        path, ValidationScores(("x",), np.zeros(1, dtype=np.int64), (0,), np.zeros((1, 1, 3), np.float32))
    )
    with pytest.raises(StoreError, match="other examples"):
        one.rewind(2)
    assert len(group.shared) == 1

    def full(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(validation, "save_validation", full)
    with pytest.raises(OSError, match="no space"):
        one.step(cast(Any, None), 4)
    assert group.shared[1:] == ["no space left on device"]
